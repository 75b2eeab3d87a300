from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from segmend.bench import commit as module

ASK = "import sys; sys.path.insert(0, sys.argv[1]); from commit import commit; print(commit())"


@pytest.fixture
def here(tmp_path):
    """A folder that holds the module."""
    folder = tmp_path / "package"
    folder.mkdir()
    shutil.copy(module.__file__, folder / "commit.py")
    return folder


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def asked(folder: Path) -> str:
    command = [sys.executable, "-c", ASK, str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_is_named_with_a_plus_once_files_are_changed(here):
    git(here, "init", "--quiet")
    git(here, "add", "commit.py")
    git(here, "commit", "--quiet", "-m", "first")
    assert asked(here) == git(here, "rev-parse", "--short", "HEAD").strip()
    with (here / "commit.py").open("a") as file:
        file.write("# changed\n")
    assert asked(here) == git(here, "rev-parse", "--short", "HEAD").strip() + "+"


def test_is_empty_without_a_repository(here):
    assert asked(here) == ""


def test_is_empty_in_a_repository_of_others(here):
    git(here.parent, "init", "--quiet")
    (here.parent / "theirs").write_text("theirs")
    git(here.parent, "add", "theirs")
    git(here.parent, "commit", "--quiet", "-m", "theirs")
    assert asked(here) == ""


def test_is_empty_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert module.commit.__wrapped__() == ""
