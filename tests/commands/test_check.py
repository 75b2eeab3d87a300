from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from refusals import raises

from segmend.commands.check import check


@pytest.fixture
def bad_folder(make_folder, write_scan):
    """Three errors and a remark."""
    root = make_folder(test_cases=("t",), table="case,split,quality\ncase_1,val,expert\n")
    (root / "imagesTr" / "case_2_0000.nii.gz").write_bytes(b"broken")
    write_scan(root / "labelsTr" / "case_3.nii.gz", np.full((20, 18, 16), 9, np.uint8), np.diag([1, 1, 1.5, 1]))
    write_scan(root / "labelsTs" / "t.nii.gz", np.zeros((20, 18, 16), np.uint8), np.diag([1, 1, 1.5, 1]))
    (root / "labelsTr" / "case_7.nii.gz").touch()
    return root


class TestText:
    def test_a_good_folder_is_summed_up_in_one_line(self, make_folder, write_scan, capsys, contents):
        root = make_folder(
            test_cases=("t",),
            unlabelled=("case_2",),
            channels=("T1", "T2"),
            labels={"background": 0, "liver": 1, "tumour": 2},
            table="case,split,quality\ncase_1,train,expert\n",
        )
        for path in ("imagesTr/case_3_0000", "imagesTr/case_3_0001", "labelsTr/case_3"):
            array = np.random.default_rng(0).integers(0, 3, (25, 17, 16), dtype=np.uint8)
            write_scan(root / f"{path}.nii.gz", array, np.diag([0.8, 1, 1.5, 1]))
        before = contents(root)
        assert check(data=root) == []
        assert capsys.readouterr().out == (
            "4 cases (train: 1 expert, 1 noisy, 1 none; test: 1 expert) | classes background, liver, tumour | "
            "channels T1, T2 | 20-25 x 17-18 x 16 voxels | 0.8-1 x 1 x 1.5 mm\n"
        )
        assert contents(root) == before

    def test_errors_come_before_remarks_and_end_in_an_error(self, bad_folder, capsys):
        with raises("damaged", bad_folder, match="3 problems found"):
            check(data=bad_folder)
        lines = [line.replace(f"{bad_folder}/", "") for line in capsys.readouterr().out.splitlines()]
        assert [line[:45] for line in lines] == [
            "error: labelsTr/case_7.nii.gz: is the label o",
            "error: imagesTr/case_2_0000.nii.gz: cannot be",
            "error: labelsTr/case_3.nii.gz: has 5760 voxel",
            "remark: labelsTs/t.nii.gz: marks nothing but ",
            "4 cases (train: 2 noisy; val: 1 expert; test:",
        ]

    def test_remarks_alone_are_no_error(self, make_folder, capsys):
        root = make_folder(test_cases=("t",))
        shutil.copy(root / "imagesTr" / "case_1_0000.nii.gz", root / "imagesTs" / "t_0000.nii.gz")
        (remark,) = check(data=root)
        assert remark.problem == "is the same image as case_1_0000.nii.gz (split 'test' and 'train')"
        assert capsys.readouterr().out.startswith(f"remark: {remark}\n4 cases")

    def test_one_problem_is_not_called_problems(self, tmp_path, capsys):
        with raises("damaged", tmp_path, match="1 problem found"):
            check(data=tmp_path)
        assert capsys.readouterr().out == (
            f"error: {tmp_path}/dataset.json: does not exist. Write one with channel_names, labels and file_ending.\n"
        )

    def test_a_folder_without_a_usable_case_has_no_shape(self, make_folder, capsys):
        root = make_folder(cases=("a",))
        (root / "imagesTr" / "a_0000.nii.gz").write_bytes(b"broken")
        with raises("damaged", root, match="1 problem found"):
            check(data=root)
        assert capsys.readouterr().out.endswith("1 cases (train: 1 noisy) | classes background, organ | channels MR\n")

    def test_a_table_elsewhere(self, bad_folder, tmp_path, capsys):
        (tmp_path / "mine.csv").write_text("case,quality\ncase_3,none\n")
        with raises("damaged", bad_folder, match="2 problems found"):
            check(data=bad_folder, cases=tmp_path / "mine.csv")


class TestJson:
    def test_everything_is_in_it(self, bad_folder, capsys):
        with raises("damaged", bad_folder, match="3 problems found"):
            check(data=bad_folder, json=True)
        content = json.loads(capsys.readouterr().out)
        assert [problem["severity"] for problem in content["problems"]] == ["error", "error", "error", "remark"]
        assert content["problems"][1] == {
            "severity": "error",
            "code": "damaged",
            "where": f"{bad_folder}/imagesTr/case_2_0000.nii.gz",
            "problem": "cannot be read; it is damaged, truncated or of another format",
            "remedy": "copy or export it again",
        }
        assert content["summary"] == {
            "cases": {
                "train": {"expert": 0, "noisy": 2, "none": 0},
                "val": {"expert": 1, "noisy": 0, "none": 0},
                "test": {"expert": 1, "noisy": 0, "none": 0},
            },
            "classes": ["background", "organ"],
            "channels": ["MR"],
            "dimensions": [3],
            "shape": {"min": [20, 18, 16], "max": [20, 18, 16]},
            "spacing": {"min": [1.0, 1.0, 1.5], "max": [1.0, 1.0, 1.5]},
        }

    def test_mixed_dimensions_have_no_common_shape(self, make_folder, write_scan, capsys):
        root = make_folder()
        write_scan(root / "imagesTr" / "case_2_0000.nii.gz", np.random.default_rng(0).normal(size=(9, 9)))
        write_scan(root / "labelsTr" / "case_2.nii.gz", np.eye(9, dtype=np.uint8))
        with raises("damaged", root, match="1 problem found"):
            check(data=root, json=True)
        summary = json.loads(capsys.readouterr().out)["summary"]
        assert summary["dimensions"] == [2, 3]
        assert "shape" not in summary

    def test_a_folder_that_cannot_be_read_at_all(self, tmp_path, capsys):
        with raises("damaged", tmp_path, match="1 problem found"):
            check(data=tmp_path, json=True)
        content = json.loads(capsys.readouterr().out)
        assert content["summary"] is None
        assert len(content["problems"]) == 1
