from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK
from refusals import raises

from segmend.commands.evaluate import evaluate
from segmend.metrics import read_table

SPACING = (0.5, 2.0, 3.0)


def label(**boxes: tuple[slice, ...]) -> np.ndarray:
    """A label array; ``v2=(rows, columns, slices)`` fills a box with the value 2."""
    array = np.zeros((10, 6, 4), dtype=np.uint8)
    for value, box in boxes.items():
        array[box] = int(value[1:])
    return array


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*SPACING, 1.0])), path)


BOX = (slice(2, 6), slice(1, 5), slice(1, 3))
SHIFTED = (slice(3, 7), slice(1, 5), slice(1, 3))
OTHER = (slice(8, 10), slice(0, 6), slice(0, 4))


@pytest.fixture
def pictures(monkeypatch):
    """The names of the results in each box plot by its file, instead of the pictures, which take long to draw."""
    drawn: dict[str, list[str]] = {}
    monkeypatch.setattr(
        "segmend.commands.evaluate.draw_boxplot", lambda path, tables, unit: drawn.update({path.name: [*tables, unit]})
    )
    return drawn


@pytest.fixture
def data(tmp_path, pictures):
    """Three cases: one perfect, one shifted by a voxel along x, one missed; label 2 is in one of them only."""
    references, predictions = tmp_path / "data" / "labelsTs", tmp_path / "predictions"
    write(references / "a.nii.gz", label(v1=BOX))
    write(references / "b.nii.gz", label(v1=BOX, v2=OTHER))
    write(references / "c.nii.gz", label(v1=BOX))
    write(predictions / "a.nii.gz", label(v1=BOX))
    write(predictions / "b.nii.gz", label(v1=SHIFTED, v2=OTHER))
    write(predictions / "c.nii.gz", label())
    return tmp_path


def run(data: Path, out: str = "scores.csv", **options: object) -> pd.DataFrame:
    return evaluate(predictions=data / "predictions", references=data / "data" / "labelsTs", out=data / out, **options)


def describe(data: Path, **more: object) -> None:
    description = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
    (data / "data" / "dataset.json").write_text(json.dumps(description | more))


def test_a_row_for_each_case_and_label(data):
    table = run(data)
    assert table[["case", "label", "status"]].to_numpy().tolist() == [
        ["a", "1", "ok"],
        ["a", "2", "both_empty"],
        ["b", "1", "ok"],
        ["b", "2", "ok"],
        ["c", "1", "missed"],
        ["c", "2", "both_empty"],
    ]
    assert table["dice"].tolist() == [1, 1, 0.75, 1, 0, 1]
    assert table["mssd"].fillna(-1).tolist() == [0, 0, 0.5, 0, -1, 0]
    assert table["volume_reference"].tolist()[:2] == [4 * 4 * 2 * 0.5 * 2 * 3, 0]
    pd.testing.assert_frame_equal(read_table(data / "scores.csv"), table)


def test_voxel_unit_and_tolerance(data):
    shifted = run(data, unit="voxel", tolerance=0.5).iloc[2]
    assert (shifted["mssd"], shifted["volume_reference"]) == (1.0, 32.0)
    assert shifted["nsd"] < 1
    assert run(data, unit="mm", tolerance=0.5).iloc[2]["nsd"] == 1


def test_summary_lies_beside_the_table(data, pictures):
    write(data / "predictions" / "stray.nii.gz", label())
    run(data, out="scores.csv", tolerance=2.0)
    assert {path.name for path in data.iterdir()} == {"data", "predictions", "scores.csv", "scores.json"}
    assert pictures == {"scores_boxplot.png": ["scores", "mm"]}
    summary = json.loads((data / "scores.json").read_text())
    assert summary["extra_predictions"] == ["stray"]
    assert (summary["unit"], summary["tolerance"], summary["cases"]) == ("mm", 2.0, 3)
    assert summary["labels"]["1"]["dice"]["mean"] == pytest.approx(1.75 / 3)
    assert summary["labels"]["1"]["hd95"]["undefined"] == 1
    assert summary["overall"]["dice"]["n"] == 6
    assert summary["overall"]["status"] == {"ok": 3, "missed": 1, "false_alarm": 0, "both_empty": 2}


def test_classes_are_called_by_name_and_strange_values_are_kept(data):
    describe(data, labels={"background": 0, "liver": 1, "spleen": 3})
    table = run(data)
    assert table["label"].tolist() == ["liver", "2", "spleen"] * 3
    assert set(table.loc[table["label"] == "spleen", "status"]) == {"both_empty"}


