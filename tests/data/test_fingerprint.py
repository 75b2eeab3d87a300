from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from segmend.core.errors import InputError
from segmend.data.fingerprint import ClassOrder, Fingerprint, check_spacing, choose_preprocessing, take_fingerprint
from segmend.data.folder import DataFolder
from segmend.data.preprocess import Normalisation

FINGERPRINT = Fingerprint(
    spacing=(1.0, 0.5, 0.7),
    shape=(100, 80, 60),
    content=1.0,
    foreground=((-5.0, 95.0, 40.0, 20.0),) * 2,
    fine_spacing=(0.9, 0.4, 0.6),
    extent=(100.0, 40.0, 42.0),
    cases=7,
    annotated=(7, 5),
    order=(ClassOrder(axis=0, first=1, second=2, share=1.0, cases=5),),
)
THICK = replace(FINGERPRINT, spacing=(0.5, 4.0, 0.6), shape=(100, 20, 80))


def affine_of(*columns):
    affine = np.eye(4)
    affine[:3, :3] = np.array(columns, dtype=float).T
    return affine


class TestTake:
    def test_spacing_and_shape_are_medians_along_anatomical_axes(self, make_folder, write_scan):
        root = make_folder(cases=("a", "b", "c"), unlabelled=("a", "b", "c"))
        ones = np.ones((4, 6, 8), dtype=np.float32)
        ones[0, 0, 0] = 2
        # Axes run right, anterior, superior; then left, posterior, superior; then superior, right, anterior.
        for case, affine in (
            ("a", affine_of((1, 0, 0), (0, 2, 0), (0, 0, 3))),
            ("b", affine_of((-2, 0, 0), (0, -3, 0), (0, 0, 5))),
            ("c", affine_of((0, 0, 4), (7, 0, 0), (0, 9, 0))),
        ):
            write_scan(root / "imagesTr" / f"{case}_0000.nii.gz", ones, affine)
        found = take_fingerprint(DataFolder.open(root))
        assert found.spacing == (2, 3, 4)  # of (1, 2, 3), (2, 3, 5) and (7, 9, 4)
        assert found.shape == (4, 6, 8)  # of (4, 6, 8), (4, 6, 8) and (6, 8, 4)
        assert found.extent == (8, 18, 24)  # of (4, 12, 24), (8, 18, 40) and (42, 72, 16)
        assert found.fine_spacing == pytest.approx((1.2, 2.2, 3.2))  # a fifth of the way from the least to the median
        assert (found.cases, found.annotated, found.voxels) == (3, (0,), (0,))

    def test_statistics_are_of_the_labelled_foreground(self, make_folder, write_scan):
        root = make_folder(cases=("a",), channels=("CT", "MR"), labels={"background": 0, "x": 1, "ignore": 2})
        label = np.zeros((10, 10, 10), dtype=np.uint8)
        label[:5], label[9] = 1, 2
        image = np.zeros(label.shape, dtype=np.float32)
        image[:5] = np.arange(500).reshape(5, 10, 10)
        image[5:] = 1e4
        write_scan(root / "labelsTr" / "a.nii.gz", label)
        write_scan(root / "imagesTr" / "a_0000.nii.gz", image)
        write_scan(root / "imagesTr" / "a_0001.nii.gz", -2 * image)
        found = take_fingerprint(DataFolder.open(root))
        assert found.voxels == (500,), "those to be ignored do not count"
        first, second = found.foreground
        values = np.arange(500)
        assert first == pytest.approx((*np.percentile(values, [0.5, 99.5]), values.mean(), values.std()))
        assert second == pytest.approx((*np.percentile(-2 * values, [0.5, 99.5]), -499, 2 * values.std()))

    def test_statistics_of_the_largest_numbers_are_finite(self, make_folder, write_scan):
        root = make_folder(cases=("a",), channels=("CT",))
        image = np.random.default_rng(0).normal(0, 1e38, (20, 18, 16)).clip(-3e38, 3e38).astype(np.float32)
        write_scan(root / "imagesTr" / "a_0000.nii.gz", image, np.diag([1, 1, 1.5, 1]))
        (statistics,) = take_fingerprint(DataFolder.open(root)).foreground
        assert np.isfinite(statistics).all()
        assert statistics[3] == pytest.approx(1e38, rel=0.2)

    def test_hidden_labels_do_not_count(self, make_folder):
        hidden = take_fingerprint(
            DataFolder.open(make_folder(table="case,quality\ncase_1,none\ncase_2,none\ncase_3,none\n"))
        )
        absent = take_fingerprint(DataFolder.open(make_folder("other", unlabelled=("case_1", "case_2", "case_3"))))
        shown = take_fingerprint(DataFolder.open(make_folder("third")))
        assert hidden == absent
        assert hidden.foreground[0][2] < shown.foreground[0][2]

    def test_only_training_cases_count(self, make_folder):
        some = take_fingerprint(DataFolder.open(make_folder(table="case,split\ncase_2,val\ncase_3,test\n")))
        assert some == take_fingerprint(DataFolder.open(make_folder("one", cases=("case_1",))))

    def test_content_is_the_share_of_voxels_that_are_not_0(self, make_folder, write_scan):
        root = make_folder(cases=("a",), channels=("T1", "T2"), unlabelled=("a",), shape=(4, 4, 4))
        for channel, filled in ((0, 1), (1, 3)):
            image = np.zeros((4, 4, 4), dtype=np.float32)
            image[:filled] = 5
            write_scan(root / "imagesTr" / f"a_000{channel}.nii.gz", image)
        assert take_fingerprint(DataFolder.open(root)).content == 0.75

    def test_a_picture(self, make_folder):
        found = take_fingerprint(DataFolder.open(make_folder(shape=(20, 30), ending=".png")))
        assert found.shape == (20, 30)
        assert found.spacing == (1, 1)

    def test_survives_json(self, make_folder):
        found = take_fingerprint(DataFolder.open(make_folder()))
        assert Fingerprint.from_json(json.loads(json.dumps(asdict(found)))) == found

    def test_no_training_case(self, make_folder):
        folder = DataFolder.open(make_folder(cases=("a",), table="case,split\na,test\n"))
        with pytest.raises(InputError, match=r"has no training case\. Mark some as 'train'"):
            take_fingerprint(folder)


