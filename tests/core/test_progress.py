from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from segmend.core import progress
from segmend.core.progress import Reporter, say, track


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def terminal(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=screen, force_terminal=True, width=100, color_system=None))
    return screen


def lines(capsys) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


class TestElsewhere:
    def test_items_come_through_with_a_line_now_and_then(self, clock, capsys):
        def slowly(items):
            for item in items:
                clock.now += 6
                yield item

        assert list(track(slowly("abcdefg"), "reading scans", 7)) == list("abcdefg")
        assert lines(capsys) == ["reading scans 1/7 6 s", "reading scans 4/7 24 s, 18 s left", "reading scans 7/7 42 s"]

    def test_the_length_is_asked_for(self, clock, capsys):
        list(track(["a", "b"], "reading"))
        assert lines(capsys) == ["reading 1/2 0 s", "reading 2/2 0 s"]

    def test_an_unknown_length(self, clock, capsys):
        list(track(iter("ab"), "reading"))
        list(track(iter("a"), "writing"))
        assert lines(capsys) == ["reading 1 0 s", "reading 2 0 s", "writing 1 0 s"]

    def test_nothing_to_do_prints_nothing(self, clock, capsys):
        assert list(track([], "reading")) == []
        assert lines(capsys) == []

    def test_an_error_comes_through(self, clock, capsys):
        def broken():
            yield 1
            raise KeyError("scan")

        with pytest.raises(KeyError, match="scan"):
            list(track(broken(), "reading", 2))
        assert lines(capsys) == ["reading 1/2 0 s"]

    def test_a_resumed_run_goes_on_counting_and_shows_its_note(self, clock, capsys):
        with Reporter("training", total=10, done=7) as reporter:
            reporter.advance("loss [0.5]")
            clock.now += 20
            reporter.advance("loss [0.4]")
        assert lines(capsys) == ["training 8/10 0 s loss [0.5]", "training 9/10 20 s, 10 s left loss [0.4]"]

    def test_long_times_are_in_minutes_and_hours(self, clock, capsys):
        with Reporter("training", total=1000) as reporter:
            for _ in range(3):
                clock.now += 60
                reporter.advance()
        assert lines(capsys)[-1] == "training 3/1000 3 min, 16.6 h left"


class TestTerminal:
    def test_a_bar_is_drawn_to_the_end(self, terminal):
        assert list(track("abc", "reading")) == ["a", "b", "c"]
        assert terminal.getvalue().rindex("3/3") > terminal.getvalue().rindex("0/3")

    def test_a_resumed_bar_starts_where_it_stopped(self, terminal):
        with Reporter("training", total=10, done=7):
            pass
        assert "7/10" in terminal.getvalue()
        assert "0/10" not in terminal.getvalue()

    def test_the_bar_shows_notes_as_they_are(self, terminal):
        with Reporter("training", total=2) as reporter:
            reporter.advance("loss [red]0.5")
        assert "1/2" in terminal.getvalue()
        assert "loss [red]0.5" in terminal.getvalue()

    def test_an_error_gives_the_cursor_back(self, terminal):
        with pytest.raises(KeyError), Reporter("training", total=2):
            raise KeyError
        assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")


def test_what_is_said_is_shown_letter_by_letter(terminal):
    say("[red]case[/red] :smile: \x1b[2J\u202e $x$\nsecond")
    assert terminal.getvalue() == "[red]case[/red] :smile: \\x1b[2J\\u202e $x$\nsecond\n"