def test_ignored_voxels_count_for_nothing(data):
    reference = label(v1=BOX)
    reference[6] = 9
    write(data / "data" / "labelsTs" / "b.nii.gz", reference)
    write(data / "predictions" / "b.nii.gz", label(v1=(slice(2, 7), *BOX[1:])))
    describe(data, labels={"background": 0, "liver": 1, "ignore": 9})
    table = run(data).set_index(["case", "label"])
    assert set(table.index.get_level_values("label")) == {"liver"}
    assert table.loc[("b", "liver"), "dice"] == 1
    assert table.loc[("b", "liver"), "volume_prediction"] == table.loc[("b", "liver"), "volume_reference"]


def test_chosen_labels_only(data):
    assert run(data, labels=[2])["label"].tolist() == ["2"] * 3
    with raises("unknown-name", "labels", match=r"7 .* Choose from 1, 2"):
        run(data, labels=[7])


def test_two_dimensional_pictures_of_any_format(tmp_path):
    for folder, columns in (("references", slice(2, 8)), ("predictions", slice(2, 4))):
        (tmp_path / folder).mkdir()
        array = np.zeros((1, 10), dtype=np.uint8)
        array[:, columns] = 255
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / folder / "line.png"))
    table = evaluate(
        predictions=tmp_path / "predictions", references=tmp_path / "references", out=tmp_path / "scores.csv"
    )
    assert (tmp_path / "scores_boxplot.png").read_bytes().startswith(b"\x89PNG")
    (row,) = table.to_dict("records")
    assert (row["label"], row["dice"], row["asd"], row["assd"]) == ("255", 0.5, 0, 1.25)
    assert row["hd95"] == pytest.approx(3.65)


def test_comparison_with_another_result(data, pictures, capsys):
    run(data, out="first.csv")
    write(data / "predictions" / "c.nii.gz", label(v1=BOX))
    run(data, out="second.csv", against=data / "first.csv")
    said = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert ["1", "0.917", "0.583", "+0.333", "1.000", "3"] in said
    written = pd.read_csv(data / "second_comparison.csv", dtype={"label": str})
    dice = written[(written["label"] == "1") & (written["metric"] == "dice")].iloc[0]
    assert (dice["n"], dice["mean_first"]) == (3, pytest.approx(2.75 / 3))
    assert dice["difference"] == pytest.approx(1 / 3)
    comparison = json.loads((data / "second_comparison.json").read_text())
    assert comparison["first"].endswith("second.csv")
    assert comparison["second"].endswith("first.csv")
    assert len(comparison["tests"]) == len(written)
    assert comparison["tests"][0]["p_wilcoxon"] == pytest.approx(dice["p_wilcoxon"])
    assert pictures["second_boxplot.png"] == ["second", "first", "mm"]


def test_comparison_without_pairs_is_null_in_json(data):
    for case in "abc":
        write(data / "predictions" / f"{case}.nii.gz", label())
    run(data, out="first.csv")
    run(data, out="second.csv", against=data / "first.csv")
    tests = json.loads((data / "second_comparison.json").read_text())["tests"]
    (hd95,) = [test for test in tests if (test["label"], test["metric"]) == ("1", "hd95")]
    assert (hd95["n"], hd95["undefined"], hd95["mean_first"], hd95["p_t"]) == (0, 3, None, None)


def test_results_that_cannot_be_compared_are_refused_before_work(data):
    run(data, out="first.csv")
    with raises("mismatch", "first.csv", match=r"unit mm and tolerance 1\.0, but now .* voxel"):
        run(data, out="second.csv", unit="voxel", against=data / "first.csv")
    with raises("invalid-value", "first.csv", match="`out` would replace"):
        run(data, out="first.csv", against=data / "first.csv")
    (data / "data" / "labelsTs" / "c.nii.gz").unlink()
    with raises("mismatch", "first.csv", match="1 are not in both, the first is 'c'"):
        run(data, out="second.csv", against=data / "first.csv")
    assert not list(data.glob("second*"))


def test_references_that_have_changed_since_are_not_compared(data):
    run(data, out="first.csv")
    write(data / "data" / "labelsTs" / "b.nii.gz", label(v1=BOX, v2=BOX))
    with raises("changed-data", "first.csv", match="1 cases, the first is 'b'"):
        run(data, out="second.csv", against=data / "first.csv")
    assert not list(data.glob("second*"))


def test_a_comparison_of_earlier_scores_does_not_stay_next_to_new_ones(data):
    run(data, out="first.csv")
    run(data, out="second.csv", against=data / "first.csv")
    assert (data / "second_comparison.csv").is_file()
    run(data, out="second.csv")
    assert not list(data.glob("second_comparison*"))
    assert (data / "second.json").is_file()


