"""Every command and call of the README and the how-to can be pasted."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from pathlib import Path

import pytest

import segmend
from segmend.bench.plan import Plan
from segmend.cli import app

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/how_to.md")


def commands(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [
        line.partition("  #")[0]
        for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    return [line.strip() for line in [*lines, *re.findall(r"`(segmend [^`]+)`", text)] if line.strip()]


def options(page: str) -> list[str]:
    """Options that the first table adds to 'segmend train'; sections are of other commands."""
    text = (ROOT / page).read_text(encoding="utf-8").split("\n## ")[0]
    return [
        found for found in re.findall(r"`(--[^`]+ [^`]+)`", text) if "MODULE" not in found and "my_module" not in found
    ]


@pytest.mark.parametrize(
    "line", [line for page in PAGES for line in commands(page) if line.startswith("segmend") and "..." not in line]
)
def test_whole_commands_are_parsed(line):
    _, name, *words = shlex.split(line)
    if words:  # without, a command is only named
        values = app._parse(name, app._command(name), words)
        assert set(values) <= set(inspect.signature(segmend.command(name)).parameters)


@pytest.mark.parametrize("text", options("docs/how_to.md"))
def test_options_of_training_are_parsed(text):
    words = [word for word in shlex.split(text) if word]
    if "RUN/config.yaml" in words:
        words = words[2:]
    app._parse("train", app._command("train"), ["--data", "DATA", "--out", "RUN", *words])


def test_plans_that_are_named_exist():
    for page in PAGES:
        for name in re.findall(r"--plan (\w+)", (ROOT / page).read_text(encoding="utf-8")):
            assert Plan.read(name).rows


def test_make_targets_exist():
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = [line.split()[1] for line in commands("README.md") if line.startswith("make ")]
    assert named
    assert set(named) <= set(targets)


def test_calls_from_python_have_these_arguments():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    calls = 0
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                inspect.signature(segmend.command(node.func.id)).bind(**{each.arg: None for each in node.keywords})
                calls += 1
    assert calls >= 5
