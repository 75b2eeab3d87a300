from __future__ import annotations

import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

import segmend
from segmend import COMMANDS, PACKAGES
from segmend.cli import app as cli
from segmend.cli import main
from segmend.commands import check as check_module
from segmend.core.errors import InputError


def explained(capsys, *words) -> str:
    """What a call for help prints."""
    with suppress(SystemExit):  # of the parser, which explains methods and networks
        assert main(words) == 0
    return capsys.readouterr().out


@pytest.fixture
def fake(monkeypatch):
    """Puts a function in the place of ``check``; gives the arguments that it was called with."""
    calls = []

    def install(effect=lambda: None):
        def check(*, data: Path, number: int = 3, loud: bool = False) -> None:
            """Checks.

            Args:
                data: the folder.
                number: of times.
                loud: say so.
            """
            calls.append((data, number, loud))
            effect()

        monkeypatch.setattr(check_module, "check", check)
        return calls

    return install


def fail(error):
    raise error


class TestOverview:
    @pytest.mark.parametrize(("words", "status"), [([], 2), (["-h"], 0), (["--help"], 0)])
    def test_names_every_command_with_a_sentence(self, capsys, words, status):
        assert main(words) == status
        printed = capsys.readouterr().out
        lines = [line.split(maxsplit=1) for line in printed.splitlines() if line.startswith("  ")]
        assert [name for name, _ in lines] == list(COMMANDS)
        assert all(sentence.endswith(".") for _, sentence in lines)
        assert printed.startswith("usage: segmend COMMAND")

    def test_version(self, capsys):
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"segmend {version('segmend')}\n"

    @pytest.mark.parametrize(("given", "meant"), [("trian", "train"), ("method", "methods"), ("Check", "check")])
    def test_a_misspelt_command(self, capsys, given, meant):
        assert main([given]) == 2
        assert capsys.readouterr().err == f"segmend: there is no command '{given}'; did you mean {meant}?\n"

    def test_commands_are_the_functions_of_the_package(self):
        functions = {name: segmend.command(name) for name in COMMANDS}
        assert {name: function.__module__ for name, function in functions.items()} == COMMANDS
        own = [segmend.function_name(name) for name in COMMANDS if name not in PACKAGES]
        assert all(getattr(segmend, name).__name__ == name for name in own)
        assert all(inspect.ismodule(getattr(segmend, name)) for name in PACKAGES)
        assert set(dir(segmend)) >= {*own, *PACKAGES, "Run", "__version__"}
        with pytest.raises(AttributeError, match="has no attribute 'trian'"):
            _ = segmend.trian

    def test_the_package_is_imported_without_torch(self):
        code = "import sys, segmend, segmend.cli.app; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_argument_is_explained(self, command, capsys):
        parser = cli._parser(command, cli._command(command))
        undocumented = [
            action.dest
            for action in parser._actions
            if action.option_strings and not (action.help or "").split("(type:")[0].strip(" %")
        ]
        assert undocumented == []
        printed = explained(capsys, command, "--help")
        for action in parser._actions:
            assert all(option.rstrip("+_") in printed for option in action.option_strings)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_the_example_can_be_typed(self, command, capsys):
        printed = explained(capsys, command, "--help")
        example = " ".join(printed.partition("example:")[2].split())
        program, name, *words = shlex.split(example)
        assert (program, name) == ("segmend", command)
        values = cli._parse(command, cli._command(command), words)
        given = {word.removeprefix("--").split(".")[0] for word in words if word.startswith("--")}
        assert given <= {name.removesuffix("_") for name in values}

    def test_of_a_method(self, capsys):
        printed = explained(capsys, "train", "--method.help", "PLIL")
        assert "--method.passes" in printed
        assert "weight of the stability loss" in printed

    def test_of_a_network(self, capsys):
        assert "--network.init_filters" in explained(capsys, "train", "--network.help", "SegResNet")

    def test_of_a_misspelt_method(self, capsys):
        assert main(["train", "--method.help", "PLLI"]) == 2
        assert "there is no 'PLLI'. Did you mean PLIL" in capsys.readouterr().err


