from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmend.core.case import Case, Split
from segmend.core.masks import IGNORE
from segmend.data.folder import DataFolder
from segmend.data.image import Grid
from segmend.data.remarks import (
    assumed_headers,
    constant_channels,
    duplicates,
    empty_label,
    odd_spacings,
    unlabelled,
    unused_raters,
)


def case(name: str, split: Split = Split.TRAIN) -> Case:
    return Case(name, (Path(f"{name}_0000.nii"),), Path(f"{name}.nii"), split)


def said(remarks) -> list[str]:
    return [str(remark) for remark in remarks]


class TestUnlabelled:
    def test_how_many_and_which_is_the_first(self, make_folder):
        folder = DataFolder.open(make_folder(unlabelled=("case_2", "case_3"), table="case,quality\ncase_1,none\n"))
        assert unlabelled(folder.cases) == "2 of 3 training cases have no label (first: case_2)"
        assert unlabelled(folder.cases[:2]) == "1 of 2 training cases has no label (first: case_2)"
        assert unlabelled(folder.cases[:1]) == ""


class TestContents:
    @pytest.mark.parametrize(("values", "remarks"), [([0, 0], 1), ([0, IGNORE], 1), ([0, 1], 0), ([2, IGNORE], 0)])
    def test_labels_without_foreground(self, values, remarks):
        label = np.array(values, dtype=np.uint8)
        assert said(empty_label(case("a"), label)) == remarks * [
            "a.nii: marks nothing but background. Make sure that nothing is there, or give case 'a' the quality 'none'."
        ]

    def test_labels_in_which_nothing_was_annotated(self):
        assert said(empty_label(case("a"), np.full(3, IGNORE, dtype=np.uint8))) == [
            "a.nii: marks every voxel as not annotated. "
            "Make sure that nothing was annotated, or give case 'a' the quality 'none'."
        ]

    def test_no_label_is_no_empty_label(self):
        assert said(empty_label(case("a"), None)) == []

    def test_constant_channels_are_named(self):
        image = np.zeros((3, 4, 4), dtype=np.float32)
        image[0, 1, 1] = 1
        image[2] = -1000
        assert said(constant_channels(case("a"), ("T1", "T2", "CT"), image)) == [
            "a_0000.nii: channel 'T2' of case 'a' has the value 0 everywhere. "
            "Make sure that this channel was not acquired.",
            "a_0000.nii: channel 'CT' of case 'a' has the value -1000 everywhere. "
            "Make sure that this channel was not acquired.",
        ]


class TestBetweenCases:
    def grids(self, *spacings) -> dict[Case, Grid]:
        return {
            case(str(number)): Grid((9,) * len(spacing), np.diag([*spacing, *[1] * (4 - len(spacing))]))
            for number, spacing in enumerate(spacings)
        }

    def test_spacings_far_from_the_median(self):
        grids = self.grids((1, 1, 5), (1, 1, 5), (1, 1, 9.9), (1, 1, 10.1), (0.4, 1, 5))
        assert said(odd_spacings(grids)) == [
            "3_0000.nii: has a spacing of 1 x 1 x 10.1 mm, but the median is 1 x 1 x 5 mm. "
            "Check the voxel spacing in the header.",
            "4_0000.nii: has a spacing of 0.4 x 1 x 5 mm, but the median is 1 x 1 x 5 mm. "
            "Check the voxel spacing in the header.",
        ]

    def test_what_was_assumed_of_headers_is_said_once(self):
        grids = {
            case(name): Grid((9, 9), np.eye(4), assumptions)
            for name, assumptions in (("a", ()), ("b", ("is in metres",)), ("c", ("is in metres", "has no place")))
        }
        assert said(assumed_headers(grids)) == [
            "b_0000.nii: is in metres; the same holds for 1 more scans. "
            "Make sure that this is right, or correct the header.",
            "c_0000.nii: has no place. Make sure that this is right, or correct the header.",
        ]

    def test_the_order_of_axes_is_not_odd(self):
        assert said(odd_spacings(self.grids((1, 1, 5), (5, 1, 1), (1, 5, 1)))) == []

    def test_2d_and_3d_are_not_compared(self):
        assert said(odd_spacings(self.grids((1, 1), (1, 1, 5)))) == []
        assert said(odd_spacings({})) == []

    def test_the_same_image_twice(self):
        digests = {case("a"): b"1", case("b"): b"2", case("c", Split.TEST): b"1", case("d"): b"1"}
        assert said(duplicates(digests)) == [
            "c_0000.nii: is the same image as a_0000.nii (split 'test' and 'train'). Leave one of the two cases out.",
            "d_0000.nii: is the same image as a_0000.nii (split 'train' both). Leave one of the two cases out.",
        ]


class TestUnusedRaters:
    def test_are_named_where_a_case_has_no_label(self, make_folder):
        root = make_folder(raters=("ann", "bob"), table="case,annotator\ncase_1,ann\n")
        (root / "labelsTr/case_2.nii.gz").unlink()
        (remark,) = said(unused_raters(DataFolder.open(root)))
        assert "(bob)" in remark
        assert "column 'annotator' of cases.csv" in remark

    def test_are_no_matter_where_every_case_has_a_label(self, make_folder):
        assert not list(unused_raters(DataFolder.open(make_folder(raters=("ann",)))))
