from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from refusals import raises

from segmend.commands import corrupt as module
from segmend.commands.corrupt import corrupt
from segmend.core.case import Quality, Split
from segmend.core.errors import Code
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, read_label
from segmend.noise import ClassSwap, CubeMorphology, Decision, InPlaneRotation, MissingLabel, RadiusMorphology

NAMES = ("a", "b", "c", "d", "e", "f", "g")
TABLE = "case,split,quality,domain,annotator\nb,train,expert,,\nc,val,,centre 2,\ne,train,none,,\n"
"""So that a, d, f are noisy; g has no label."""

Make = Callable[..., Path]
Contents = Callable[[Path], dict[str, Any]]


@pytest.fixture
def data(make_folder: Make) -> Path:
    affine = np.array([[0, -0.8, 0, 5.0], [1.1, 0, 0, -7.0], [0, 0, 2.5, 3.0], [0, 0, 0, 1]])
    return make_folder(
        cases=NAMES,
        test_cases=("t",),
        unlabelled=("g",),
        labels={"background": 0, "wall": 2, "cavity": 7, "ignore": 9},
        table=TABLE,
        raters=("ann",),
        affine=affine,
    )


def label(root: Path, case: str, folder: str = "labelsTr") -> np.ndarray:
    return read_label(root / folder / f"{case}.nii.gz")[0]


def names(folder: Path) -> set[str]:
    return {path.name.removesuffix(".nii.gz") for path in folder.iterdir()}