class TestCall:
    def test_values_reach_the_function(self, fake):
        calls = fake()
        assert main(["check", "--data", "here", "--number", "5", "--loud"]) == 0
        assert main(["check", "--loud", "--data", "here"]) == 0
        assert main(["check", "--data=here", "--loud", "false"]) == 0
        assert calls == [(Path("here"), 5, True), (Path("here"), 3, True), (Path("here"), 3, False)]

    def test_a_file_of_arguments_yields_to_those_given(self, fake, tmp_path):
        calls = fake()
        (tmp_path / "a.yaml").write_text("data: there\nnumber: 7\n")
        for words in (["--config", str(tmp_path / "a.yaml")], [f"--config={tmp_path / 'a.yaml'}"]):
            assert main(["check", "--number", "8", *words]) == 0
            assert main(["check", *words, "--number", "8"]) == 0
        assert calls == [(Path("there"), 8, False)] * 4

    def test_the_arguments_of_the_process_are_the_default(self, fake, monkeypatch):
        calls = fake()
        monkeypatch.setattr(sys, "argv", ["segmend", "check", "--data", "here"])
        assert main() == 0
        assert calls == [(Path("here"), 3, False)]

    def test_a_module_call_gives_the_status(self):
        done = subprocess.run([sys.executable, "-m", "segmend", "nothing"], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("segmend: there is no command 'nothing'; ")


class TestErrors:
    def test_a_problem_in_what_was_given_is_one_line(self, fake, capsys):
        fake(lambda: fail(InputError("DATA/[red]a[/red].csv", "is empty" + " indeed" * 40, "fill it")))
        assert main(["check", "--data", "DATA"]) == 1
        printed = capsys.readouterr()
        assert printed.err == f"segmend: DATA/[red]a[/red].csv: is empty{' indeed' * 40}. Fill it.\n"
        assert printed.out == ""

    @pytest.mark.parametrize("words", [["--debug", "check", "--data", "d"], ["check", "--data", "d", "--debug"]])
    def test_debug_shows_where_it_comes_from(self, fake, words):
        fake(lambda: fail(InputError("DATA", "is empty", "fill it")))
        with pytest.raises(InputError, match=r"DATA: is empty\. Fill it\."):
            main(words)

    def test_ctrl_c(self, fake, capsys):
        fake(lambda: fail(KeyboardInterrupt()))
        assert main(["check", "--data", "d"]) == 130
        assert capsys.readouterr().err == "segmend: stopped by Ctrl+C; run the same command again to start again\n"

    def test_bugs_are_not_hidden(self, fake):
        fake(lambda: fail(ZeroDivisionError()))
        with pytest.raises(ZeroDivisionError):
            main(["check", "--data", "d"])

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "--data must be given. Add --data."),
            (["--dta", "d"], "there is no argument --dta. Did you mean --data"),
            (["--data", "d", "--num", "5"], "there is no argument --num. Did you mean --number"),
            (["--data", "d", "--number", "some"], "--number must be a whole number, got 'some'."),
            (["--data", "d", "--loud", "maybe"], "--loud must be true or false, got 'maybe'."),
            (["--data", "d", "--number", "1", "2"], "--number takes one value, got 2: '1 2'."),
            (["--data", "d", "e"], "--data takes one value, got 2: 'd e'."),
            (["--data"], "--data has no value. "),
            (["--config", "nowhere.yaml"], "nowhere.yaml"),
        ],
    )
    def test_misuse(self, fake, capsys, words, message):
        calls = fake()
        assert main(["check", *words]) == 2
        printed = capsys.readouterr().err
        assert message in printed
        assert printed.endswith("\nSee 'segmend check --help'.\n")
        assert not calls

    @pytest.mark.parametrize("error", [OSError(5, "Input/output error"), RuntimeError("out of memory\nat 0x7f")])
    def test_an_error_of_the_environment_is_one_line(self, fake, capsys, error):
        fake(lambda: fail(error))
        assert main(["check", "--data", "d"]) == 1
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert type(error).__name__ in printed
        assert "Add --debug to see its traceback." in printed
        with pytest.raises(type(error)):
            main(["check", "--data", "d", "--debug"])

    def test_an_error_within_a_library_is_one_line(self, fake, capsys):
        fake(lambda: json.loads("{"))
        assert main(["check", "--data", "d"]) == 1
        printed = capsys.readouterr().err
        assert printed.startswith("segmend: an error that was not foreseen: JSONDecodeError: Expecting property name")
        assert printed.count("\n") == 1

    def test_an_exception_that_a_library_made_of_a_signal_is_a_stop(self, fake, capsys):
        def swallowed():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            raise ImportError("numpy failed to import")

        fake(swallowed)
        assert main(["check", "--data", "d"]) == 143
        expected = "segmend: stopped by SIGTERM; run the same command again to start again\n"
        assert capsys.readouterr().err == expected

    def test_escape_codes_of_names_do_not_reach_the_terminal(self, fake, capsys):
        fake(lambda: fail(InputError("case\x1b]0;owned\x07\u202e", "is\x9b31m bad", "rename it")))
        assert main(["check", "--data", "d"]) == 1
        assert capsys.readouterr().err == "segmend: case\\x1b]0;owned\\x07\\u202e: is\\x9b31m bad. Rename it.\n"


class TestProcess:
    """What only a process of its own shows."""

    @pytest.fixture
    def start(self):
        def start(*words, **environment):
            program = "import sys; from segmend.cli import main; print('ready', flush=True); sys.exit(main())"
            process = subprocess.Popen(
                [sys.executable, "-c", program, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **environment},
            )
            assert process.stdout.readline() == b"ready\n"
            return process

        return start

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    @pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0])
    def test_a_signal_during_the_imports_is_one_line(self, start, number, status, seconds):
        process = start("train", "--data", "nowhere", "--out", "run")
        time.sleep(seconds)
        assert process.poll() is None
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert process.returncode == status
        assert out == b""
        cause = "Ctrl+C" if number == signal.SIGINT else "SIGTERM"
        assert err.decode() == f"segmend: stopped by {cause} before any work began\n"

    def test_a_reader_that_has_gone_is_no_error(self, start):
        process = start("methods", "--json")
        process.stdout.close()
        process.wait(120)
        assert process.stderr.read() == b""
        assert process.returncode == 141

    @pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
    def test_names_that_the_console_cannot_print_are_escaped(self, start, make_folder, encoding):
        root = make_folder(labels={"background": 0, "\u0142uk": 1})
        process = start("check", "--data", str(root), PYTHONIOENCODING=encoding)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert b"\\u0142uk" in out
