from __future__ import annotations

import os
import subprocess
import sys

import pytest
from refusals import raises

from segmend.bench.carry import pack, unpack


@pytest.fixture
def out(tmp_path):
    """One finished and one interrupted run."""
    random = os.urandom
    for run, done in (("first", True), ("second", False)):
        folder = tmp_path / "out" / "runs" / run
        for name in (
            "run/checkpoints/last.ckpt",
            "run/log.csv",
            "run/tensorboard/events",
            "predictions/a.nii",
            "scores.csv",
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(random(5000))
        if done:
            (folder / "result.json").write_text("{}")
    (tmp_path / "out" / "labels").mkdir()
    (tmp_path / "out" / "labels" / "big.nii").write_bytes(random(5000))
    return tmp_path / "out"


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_needed_comes_back_byte_by_byte(out, tmp_path):
    pieces = pack(out, tmp_path / "state", piece_bytes=4096)
    assert len(pieces) > 3
    assert all(piece.stat().st_size <= 4096 for piece in pieces)
    unpack(tmp_path / "state", tmp_path / "back")
    expected = {
        name: content
        for name, content in files(out).items()
        if name.startswith("runs/")
        and "tensorboard" not in name
        and not (name.startswith("runs/first") and ("checkpoints" in name or "predictions" in name))
    }
    assert files(tmp_path / "back") == expected
    assert "runs/second/run/checkpoints/last.ckpt" in expected


def test_a_damaged_or_missing_piece_is_named(out, tmp_path):
    first, second, *_ = pack(out, tmp_path / "state", piece_bytes=4096)
    first.write_bytes(b"x" + first.read_bytes()[1:])
    with raises("damaged", "piece_0000"):
        unpack(tmp_path / "state", tmp_path / "back")
    pack(out, tmp_path / "again", piece_bytes=4096)[1].unlink()
    with raises("damaged", "piece_0001"):
        unpack(tmp_path / "again", tmp_path / "back")
    assert second.exists()
    assert not (tmp_path / "back").exists()


def test_what_is_no_state_is_an_error(tmp_path):
    with raises("missing-file", match="no packed state"):
        unpack(tmp_path, tmp_path / "back")


def test_of_nothing_there_is_nothing(tmp_path):
    pack(tmp_path / "none", tmp_path / "state")
    unpack(tmp_path / "state", tmp_path / "back")
    assert not files(tmp_path / "back")


def test_is_a_program_too(out, tmp_path):
    for arguments in (["pack", out, tmp_path / "state"], ["unpack", tmp_path / "state", tmp_path / "back"]):
        subprocess.run([sys.executable, "-m", "segmend.bench.carry", *arguments], check=True)
    assert "runs/second/run/log.csv" in files(tmp_path / "back")