class TestChoose:
    @pytest.mark.parametrize(
        ("wanted", "slices", "spacing"),
        [
            ("auto", False, (1.0, 0.5, 0.7)),
            ("native", False, (None, None, None)),
            ([2, 3, 4], False, (2.0, 3.0, 4.0)),
            ("auto", True, (1.0, 0.5, None)),
            ([2, 3, 4], True, (2.0, 3.0, None)),
            ([2, 3], True, (2.0, 3.0, None)),
            ("native", True, (None, None, None)),
        ],
    )
    def test_spacing(self, wanted, slices, spacing):
        preprocessing = choose_preprocessing(FINGERPRINT, ("MR", "MR"), spacing=wanted, slices=slices)
        assert preprocessing.spacing == spacing
        assert preprocessing.slice_axis == 2

    def test_thick_slices_come_last(self):
        preprocessing = choose_preprocessing(THICK, ("MR", "MR"))
        assert preprocessing.slice_axis == 1
        assert preprocessing.spacing == (0.5, 0.6, 4.0)

    def test_slices_count_as_thick_above_one_and_a_half_times_the_next(self):
        axes = [
            choose_preprocessing(replace(FINGERPRINT, spacing=(coarse, 1.0, 0.5)), ("MR", "MR")).slice_axis
            for coarse in (1.5, 1.51)
        ]
        assert axes == [2, 0]

    def test_ct_is_known_by_its_name(self):
        ct, mr = choose_preprocessing(FINGERPRINT, (" cT", "MR")).normalisations
        assert ct == Normalisation(-5.0, 95.0, 40.0, 20.0)
        assert mr == Normalisation()

    @pytest.mark.parametrize(("content", "foreground_only"), [(0.74, True), (0.75, False)])
    def test_cut_out_scans(self, content, foreground_only):
        chosen = choose_preprocessing(replace(FINGERPRINT, content=content), ("MR", "MR"))
        assert chosen.foreground_only is foreground_only

    @pytest.mark.parametrize(
        ("fingerprint", "wanted", "shape"),
        [
            (FINGERPRINT, "native", (100, 80, 60)),
            (FINGERPRINT, [2, 1, 0.7], (50, 40, 60)),
            (THICK, "native", (100, 80, 20)),
            (THICK, [1, 1.2, 400], (50, 40, 1)),
        ],
    )
    def test_shape_after_it(self, fingerprint, wanted, shape):
        assert fingerprint.shape_at(choose_preprocessing(fingerprint, ("MR", "MR"), spacing=wanted)) == shape


