"""What the command line shows of logs and warnings, and what a Python caller sees."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import pytest

from segmend.core import logs
from segmend.core.logs import shown
from segmend.core.progress import LOGGER, say, warn


@pytest.fixture(autouse=True)
def _of_a_python_caller(monkeypatch):
    monkeypatch.setattr(LOGGER, "handlers", [])
    monkeypatch.setattr(LOGGER, "level", logging.NOTSET)
    LOGGER.manager._clear_cache()


def test_blocks_within_each_other_show_everything_once(capsys):
    with shown(), shown():
        say("a remark")
    assert capsys.readouterr().err == "a remark\n"


def test_remarks_and_warnings_are_shown_on_stderr(capsys):
    with shown():
        say("three cases")
        warn("no GPU")
    assert capsys.readouterr() == ("", "three cases\nwarning: no GPU\n")


def test_names_are_shown_letter_by_letter(capsys):
    with shown():
        say("[red]case[/red] :smile: \x1b[2J\u202e $x$\nsecond")
    assert capsys.readouterr().err == "[red]case[/red] :smile: \\x1b[2J\\u202e $x$\nsecond\n"


def test_warnings_of_libraries_are_shown_once_each_in_a_line(capsys):
    with shown():
        for text in ("divide by\n zero", "divide by\n zero", "overflow"):
            warnings.warn(text, RuntimeWarning, stacklevel=1)
    expected = "warning: divide by zero (RuntimeWarning)\nwarning: overflow (RuntimeWarning)\n"
    assert capsys.readouterr().err == expected


def test_deprecations_which_are_for_developers_are_not_shown():
    program = "import warnings; from segmend.core.logs import shown\nwith shown():\n"
    for kind in ("DeprecationWarning", "UserWarning"):
        program += f" warnings.warn_explicit('old', {kind}, 'library.py', 1, module='library')\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "warning: old (UserWarning)\n"


def test_harmless_warnings_are_shown_only_where_all_are_wanted(capsys, monkeypatch):
    monkeypatch.setattr(logs, "HARMLESS", (("known .*", UserWarning, "why"),))
    for every in (False, True):
        with shown(every_warning=every):
            warnings.warn("known and harmless", UserWarning, stacklevel=1)
            warnings.warn("another", UserWarning, stacklevel=1)
    shown_lines = capsys.readouterr().err.splitlines()
    assert shown_lines == [f"warning: {each} (UserWarning)" for each in ("another", "known and harmless", "another")]


def test_each_entry_of_the_harmless_ones_has_a_reason():
    assert all(reason for _, _, reason in logs.HARMLESS)


def test_everything_is_put_back():
    before = (list(LOGGER.handlers), LOGGER.level, warnings.formatwarning, warnings.showwarning, list(warnings.filters))
    with pytest.raises(KeyError), shown():
        raise KeyError
    after = (list(LOGGER.handlers), LOGGER.level, warnings.formatwarning, warnings.showwarning, list(warnings.filters))
    assert before == after


def test_a_python_caller_sees_warnings_only():
    program = "from segmend.core.progress import say, warn; say('a remark'); warn('a warning')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "a warning\n")


def test_a_python_caller_may_have_the_remarks_too():
    program = "import logging; logging.basicConfig(level='INFO', format='%(name)s: %(message)s')\n"
    program += "from segmend.core.progress import say; say('a remark')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "segmend: a remark\n"


def test_a_program_that_shows_logs_itself_gets_them_once(caplog, capsys):
    with caplog.at_level(logging.INFO, "segmend"), shown():
        say("a remark")
    assert [record.getMessage() for record in caplog.records] == ["a remark"]
    assert capsys.readouterr().err == "a remark\n"