def test_only_noisy_training_labels_change_and_the_true_ones_are_kept(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "noisy"
    table = corrupt(data=data, out=out)
    assert names(out / "labelsTr_clean") == set(table["case"]) == {"a", "d", "f"}
    for case in "adf":
        assert not np.array_equal(label(out, case), label(data, case))
        kept = (out / "labelsTr_clean" / f"{case}.nii.gz").read_bytes()
        assert kept == (data / "labelsTr" / f"{case}.nii.gz").read_bytes()
    for path in [
        "labelsTr/b",
        "labelsTr/c",
        "labelsTr/e",
        "labelsTs/t",
        *(f"labelsTr_ann/{case}" for case in "abcdef"),
    ]:
        assert (out / f"{path}.nii.gz").read_bytes() == (data / f"{path}.nii.gz").read_bytes()


def test_nothing_that_was_given_changes(data: Path, tmp_path: Path, contents: Contents) -> None:
    before = contents(data)
    corrupt(data=data, out=tmp_path / "noisy", expert=1)
    assert contents(data) == before


def test_the_copy_is_a_data_folder_that_says_what_is_expert(data: Path, tmp_path: Path) -> None:
    corrupt(data=data, out=tmp_path / "noisy", expert=1)
    given, copy = DataFolder.open(data), DataFolder.open(tmp_path / "noisy")
    assert {case.name for case in copy.select(Split.TRAIN, Quality.EXPERT)} == {"a", "b"}
    assert {case.name for case in copy.select(Split.TRAIN, Quality.NOISY)} == {"d", "f"}
    assert {case.name for case in copy.select(Split.TRAIN, Quality.NONE)} == {"e", "g"}
    assert [(c.name, c.split, c.domain) for c in copy.cases] == [(c.name, c.split, c.domain) for c in given.cases]
    assert (copy.labels, copy.ignore, copy.channel_names) == (given.labels, given.ignore, given.channel_names)


def test_noisy_labels_lie_on_the_scan_and_hold_the_data_sets_values(data: Path, tmp_path: Path) -> None:
    path = data / "labelsTr" / "a.nii.gz"
    file = nibabel.load(path)
    values = np.asarray(file.dataobj).copy()
    values[:3], values[3, 0, 0] = 9, 42  # ignored voxels, and a value that dataset.json does not know
    nibabel.save(nibabel.Nifti1Image(values, file.affine), path)
    corrupt(data=data, out=tmp_path / "noisy", recipe=CubeMorphology(side_min=7, dilate_probability=1.0))
    noisy, grid = read_label(tmp_path / "noisy" / "labelsTr" / "a.nii.gz")
    assert grid.matches(read_grid(path))
    assert set(np.unique(noisy)) == {0, 2, 7, 9, 42}
    np.testing.assert_array_equal(noisy == 9, values == 9)
    np.testing.assert_array_equal(noisy == 42, values == 42)


def test_the_table_tells_enough_to_repeat_the_noise(data: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "noisy", RadiusMorphology(radius_max=3)
    table = corrupt(data=data, out=out, recipe=recipe, seed=5)
    pd.testing.assert_frame_equal(pd.read_csv(out / "corruption.csv"), table)
    assert list(table.columns) == ["case", "label", "operation", "parameters", "strength", "dice", "emptied"]
    folder = DataFolder.open(data)
    for case, rows in table.groupby("case"):
        assert rows["label"].tolist() == ["wall", "cavity"]
        decisions = {
            index: Decision(row.operation, json.loads(row.parameters), row.strength)
            for index, row in enumerate(rows.itertuples(), start=1)
        }
        true = folder.to_indices(label(data, case))
        noisy = recipe.apply(true, read_grid(data / "labelsTr" / f"{case}.nii.gz").spacing, decisions)
        np.testing.assert_array_equal(folder.to_values(noisy), label(out, case))
        for index, row in enumerate(rows.itertuples(), start=1):
            both = np.count_nonzero((true == index) & (noisy == index))
            assert row.dice == pytest.approx(2 * both / (np.sum(true == index) + np.sum(noisy == index)))
    made = json.loads((out / "dataset.json").read_text())["corruption"]
    arguments = {"radius_min": 1.0, "radius_max": 3, "dilate_probability": 0.5, "keep_objects": True}
    assert made == {
        "recipe": "RadiusMorphology",
        "arguments": arguments,
        "share": 1.0,
        "dice": None,
        "strength": 1.0,
        "seed": 5,
    }


def test_emptied_objects_are_marked(data: Path, tmp_path: Path) -> None:
    table = corrupt(data=data, out=tmp_path / "noisy", recipe=MissingLabel(probability=1.0))
    assert table["emptied"].all()
    assert (table["dice"] == 0).all()
    assert set(np.unique(label(tmp_path / "noisy", "a"))) == {0, 9}  # 9 is ignored


def test_the_noise_of_a_case_depends_on_its_name_and_the_seed_alone(make_folder: Make, tmp_path: Path) -> None:
    some, more = make_folder("some", cases=("m", "n")), make_folder("more", cases=("m", "n", "o", "p"))
    first = corrupt(data=some, out=tmp_path / "1")
    among_others = corrupt(data=more, out=tmp_path / "2")
    other_seed = corrupt(data=some, out=tmp_path / "3", seed=1)
    pd.testing.assert_frame_equal(first, among_others.head(2))
    assert (tmp_path / "1/labelsTr/n.nii.gz").read_bytes() == (tmp_path / "2/labelsTr/n.nii.gz").read_bytes()
    assert first["parameters"].tolist() != other_seed["parameters"].tolist()
    assert first["parameters"].nunique() == 2


def test_a_file_names_the_experts(data: Path, tmp_path: Path) -> None:
    listed = tmp_path / "experts.txt"
    listed.write_text("f\n\n  d \n")
    assert set(corrupt(data=data, out=tmp_path / "noisy", expert=listed)["case"]) == {"a"}


def test_a_share_of_the_cases_is_corrupted_and_a_larger_one_holds_it(make_folder: Make, tmp_path: Path) -> None:
    data = make_folder(cases=[f"case_{i}" for i in range(8)], shape=(12, 12))
    chosen = [set(corrupt(data=data, out=tmp_path / str(s), share=s)["case"]) for s in (0.25, 0.5, 0.75)]
    assert [len(cases) for cases in chosen] == [2, 4, 6]
    assert chosen[0] < chosen[1] < chosen[2]
    assert chosen[0] != {"case_0", "case_1"}
    folder = DataFolder.open(tmp_path / "0.25")
    assert len(folder.select(Split.TRAIN, Quality.NOISY)) == 8
    untouched = {case.name for case in folder.cases} - chosen[0]
    for case in untouched:
        np.testing.assert_array_equal(label(tmp_path / "0.25", case), label(data, case))


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".png"])
def test_other_formats_and_2d(make_folder: Make, tmp_path: Path, ending: str) -> None:
    shape = (24, 20) if ending == ".png" else (20, 18, 9)
    data = make_folder(ending=ending, shape=shape)
    corrupt(data=data, out=tmp_path / "noisy", recipe=InPlaneRotation(angle_max=90))
    true, noisy = (read_label(root / "labelsTr" / f"case_1{ending}")[0] for root in (data, tmp_path / "noisy"))
    assert noisy.shape == shape
    assert not np.array_equal(noisy, true)


def test_the_wanted_dice_is_reached(make_folder: Make, tmp_path: Path) -> None:
    data = make_folder(cases=[f"case_{i}" for i in range(10)])
    table = corrupt(data=data, out=tmp_path / "noisy", recipe=RadiusMorphology(), dice=0.62)
    assert table["dice"].mean() == pytest.approx(0.62, abs=0.005)
    made = json.loads((tmp_path / "noisy" / "dataset.json").read_text())["corruption"]
    assert made["dice"] == 0.62
    assert made["strength"] == table["strength"].max() != 1