class TestCheckSpacing:
    @pytest.mark.parametrize(
        ("wanted", "dimensions", "slices"),
        [
            ([1, 1], 3, False),
            ([1], 3, True),
            ([1, 1, 1], 2, False),
            ([1, 0, 1], 3, False),
            ([1, -2, 1], 3, True),
            ([], 2, False),
        ],
    )
    def test_refuses(self, wanted, dimensions, slices):
        shown = " ".join(map(str, wanted))
        message = (
            rf"^spacing: is {shown}\. Give {dimensions} positive numbers in mm \(slices last\), 'native' or 'auto'"
        )
        with pytest.raises(InputError, match=message):
            check_spacing(wanted, dimensions, slices=slices)
        if dimensions == 3:
            with pytest.raises(InputError, match=message):
                choose_preprocessing(FINGERPRINT, ("MR", "MR"), spacing=wanted, slices=slices)


class TestOrderOfClasses:
    def folder(self, make_folder, write_scan, affines, boxes):
        """Cases with two boxes side by side along x, in a ring that surrounds both."""
        names = [f"c{place}" for place in range(len(affines))]
        root = make_folder(cases=names, labels={"background": 0, "left": 1, "right": 2, "ring": 3})
        for name, affine, (first, second) in zip(names, affines, boxes, strict=True):
            label = np.zeros((16, 12, 12), dtype=np.uint8)
            label[1:15, 3:9, 3:9] = 3
            label[first : first + 3, 4:8, 4:8] = 1
            label[second : second + 3, 4:8, 4:8] = 2
            write_scan(root / "imagesTr" / f"{name}_0000.nii.gz", label.astype(np.float32), affine)
            write_scan(root / "labelsTr" / f"{name}.nii.gz", label, affine)
        return DataFolder.open(root)

    def test_left_and_right_keep_their_order_whatever_way_the_scan_is_stored(self, make_folder, write_scan):
        mirrored = np.diag([-1.0, 1, 1, 1])
        folder = self.folder(make_folder, write_scan, [np.eye(4), mirrored, np.eye(4)], [(2, 10), (11, 2), (3, 9)])
        found = take_fingerprint(folder)
        assert found.annotated == (3, 3, 3)
        assert ClassOrder(axis=0, first=1, second=2, share=1.0, cases=3) in found.order
        assert {each.axis for each in found.order} == {0}
        assert Fingerprint.from_json(json.loads(json.dumps(asdict(found)))) == found

    def test_classes_in_any_order_have_none(self, make_folder, write_scan):
        folder = self.folder(make_folder, write_scan, [np.eye(4)] * 4, [(2, 10), (10, 2), (3, 9), (9, 3)])
        assert take_fingerprint(folder).order == ()

    def test_two_cases_are_too_few(self, make_folder, write_scan):
        folder = self.folder(make_folder, write_scan, [np.eye(4)] * 2, [(2, 10)] * 2)
        assert take_fingerprint(folder).order == ()
