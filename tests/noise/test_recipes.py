from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.noise import (
    ClassSwap,
    CubeMorphology,
    Decision,
    InPlaneRotation,
    MarkovBoundary,
    MissingLabel,
    MixedNoise,
    PolygonSimplification,
    RadiusMorphology,
    Recipe,
    RotatedMorphology,
    SliceNoise,
    corrupt_label,
)

ALL = {
    "cube": CubeMorphology(),
    "radius": RadiusMorphology(),
    "missing": MissingLabel(),
    "missing_ends": MissingLabel(probability=1.0, part="ends"),
    "missing_middle": MissingLabel(probability=1.0, part="middle"),
    "missing_components": MissingLabel(probability=1.0, part="components"),
    "rotation": InPlaneRotation(angle_max=60),
    "rotated_morphology": RotatedMorphology(radius_max=4),
    "polygon": PolygonSimplification(),
    "markov": MarkovBoundary(steps=30, scatter_probability=0.01),
    "slices": SliceNoise(radius=3, jitter=1),
    "mixed": MixedNoise(),
    "swap": ClassSwap(),
    "swap_case": ClassSwap(within="case"),
}
every_recipe = pytest.mark.parametrize("recipe", ALL.values(), ids=ALL.keys())
dimensions = pytest.mark.parametrize("dimensions", [2, 3])
SPACING = (0.8, 1.0, 1.5)

Label = NDArray[np.uint8]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def phantom(dimensions: int = 3, seed: int = 0) -> Label:
    """Two ellipsoids, one with a core, that touch each other; ignored voxels here and there."""
    shape = (36, 30, 16)[:dimensions]
    x, y, *z = np.indices(shape) + rng(seed).uniform(-2, 2, dimensions).reshape(-1, *[1] * dimensions)
    height = (z[0] - 8) ** 2 / 40 if z else 0
    label = np.zeros(shape, dtype=np.uint8)
    label[(x - 12) ** 2 / 70 + (y - 12) ** 2 / 60 + height < 1] = 1
    label[(x - 12) ** 2 / 12 + (y - 12) ** 2 / 10 + height * 2 < 1] = 2
    label[(x - 25) ** 2 / 40 + (y - 18) ** 2 / 60 + height < 1] = 3
    label[rng(seed).random(shape) < 0.02] = IGNORE
    return label


def objects(*boxes: tuple[slice, ...], shape: tuple[int, ...]) -> Label:
    label = np.zeros(shape, dtype=np.uint8)
    for index, box in enumerate(boxes, start=1):
        label[box] = index
    return label


def applied(recipe: Recipe, label: Label, operation: str, spacing: Any = SPACING, **parameters: float) -> Label:
    decisions = {int(i): Decision(operation, parameters) for i in np.unique(label) if i not in (0, IGNORE)}
    return recipe.apply(label, spacing[: label.ndim], decisions)


@every_recipe
@dimensions
def test_at_strength_0_nothing_changes(recipe: Recipe, dimensions: int) -> None:
    label = phantom(dimensions)
    noisy = corrupt_label(label, SPACING[:dimensions], recipe, rng(), strength=0.0)
    np.testing.assert_array_equal(noisy.label, label)
    assert set(noisy.dice.values()) == {1.0}


@every_recipe
@dimensions
def test_noise_is_noise_but_nothing_else(recipe: Recipe, dimensions: int) -> None:
    changed = False
    for seed in range(6):
        label = phantom(dimensions, seed)
        before = label.copy()
        noisy = corrupt_label(label, SPACING[:dimensions], recipe, rng(seed)).label
        np.testing.assert_array_equal(label, before)
        assert noisy.dtype == np.uint8
        assert set(np.unique(noisy)) <= set(np.unique(label)) | {0}
        np.testing.assert_array_equal(noisy == IGNORE, label == IGNORE)
        changed |= not np.array_equal(noisy, label)
    assert changed


