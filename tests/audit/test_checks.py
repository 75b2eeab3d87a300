from __future__ import annotations

import numpy as np
import pytest

from segmend.audit.checks import CaseSummary, check_cohort, check_label, duplicate_scans, find_mirroring
from segmend.data.image import Grid

NAMES = ["background", "organ", "vessel"]


def grid_of(shape, spacing=None):
    spacing = spacing or (1.0,) * len(shape)
    return Grid(shape, np.diag([*spacing, *(1.0,) * (4 - len(spacing))]))


@pytest.fixture
def scan(ball):
    """A body in air with an organ in it; all is well."""
    body = ball((40, 40, 20), (20, 20, 10), 17)
    label = ball((40, 40, 20), (20, 20, 10), 6).astype(np.uint8)
    image = np.where(body, 500, 10) + np.random.default_rng(0).normal(0, 1, body.shape)
    return image[None].astype(np.float32), label


def checks(image, label, spacing=(1.0, 1.0, 1.0)):
    return {
        finding.check: finding
        for finding in check_label("c", NAMES, image, label, grid_of(label.shape, spacing[: label.ndim]))
    }


def test_nothing_to_say_about_a_good_label(scan):
    assert checks(*scan) == {}


def test_an_empty_label(scan):
    image, label = scan
    label[:] = 0
    assert set(checks(image, label)) == {"empty"}
    label[3] = 255
    assert set(checks(image, label)) == {"empty"}


def test_small_components(scan):
    image, label = scan
    label[30, 20, 10] = label[20, 32:34, 10] = 1
    found = checks(image, label)["small_components"]
    assert (found.label, found.voxels) == ("organ", 3)
    assert found.detail.startswith("2 of 3 pieces")


def test_two_large_pieces_are_no_small_components(scan, ball):
    image, label = scan
    label[ball(label.shape, (31, 20, 10), 3)] = 1
    assert checks(image, label) == {}


def test_holes_belong_to_the_class_around_them(scan):
    image, label = scan
    label[18:20, 20, 10] = 0
    label[28:33, 18:23, 8:13], label[30, 20, 10] = 2, 0
    found = list(check_label("c", NAMES, image, label, grid_of(label.shape)))
    assert [(f.label, f.check, f.voxels) for f in found] == [("organ", "hole", 2), ("vessel", "hole", 1)]


def test_a_class_within_another_is_no_hole(scan):
    image, label = scan
    label[19:22, 19:22, 9:12] = 2
    assert checks(image, label) == {}


def test_outside_of_the_body(scan):
    image, label = scan
    label[0:4, 0:12, 5:15] = 1
    found = checks(image, label)["outside_body"]
    assert found.voxels == 480
    assert found.detail == f"{480 / (label == 1).sum():.0%} of it lies in air"


def test_dark_inside_the_body_is_not_air(scan, ball):
    image, label = scan
    image[0][label == 1] = 10
    assert "outside_body" not in checks(image, label)


def test_slices_missing_in_the_middle(scan):
    image, label = scan
    label[..., 9:11] = 0
    found = checks(image, label)["gap"]
    assert (found.label, found.detail) == ("organ", "slices 9, 10 along axis 2 are empty")


def test_two_objects_one_above_the_other_have_no_gap(scan, ball):
    image, label = scan
    label[:] = 0
    label[ball(label.shape, (14, 20, 5), 3) | ball(label.shape, (26, 20, 14), 3)] = 1
    assert checks(image, label) == {}


def test_in_2d(scan):
    image, label = scan
    image, label = image[..., 10], label[..., 10]
    assert checks(image, label) == {}
    label[20, 20] = 0
    assert set(checks(image, label)) == {"hole"}


