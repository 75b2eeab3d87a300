"""The command as a user runs it: a process of its own, asked over the network of the machine, and ended by signals."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from http.cookiejar import CookieJar
from urllib.parse import quote

import pytest
from refusals import raises
from reviews import SmallAudit

import segmend
from segmend.cli import main

pytest.importorskip("uvicorn", reason="needs segmend[review]")

WAIT_TIMEOUT_S = 120
CASE = "a %41 ü"


@pytest.fixture
def made(tmp_path):
    made = SmallAudit(tmp_path)
    made.add(CASE, "b")
    made.finish()
    return made


class Server:
    """A running review, and a browser that has opened its page."""

    def __init__(self, made, *words):
        environment = os.environ | {"XDG_STATE_HOME": str(made.root / "state"), "DISPLAY": "", "WAYLAND_DISPLAY": ""}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "segmend", "review", "--audit", str(made.place.root), *words],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        line = self.process.stderr.readline()
        assert line.startswith("Review at http://127.0.0.1:"), line + self.process.stderr.read()
        self.address = line.split()[-1]
        self.root = self.address.split("/?")[0]
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.enter()

    def enter(self):
        deadline = time.monotonic() + WAIT_TIMEOUT_S
        while True:
            try:
                self.browser.open(self.address, timeout=WAIT_TIMEOUT_S).read()
                return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def ask(self, path, content=None):
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.root}/api/{path}", data, {"X-Segmend": "1"})
        return json.loads(self.browser.open(request, timeout=WAIT_TIMEOUT_S).read())

    def decide(self, decision, case=CASE):
        return self.ask("decisions", {"reader": "Anna", "case": case, "label": "organ", "decision": decision})

    def end(self, number):
        self.process.send_signal(number)
        text = self.process.communicate(timeout=WAIT_TIMEOUT_S)[1]
        return self.process.returncode, text


@pytest.fixture
def start(made):
    servers = []

    def start(*words):
        servers.append(Server(made, *words))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.wait()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
class TestProcess:
    def test_ctrl_c_ends_it_and_says_what_to_do_next(self, start, made, contents):
        before = contents(made.data)
        server = start("--reader", "Anna")
        assert server.ask("audit")["reader"] == "Anna"
        assert server.ask(f"cases/{quote(CASE)}")["case"] == CASE
        server.decide("accept")
        status, text = server.end(signal.SIGINT)
        assert status == 0, text
        assert "Traceback" not in text
        assert "1 accepted, 0 rejected, 0 unsure" in text
        line = re.search(r"segmend correct .*", text)[0]
        assert f"--decisions {made.place.root / 'decisions.csv'}" in line
        with (made.place.root / "decisions.csv").open(newline="") as file:
            assert [(row["case"], row["decision"]) for row in csv.DictReader(file)] == [(CASE, "accept")]
        assert contents(made.data) == before

    def test_killed_it_comes_back_at_the_same_address_with_all_decisions(self, start):
        first = start()
        first.decide("accept")
        first.process.kill()
        first.process.communicate()
        second = start()
        assert second.address == first.address
        first.enter()
        assert first.ask("labels?reader=Anna")["decision"][0] == "accept"
        assert first.decide("reject", "b")["steps"] == 2
        assert second.end(signal.SIGINT)[0] == 0
        third = start()
        assert third.address.split("token=")[1] != first.address.split("token=")[1]

    def test_sigterm_ends_it_with_the_status_of_the_signal(self, start):
        server = start()
        server.decide("accept")
        status, text = server.end(signal.SIGTERM)
        assert status == 128 + signal.SIGTERM
        assert "continue the review" in text

    def test_two_servers_of_an_audit(self, start):
        first, second = start(), start()
        assert first.root != second.root
        first.decide("accept")
        second.decide("reject", "b")
        assert first.ask("labels?reader=Anna")["decision"] == ["accept", "", "reject", ""]


class TestRefusals:
    def test_a_port_that_is_taken(self, made, capsys):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert main(["review", "--audit", str(made.place.root), "--port", str(port), "--open", "false"]) == 1
        assert "--port" in capsys.readouterr().err

    @pytest.mark.parametrize("port", [-1, 65536])
    def test_no_port(self, made, port):
        with raises("invalid-value", "port"):
            segmend.review(audit=made.place.root, port=port, open=False)

    def test_no_reader(self, made):
        with raises("invalid-name", "reader"):
            segmend.review(audit=made.place.root, reader="a\nb", open=False)

    def test_no_audit(self, tmp_path):
        with raises("missing-file", tmp_path / "none"):
            segmend.review(audit=tmp_path / "none", open=False)
        (tmp_path / "empty").mkdir()
        with raises("unfinished"):
            segmend.review(audit=tmp_path / "empty", open=False)
        assert not (tmp_path / "empty" / "review.sqlite").exists()

    def test_data_that_were_moved(self, made):
        made.data.rename(made.root / "elsewhere")
        with raises("missing-file", "data"):
            segmend.review(audit=made.place.root, open=False)

    def test_an_audit_that_is_running(self, made):
        code = "import sys, time\nfrom pathlib import Path\nfrom segmend.core.folders import locked_folder\n"
        code += "with locked_folder(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
        process = subprocess.Popen([sys.executable, "-c", code, made.place.root], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "held\n"
        try:
            with raises("in-use"):
                segmend.review(audit=made.place.root, open=False)
        finally:
            process.kill()
            process.communicate()

    def test_without_the_libraries(self, made, monkeypatch):
        monkeypatch.setattr("segmend.review.find_spec", lambda name: None)
        with raises("environment", "review", "pip install"):
            segmend.review(audit=made.place.root, open=False)
