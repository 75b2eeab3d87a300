from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzz_oracle as oracle
from fuzz import _judged, fuzz, seeds, summary
from fuzz_bases import SHAPES, Base, write
from fuzz_damage import Damage
from fuzz_mutations import MUTATIONS


def test_some_broken_folders(tmp_path):
    """A share of ``make fuzz``: a folder or two of each kind of damage, and one command on each."""
    outcomes = list(fuzz(tmp_path, seeds(len(MUTATIONS), 0), endings=[".nii.gz"], commands=1))
    assert len({outcome.number for outcome in outcomes}) == len(MUTATIONS)
    assert not [outcome for outcome in outcomes if outcome.fault], summary(outcomes)


@pytest.fixture
def base(tmp_path):
    return Base(tmp_path, ".nii.gz")


class TestVerdict:
    @pytest.mark.parametrize(
        ("status", "said", "report", "verdict"),
        [
            (0, "all is well", False, ""),
            (0, "all is well", True, "silent"),
            (0, "ben has an odd header", True, ""),
            (1, "segmend: {root}/ben.png: is damaged. Copy it again.", True, ""),
            (1, "segmend: it does not work. Try again.", True, "no message that names a file"),
            (1, "segmend: {root}/a: b. C.\nsegmend: {root}/d: e. F.", True, "no message that names a file"),
            (-1, "Traceback (most recent call last)\nKeyError: 'a'", True, "traceback: KeyError: 'a'"),
            (0, "ben \x1b[2J", True, "prints '\\x1b'"),
            (9, "", True, "exit status 9"),
        ],
    )
    def test_of_an_answer(self, base, status, said, report, verdict):
        damage = Damage("scan bytes", "", ("check",), report, ("ben",))
        assert _judged(damage, "check", base, status, said.format(root=base.root)).startswith(verdict)
        assert bool(_judged(damage, "check", base, status, said.format(root=base.root))) == bool(verdict)

    def test_of_a_command_that_does_not_read_what_is_damaged(self):
        damage = Damage("scan bytes", "", ("check",), report=True, file="labelsTr/ben.png")
        assert [damage.must_be_reported_by(name) for name in ("check", "predict", "evaluate")] == [True, False, True]


class TestOracle:
    @pytest.mark.parametrize("ending", SHAPES)
    def test_knows_valid_scans(self, tmp_path, ending):
        array = np.zeros(SHAPES[ending], np.uint8)
        for name in "ab":
            write(tmp_path / f"{name}{ending}", array)
        a, b = (tmp_path / f"{name}{ending}" for name in "ab")
        assert oracle.scan(a) is not None
        assert not oracle.scan_must_be_reported(a, shutil.copy(a, tmp_path / f"c{ending}"), b, label=True)
        b.write_bytes(a.read_bytes()[:-9])
        assert oracle.scan_must_be_reported(a, b, a, label=True)
        write(b, array + 7)
        assert oracle.scan_must_be_reported(a, b, a, label=True)
        assert not oracle.scan_must_be_reported(a, b, a, label=False)
        write(b, array[:-1])
        assert oracle.scan_must_be_reported(a, b, a, label=False)

    @pytest.mark.parametrize(
        ("text", "report"),
        [
            ("case,quality\nben,noisy\n", False),
            ("case,quality\nben,bad\n", True),
            ("case,quality\neva,noisy\n", True),
            ("case,quality\nben,noisy\nben,noisy\n", True),
            ("case;quality\nben;Noisy\n", False),
            ("case,,quality\nben,,noisy\n", False),
            ("case,,quality\nben,x,noisy\n", True),
            ("case,age\nben,7\n", True),
            ("case\nben,7\n", True),
        ],
    )
    def test_knows_valid_tables(self, tmp_path, text, report):
        (tmp_path / "cases.csv").write_text(text)
        assert oracle.table_must_be_reported(tmp_path / "cases.csv", ["ben"]) == report


def test_a_folder_is_broken_in_the_same_way_each_time(tmp_path):
    seen = []
    for name in "ab":
        base, scan = Base(tmp_path / name, ".nii.gz"), np.ones(SHAPES[".nii.gz"], np.uint8)
        for case in ("anna", "ben", "carl", "dora"):
            write(base.image(case), scan)
            write(base.label(case), scan)
        seen.append(MUTATIONS[0](base, random.Random(7)))
    assert seen[0] == seen[1]
