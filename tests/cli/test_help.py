from __future__ import annotations

import subprocess
import sys

import pytest

from segmend import COMMANDS
from segmend.cli.help import explanation, overview
from segmend.methods import all_methods
from segmend.networks import all_networks
from segmend.noise import all_recipes


def test_the_overview_has_a_sentence_of_each_command():
    lines = overview(COMMANDS).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(COMMANDS)


def test_options_have_types_meanings_and_defaults():
    text = explanation("train", COMMANDS["train"])
    assert "--data PATH" in text.partition("options:")[0]
    assert "--patch N [N ...]" in text
    assert "--spacing X [X ...]|native|auto" in text
    assert "--precision auto|32|bf16" in text
    assert "--compile true|false" in text
    assert "(default: 8000)" in text
    assert "--optimisation.optimiser sgd|adamw" in text
    assert "(default: adamw)" in text


def test_a_default_that_has_a_name_is_shown_as_its_value():
    assert "how labels go wrong. (default: CubeMorphology)" in explanation("corrupt", COMMANDS["corrupt"])


def names_in(text: str, title: str) -> list[str]:
    return text.partition(title)[2].partition("\n\n")[0].split("\n", 1)[1].split()


def test_all_methods_networks_and_recipes_are_named():
    text = explanation("train", COMMANDS["train"])
    assert names_in(text, "methods (--method.help") == sorted(all_methods())
    assert names_in(text, "networks (--network.help") == sorted(all_networks())
    assert names_in(explanation("corrupt", COMMANDS["corrupt"]), "recipes (--recipe.help") == sorted(all_recipes())


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["audit", "-h"]])
def test_help_needs_no_torch(words):
    code = f"import sys; from segmend.cli import main; main({words!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0
