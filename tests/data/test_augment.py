from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.data.augment import LEFT_ATRIUM_PROTOCOL, NO_AUGMENTATION, PLANNED, PROBABILITIES, Augmentation
from segmend.functional.geometry import Compose, Flip, QuarterTurn, Rotation, Zoom

EVERYTHING = replace(LEFT_ATRIUM_PROTOCOL, rotation=30, zoom=0.2, contrast=0.3, brightness=0.4, noise=0.2)
RICH = replace(EVERYTHING, gamma=0.3, blur=1.5, low_resolution=2.0, tilt=25)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed or 0)


def sample(*shape: int) -> tuple[Tensor, Tensor]:
    """Images of two channels and labels of three classes."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(shape[0], 2, *shape[1:], generator=generator)
    return image, torch.randint(0, 3, shape, generator=generator)


def drawn(augmentation: Augmentation, count: int, shape: tuple[int, ...], kind: type) -> list:
    warp = augmentation.draw(rng(), count, shape)
    assert isinstance(warp, Compose)
    return [part for part in warp.warps if isinstance(part, kind)]


def test_the_left_atrium_protocol_only_moves_voxels_of_image_and_label_together() -> None:
    label = torch.arange(4 * 6 * 6 * 3).view(4, 6, 6, 3)
    image = label.unsqueeze(1).float()
    warp = LEFT_ATRIUM_PROTOCOL.draw(rng(), 4, (6, 6, 3))
    moved_image, moved_label = LEFT_ATRIUM_PROTOCOL.apply(image, label, warp, rng())
    assert warp.exact
    assert torch.equal(moved_image[:, 0].long(), moved_label)
    assert torch.equal(moved_label.flatten(1).sort(1).values, label.flatten(1))
    assert not any(torch.equal(moved, given) for moved, given in zip(moved_label, label, strict=True))
    assert torch.equal(warp.inverse()(moved_image), image)


@pytest.mark.parametrize(("classes", "mirrored"), [(2, True), (3, False), (20, False)])
def test_mirroring_is_used_by_default_only_where_it_confuses_no_classes(classes: int, mirrored: bool) -> None:
    resolved = Augmentation().for_classes(classes)
    assert (resolved.quarter_turns, resolved.flips) == (mirrored, mirrored)
    kinds = {type(warp) for warp in resolved.draw(rng(), 2, (6, 6, 3)).warps}
    assert (QuarterTurn in kinds) is mirrored


@pytest.mark.parametrize("asked", [True, False])
def test_what_is_asked_for_is_kept_for_any_number_of_classes(asked: bool) -> None:
    for classes in (2, 3):
        resolved = Augmentation(quarter_turns=asked, flips=asked, noise=0.3).for_classes(classes)
        assert resolved == Augmentation(quarter_turns=asked, flips=asked, noise=0.3)


def test_axes_are_not_mirrored_while_the_number_of_classes_is_unknown() -> None:
    (flip,) = drawn(Augmentation(), 50, (6, 6), Flip)
    assert drawn(Augmentation(), 50, (6, 6), QuarterTurn) == []
    label = torch.arange(36).view(1, 6, 6).expand(50, 6, 6)
    assert torch.equal(flip(label, mode="nearest", fill=IGNORE), label)


def test_the_left_atrium_protocol_turns_then_flips_once() -> None:
    warp = LEFT_ATRIUM_PROTOCOL.draw(rng(), 4000, (112, 112, 80))
    assert isinstance(warp, Compose)
    turn, flip = warp.warps
    assert isinstance(turn, QuarterTurn)
    assert turn.plane == (0, 1)
    assert isinstance(flip, Flip)
    assert (flip.axes.sum(1) == 1).all()
    assert not flip.axes[:, 2].any()
    pairs = Counter(zip(turn.turns.tolist(), flip.axes[:, 1].tolist(), strict=True))
    assert set(pairs) == {(k, axis) for k in range(4) for axis in (False, True)}
    assert all(400 < times < 600 for times in pairs.values())  # 500 expected, sd 21


@pytest.mark.parametrize("shape", [(8, 10), (8, 10, 10)])
def test_a_plane_that_is_not_square_only_gets_half_turns(shape: tuple[int, ...]) -> None:
    (turn,) = drawn(LEFT_ATRIUM_PROTOCOL, 200, shape, QuarterTurn)
    assert Counter(turn.turns.tolist()).keys() == {0, 2}
    image, label = sample(200, *shape)
    LEFT_ATRIUM_PROTOCOL.apply(image, label, LEFT_ATRIUM_PROTOCOL.draw(rng(), 200, shape), rng())


def test_nothing_is_done_that_was_not_asked_for() -> None:
    none = NO_AUGMENTATION
    image, label = sample(3, 5, 7, 4)
    new_image, new_label = none.apply(image, label, none.draw(rng(), 3, (5, 7, 4)), rng())
    assert torch.equal(new_image, image)
    assert torch.equal(new_label, label)
    assert drawn(replace(LEFT_ATRIUM_PROTOCOL, flips=False), 3, (5, 5), Rotation) == []
    assert drawn(LEFT_ATRIUM_PROTOCOL, 3, (5, 5), Zoom) == []


def test_angles_and_factors_stay_in_their_range_and_fill_it() -> None:
    augmentation = replace(LEFT_ATRIUM_PROTOCOL, rotation=15, zoom=0.2)
    (rotation,) = drawn(augmentation, 4000, (9, 9, 9), Rotation)
    assert rotation.plane == (0, 1)
    assert rotation.degrees.abs().max() <= 15
    assert rotation.degrees.min() < -14.5
    assert rotation.degrees.max() > 14.5
    (zoom,) = drawn(augmentation, 4000, (9, 9, 9), Zoom)
    assert zoom.factors.shape == (4000, 1)
    assert 0.8 <= zoom.factors.min() < 0.81
    assert 1.19 < zoom.factors.max() <= 1.2
    middle = (np.log(0.8) + np.log(1.2)) / 2  # log-uniform
    assert zoom.factors.log().mean().item() == pytest.approx(middle, abs=0.01)


@pytest.mark.parametrize("augmentation", [EVERYTHING, RICH])
@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 8)])
def test_what_comes_from_outside_is_zero_and_ignored(shape: tuple[int, ...], augmentation: Augmentation) -> None:
    image, label = sample(4, *shape)
    warp = augmentation.draw(rng(), 4, shape)
    new_image, new_label = augmentation.apply(image + 10, label, warp, rng())
    outside = ~warp.inside(shape)
    assert 0.01 < outside.float().mean() < 0.6
    assert torch.equal(new_label == IGNORE, outside)
    assert torch.equal(new_image == 0, outside.unsqueeze(1).expand_as(new_image))
    assert set(new_label.unique().tolist()) == {0, 1, 2, IGNORE}


@pytest.mark.parametrize("augmentation", [EVERYTHING, RICH, replace(RICH, occasional=True)])
def test_a_batch_is_a_function_of_the_generators_seed(augmentation: Augmentation) -> None:
    image, label = sample(12, 10, 10, 6)

    def batch(*seed: int) -> tuple[Tensor, Tensor]:
        one = rng(*seed)
        return augmentation.apply(image, label, augmentation.draw(one, 12, (10, 10, 6)), one)

    before = torch.random.get_rng_state()
    first, again, other = batch(5, 1), batch(5, 1), batch(5, 2)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[1], other[1])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_warp_can_be_replayed() -> None:
    image, label = sample(3, 10, 10, 6)
    geometry = replace(LEFT_ATRIUM_PROTOCOL, rotation=20, zoom=0.1)
    used, unused = rng(3), rng(3)
    warp = geometry.draw(rng(), 3, (10, 10, 6))
    first = geometry.apply(image, label, warp, used)
    again = geometry.apply(image, label, warp, rng(4))
    assert torch.equal(first[0], again[0])
    assert used.random() == unused.random()


def test_contrast_multiplies_each_channel_of_each_sample() -> None:
    plain = replace(NO_AUGMENTATION, contrast=0.3)
    image, label = sample(200, 4, 4)
    changed, _ = plain.apply(image, label, plain.draw(rng(), 200, (4, 4)), rng())
    factors = (changed / image).flatten(2)
    torch.testing.assert_close(factors, factors[..., :1].expand_as(factors))
    assert 0.7 <= factors.min() < 0.72
    assert 1.28 < factors.max() <= 1.3
    assert (factors[:, 0, 0] != factors[:, 1, 0]).all()


def test_brightness_shifts_each_channel_of_each_sample() -> None:
    plain = replace(NO_AUGMENTATION, brightness=0.5)
    image, label = sample(200, 4, 4)
    changed, _ = plain.apply(image, label, plain.draw(rng(), 200, (4, 4)), rng())
    shifts = (changed - image).flatten(2)
    torch.testing.assert_close(shifts, shifts[..., :1].expand_as(shifts), atol=1e-6, rtol=0)
    assert -0.5 <= shifts.min() < -0.48
    assert 0.48 < shifts.max() <= 0.5
    assert (shifts[:, 0, 0] != shifts[:, 1, 0]).all()


def test_noise_is_gaussian_of_a_strength_drawn_for_each_sample() -> None:
    plain = replace(NO_AUGMENTATION, noise=0.3)
    image, label = sample(60, 30, 30)
    changed, new_label = plain.apply(image, label, plain.draw(rng(), 60, (30, 30)), rng())
    noise = (changed - image).flatten(1)
    deviations = noise.std(1)
    assert 0 <= deviations.min() < 0.03
    assert 0.27 < deviations.max() < 0.31
    assert (noise.mean(1) / deviations).abs().max() < 0.1  # 1800 voxels: sd 0.024
    kurtosis = ((noise / deviations.unsqueeze(1)) ** 4).mean()
    assert kurtosis.item() == pytest.approx(3, abs=0.1)
    assert torch.equal(new_label, label)


def test_the_given_tensors_stay_as_they_were() -> None:
    image, label = sample(2, 8, 8)
    copies = image.clone(), label.clone()
    new_image, new_label = RICH.apply(image, label, RICH.draw(rng(), 2, (8, 8)), rng())
    assert torch.equal(image, copies[0])
    assert torch.equal(label, copies[1])
    assert new_image.dtype == image.dtype
    assert new_label.dtype == label.dtype


@pytest.mark.parametrize("field", sorted(PLANNED.strengths.keys() - {"occasional"}))
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_strengths_are_not_negative(field: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"^augmentation.{field}: {value} is not usable\. Give a number "):
        Augmentation(**{field: value})


@pytest.mark.parametrize("field", ["zoom", "contrast", "gamma"])
def test_relative_changes_stay_below_one(field: str) -> None:
    with pytest.raises(InputError, match=r"1\.0 is not usable\. Give a number from 0 to below 1"):
        Augmentation(**{field: 1.0})
    assert Augmentation(rotation=180, brightness=2, noise=1).rotation == 180


def test_a_factor_of_resolution_is_0_or_at_least_1() -> None:
    for value in (None, 0, 1, 2.5):
        assert Augmentation(low_resolution=value).low_resolution == value
    with pytest.raises(InputError, match=r"low_resolution: 0\.5 is not usable\. Give a number that is 0 or at least 1"):
        Augmentation(low_resolution=0.5)


@pytest.mark.parametrize("change", ["gamma", "blur", "low_resolution"])
@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 16), (40, 40, 8)])
def test_intensity_leaves_labels_as_they_are(change: str, shape: tuple[int, ...]) -> None:
    augmentation = replace(NO_AUGMENTATION, **{change: {"gamma": 0.4, "blur": 2.0, "low_resolution": 3.0}[change]})
    image, label = sample(3, *shape)
    label[0, 0] = IGNORE
    changed, new_label = augmentation.apply(image, label, augmentation.draw(rng(), 3, shape), rng())
    assert torch.equal(new_label, label)
    assert (changed != image).flatten(2).any(2).double().mean() > 0.5  # a small sigma does nothing
    assert torch.isfinite(changed).all()


@pytest.mark.parametrize("change", ["blur", "low_resolution"])
@pytest.mark.parametrize(("sides", "across"), [((40, 40, 8), None), ((12, 12, 12), False)])
def test_resolution_does_not_mix_thick_slices(change: str, sides: tuple[int, ...], across: bool | None) -> None:
    augmentation = replace(NO_AUGMENTATION, across_slices=across, **{change: 2.0})
    image = torch.zeros(8, 1, *sides)
    image[..., 4] = torch.randn(8, 1, *sides[:2], generator=torch.Generator().manual_seed(0))
    label = torch.zeros(8, *sides, dtype=torch.long)
    changed, _ = augmentation.apply(image, label, augmentation.draw(rng(), 8, sides), rng())
    assert not changed[..., [0, 1, 2, 3, 5, 6, 7]].any()
    through = replace(augmentation, across_slices=True)
    changed, _ = through.apply(image, label, through.draw(rng(), 8, sides), rng())
    assert changed[..., [3, 5]].any()


def test_tilt_turns_about_the_other_axes_of_volumes() -> None:
    turns = drawn(replace(NO_AUGMENTATION, rotation=10, tilt=20), 3000, (9, 9, 9), Rotation)
    assert [turn.plane for turn in turns] == [(0, 1), (0, 2), (1, 2)]
    for turn, limit in zip(turns, (10, 20, 20), strict=True):
        assert 0.98 * limit < turn.degrees.abs().max() <= limit
    assert not torch.equal(turns[1].degrees, turns[2].degrees)


@pytest.mark.parametrize(
    ("shape", "across", "tilted"),
    [
        ((9, 9), None, False),
        ((9, 9), True, False),
        ((9, 9, 3), None, True),
        ((10, 9, 3), None, False),
        ((10, 9, 3), True, True),
        ((9, 9, 9), False, False),
    ],
)
def test_thick_slices_are_not_tilted(shape: tuple[int, ...], across: bool | None, tilted: bool) -> None:
    turns = drawn(replace(NO_AUGMENTATION, tilt=20, across_slices=across), 4, shape, Rotation)
    assert bool(turns) is tilted


def test_occasional_changes_are_as_frequent_as_stated() -> None:
    often, count = replace(RICH, occasional=True), 4000
    turns = drawn(often, count, (3, 3, 3), Rotation)
    (zoom,) = drawn(often, count, (3, 3, 3), Zoom)
    turned = [turn.degrees != 0 for turn in turns]
    assert all(torch.equal(turned[0], other) for other in turned[1:])
    found = {"rotation": turned[0].double().mean(), "zoom": (zoom.factors != 1).double().mean()}
    image, label = sample(count, 6, 6)
    for name in ("gamma", "blur", "low_resolution", "contrast", "brightness", "noise"):
        only = replace(NO_AUGMENTATION, occasional=True, **{name: getattr(RICH, name)})
        changed, _ = only.apply(image, label, only.draw(rng(1), count, (6, 6)), rng(1))
        touched = (changed != image).flatten(2).any(2).double()
        found[name] = touched.mean()
        by_channel = name in ("blur", "low_resolution")
        assert torch.equal(touched[:, 0], touched[:, 1]) is not by_channel
    for name, share in found.items():
        # A blur or factor near its neutral value changes no voxel of so small a patch.
        low = 0.55 if name in ("blur", "low_resolution") else 0.85
        assert low * PROBABILITIES[name] < share < 1.15 * PROBABILITIES[name], name


def test_samples_left_out_of_occasional_changes_keep_their_bits() -> None:
    often = replace(PLANNED, mirror=(0, 1, 2))
    image, label = sample(200, 8, 8, 8)
    warp = often.draw(rng(2), 200, (8, 8, 8))
    _, new_label = often.apply(image, label, warp, rng(3))
    still = (warp.matrix().abs() == torch.eye(3)).flatten(1).all(1)
    assert 100 < still.sum() < 150  # 0.8 * 0.8 of them are neither turned nor scaled
    mirrored = torch.stack(
        [x.flip([a for a in range(3) if m[a, a] < 0]) for x, m in zip(label, warp.matrix(), strict=True)]
    )
    assert torch.equal(new_label[still], mirrored[still])


@pytest.mark.parametrize("name", ["gamma", "blur", "low_resolution", "tilt", "across_slices", "occasional"])
def test_what_is_new_draws_no_random_number_where_it_is_off(name: str) -> None:
    image, label = sample(3, 8, 8, 8)
    used = []
    for value in (None, 0):
        one = rng(7)
        off = replace(EVERYTHING, **{name: value})
        used.append((*off.apply(image, label, off.draw(one, 3, (8, 8, 8)), one), one.random()))
    assert all(torch.equal(a, b) for a, b in zip(used[0][:2], used[1][:2], strict=True))
    assert used[0][2] == used[1][2]


def test_strengths_leave_mirroring_out() -> None:
    assert Augmentation(flips=True, mirror=[0]).strengths == Augmentation().strengths
    assert Augmentation(blur=1.0).strengths == {**Augmentation().strengths, "blur": 1.0}
