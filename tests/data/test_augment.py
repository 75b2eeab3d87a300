from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.data.augment import LEFT_ATRIUM_PROTOCOL, NO_AUGMENTATION, Augmentation
from segmend.functional.geometry import Compose, Flip, QuarterTurn, Rotation, Zoom

EVERYTHING = replace(LEFT_ATRIUM_PROTOCOL, rotation=30, zoom=0.2, contrast=0.3, brightness=0.4, noise=0.2)


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


@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 8)])
def test_what_comes_from_outside_is_zero_and_ignored(shape: tuple[int, ...]) -> None:
    image, label = sample(4, *shape)
    warp = EVERYTHING.draw(rng(), 4, shape)
    new_image, new_label = EVERYTHING.apply(image + 10, label, warp, rng())
    outside = ~warp.inside(shape)
    assert 0.01 < outside.float().mean() < 0.5
    assert torch.equal(new_label == IGNORE, outside)
    assert torch.equal(new_image == 0, outside.unsqueeze(1).expand_as(new_image))
    assert set(new_label.unique().tolist()) == {0, 1, 2, IGNORE}


def test_a_batch_is_a_function_of_the_generators_seed() -> None:
    image, label = sample(3, 10, 10, 6)

    def batch(*seed: int) -> tuple[Tensor, Tensor]:
        one = rng(*seed)
        return EVERYTHING.apply(image, label, EVERYTHING.draw(one, 3, (10, 10, 6)), one)

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
    new_image, new_label = EVERYTHING.apply(image, label, EVERYTHING.draw(rng(), 2, (8, 8)), rng())
    assert torch.equal(image, copies[0])
    assert torch.equal(label, copies[1])
    assert new_image.dtype == image.dtype
    assert new_label.dtype == label.dtype


@pytest.mark.parametrize("field", ["rotation", "zoom", "contrast", "brightness", "noise"])
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_strengths_are_not_negative(field: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"^augmentation.{field}: {value} is not usable\. Give a number "):
        Augmentation(**{field: value})


@pytest.mark.parametrize("field", ["zoom", "contrast"])
def test_relative_changes_stay_below_one(field: str) -> None:
    with pytest.raises(InputError, match=r"1\.0 is not usable\. Give a number from 0 to below 1"):
        Augmentation(**{field: 1.0})
    assert Augmentation(rotation=180, brightness=2, noise=1).rotation == 180
