from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from refusals import raises

from segmend.review.decisions import Decision, Subject, check_reader
from segmend.review.store import ReviewStore

WRITER = """
import sys
from pathlib import Path
from segmend.review.decisions import Decision, Subject
from segmend.review.store import ReviewStore
path, reader = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
store = ReviewStore(path, "mark")
for number in range(100000):
    store.decide(Decision(Subject(f"case {number}", "organ"), reader, "accept", "x" * 500))
    print(number, flush=True)
"""


@pytest.fixture
def store(tmp_path):
    return ReviewStore(tmp_path / "review.sqlite", "mark")


def said(store, reader="Anna"):
    return {
        (each.subject.case, each.subject.label, each.subject.region): each.decision for each in store.decisions(reader)
    }


def decide(store, decision, *, reader="Anna", case="a", label="organ", region=None, comment=""):
    return store.decide(Decision(Subject(case, label, region), reader, decision, comment))


class TestDecisions:
    def test_the_last_one_is_in_force(self, store):
        assert decide(store, "accept") == 1
        assert decide(store, "reject") == 2
        assert said(store) == {("a", "organ", None): "reject"}

    def test_label_and_region_are_decided_apart(self, store):
        decide(store, "accept")
        decide(store, "reject", region=2)
        decide(store, "unsure", region=3)
        assert said(store) == {("a", "organ", None): "accept", ("a", "organ", 2): "reject", ("a", "organ", 3): "unsure"}

    def test_an_empty_decision_takes_it_back_and_keeps_the_comment(self, store):
        decide(store, "accept")
        decide(store, "", comment="look again")
        assert said(store) == {}
        assert store.comments("Anna") == {Subject("a", "organ"): "look again"}

    def test_the_same_again_is_no_step(self, store):
        decide(store, "accept", comment="x")
        assert decide(store, "accept", comment="x") == 1
        assert decide(store, "accept", comment="y") == 2

    def test_readers_do_not_meet(self, store):
        decide(store, "accept")
        decide(store, "reject", reader="Ben")
        assert said(store) == {("a", "organ", None): "accept"}
        assert said(store, "Ben") == {("a", "organ", None): "reject"}
        assert store.readers() == ["Anna", "Ben"]

    def test_names_that_differ_in_capitals_only_are_refused(self, store):
        decide(store, "accept")
        with raises("duplicate", "reader"):
            decide(store, "reject", reader="anna")
        assert store.readers() == ["Anna"]

    def test_any_script_and_sign(self, store):
        name = "Ünal 李 \"'; DROP TABLE steps; --"
        decide(store, "accept", reader=name, case="病例 %'\"", comment="строка\nzwei")
        assert [(each.subject.case, each.comment) for each in store.decisions(name)] == [("病例 %'\"", "строка\nzwei")]


class TestTakingBack:
    def test_step_by_step(self, store):
        decide(store, "accept")
        decide(store, "reject", comment="no")
        decide(store, "unsure", region=2)
        decision, left = store.take_back("Anna")
        assert (decision.subject.region, decision.decision, left) == (2, "", 2)
        decision, left = store.take_back("Anna")
        assert (decision.decision, decision.comment, left) == ("accept", "", 1)
        store.take_back("Anna")
        assert store.take_back("Anna") is None
        assert said(store) == {}

    def test_only_own_steps(self, store):
        decide(store, "accept")
        decide(store, "reject", reader="Ben")
        store.take_back("Anna")
        assert store.take_back("Anna") is None
        assert said(store, "Ben") == {("a", "organ", None): "reject"}

    def test_history_keeps_what_was_taken_back(self, store):
        decide(store, "accept")
        store.take_back("Anna")
        decide(store, "reject")
        history = store.history()
        assert [(step["decision"], step["taken_back"] is None) for step in history] == [
            ("accept", False),
            ("reject", True),
        ]
        assert all(step["time"].endswith("+00:00") for step in history)


class TestFile:
    def test_is_opened_again(self, store):
        decide(store, "accept")
        assert said(ReviewStore(store.path, "mark")) == {("a", "organ", None): "accept"}

    def test_of_another_audit_is_refused(self, store):
        with raises("mismatch", store.path, "mark.*other"):
            ReviewStore(store.path, "other")

    @pytest.mark.parametrize("content", [b"no database" * 200, b"SQLite format 3\0" + b"x" * 5000])
    def test_that_is_no_database_is_refused_and_kept(self, tmp_path, content):
        path = tmp_path / "review.sqlite"
        path.write_bytes(content)
        with raises("damaged", path):
            ReviewStore(path, "mark")
        assert path.read_bytes() == content

    def test_of_another_program_is_refused(self, tmp_path):
        path = tmp_path / "review.sqlite"
        with sqlite3.connect(path) as file:
            file.execute("CREATE TABLE other (x)")
        file.close()
        with raises("damaged", path):
            ReviewStore(path, "mark")

    def test_of_a_later_version_is_refused(self, store):
        with sqlite3.connect(store.path) as file:
            file.execute("PRAGMA user_version = 99")
        file.close()
        with raises("unsupported", store.path):
            ReviewStore(store.path, "mark")

    def test_that_an_interrupted_start_left_empty_is_used(self, tmp_path):
        (tmp_path / "review.sqlite").touch()
        decide(ReviewStore(tmp_path / "review.sqlite", "mark"), "accept")

    def test_that_was_removed_is_not_made_again(self, store):
        store.path.unlink()
        with raises("not-writable", store.path):
            decide(store, "accept")
        assert not store.path.exists()

    def test_in_a_folder_with_signs_of_addresses(self, tmp_path):
        place = tmp_path / "a?mode=ro#x %41 ü"
        place.mkdir()
        decide(ReviewStore(place / "review.sqlite", "mark"), "accept")
        assert (place / "review.sqlite").is_file()

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
    def test_that_cannot_be_written(self, tmp_path):
        tmp_path.chmod(0o500)
        with raises("not-writable"):
            ReviewStore(tmp_path / "review.sqlite", "mark")


def test_threads_at_once_lose_nothing(store):
    def work(reader):
        for number in range(25):
            decide(ReviewStore(store.path, "mark"), "accept", reader=reader, case=f"case {number}")

    threads = [threading.Thread(target=work, args=(f"reader {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {reader: len(said(store, reader)) for reader in store.readers()} == {f"reader {n}": 25 for n in range(4)}


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_at_any_moment_the_file_keeps_every_step_that_was_reported(tmp_path):
    path, chance = tmp_path / "review.sqlite", random.Random(0)
    for trial in range(8):
        reader = f"reader {trial}"
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), reader], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        reported = [process.stdout.readline() for _ in range(chance.randint(0, 9))]
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        reported += process.communicate()[0].splitlines()
        store = ReviewStore(path, "mark")
        kept = [each.subject.case for each in store.decisions(reader)]
        assert len(kept) - len(reported) in (0, 1)
        assert kept == [f"case {number}" for number in range(len(kept))]
        with sqlite3.connect(path) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        file.close()
    assert len(store.history()) > 8


class TestReader:
    def test_is_trimmed_and_canonical(self):
        assert check_reader("  Ju\u0308rgen ") == "J\u00fcrgen"

    @pytest.mark.parametrize("name", [None, "", "  ", 3, ["x"]])
    def test_needs_a_name(self, name):
        with raises("missing-value", "reader"):
            check_reader(name)

    @pytest.mark.parametrize("name", ["x" * 101, "a\nb", "a\x1b[2J"])
    def test_that_cannot_be_shown_is_refused(self, name):
        with raises("invalid-name", "reader"):
            check_reader(name)
