from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pytest

from segmend import COMMANDS, function_name
from segmend.cli import main
from segmend.cli.arguments import normalised
from segmend.cli.errors import check_entry, check_names, check_words
from segmend.cli.parameters import CHOOSING, kinds_of
from segmend.core.errors import InputError


@dataclass
class Settings:
    strength: float = 1.0


def command(
    *,
    data: Path,
    method: str | None = None,
    network: str | None = None,
    # A frozen default, as commands have it: what is tested reads the signature.
    settings: Settings = Settings(),  # noqa: B008
    seed: int = 0,
    patch: Sequence[int] | None = None,
    spacing: Sequence[float] | Literal["native", "auto"] = "auto",
    unit: Literal["mm", "voxel"] = "mm",
    loud: bool = False,
) -> None: ...


def complaint(*words: str) -> str:
    with pytest.raises(InputError) as error:
        check_words(normalised(words, command), command)
    return str(error.value)


class TestCheckNames:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--method", "PLILL"], r"--method: there is no 'PLILL'\. Did you mean PLIL"),
            (["--seed", "1", "--network", "VNt"], r"--network: there is no 'VNt'\. Did you mean VNet"),
            (["--recipe", "CubeMorpholgy"], r"--recipe: there is no 'CubeMorpholgy'\. Did you mean CubeMorphology"),
            (["--method.help", "PLLI"], r"--method\.help: there is no 'PLLI'"),
        ],
    )
    def test_misspelt(self, words, message):
        with pytest.raises(InputError, match=message):
            check_names(words, command)

    @pytest.mark.parametrize(
        "words",
        [
            ["--method", "PLIL"],
            ["--method", "package.Mine"],
            ["--network", "{class_path: VNet}"],
            ["--method"],
            ["--out", "PLLI"],
        ],
    )
    def test_the_rest_is_left_to_jsonargparse(self, words):
        check_names(words, command)


class TestCheckWords:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ("", "--data must be given. Add --data."),
            ("here", "'here' stands where an argument is expected. Write --ARGUMENT before it."),
            ("--data", "--data has no value. Write for example --data FILE."),
            ("--data a b", "--data takes one value, got 2: 'a b'. Put a value that holds spaces into quotes."),
            ("--data=", "--data must be a file or folder, got ''. Write for example --data FILE."),
            ("--data d --sed 1", "there is no argument --sed. Did you mean --seed"),
            ("--data d --seed some", "--seed must be a whole number, got 'some'. Write for example --seed 1."),
            ("--data d --seed 1.5", "--seed must be a whole number, got '1.5'. Write for example --seed 1."),
            ("--data d --seed 1e30", "--seed must be a whole number, got '1e30'. Write for example --seed 1."),
            ("--data d --loud maybe", "--loud must be true or false, got 'maybe'. Write for example --loud true."),
            ("--data d --unit cm", "--unit must be mm or voxel, got 'cm'. Choose from mm, voxel."),
            (
                "--data d --patch coarse",
                "--patch must be whole numbers, got 'coarse'. Write for example --patch 16 16 16.",
            ),
            ("--data d --patch 16,,16", "--patch must be whole numbers, got '16,,16'."),
            ("--data d --patch 16 16 x", "--patch must be whole numbers, got '16 16 x'."),
            ("--data d --spacing 1 nan", "--spacing must be native, auto or numbers, got '1 nan'."),
            (
                "--data d --settings.strenth 1",
                "there is no argument --settings.strenth. Did you mean --settings.strength",
            ),
            (
                "--data d --settings strong",
                "--settings is a group of arguments and takes no value. Give --settings.strength.",
            ),
            ("--data d --method PLIL --method.pases 1", "PLIL has no argument 'pases'. Did you mean passes?"),
            ("--data d --method PLIL --method.passes x", "--method.passes must be a whole number, got 'x'."),
            ("--data d --method.passes 3", "--method.passes: is an argument of a method, but none is named."),
            ("--data d --network UNETR", "UNETR needs --network.img_size."),
        ],
    )
    def test_says_what_is_expected_and_what_was_given(self, words, message):
        assert message in complaint(*words.split())

    def test_repeats_the_beginning_of_a_long_value(self):
        assert f"got '{'9' * 80}...'" in complaint("--data", "d", "--seed", "9" * 5000)

    @pytest.mark.parametrize(
        "words",
        [
            "--data d",
            "--data d --patch 16x16x16 --spacing native --loud",
            "--help --nonsense",
            "--data d --method package.Mine --method.anything 1",
            "--data d --settings.strength 1",
        ],
    )
    def test_is_silent_otherwise(self, words):
        check_words(normalised(words.split(), command), command)


class TestEntriesOfFiles:
    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("seed", "some", "seed must be a whole number, got 'some'. Correct this entry."),
            ("patch", [16, 16, "x"], "patch must be whole numbers, got '[16, 16, x]'"),
            ("settings", {"strength": "much"}, "settings.strength must be a number, got 'much'"),
            ("settings", {"strenth": 1}, "settings has no argument 'strenth'. Did you mean strength?"),
            ("loud", 3, "loud must be true or false, got '3'"),
        ],
    )
    def test_name_the_file_and_what_does_not_fit(self, name, value, message):
        with pytest.raises(InputError, match=f"^a.yaml line 2: {re.escape(message)}"):
            check_entry("a.yaml line 2", name, value, command)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("seed", 1), ("patch", [16, 16]), ("patch", None), ("spacing", "native"), ("method", None), ("loud", True)],
    )
    def test_that_fit_pass(self, name, value):
        check_entry("a.yaml", name, value, command)

    def test_a_file_has_one_name(self):
        assert "--config must have one value, got 0" in complaint("--config")


def _arguments() -> list[tuple[str, str]]:
    return [
        (name, option)
        for name, module in COMMANDS.items()
        for option in kinds_of(getattr(importlib.import_module(module), function_name(name)))
    ]


NONSENSE = "@nonsense [x"


@pytest.mark.parametrize(("name", "option"), [both for both in _arguments() if both != ("demo", "--out")])
def test_every_argument_of_every_command_explains_itself(name, option, tmp_path, monkeypatch, capsys):
    """A value that fits nothing: the message names the argument, what is expected and what was given."""
    monkeypatch.chdir(tmp_path)
    function = getattr(importlib.import_module(COMMANDS[name]), function_name(name))
    needed = [p.name.removesuffix("_") for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    given = [word for other in needed if f"--{other}" != option for word in (f"--{other}", "nowhere")]
    assert main([name, *given, option, NONSENSE]) in (1, 2)
    printed = capsys.readouterr().err
    assert printed.startswith("segmend: ")
    for raw in ("Parser key", "<class", "Traceback", "Give .", "typing.", "Expected", "\n\n"):
        assert raw not in printed
    message = printed.splitlines()[0]
    assert message.endswith((".", "?"))
    said = [NONSENSE in message, "takes no value" in message, "nowhere" in message, "would be" in message]
    assert any(said), message
    if NONSENSE in message and option.removeprefix("--") not in CHOOSING:
        assert option.split(".")[0] in message or f"{NONSENSE}" in message


@pytest.mark.parametrize(("name", "option"), _arguments())
def test_every_argument_asks_for_its_value(name, option, capsys):
    function = getattr(importlib.import_module(COMMANDS[name]), function_name(name))
    kind = kinds_of(function)[option]
    if kind is bool or bool in get_args(kind):
        pytest.skip("a switch needs no value")
    assert main([name, option]) == 2
    assert f"{option} has no value. " in capsys.readouterr().err