@pytest.mark.parametrize(
    ("options", "code", "where"),
    [
        ({"unit": "cm"}, "invalid-value", "unit"),
        ({"tolerance": -1.0}, "invalid-value", "tolerance"),
        ({"tolerance": float("nan")}, "invalid-value", "tolerance"),
        ({"labels": [0, 1]}, "invalid-value", "labels"),
        ({"out": "scores.json"}, "invalid-value", "scores.json"),
        ({"out": "nowhere/scores.csv"}, "missing-file", "nowhere"),
        ({"out": "predictions/scores.csv"}, "invalid-value", "predictions/scores.csv"),
        ({"against": Path("missing.csv")}, "missing-file", "missing.csv"),
    ],
)
def test_unusable_arguments_are_refused(data, options, code, where):
    before = sorted(data.rglob("*"))
    with raises(code, where):
        run(data, **options)
    assert sorted(data.rglob("*")) == before


def test_nothing_to_score(data):
    for folder in (data / "predictions", data / "data" / "labelsTs"):
        for case in "abc":
            write(folder / f"{case}.nii.gz", label())
    with raises("no-data", "references"):
        run(data)


def test_damaged_description_is_named(data):
    (data / "data" / "dataset.json").write_text("{")
    with raises("damaged", "dataset.json"):
        run(data)


def test_given_files_stay_as_they_are(data):
    files = {path: path.read_bytes() for path in data.rglob("*.nii.gz")}
    run(data)
    assert {path: path.read_bytes() for path in data.rglob("*.nii.gz")} == files


class TestDescriptionOfAnotherKind:
    """Only names and the ignored value are asked of a dataset.json; nothing else keeps from scoring."""

    def scored(self, data, content) -> list[str]:
        (data / "data" / "dataset.json").write_text(json.dumps(content))
        table = evaluate(
            predictions=data / "predictions", references=data / "data" / "labelsTs", out=data / "scores.csv"
        )
        return sorted(set(table["label"]))

    @pytest.mark.parametrize(
        ("content", "names", "said"),
        [
            (
                {"labels": {"0": "background", "1": "organ", "2": "vessel"}, "modality": {"0": "MRI"}},
                ["organ", "vessel"],
                "",
            ),
            ({"labels": {"background": 0, "organ": 1, "vessel": 2}}, ["organ", "vessel"], ""),
            ({"labels": {"background": 0, "whole": [1, 2], "vessel": 2}}, ["vessel", "whole"], ""),
            ({"labels": {"background": 0, "whole": [1, "2"], "vessel": 2}}, ["1", "vessel"], "1 of 3 labels have no"),
            ({"labels": {"background": 0, "whole": [], "vessel": 2}}, ["1", "2"], "the region 'whole' has no value"),
            ({"labels": {"background": 0, "3": 1, "vessel": 2}}, ["1", "vessel"], "1 of 3 labels have no name"),
            ({"labels": {"0": "background", "1": ["organ"], "2": "vessel"}}, ["1", "vessel"], "1 of 3 labels"),
            ({"labels": {"background": 0, "organ": 1, "twice": 1, "vessel": 2}}, ["organ", "vessel"], "1 of 4 labels"),
            ({"images": [], "annotations": []}, ["1", "2"], "holds no names of labels"),
            ([1, 2], ["1", "2"], "holds no names of labels"),
        ],
    )
    def test_gives_what_names_it_has(self, data, capsys, content, names, said):
        assert self.scored(data, content) == names
        remarks = [line for line in capsys.readouterr().err.splitlines() if "dataset.json" in line]
        assert len(remarks) == bool(said)
        assert said in "".join(remarks)


def test_prints_means_and_what_was_left_out(data, capsys, write_scan):
    for extra in "pqrs":
        write_scan(data / "predictions" / f"{extra}.nii.gz", np.zeros((4, 4, 4), np.uint8))
    evaluate(predictions=data / "predictions", references=data / "data" / "labelsTs", out=data / "scores.csv")
    printed = capsys.readouterr().err
    assert "Dice" in printed
    assert "not scored, as they have no reference: p, q, r and 1 more" in printed
    assert f"scores: {data / 'scores.csv'}" in printed


def test_classes_that_are_not_annotated_are_not_scored(data):
    describe(data, labels={"background": 0, "organ": 1, "vessel": 2})
    (data / "data" / "cases.csv").write_text("case,annotated\na,organ\nb,\n")
    scored = run(data)[["case", "label"]].values.tolist()
    assert scored == [["a", "organ"], *[[case, label] for case in "bc" for label in ("organ", "vessel")]]