def test_a_crash_leaves_nothing_behind(
    data: Path, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, written = contents(data), []

    def crash(path: Path, *_: Any, **__: Any) -> None:
        written.append(path)
        if len(written) == 2:
            raise RuntimeError("power cut")

    monkeypatch.setattr(module, "write_label", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        corrupt(data=data, out=tmp_path / "noisy")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert contents(data) == before


@pytest.mark.parametrize(
    ("arguments", "code", "where", "message"),
    [
        ({"dice": 1.2}, "invalid-value", "dice", "1.2"),
        ({"dice": -0.1}, "invalid-value", "dice", "-0.1"),
        ({"share": 0.0}, "invalid-value", "share", "0.0"),
        ({"share": 0.1}, "no-data", "expert, share", None),
        ({"expert": 6}, "no-data", "expert, share", None),
        ({"expert": -1}, "invalid-value", "expert", "-1"),
        ({"expert": Path("missing.txt")}, "missing-file", "missing.txt", None),
        ({"seed": -1}, "invalid-value", "seed", "-1"),
        ({"data": Path("nowhere")}, "missing-file", "nowhere", None),
        ({"dice": 0.2, "recipe": MissingLabel(probability=0.0)}, "invalid-value", "dice", r"1\.000 to 1"),
    ],
)
def test_senseless_arguments_are_refused(
    data: Path, tmp_path: Path, arguments: dict[str, Any], code: Code, where: str, message: str | None
) -> None:
    with raises(code, where, match=message):
        corrupt(**{"data": data, "out": tmp_path / "noisy"} | arguments)
    assert not (tmp_path / "noisy").exists()


@pytest.mark.parametrize(
    ("line", "code"), [("bb", "unknown-name"), ("g", "invalid-value"), ("t", "invalid-value"), ("e", "invalid-value")]
)
def test_experts_must_be_labelled_training_cases(data: Path, tmp_path: Path, line: str, code: Code) -> None:
    listed = tmp_path / "experts.txt"
    listed.write_text(f"a\n{line}\n")
    with raises(code, listed, match=f"'{line}'"):
        corrupt(data=data, out=tmp_path / "noisy", expert=listed)


@pytest.mark.parametrize(
    "content",
    ["\ufeffd\r\n\r\nf\r\n".encode(), "Case;remark\r\nd;\r\nf;x\r\n;\r\n".encode("utf-16"), b"d\rf"],
)
def test_a_list_of_experts_as_a_spreadsheet_saves_it(data: Path, tmp_path: Path, content: bytes) -> None:
    listed = tmp_path / "experts.csv"
    listed.write_bytes(content)
    assert set(corrupt(data=data, out=tmp_path / "noisy", expert=listed)["case"]) == {"a"}


def test_a_table_never_leads_out_of_the_data_folder(data: Path, tmp_path: Path, contents: Contents) -> None:
    victim = tmp_path / "victim"
    shutil.copytree(data / "labelsTr", victim)
    (data / "labelsTr_a").mkdir()
    (data / "cases.csv").write_text("case,annotator\na,a/../../victim\n")
    before = contents(victim)
    with raises("invalid-name", match=r"annotator 'a/\.\./\.\./victim'"):
        corrupt(data=data, out=tmp_path / "noisy")
    assert contents(victim) == before
    assert not (tmp_path / "noisy").exists()


def test_the_description_may_vanish_meanwhile(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.loads((data / "dataset.json").read_text()) | {"note": "a lone \ud800", "authors": "Müller"}
    (data / "dataset.json").write_text(json.dumps(content))
    copy = module.copy_files

    def copy_and_remove(*arguments: Any) -> None:
        copy(*arguments)
        (data / "dataset.json").unlink()

    monkeypatch.setattr(module, "copy_files", copy_and_remove)
    corrupt(data=data, out=tmp_path / "noisy")
    written = (tmp_path / "noisy" / "dataset.json").read_text(encoding="utf-8")
    assert "Müller" in written
    assert {key: value for key, value in json.loads(written).items() if key != "corruption"} == content


def test_a_misspelt_expert_gets_a_hint(make_folder: Make, tmp_path: Path) -> None:
    listed = tmp_path / "experts.txt"
    listed.write_text("csae_1")
    with raises("unknown-name", listed, match="Did you mean case_1"):
        corrupt(data=make_folder(), out=tmp_path / "noisy", expert=listed)


def test_binary_data_have_no_classes_to_swap(make_folder: Make, tmp_path: Path) -> None:
    with raises("mismatch", "recipe ClassSwap"):
        corrupt(data=make_folder(), out=tmp_path / "noisy", recipe=ClassSwap())


def test_the_output_must_be_free_and_elsewhere(data: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("unsaved")
    with raises("already-exists", "full"):
        corrupt(data=data, out=tmp_path / "full")
    with raises("invalid-value", data / "noisy", match="lies in the data folder"):
        corrupt(data=data, out=data / "noisy")


def test_a_corrupted_folder_is_not_corrupted_again(data: Path, tmp_path: Path) -> None:
    corrupt(data=data, out=tmp_path / "noisy")
    with raises("already-exists", "labelsTr_clean"):
        corrupt(data=tmp_path / "noisy", out=tmp_path / "noisier")


def test_a_table_elsewhere_and_the_labels_of_a_rater(data: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("case,annotator\na,ann\n")
    out = tmp_path / "noisy"
    corrupt(data=data, out=out, cases=table)
    np.testing.assert_array_equal(label(out, "a", "labelsTr_clean"), label(data, "a", "labelsTr_ann"))
    np.testing.assert_array_equal(label(out, "a"), label(data, "a"))
    assert not np.array_equal(label(out, "a", "labelsTr_ann"), label(data, "a", "labelsTr_ann"))
    (case,) = (case for case in DataFolder.open(out).cases if case.name == "a")
    assert case.annotator == "ann"
