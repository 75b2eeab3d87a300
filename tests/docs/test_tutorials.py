"""Every block of the tutorials runs, in the order of the page."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from segmend.cli import app

FOLDER = Path(__file__).parents[2] / "docs/tutorials"
PAGES = sorted(FOLDER.glob("*.md"), key=lambda path: path.stem)


def blocks(page: Path, language: str = "python") -> list[str]:
    """The blocks of code of a page; one that has the name of a file as its title becomes code that writes the file."""
    pattern = re.compile(r'^```(\w*)(?: title="(.*?)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)
    return [
        f"from pathlib import Path\nPath({title!r}).write_text({block!r})\n" if title else block
        for name, title, block in pattern.findall(page.read_text(encoding="utf-8"))
        if name == language
    ]


def run(code: str, folder: Path) -> str:
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def shortened(code: str) -> str:
    """The same with short trainings on fewer and smaller scans, by narrower networks."""
    steps = re.sub(r'(iterations"?[=:] ?)\d+', r"\g<1>10", code)
    scans = re.sub(r"train=\d+", "train=6", steps).replace("48, 48, 32", "32, 32, 32")
    return re.sub(r"width=\d", "width=2", scans)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_run_one_after_another(page, tmp_path):
    code = "\n".join(blocks(page))
    assert "iterations" in code
    run(shortened(code), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_run_as_they_are_written(page, tmp_path):
    run("\n".join(blocks(page)), tmp_path)


@pytest.mark.slow
def test_audit_finds_the_corrupted_labels(tmp_path):
    ranking = 'print("FOUND", issues["case"].head(6).isin(truth["case"]).sum())'
    page = FOLDER / "audit.md"
    assert "FOUND 6" in run("\n".join([*blocks(page)[:2], ranking]), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_command_lines_are_parsed(page):
    commands = [shlex.split(line) for block in blocks(page, "") for line in block.splitlines()]
    assert commands
    for _, name, *words in commands:
        if "trimmed.Trimmed" not in words:  # the reader's own class
            assert app._parse(name, app._command(name), words)
