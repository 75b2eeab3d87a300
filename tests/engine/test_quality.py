from __future__ import annotations

import math

import numpy as np
import pytest

from segmend.data.preprocess import Normalisation, Preprocessing
from segmend.engine.quality import QualitySums, view_axes
from segmend.engine.task import Task

NAMES = ("background", "organ", "vessel")


def sums_of(classes, probabilities, spacing=(2.0, 3.0)):
    sums = QualitySums(np.array(classes, np.uint8), NAMES, spacing)
    for of_class in np.array(probabilities, np.float32):
        sums.add(of_class)
    return sums


@pytest.fixture
def four_voxels():
    """Organ twice, background twice; a third, a half, and nothing at all are uncertain."""
    third = 1 / 3
    return sums_of(
        [[1, 1], [0, 0]],
        [[[third, 0.5], [1.0, 0.0]], [[third, 0.5], [0.0, 1.0]], [[third, 0.0], [0.0, 0.0]]],
    )


def test_entropy_by_hand(four_voxels):
    entropy = four_voxels.entropy()
    assert entropy.dtype == np.float32
    np.testing.assert_allclose(entropy, [[1, math.log(2, 3)], [0, 0]], atol=1e-6)
    assert entropy.max() <= 1


def test_rows_by_hand(four_voxels):
    organ, vessel = four_voxels.rows("a")
    assert (organ.case, organ.label, vessel.label) == ("a", "organ", "vessel")
    assert organ.expected_dice == pytest.approx(2 * (5 / 6) / (2 + 11 / 6))
    assert (organ.volume, organ.expected_volume) == (12, pytest.approx(11))
    assert organ.mean_entropy == pytest.approx((1 + math.log(2, 3)) / 2)


def test_an_empty_mask_has_a_volume_and_nothing_else(four_voxels):
    vessel = four_voxels.rows("a")[1]
    assert math.isnan(vessel.expected_dice)
    assert math.isnan(vessel.mean_entropy)
    assert (vessel.volume, vessel.expected_volume) == (0, pytest.approx(2))


def test_a_certain_prediction():
    sums = sums_of([1, 2], [[0, 0], [1, 0], [0, 1]], spacing=(1.0,))
    assert [row.expected_dice for row in sums.rows("a")] == [1, 1]
    assert not sums.entropy().any()


@pytest.mark.parametrize(
    ("mirroring", "classes", "axes"), [((0, 2), 3, (0, 2)), ((), 2, ()), (None, 2, (0, 1, 2)), (None, 3, ())]
)
def test_views_are_flipped_where_that_confuses_no_classes(mirroring, classes, axes):
    preprocessing = Preprocessing((None,) * 3, (Normalisation(),))
    labels = {name: value for value, name in enumerate(NAMES[:classes])}
    assert view_axes(Task(("MR",), labels, 3, (8, 8, 8), preprocessing, "", mirroring)) == axes


def test_regions_have_the_probabilities_of_their_classes():
    classes = np.array([1, 2, 0, 2], np.uint8)
    maps = np.array([[0.1, 0.1, 0.8, 0.2], [0.6, 0.2, 0.1, 0.3], [0.3, 0.7, 0.1, 0.5]], np.float32)
    sums = QualitySums(classes, NAMES, (1.0,), regions={"whole": (1, 2), "core": (2,)})
    for of_class in maps:
        sums.add(of_class)
    whole, core = sums.rows("a")
    assert (whole.label, core.label) == ("whole", "core")
    assert (whole.volume, core.volume) == (3, 2)
    assert whole.expected_volume == pytest.approx(2.8)
    assert whole.expected_dice == pytest.approx(2 * 2.6 / (3 + 2.8))
    assert core.expected_dice == pytest.approx(2 * 1.2 / (2 + 1.6))
