"""Errors of the library as the command line prints them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from segmend.cli import main
from segmend.cli.flags import in_flags
from segmend.core.errors import InputError


@dataclass
class Settings:
    strength: float = 1.0
    seed: int = 0


@dataclass
class Others:
    seed: int = 0
    clip: float = 1.0


def command(
    *,
    out: Path,
    network: str | None = None,
    patch: list[int] | None = None,
    unit: Literal["mm", "voxel"] = "mm",
    settings: Settings = Settings(),  # noqa: B008 - read by its signature only
    others: Others = Others(),  # noqa: B008
) -> None: ...


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("patch", "--patch"),
        ("settings.strength", "--settings.strength"),
        ("strength", "--settings.strength"),  # the command holds it in a group
        ("seed", "seed"),  # two groups have one of this name
        ("network.width", "--network.width"),
        ("method.width", "method.width"),  # the command has no method
        ("patch, unit", "--patch, --unit"),
        ("patch, other", "patch, other"),
        (Path("out"), "out"),  # a file may be called as an argument is
        ("cases.csv line 3", "cases.csv line 3"),
    ],
)
def test_the_place(where, shown):
    assert in_flags(InputError(where, "is wrong", "correct it"), command) == f"{shown}: is wrong. Correct it."


@pytest.mark.parametrize(
    ("remedy", "shown"),
    [
        ("choose another `out`", "Choose another --out."),
        ("the nearest that fits is `patch 32 32 16`", "The nearest that fits is --patch 32 32 16."),
        ("lower `others.clip` or `clip`", "Lower --others.clip or --others.clip."),
        ("take `network UNet`", "Take --network UNet."),
        ("name one, or `import mine` if you trust it", "Name one, or --import mine if you trust it."),
        ("set `iterations`", "Set `iterations`."),  # of another command
        ("run `segmend check`", "Run `segmend check`."),
    ],
)
def test_the_remedy(remedy, shown):
    assert in_flags(InputError("x", "is wrong", remedy), command) == f"x: is wrong. {shown}"


def test_the_details_are_kept():
    error = InputError("out", "has problems", "repair them", ["a: `out`", "b"])
    assert in_flags(error, command) == "--out: has problems. Repair them.\n  a: `out`\n  b"


def test_a_python_caller_reads_the_name_and_the_shell_the_flag(tmp_path, capsys, make_folder):
    import segmend

    given = {"data": make_folder(), "out": tmp_path / "run", "devices": 0}
    with pytest.raises(InputError, match=r"^devices: is 0") as error:
        segmend.train(**given)
    assert (error.value.where, error.value.code) == ("devices", "invalid-value")
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    assert main(["train", *words]) == 1
    assert "segmend: --devices: is 0. Give 1 or more." in capsys.readouterr().err


def test_what_a_group_of_settings_refuses_is_printed_in_its_own_words(tmp_path, capsys, make_folder):
    words = ["--data", str(make_folder()), "--out", str(tmp_path / "run"), "--optimisation.clip", "-1"]
    assert main(["train", *words]) == 2
    assert "segmend: --optimisation.clip: -1.0 is not usable. Give a number above 0." in capsys.readouterr().err
