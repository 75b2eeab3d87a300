from __future__ import annotations

import numpy as np
import pytest

from segmend.noise import CubeMorphology, MissingLabel, NoisyLabel, corrupt_label


def corrupted(label: np.ndarray, recipe: CubeMorphology | MissingLabel) -> NoisyLabel:
    return corrupt_label(label, (1.0,) * label.ndim, recipe, np.random.default_rng(0))


def small_square() -> np.ndarray:
    label = np.zeros((30, 30), dtype=np.uint8)
    label[10:15, 10:15] = 1
    return label


def test_published_noise_may_empty_a_class_and_says_so() -> None:
    recipe = CubeMorphology(side_min=15, dilate_probability=0.0)
    noisy = corrupted(small_square(), recipe)
    assert not noisy.label.any()
    assert noisy.emptied == {1}
    assert noisy.dice == {1: 0.0}
    assert noisy.decisions[1].strength == 1.0


def test_an_object_that_is_to_be_kept_is_halved_until_something_is_left() -> None:
    recipe = CubeMorphology(side_min=15, dilate_probability=0.0, keep_objects=True)
    noisy = corrupted(small_square(), recipe)
    # Sides 15 and 8 are longer than 5 voxels; a quarter of 14 voxels is 3.5, so the side is 4 or 5.
    assert noisy.decisions[1].strength == 0.25
    assert noisy.emptied == set()
    rounding = noisy.decisions[1].parameters["rounding"]
    left = (5 - (4 if rounding < 0.5 else 5) + 1) ** 2
    assert noisy.label.sum() == left
    assert noisy.dice == {1: pytest.approx(2 * left / (25 + left))}


def test_an_object_that_nothing_spares_is_left_alone_in_the_end() -> None:
    label = np.zeros((30, 30), dtype=np.uint8)
    label[10, 10] = 1
    noisy = corrupted(label, CubeMorphology(side_min=400, side_max=400, dilate_probability=0.0, keep_objects=True))
    np.testing.assert_array_equal(noisy.label, label)
    assert noisy.decisions[1].strength == 0.0


@pytest.mark.parametrize("keep", [False, True])
def test_a_core_is_not_swallowed_by_its_shell_where_objects_are_kept(keep: bool) -> None:
    label = np.zeros((40, 40), dtype=np.uint8)
    label[10:30, 10:30] = 2
    label[17:23, 17:23] = 1
    noisy = corrupted(label, CubeMorphology(side_min=9, side_max=9, dilate_probability=1.0, keep_objects=keep))
    assert noisy.emptied == (set() if keep else {1})
    assert (noisy.decisions[2].strength < 1) == keep


def test_what_is_removed_on_purpose_is_not_brought_back() -> None:
    noisy = corrupted(small_square(), MissingLabel(probability=1.0))
    assert noisy.emptied == {1}
    assert noisy.decisions[1].strength == 1.0
