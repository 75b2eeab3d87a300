"""What a run is of, and what the runs of a plan share; how runs are prepared is shown in test_command."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path

import numpy as np
import pytest

from segmend.bench import building, protocol
from segmend.bench.plan import Plan
from segmend.bench.preparation import Preparation
from segmend.methods import PLIL, Supervised
from segmend.networks import UNet, VNet
from segmend.noise import CubeMorphology, PolygonSimplification

CASES = ("case_1", "case_2", "case_3", "case_4")


@pytest.fixture
def runs(small, write_plan, make_folder, tmp_path):
    """Fingerprints of a plan's runs, by row and labels; parts of the plan may be changed."""
    data = make_folder(cases=("a", "b", "c"), test_cases=("t",))

    def make(**changes):
        content = {**small, **{part: small.get(part, {}) | more for part, more in changes.items()}}
        content["rows"]["PLIL"] = {"method": "PLIL", "labels": ["some noisy"], "batch": {"expert": 1, "noisy": 1}}
        units = Preparation(Plan.read(write_plan(content)), data, tmp_path / "out").units([])
        return {(unit.row, unit.labels): unit.what["fingerprint"] for unit in units}

    make.data = data
    return make


@pytest.mark.parametrize(
    "stated",
    [
        {"train": {"foreground": 0.33, "checkpoint_every": 250, "spacing": "auto"}},
        {"train": {"optimisation": {"optimiser": "adamw", "momentum": 0.9}, "augmentation": {"rotation": 15}}},
        {"train": {"network": {"name": "UNet", "width": 2, "stages": 2}}, "predict": {"overlap": 0.5, "flips": False}},
        {"evaluate": {"unit": "mm", "tolerance": 1}},
        {
            "labels": {
                "some noisy": {"recipe": "CubeMorphology", "expert": 2, "share": 1.0, "arguments": {"side_min": 3}}
            }
        },
    ],
)
def test_a_default_may_be_stated(runs, stated):
    assert runs(**stated) == runs()


@pytest.mark.parametrize(
    "stated",
    [
        {"train": {"foreground": 0.5}},
        {"train": {"augmentation": {"flips": True}}},
        {"train": {"network": {"name": "UNet", "width": 4, "stages": 2}}},
        {"predict": {"overlap": 0.25}},
        {"evaluate": {"unit": "voxel"}},
        {"seeds": [1]},
    ],
)
def test_another_argument_is_another_run(small, runs, stated):
    before = runs()
    if "seeds" in stated:
        small |= stated
        stated = {}
    assert not set(runs(**stated).values()) & set(before.values())


def test_a_changed_default_is_another_run_unless_the_plan_states_the_old_one(runs, monkeypatch):
    before = runs(train={"foreground": 0.0})
    train, signature = building.train, inspect.signature(building.train)

    @functools.wraps(train)
    def changed(**arguments):
        return train(**arguments)

    parameters = [
        each.replace(default=0.8) if each.name == "foreground" else each for each in signature.parameters.values()
    ]
    changed.__signature__ = signature.replace(parameters=parameters)
    monkeypatch.setattr(building, "train", changed)
    assert runs(train={"foreground": 0.0}) == before
    assert not set(runs().values()) & set(before.values())


@pytest.mark.parametrize(
    ("where", "attribute", "rows"),
    [
        (protocol, "ENGINE_VERSION", {("Mixed", "some noisy"), ("Mixed", "as given"), ("PLIL", "some noisy")}),
        (UNet, "protocol_version", {("Mixed", "some noisy"), ("Mixed", "as given"), ("PLIL", "some noisy")}),
        (CubeMorphology, "protocol_version", {("Mixed", "some noisy"), ("PLIL", "some noisy")}),
        (PLIL, "protocol_version", {("PLIL", "some noisy")}),
        (Supervised, "protocol_version", {("Mixed", "some noisy"), ("Mixed", "as given")}),
        (VNet, "protocol_version", set()),
        (PolygonSimplification, "protocol_version", set()),
        (protocol, "AUDIT_VERSION", set()),
    ],
)
def test_a_raised_version_makes_other_runs_of_all_that_depend_on_it(runs, where, attribute, rows, monkeypatch):
    before = runs()
    monkeypatch.setattr(where, attribute, 2)
    assert {name for name, fingerprint in runs().items() if fingerprint != before[name]} == rows


def test_other_data_are_other_runs(runs):
    before = runs()
    label = runs.data / "labelsTr" / "a.nii.gz"
    label.write_bytes((runs.data / "labelsTr" / "b.nii.gz").read_bytes())
    assert not set(runs().values()) & set(before.values())


def test_labels_are_made_anew_by_another_version_of_their_noise(small, write_plan, make_folder, tmp_path, monkeypatch):
    plan = Plan.read(write_plan(small))
    preparation = Preparation(plan, make_folder(cases=("a", "b", "c"), test_cases=("t",)), tmp_path / "out")

    def noisy():
        (unit,) = (unit for unit in preparation.units(["some noisy"]) if unit.labels == "some noisy")
        return unit.where["data"]

    before = noisy()
    assert noisy() == before
    monkeypatch.setattr(CubeMorphology, "protocol_version", 2)
    assert noisy() != before


def test_the_plan_is_carried_out_as_it_is_written(small, write_plan, make_folder, tmp_path):
    preparation = Preparation(Plan.read(write_plan(small)), make_folder(test_cases=("t",)), tmp_path / "out")
    unit = preparation.units([])[0]
    assert unit.given["train"] == {**small["train"], "any_labelled": 2}
    assert unit.what["train"]["foreground"] == 0.33  # the default
    unit.write()
    assert type(unit).load(unit.folder) == unit


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


def test_noisy_labels_of_another_version_are_made_anew(units, data, monkeypatch):
    before = units()
    monkeypatch.setattr(CubeMorphology, "protocol_version", 2)
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
