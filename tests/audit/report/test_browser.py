"""Real clicks and keys on the page of an audit, in Chromium without a window, steered over its DevTools pipe."""

from __future__ import annotations

import base64
import csv
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
import time

import numpy as np
import pytest
from audit_rows import example_row
from PIL import Image

from segmend.audit.folder import AuditFolder
from segmend.audit.report.page import write_audit_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

WAIT_TIMEOUT_S = 60
ORANGE, BLUE = (230, 159, 0), (86, 180, 233)
HOSTILE = '<img src=x onerror=alert(1)>, "of" the=1'


class Browser:
    """One page of a browser. Messages are JSON with a zero byte behind; they go through file descriptors 3 and 4."""

    def __init__(self, profile):
        (their_in, self._out), (self._in, their_out) = os.pipe(), os.pipe()
        # Above 4, so that none of the two is overwritten before it is copied.
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (their_in, their_out)]
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command += ["--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            preexec_fn=lambda: [os.dup2(end, number) for end, number in zip(theirs, (3, 4), strict=True)],
        )
        for end in (their_in, their_out, *theirs):
            os.close(end)
        self._number, self._unread, self._session = 0, b"", None
        self.events = []
        pages = [target for target in self.call("Target.getTargets")["targetInfos"] if target["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=1440, height=900, deviceScaleFactor=1, mobile=False)

    def close(self):
        self._process.terminate()
        self._process.wait(WAIT_TIMEOUT_S)
        os.close(self._in)
        os.close(self._out)

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self):
        while b"\0" not in self._unread:
            assert select.select([self._in], [], [], WAIT_TIMEOUT_S)[0], "the browser does not answer"
            received = os.read(self._in, 2**20)
            assert received, "the browser has ended"
            self._unread += received
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)

    def ask(self, script):
        """Value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script):
        """Until an expression in the page is true."""
        until = time.monotonic() + WAIT_TIMEOUT_S
        while not self.ask(script):
            assert time.monotonic() < until, script
            time.sleep(0.02)

    def open(self, path):
        self.ask("window.left = true")  # the page that is there may be the same one, and complete
        self.call("Page.navigate", url=path.as_uri())
        here = f"location.href === {json.dumps(path.as_uri())}"
        self.wait_for(f"!window.left && {here} && document.readyState === 'complete'")
        self.drawn()

    def drawn(self):
        """Until the pictures of the chosen label are there."""
        self.wait_for(
            "document.querySelector('#pictured').hidden || document.querySelector('#place').textContent !== ''"
        )

    def text(self, selector):
        return self.ask(f"document.querySelector({json.dumps(selector)}).innerText")

    def texts(self, selector):
        return self.ask(f"[...document.querySelectorAll({json.dumps(selector)})].map((each) => each.innerText)")

    def box(self, selector):
        return self.ask(
            f"(() => {{ const element = document.querySelector({json.dumps(selector)});"
            "element.scrollIntoView({ block: 'nearest' }); const box = element.getBoundingClientRect();"
            "return { x: box.x, y: box.y, width: box.width, height: box.height }; })()"
        )

    def click(self, selector, across=0.5, down=0.5):
        box = self.box(selector)
        at = {"x": box["x"] + across * box["width"], "y": box["y"] + down * box["height"]}
        for kind, buttons in (("mousePressed", 1), ("mouseReleased", 0)):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", buttons=buttons, clickCount=1, **at)

    def roll(self, selector, towards):
        box = self.box(selector)
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        self.call("Input.dispatchMouseEvent", type="mouseWheel", deltaX=0, deltaY=120 * towards, **at)

    def press(self, *keys):
        for key in keys:
            text = {"text": key} if len(key) == 1 else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def pixels(self, selector):
        """What is seen of an element, ``[height, width, 3]``."""
        clip = self.box(selector) | {"scale": 1}
        picture = base64.b64decode(self.call("Page.captureScreenshot", clip=clip)["data"])
        return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)

    def count(self, colour, selector=".view.large canvas"):
        """How many pixels of an element have about this colour."""
        return int((np.abs(self.pixels(selector) - colour).sum(-1) < 60).sum())


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(running):
    """The browser; nothing may go wrong in the page, nor anything be fetched but itself."""
    running.events.clear()
    yield running
    running.ask("localStorage.clear()")
    methods = [event["method"] for event in running.events]
    assert "Runtime.exceptionThrown" not in methods
    assert "Page.javascriptDialogOpening" not in methods
    assert "Log.entryAdded" not in methods
    requests = [
        event["params"]["request"]["url"] for event in running.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert {url.split(":")[0] for url in requests} <= {"file", "data", "blob"}


@pytest.fixture
def opened(browser, make_audit):
    """Three cases with two labels each; of six labels the first three are suspect."""
    made = make_audit(["first", HOSTILE, "third"], ["organ", "vessel"])
    browser.open(write_audit_report(made.audit, made.folder, pictures=5))
    return browser


def chosen(browser):
    return browser.text("#name"), browser.text("#what")


def test_hostile_names_are_only_text(opened):
    assert opened.texts("#list .case") == ["first", "first", HOSTILE, HOSTILE, "third", "third"]
    opened.click("#list tr:nth-child(3)")
    assert chosen(opened) == (HOSTILE, "organ: slices left out")
    assert opened.ask("document.images.length") == 0


def test_what_is_known_of_a_label_is_told(browser, make_audit):
    made = make_audit(["a"])
    unclear = {"correction_mm": -0.4, "correction_se_mm": 0.6}
    shift = {"proposal": "shift", "proposal_score": 0.6, "offset_mm": 2.5}
    erase = {"proposal": "erase", "proposal_score": 0.6, "changed_voxels": 1275}
    made.write_tables(
        [
            example_row(1, "a", "organ", 0.6),
            example_row(2, "a", "organ", 0.7, **unclear),
            example_row(3, "a", "organ", 0.8, **unclear, **shift),
            example_row(4, "a", "organ", 0.9, **unclear, **erase),
        ]
    )
    browser.open(write_audit_report(made.audit, made.folder, pictures=0))
    assert "0.4 ± 0.2 mm too wide" in browser.text("#facts")
    assert "by an expert" not in browser.text("#facts")
    browser.press("j")
    assert "too" not in browser.text("#facts")
    browser.press("j")
    assert "2.5 mm too wide" in browser.text("#facts")  # one offset: that which the proposal undoes
    assert "0.4" not in browser.text("#facts").replace("0.40", "")
    browser.press("j")
    assert "erases all 1275 voxels" in browser.text("#facts")


def test_keys_and_clicks_step_through_the_labels(opened):
    assert chosen(opened) == ("first", "organ: slices left out")
    opened.press("j", "ArrowRight")
    assert chosen(opened)[0] == HOSTILE
    opened.press("k")
    assert chosen(opened) == ("first", "vessel: slices left out")
    opened.press("ArrowLeft", "k")  # there is none before the first
    opened.click("#next")
    assert chosen(opened) == ("first", "vessel: slices left out")
    opened.click("#list tr:nth-child(6)")
    assert chosen(opened) == ("third", "vessel: ok")
    assert opened.ask("document.querySelector('#pictured').hidden")  # only five have pictures
    assert "Only the 5 most suspect" in opened.text("#unpictured")
    assert opened.texts('#list [aria-current="true"] .case') == ["third"]


def test_decisions_are_kept_and_downloaded(opened, tmp_path):
    opened.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "downloads"))
    assert opened.ask("document.querySelector('#download').disabled")
    opened.click("[data-decision=accept]")
    assert chosen(opened) == ("first", "vessel: slices left out")  # on to the next
    opened.click("#onward")
    opened.press("j", "r")
    assert chosen(opened) == (HOSTILE, "organ: slices left out")
    opened.press("j", "u", "u", "u")  # done, undone, done
    opened.press("j", "a")  # has no proposal that could be accepted
    assert opened.text("#counts") == "1 accepted · 1 rejected · 1 unsure · 3 open"
    assert opened.texts("#list .sign") == ["✓", "", "✗", "?", "", ""]
    opened.open(tmp_path / "audit" / "report.html")  # again
    assert opened.text("#counts") == "1 accepted · 1 rejected · 1 unsure · 3 open"
    opened.click("#download")
    file = tmp_path / "downloads" / "decisions.csv"
    until = time.monotonic() + WAIT_TIMEOUT_S
    while not file.is_file():
        assert time.monotonic() < until
        time.sleep(0.05)
    with file.open(newline="", encoding="utf-8") as lines:
        table = list(csv.reader(lines))
    mark = AuditFolder(tmp_path / "audit").mark
    assert table == [
        ["case", "label", "decision", "audit"],
        ["first", "organ", "accept", mark],
        [HOSTILE, "organ", "reject", mark],
        [HOSTILE, "vessel", "unsure", mark],
    ]


def test_lists_are_searched_filtered_and_sorted(opened):
    opened.click("#search")
    opened.press(*"thi", "r")  # letters that are typed decide nothing
    assert opened.texts("#list .case") == ["third", "third"]
    assert opened.text("#counts").endswith("6 open")
    choose = "(menu, value) => { menu.value = value; menu.dispatchEvent(new Event('input')); }"
    opened.ask(f"({choose})(document.querySelector('#search'), '')")
    opened.ask(f"({choose})(document.querySelector('#kind'), 'ok')")
    assert len(opened.texts("#list .case")) == 3
    opened.ask(f"({choose})(document.querySelector('#label'), 'organ')")
    assert opened.texts("#list .case") == ["third"]
    for menu in ("kind", "label"):
        opened.ask(f"({choose})(document.querySelector('#{menu}'), '')")
    opened.ask(f"({choose})(document.querySelector('#order'), 'case')")
    assert opened.texts("#list .case")[:2] == [HOSTILE, HOSTILE]
    assert opened.text("#range") == "1 to 6 of 6"


def test_outlines_are_drawn_and_hidden(opened):
    # In the first slice of the region nothing is given, so the proposal stands alone.
    assert opened.count(BLUE) > 20
    assert opened.count(ORANGE) == 0
    opened.press("4", *["ArrowDown"] * 4)
    assert opened.text(".view.large button") == "axial 7 / 10"
    assert opened.count(ORANGE) > 20
    opened.click("[data-mask=given]")
    assert opened.count(ORANGE) == 0
    assert opened.count(BLUE) > 20
    opened.press("h")
    assert opened.count(BLUE) == 0
    opened.press("h")
    assert opened.count(BLUE) > 20
    assert [mask.split()[0] for mask in opened.texts("[data-mask][aria-pressed=false]")] == ["1", "4"]


def test_slices_are_chosen_by_wheel_slider_and_click(opened):
    opened.roll(".view.large", 1)
    opened.wait_for("document.querySelector('.view.large button').textContent === 'axial 4 / 10'")
    opened.click(".view.large input", across=0.98)
    assert opened.text(".view.large button") == "axial 10 / 10"
    opened.press("ArrowDown", "ArrowRight")  # keys move the slider that has the focus
    assert chosen(opened)[1].startswith("organ")
    opened.click(".view:nth-child(2) canvas", across=0.5, down=0.1)
    assert opened.text(".view.large button") == "axial 1 / 10"
    opened.click(".view:nth-child(2) button")
    assert opened.text(".view.large button").startswith("coronal")
    opened.click("#regions button")
    assert opened.texts(".view button") == ["axial 4 / 10", "coronal 7 / 20", "sagittal 13 / 24"]
    # z of the file runs the other way, and 11 of its voxels lie before x = 12.
    assert opened.text("#place").startswith("voxel 12, 6, 6")


def test_the_window_changes_what_is_grey(opened):
    opened.press("h")
    first = opened.pixels(".view.large canvas")
    opened.press("+", "+", "+")
    narrow = opened.pixels(".view.large canvas")
    assert narrow.std() > first.std() + 2
    opened.press("0")
    np.testing.assert_array_equal(opened.pixels(".view.large canvas"), first)
    opened.click("#level", across=0.95)
    assert opened.pixels(".view.large canvas").mean() < first.mean() - 20
    opened.click("#reset")
    opened.press("z")
    assert opened.ask("document.querySelector('#zoom').value") == "3"
    assert not np.array_equal(opened.pixels(".view.large canvas"), first)


def test_pages_of_many_labels(browser, make_audit):
    made = make_audit(["a"])
    made.write_tables([example_row(rank, f"case_{rank}", "organ", rank / 120) for rank in range(1, 121)])
    browser.open(write_audit_report(made.audit, made.folder, pictures=0))
    assert browser.text("#range") == "1 to 50 of 120"
    browser.click("#later")
    browser.click("#later")
    assert browser.text("#range") == "101 to 120 of 120"
    assert browser.ask("document.querySelector('#later').disabled")
    browser.click("#list tr:last-child")
    assert browser.text("#name") == "case_120"
    browser.click("#earlier")
    browser.click("#list tr:last-child")
    browser.press("j")  # on to the next page
    assert browser.text("#range") == "101 to 120 of 120"
    assert browser.text("#name") == "case_101"


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (["."], []),
        (["#"], [[[-1, 0], [0, -1], [0, 1], [1, 0]]]),
        (["##"], [[[-1, 0], [0, -1], [0, 1], [2, -1], [2, 1], [3, 0]]]),
        (["#.", ".#"], [[[-1, 0], [0, -1], [0, 1], [1, 0]], [[1, 2], [2, 1], [2, 3], [3, 2]]]),
        (
            ["###", "#.#", "###"],
            [
                [[-1, y] for y in (0, 2, 4)]
                + [[0, -1], [0, 5], [2, -1], [2, 5], [4, -1], [4, 5]]
                + [[5, y] for y in (0, 2, 4)],
                [[1, 2], [2, 1], [2, 3], [3, 2]],
            ],
        ),
    ],
)
def test_outlines_run_half_way_between_pixels(opened, rows, lines):
    found = opened.ask(f"outline((x, y) => Number({json.dumps(rows)}[y]?.[x] === '#'), {len(rows[0])}, {len(rows)})")
    assert sorted(sorted(line) for line in found) == lines


def test_pictures_are_unpacked_voxel_by_voxel(opened):
    shown = "JSON.parse(document.querySelector('#close-up-0').textContent)"
    values = opened.ask(
        f"(async () => {{ const shown = {shown};"
        "return [...await decode(`data:image/png;base64,${shown.masks}`, shown.shape, shown.columns)]; })()"
    )
    flags = np.reshape(values, (10, 20, 24)).T
    given, proposal, issue, other = (flags >> bit & 1 for bit in (4, 5, 6, 7))
    assert np.argwhere(given).min(0).tolist() == [6, 3, 5]
    assert np.argwhere(given).max(0).tolist() == [17, 7, 7]
    assert given.sum() * 2 == proposal.sum() == 12 * 5 * 6
    assert np.argwhere(issue[:, :8]).min(0).tolist() == [6, 3, 2]
    assert other.sum() == given.sum()
    assert not (other & given).any()