@every_recipe
def test_the_seed_decides_everything(recipe: Recipe) -> None:
    label = phantom()
    first, again = (corrupt_label(label, SPACING, recipe, rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.label, again.label)
    assert first.decisions == again.decisions
    others = [recipe.draw(label, rng(seed)) for seed in range(10)]
    assert any(other != others[0] for other in others)


@every_recipe
def test_what_was_written_down_repeats_the_noise(recipe: Recipe) -> None:
    label = phantom()
    noisy = corrupt_label(label, SPACING, recipe, rng(4), strength=0.7)
    written = json.loads(json.dumps({index: asdict(decision) for index, decision in noisy.decisions.items()}))
    read = {int(index): Decision(**fields) for index, fields in written.items()}
    rebuilt = type(recipe)(**recipe.arguments)
    np.testing.assert_array_equal(rebuilt.apply(label, SPACING, read), noisy.label)


@every_recipe
def test_more_strength_is_more_noise(recipe: Recipe) -> None:
    def mean_dice(strength: float) -> float:
        results = [corrupt_label(phantom(3, seed), SPACING, recipe, rng(seed), strength) for seed in range(8)]
        return float(np.mean([score for result in results for score in result.dice.values()]))

    harm = [1 - mean_dice(strength) for strength in (0.0, 0.3, 0.6, 1.0)]
    assert harm[0] == 0
    assert harm == sorted(harm)
    assert harm[1] < harm[3]
    assert harm[3] > 0.05


@every_recipe
@pytest.mark.parametrize("label", [np.zeros((5, 4, 3), np.uint8), np.full((5, 4), IGNORE, np.uint8)])
def test_a_label_without_objects_stays_as_it_is(recipe: Recipe, label: Label) -> None:
    noisy = corrupt_label(label, SPACING[: label.ndim], recipe, rng())
    np.testing.assert_array_equal(noisy.label, label)
    assert noisy.decisions == noisy.dice == {}


def test_objects_are_corrupted_one_by_one_and_the_later_class_has_a_contested_voxel() -> None:
    label = objects(np.s_[5:10, 5:10], np.s_[10:15, 5:10], shape=(20, 20))
    dilated = applied(CubeMorphology(), label, "dilate", side=3, rounding=0)
    eroded = applied(CubeMorphology(), label, "erode", side=3, rounding=0)
    np.testing.assert_array_equal(
        dilated, np.maximum(*[ndimage.grey_dilation(label * (label == i), 3) for i in (1, 2)])
    )
    np.testing.assert_array_equal(eroded, objects(np.s_[6:9, 6:9], np.s_[11:14, 6:9], shape=(20, 20)))


def test_the_published_noise_is_one_pass_of_a_full_cube_of_uniform_side() -> None:
    label = objects(np.s_[8:22, 8:22, 8:22], shape=(30, 30, 30))
    seen = []
    for seed in range(300):
        (decision,) = CubeMorphology().draw(label, rng(seed)).values()
        seen.append((decision.operation, decision.parameters["side"]))
    assert {side for _, side in seen} == set(range(3, 16))
    assert 0.4 < np.mean([operation == "dilate" for operation, _ in seen]) < 0.6
    for rounding in (0.0, 0.99):
        noisy = applied(CubeMorphology(), label, "erode", side=6, rounding=rounding)
        np.testing.assert_array_equal(noisy, ndimage.binary_erosion(label, np.ones((6, 6, 6))))


@pytest.mark.parametrize(("rounding", "side"), [(0.0, 4), (0.49, 4), (0.5, 5), (0.99, 5)])
def test_half_the_strength_is_half_the_growth_rounded_as_drawn(rounding: float, side: int) -> None:
    label = objects(np.s_[10:20, 10:20], shape=(30, 30))
    decision = Decision("dilate", {"side": 8, "rounding": rounding}, strength=0.5)  # 7 voxels of growth
    noisy = CubeMorphology().apply(label, (1, 1), {1: decision})
    np.testing.assert_array_equal(noisy, ndimage.binary_dilation(label, np.ones((side, side))))


def test_a_radius_is_in_mm() -> None:
    label = objects(np.s_[10:13, 10:13], shape=(24, 24))
    noisy = applied(RadiusMorphology(), label, "dilate", spacing=(1.0, 2.0), radius=3.0)
    assert np.flatnonzero(noisy[:, 11]).tolist() == list(range(7, 16))
    assert np.flatnonzero(noisy[11]).tolist() == list(range(9, 14))
    radii = [
        RadiusMorphology(radius_min=2, radius_max=3).draw(label, rng(i))[1].parameters["radius"] for i in range(50)
    ]
    assert 2 <= min(radii) < 2.2
    assert 2.8 < max(radii) <= 3


def test_a_quarter_turn_about_the_centroid_goes_from_the_first_axis_to_the_second() -> None:
    label = np.zeros((21, 21, 3), dtype=np.uint8)
    label[5:16, 10, 1] = 1
    label[15, 9:12, 2] = 1  # a head at the higher end, in another slice
    label[5, 9:12, 2] = 1  # and a tail, so that the centroid stays in the middle
    label[14, 11, 2] = 1
    label[6, 9, 2] = 1
    turned = applied(InPlaneRotation(), label, "rotate", spacing=(1, 1, 9), angle=90.0)
    np.testing.assert_array_equal(turned, np.rot90(label, -1))
    np.testing.assert_array_equal(applied(InPlaneRotation(), label, "rotate", spacing=(1, 1, 9), angle=0.0), label)


def test_a_turn_is_rigid_in_mm() -> None:
    label = objects(np.s_[10:31, 10:11], shape=(41, 21))  # 21 mm long
    turned = applied(InPlaneRotation(), label, "rotate", spacing=(1.0, 1.9), angle=90.0)
    assert np.argwhere(turned).tolist() == [[20, column] for column in range(5, 16)]


def test_slices_change_by_themselves_before_they_are_turned() -> None:
    label = phantom()
    label[label == IGNORE] = 0
    label[label > 1] = 1
    for operation in ("dilate", "erode"):
        noisy = applied(RotatedMorphology(), label, operation, radius=2.5, angle=0.0)
        slices = [
            applied(RadiusMorphology(), label[..., z], operation, radius=2.5) if label[..., z].any() else label[..., z]
            for z in range(label.shape[2])
        ]
        np.testing.assert_array_equal(noisy, np.stack(slices, axis=2))
    turned = applied(RotatedMorphology(), label, "dilate", radius=0.0, angle=40.0)
    np.testing.assert_array_equal(turned, applied(InPlaneRotation(), label, "rotate", angle=40.0))


@pytest.mark.parametrize(("place", "first"), [(0.0, 6), (0.5, 8), (1.0, 11)])
def test_slices_at_the_ends_or_in_the_middle_go_missing(place: float, first: int) -> None:
    label = objects(np.s_[2:4, 2:4, 6:16], shape=(6, 6, 20))
    ends = applied(MissingLabel(part="ends", share=0.5), label, "remove", place=place)
    middle = applied(MissingLabel(part="middle", share=0.5), label, "remove", place=place)
    assert np.flatnonzero(ends[2, 2]).tolist() == list(range(first, first + 5))
    np.testing.assert_array_equal(middle, label - ends)


def test_whole_objects_and_components_go_missing_as_often_as_was_asked() -> None:
    label = np.zeros((3, 2000), dtype=np.uint8)
    label[1, ::2] = 1
    assert 450 < applied(MissingLabel(part="components", share=0.5), label, "remove", seed=0).sum() < 550
    gone = [corrupt_label(label, SPACING[:2], MissingLabel(probability=0.3), rng(seed)).emptied for seed in range(200)]
    assert 40 < sum(map(bool, gone)) < 80


def test_an_inscribed_square_has_two_thirds_of_a_disc() -> None:
    x, y = np.indices((61, 61)) - 30
    disc = (x**2 + y**2 <= 25**2).astype(np.uint8)
    noisy = applied(PolygonSimplification(), disc, "polygon", vertices=4, start=0.0)
    assert noisy.sum() / disc.sum() == pytest.approx(2 / np.pi, abs=0.03)
    assert not (noisy & ~disc).any()


def test_a_contour_that_does_not_move_gives_back_the_object_with_its_holes_and_islands() -> None:
    mask = ndimage.gaussian_filter(rng().random((60, 50, 4)), (3, 3, 0)) > 0.5
    decision = Decision("polygon", {"vertices": 5, "start": 0.3}, strength=1e-9)
    np.testing.assert_array_equal(PolygonSimplification().apply_object(mask, SPACING, decision), mask)


@pytest.mark.parametrize("shape", [(25, 22), (15, 14, 9)])
def test_a_certain_walk_is_repeated_dilation_or_erosion(shape: tuple[int, ...]) -> None:
    label = (rng().random(shape) < 0.1).astype(np.uint8)
    label[3:12, 4:] = 1
    for outward, expected in (
        (1.0, ndimage.binary_dilation(label, iterations=3)),
        (0.0, ndimage.binary_erosion(label, iterations=3, border_value=1)),
    ):
        recipe = MarkovBoundary(steps=3, outward_probability=outward, flip_probability=1.0, blur=0.0)
        np.testing.assert_array_equal(applied(recipe, label, "drift", seed=0), expected)


def test_a_walk_that_only_looks_outward_never_shrinks() -> None:
    label = (phantom() == 1).astype(np.uint8)
    outward = MarkovBoundary(steps=40, outward_probability=1.0, blur=0.0)
    inward = MarkovBoundary(steps=40, outward_probability=0.0, blur=0.0)
    for seed in range(3):
        grown, shrunk = (applied(recipe, label, "drift", seed=seed) for recipe in (outward, inward))
        assert (grown >= label).all()
        assert (shrunk <= label).all()
        assert grown.sum() > 1.2 * label.sum() > 1.4 * shrunk.sum()


def test_half_a_walk_is_the_beginning_of_the_whole() -> None:
    label = phantom(2)
    short, long = MarkovBoundary(steps=20, blur=0.0), MarkovBoundary(steps=40, blur=0.0)
    half = {index: replace(decision, strength=0.5) for index, decision in long.draw(label, rng()).items()}
    whole = {index: replace(decision, strength=1.0) for index, decision in half.items()}
    np.testing.assert_array_equal(long.apply(label, (1, 1), half), short.apply(label, (1, 1), whole))


def test_scattered_flips_come_as_often_as_asked_and_smoothing_removes_lone_ones() -> None:
    label = objects(np.s_[40:60, 40:60], shape=(100, 100))
    rough = applied(MarkovBoundary(steps=0, scatter_probability=0.02, blur=0.0), label, "drift", seed=1)
    smooth = applied(MarkovBoundary(steps=0, scatter_probability=0.02, blur=1.0), label, "drift", seed=1)
    assert 150 < np.count_nonzero(rough != label) < 250
    corners_and_little_else = np.count_nonzero(smooth != label)
    assert corners_and_little_else < 20


def test_two_classes_change_places() -> None:
    label = objects(np.s_[1:4, 1:4], np.s_[4:8, 1:4], np.s_[9:11, 8:9], shape=(12, 10))
    label[0, 0] = IGNORE
    noisy = corrupt_label(label, (1, 1), ClassSwap(probability=1.0, within="case"), rng(1))
    swapped = {index: int(d.parameters["with"]) for index, d in noisy.decisions.items() if d.operation == "swap"}
    assert len(swapped) == 2
    assert all(swapped[other] == one for one, other in swapped.items())
    table = np.arange(256, dtype=np.uint8)
    table[list(swapped)] = list(swapped.values())
    np.testing.assert_array_equal(noisy.label, table[label])


def test_components_change_places_on_their_own() -> None:
    label = np.zeros((4, 3000), dtype=np.uint8)
    label[1, ::3], label[2, ::3] = 1, 2  # a thousand components of both classes
    noisy = corrupt_label(label, (1, 1), ClassSwap(probability=0.3), rng()).label
    swapped = noisy[1, ::3] == 2
    assert 250 < swapped.sum() < 350
    np.testing.assert_array_equal(noisy[2, ::3], np.where(swapped, 1, 2))
    np.testing.assert_array_equal(noisy > 0, label > 0)


def test_one_class_cannot_be_swapped() -> None:
    with pytest.raises(InputError, match=r"recipe ClassSwap.*only one.*such as CubeMorphology"):
        ClassSwap().check(classes=2)
    ClassSwap().check(classes=3)
    CubeMorphology().check(classes=2)


@pytest.mark.parametrize(
    ("recipe", "arguments", "message"),
    [
        (CubeMorphology, {"side_min": 0}, "side_min, side_max: are 0 and 15"),
        (CubeMorphology, {"side_min": 9, "side_max": 8}, "side_min, side_max: are 9 and 8"),
        (CubeMorphology, {"dilate_probability": 1.5}, "dilate_probability: is 1.5"),
        (RadiusMorphology, {"radius_min": -1.0}, "radius_min, radius_max: are -1.0 and 5.0"),
        (RotatedMorphology, {"radius_max": -1.0}, "radius_max: are 0 and -1.0"),
        (RotatedMorphology, {"angle_max": 200.0}, "angle_max: is 200.0 degrees"),
        (InPlaneRotation, {"angle_max": -1.0}, "angle_max: is -1.0 degrees"),
        (MissingLabel, {"share": -0.1}, "share: is -0.1"),
        (PolygonSimplification, {"vertices_min": 2}, "vertices_min, vertices_max: are 2 and 8"),
        (SliceNoise, {"radius": 2}, "jitter, radius: are 3 and 2"),
        (SliceNoise, {"missing": 1.1}, "missing: is 1.1"),
        (MarkovBoundary, {"steps": -1}, "steps: is -1"),
        (MarkovBoundary, {"blur": -1.0}, "blur: is -1.0"),
        (MarkovBoundary, {"flip_probability": 2.0}, "flip_probability: is 2.0"),
        (ClassSwap, {"probability": 2.0}, "probability: is 2.0"),
    ],
)
def test_senseless_arguments_are_refused(recipe: type[Recipe], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe(**arguments)
