from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from segmend.core.errors import InputError
from segmend.noise import (
    CubeMorphology,
    MissingLabel,
    NoisyLabel,
    RadiusMorphology,
    Recipe,
    RotatedMorphology,
    calibrate,
    corrupt_label,
)


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


def phantoms(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    x, y, z = np.indices((48, 44, 24)) - np.array([24, 22, 12]).reshape(3, 1, 1, 1)
    return [
        ((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 < 1).astype(np.uint8)
        for a, b, c in rng.uniform((10, 9, 5), (17, 15, 9), (count, 3))
    ]


@pytest.mark.parametrize("wanted", [0.4148, 0.62, 0.8031])
@pytest.mark.parametrize(
    "recipe", [CubeMorphology(), RadiusMorphology(), RotatedMorphology()], ids=lambda r: type(r).__name__
)
def test_recipes_reach_the_dice_that_was_asked_for(recipe: Recipe, wanted: float) -> None:
    labels = phantoms(16)

    def mean_dice(strength: float) -> float:
        results = (
            corrupt_label(label, (1.0, 1.0, 1.5), recipe, np.random.default_rng(index), strength)
            for index, label in enumerate(labels)
        )
        return fmean(score for result in results for score in result.dice.values())

    assert mean_dice(calibrate(mean_dice, wanted)) == pytest.approx(wanted, abs=0.005)


@pytest.mark.parametrize("wanted", [0.0, 0.3, 0.5, 0.62, 0.9, 0.999, 1.0])
def test_the_strength_is_found_below_and_above_one(wanted: float) -> None:
    assert calibrate(lambda strength: max(1 - strength / 2, 0.0), wanted) == pytest.approx(2 - 2 * wanted, abs=0.01)


def test_a_dice_below_the_reach_of_a_recipe_is_refused_with_the_range() -> None:
    with pytest.raises(InputError, match=r"dice: a mean Dice of 0\.3 cannot be reached: this recipe gives 0\.500 to 1"):
        calibrate(lambda strength: max(1 - strength / 2, 0.5), 0.3)


def test_noise_that_jumps_past_the_dice_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"the nearest that this recipe gives is 0\.700.*corrupt more cases"):
        calibrate(lambda strength: 0.7 if strength > 0.4 else 1.0, 0.8)


def test_every_strength_is_tried_once() -> None:
    tried: list[float] = []

    def mean_dice(strength: float) -> float:
        tried.append(strength)
        return float(np.exp(-strength))

    assert calibrate(mean_dice, 0.1) == pytest.approx(-np.log(0.1), abs=0.05)
    assert len(tried) == len(set(tried)) <= 12


def test_missing_labels_cannot_go_below_their_probability() -> None:
    labels = phantoms(30)
    recipe = MissingLabel(probability=0.2)

    def mean_dice(strength: float) -> float:
        results = (
            corrupt_label(x, (1.0,) * 3, recipe, np.random.default_rng(i), strength) for i, x in enumerate(labels)
        )
        return fmean(score for result in results for score in result.dice.values())

    with pytest.raises(InputError, match="cannot be reached"):
        calibrate(mean_dice, 0.5)
