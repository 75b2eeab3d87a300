from __future__ import annotations

import numpy as np
import pytest

from segmend.audit.checks import check_label, mirrored
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


def test_crumbs(scan):
    image, label = scan
    label[30, 20, 10] = label[20, 32:34, 10] = 1
    found = checks(image, label)["small_components"]
    assert (found.label, found.voxels) == ("organ", 3)
    assert found.detail.startswith("2 of 3 pieces")


def test_two_large_pieces_are_no_crumbs(scan, ball):
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
        ((axis, before, after),) = mirrored(predicted[::-1], predicted)
        assert (axis, before, after) == (0, 0, pytest.approx(1, abs=0.2))

    def test_a_symmetric_one_is_not(self, ball):
        predicted = ball((31, 31), (15, 15), 9).astype(np.uint8)
        assert list(mirrored(predicted, predicted)) == []
        assert list(mirrored(np.zeros_like(predicted), predicted)) == []