class TestMirrored:
    def test_a_flipped_label_is_found_along_its_axis(self, ball):
        predicted = ball((30, 30, 30), (8, 15, 15), 5).astype(np.uint8)
        ((axis, before, after),) = find_mirroring(predicted[::-1], predicted)
        assert (axis, before, after) == (0, 0, pytest.approx(1, abs=0.2))

    def test_a_symmetric_one_is_not(self, ball):
        predicted = ball((31, 31), (15, 15), 9).astype(np.uint8)
        assert list(find_mirroring(predicted, predicted)) == []
        assert list(find_mirroring(np.zeros_like(predicted), predicted)) == []


KIDNEYS = ["background", "left kidney", "right kidney"]
GRID = Grid((40, 20, 10), np.diag([-1.0, 1.0, 2.0, 1.0]))  # x runs to the patient's left


def draw(seed, first=8, second=30):
    """Two kidneys; at these places along x."""
    rng = np.random.default_rng(seed)
    last = 10 + rng.integers(0, 10)
    label = np.zeros(GRID.shape, np.uint8)
    for index, place in ((1, first), (2, second)):
        start = place + rng.integers(-1, 2)
        label[start - 3 : start + 3, 5:last, 2 : rng.integers(5, 10)] = index
    return rng.normal(size=(1, *GRID.shape)).astype(np.float32), label


def summaries(*drawn):
    return {f"c{number}": CaseSummary.of(image, label, GRID) for number, (image, label) in enumerate(drawn)}


def found(*drawn):
    return {(f.case, f.label, f.check) for f in check_cohort(KIDNEYS, summaries(*drawn))}


GOOD = [draw(seed) for seed in range(10)]


def test_summary_by_hand():
    label = np.zeros(GRID.shape, np.uint8)
    label[0:4, 0:2, 0:5] = 1
    summary = CaseSummary.of(np.zeros((1, *GRID.shape), np.float32), label, GRID)
    assert summary.volumes == {1: 80.0}
    assert summary.sideways == {1: pytest.approx((19.5 - 1.5) / 40)}  # to the patient's right


def test_nothing_to_say_about_good_cases():
    assert found(*GOOD) == set()


def test_the_same_image_and_the_same_label():
    image, label = GOOD[0]
    assert found(*GOOD, (image, GOOD[3][1] * 0 + draw(99)[1])) == {("c10", "", "same_image")}
    assert found(*GOOD, (draw(98)[0], label)) == {("c10", "", "same_label")}
    assert duplicate_scans(summaries(*GOOD, (image, draw(97)[1]), (image, draw(96)[1]))) == {"c10": "c0", "c11": "c0"}


def test_empty_labels_are_not_the_same():
    empty = np.zeros(GRID.shape, np.uint8)
    assert found(*GOOD, (draw(1001)[0], empty), (draw(1002)[0], empty)) == set()


def test_a_class_that_all_others_have():
    image, label = draw(50)
    label[label == 2] = 0
    assert found(*GOOD, (image, label)) == {("c10", "right kidney", "missing_class")}
    half = [(image, np.where(label == 2, 0, label)) for image, label in (draw(seed) for seed in range(60, 70))]
    assert "missing_class" not in {check for _, _, check in found(*GOOD, *half)}


def test_a_tiny_object():
    image, label = draw(50)
    label[label == 2] = 0
    label[30, 5, 2:4] = 2
    assert found(*GOOD, (image, label)) == {("c10", "right kidney", "small_volume")}


def test_left_and_right_exchanged():
    image, label = draw(50, first=31, second=9)
    assert found(*GOOD, (image, label)) == {(case, name, "laterality") for case in ("c10",) for name in KIDNEYS[1:]}


def test_no_side_is_wrong_for_what_lies_in_the_middle():
    assert found(*[draw(seed, first=15, second=25) for seed in range(8)], draw(50, first=17, second=24)) == set()


def test_a_few_cases_tell_nothing():
    image, label = draw(50, first=31, second=9)
    assert found(*GOOD[:3], (image, np.where(label == 2, 0, label))) == set()
