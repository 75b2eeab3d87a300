"""What the runs of a plan share is that of the data, the plan and the code as they are now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmend.bench import preparation as module
from segmend.bench.plan import Plan
from segmend.bench.preparation import Preparation

CASES = ("case_1", "case_2", "case_3", "case_4")


@pytest.fixture
def data(make_folder):
    return make_folder(cases=CASES, test_cases=("test_1", "test_2"))


@pytest.fixture
def units(small, write_plan, data, tmp_path):
    """Names the folders of all units, and the data folder of each."""
    plan = write_plan(small)

    def call():
        found = Preparation(Plan.read(plan), data, tmp_path / "out").units()
        return {unit.folder.name: Path(str(unit.where["data"])) for unit in found}

    return call


def test_the_same_data_have_the_same_units(units):
    assert units() == units()


@pytest.mark.parametrize("folder", ["labelsTr", "imagesTr", "labelsTs"])
def test_changes_behind_a_link_to_a_folder_are_noticed(units, data, tmp_path, write_scan, folder):
    (data / folder).rename(tmp_path / "elsewhere")
    (data / folder).symlink_to(tmp_path / "elsewhere")
    before = units()
    file = sorted((tmp_path / "elsewhere").iterdir())[0]
    write_scan(file, np.random.default_rng(1).integers(0, 2, (20, 18, 16)).astype(np.uint8), np.diag([1, 1, 1.5, 1]))
    assert not before.keys() & units().keys()


def test_a_link_to_a_folder_above_is_not_followed(units, data):
    before = units()
    (data / "loop").symlink_to(data.parent)
    assert units() == before


def test_a_link_to_a_folder_is_known_by_what_it_holds(units, data, tmp_path):
    before = units()
    (data / "imagesTr").rename(tmp_path / "elsewhere")
    (data / "imagesTr").symlink_to(tmp_path / "elsewhere")
    assert units() == before


def test_noisy_labels_of_other_code_are_made_anew(units, data, monkeypatch):
    before = units()
    monkeypatch.setattr(module, "code_of", lambda *chosen, audited=False: "other")
    after = units()
    made = {folder for folder in before.values() if folder != data}
    assert made
    assert not made & set(after.values())
    assert data in after.values()


def test_an_edit_in_place_does_not_reach_the_references_of_earlier_runs(units, data, tmp_path):
    units()
    references = sorted((tmp_path / "out" / "test").glob("*/labelsTs/test_1.nii.gz"))[0]
    before = references.read_bytes()
    with (data / "labelsTs" / "test_1.nii.gz").open("r+b") as file:
        file.write(b"edited")
    assert references.read_bytes() == before
