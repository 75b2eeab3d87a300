from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

import pytest

from segmend.cli import app as cli
from segmend.data.augment import LEFT_ATRIUM_PROTOCOL, Augmentation
from segmend.demo.command_line import command_line
from segmend.engine.learner import Optimisation
from segmend.methods import PLIL, Supervised
from segmend.networks import VNet
from segmend.noise import CubeMorphology


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "segmend train"),
        ({"out": Path("my runs/a b"), "seed": 3}, "segmend train --out 'my runs/a b' --seed 3"),
        ({"patch": (48, 48, 32)}, "segmend train --patch 48 48 32"),
        ({"method": Supervised}, "segmend train --method Supervised"),
        (
            {"method": partial(PLIL, passes=4, voting=False)},
            "segmend train --method PLIL --method.passes 4 --method.voting false",
        ),
        ({"optimisation": Optimisation()}, "segmend train"),
        (
            {"optimisation": Optimisation(optimiser="sgd", clip=1.0), "augmentation": Augmentation(flips=False)},
            "segmend train --optimisation.optimiser sgd --optimisation.clip 1.0 --augmentation.flips false",
        ),
        ({"recipe": CubeMorphology()}, "segmend train --recipe CubeMorphology"),
        (
            {"recipe": CubeMorphology(side_max=9, side_min=3)},
            "segmend train --recipe CubeMorphology --recipe.side_max 9",
        ),
    ],
)
def test_lines(arguments, line):
    assert command_line("train", arguments) == line


def given(line: str) -> dict[str, object]:
    """What the command would be called with."""
    name, *rest = shlex.split(line)[1:]
    return cli._parse(name, cli._command(name), rest)


def test_the_shell_line_means_what_the_call_means():
    arguments = {
        "data": Path("my data"),
        "out": Path("run"),
        "method": partial(PLIL, passes=3, voting=False, threshold=0.5),
        "network": partial(VNet, width=2),
        "patch": (32, 32, 16),
        "spacing": "native",
        "foreground": 0.25,
        "compile": True,
        "augmentation": LEFT_ATRIUM_PROTOCOL,
        "optimisation": Optimisation(optimiser="sgd"),
    }
    parsed = given(command_line("train", arguments))
    same = ("data", "out", "spacing", "foreground", "compile", "augmentation", "optimisation")
    assert {name: parsed[name] for name in same} == {name: arguments[name] for name in same}
    assert tuple(parsed["patch"]) == arguments["patch"]
    network = parsed["network"](1, 2, 3)
    assert network.arguments["width"] == 2
    method = parsed["method"](network)
    assert isinstance(method, PLIL)
    assert (method.passes, method.threshold) == (3, 0.5)
    assert method.arguments["voting"] is False


def test_the_shell_line_builds_the_same_recipe():
    recipe = CubeMorphology(side_max=9, keep_objects=True)
    parsed = given(command_line("corrupt", {"data": Path("a"), "out": Path("b"), "recipe": recipe, "expert": 4}))
    assert isinstance(parsed["recipe"], CubeMorphology)
    assert parsed["recipe"].arguments == recipe.arguments
    assert parsed["expert"] == 4
