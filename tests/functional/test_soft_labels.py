from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.soft_labels import (
    evenly_smoothed,
    interpolate_labels,
    one_hot,
    renormalised,
    sharpen,
    smoothed_at_borders,
)


class TestOneHot:
    def test_by_hand(self):
        maps = one_hot(torch.tensor([[0, 2, IGNORE, 1]]), 3)
        assert maps.dtype == torch.float32
        assert maps.tolist() == [[[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]]

    @pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4)])
    def test_takes_any_grid_and_integer(self, shape):
        label = torch.randint(0, 3, (2, *shape), dtype=torch.uint8)
        label[0, 0] = IGNORE
        maps = one_hot(label, 3)
        assert maps.shape == (2, 3, *shape)
        assert torch.equal(maps.sum(1), (label != IGNORE).float())
        assert torch.equal(maps.argmax(1)[label != IGNORE], label[label != IGNORE].long())


class TestInterpolateLabels:
    LABEL, OTHER = torch.tensor([[0, 1, IGNORE, 2]]), torch.tensor([[2, 1, IGNORE, 0]])

    def test_by_hand(self):
        soft = interpolate_labels(self.LABEL, self.OTHER, 0.25, 3)
        assert soft.tolist() == [[[0.75, 0, 0, 0.25], [0, 1, 0, 0], [0.25, 0, 0, 0.75]]]

    def test_by_a_share_of_each_voxels_own(self):
        soft = interpolate_labels(self.LABEL, self.OTHER, torch.tensor([[0.5, 0.9, 0.1, 1.0]]), 3)
        assert_close(soft, torch.tensor([[[0.5, 0, 0, 1.0], [0, 1, 0, 0], [0.5, 0, 0, 0]]]))

    @pytest.mark.parametrize(("share", "end"), [(0.0, LABEL), (1.0, OTHER)])
    def test_its_ends_are_the_labels(self, share, end):
        assert torch.equal(interpolate_labels(self.LABEL, self.OTHER, share, 3), one_hot(end, 3))


def edge(*sides: int) -> Tensor:
    """The lower half of the first axis is the object."""
    label = torch.zeros(1, *sides, dtype=torch.long)
    label[:, sides[0] // 2 :] = 1
    return label


def by_voxel(label: Tensor, classes: int, sigma: float) -> Tensor:
    """The same, voxel by voxel."""
    known, spatial = label != IGNORE, label.shape[1:]
    smoothed = torch.zeros(len(label), classes, *spatial)
    for item, *at in known.nonzero().tolist():
        weights = torch.zeros(classes)
        for offset in itertools.product((-1, 0, 1), repeat=len(spatial)):
            there = [min(max(x + dx, 0), side - 1) for x, dx, side in zip(at, offset, spatial, strict=True)]
            if any(offset) and known[(item, *there)]:
                weights[label[(item, *there)]] += math.exp(-sum(dx * dx for dx in offset) / (2 * sigma**2))
        total = sum(
            math.exp(-sum(dx * dx for dx in offset) / (2 * sigma**2))
            for offset in itertools.product((-1, 0, 1), repeat=len(spatial))
            if any(offset)
        )
        own = torch.nn.functional.one_hot(label[(item, *at)], classes)
        smoothed[(item, slice(None), *at)] = (own + weights / total) / (1 + weights.sum() / total)
    return smoothed


class TestEvenlySmoothed:
    def test_by_hand(self):
        soft = evenly_smoothed(torch.tensor([[0, 2, IGNORE]]), 4, 0.1)
        assert_close(soft, torch.tensor([[[0.925, 0.025, 0], [0.025, 0.025, 0], [0.025, 0.925, 0], [0.025, 0.025, 0]]]))

    def test_by_nothing_is_the_label(self):
        label = torch.randint(0, 3, (2, 3, 4))
        assert torch.equal(evenly_smoothed(label, 3, 0.0), one_hot(label, 3))


class TestSmoothedAtBorders:
    @pytest.mark.parametrize(("sides", "kept"), [((6, 6), 0.8278), ((6, 6, 6), 0.8490)])
    def test_at_a_straight_edge(self, sides, kept):
        soft = smoothed_at_borders(edge(*sides), 2, 1.0)
        expected = torch.tensor([0, 0, 1 - kept, kept, 1, 1]).view(6, *[1] * (len(sides) - 1)).expand(sides)
        assert_close(soft[0, 1], expected, atol=5e-5, rtol=0)

    def test_a_single_voxel_keeps_half(self):
        label = torch.zeros(1, 5, 5, 5, dtype=torch.long)
        label[0, 2, 2, 2] = 1
        soft = smoothed_at_borders(label, 2, 1.0)
        assert_close(soft[0, 1, 2, 2, 2].item(), 0.5)
        assert_close(soft[0, 1].sum().item(), 1.0)

    def test_a_constant_label_stays_to_the_edge_of_the_image(self):
        label = torch.full((2, 4, 5), 2)
        assert_close(smoothed_at_borders(label, 3, 1.0), one_hot(label, 3))

    @pytest.mark.parametrize("shape", [(1, 7), (5, 4), (3, 4, 2)])
    @pytest.mark.parametrize("sigma", [0.5, 2.0])
    def test_is_what_a_loop_over_the_voxels_finds(self, shape, sigma):
        label = torch.randint(0, 3, (2, *shape), generator=torch.Generator().manual_seed(0))
        label[torch.rand(label.shape, generator=torch.Generator().manual_seed(1)) < 0.2] = IGNORE
        assert_close(smoothed_at_borders(label, 3, sigma), by_voxel(label, 3, sigma))

    def test_of_nothing_known_is_nothing(self):
        assert not smoothed_at_borders(torch.full((1, 3, 3), IGNORE), 2, 1.0).any()


def object_of(*probabilities: float) -> torch.Tensor:
    p = torch.tensor(probabilities)
    return torch.stack([1 - p, p]).unsqueeze(0)


class TestSharpen:
    @pytest.mark.parametrize(
        ("temperature", "expected"), [(1.0, 0.8), (0.5, 0.941176), (2.0, 0.666667)], ids=["same", "surer", "flatter"]
    )
    def test_by_hand(self, temperature, expected):
        assert_close(sharpen(object_of(0.8), temperature), object_of(expected), atol=1e-6, rtol=0)

    def test_three_classes(self):
        p = torch.tensor([0.5, 0.3, 0.2]).view(1, 3, 1)
        assert_close(sharpen(p, 0.5), p.square() / 0.38)

    def test_certainty_and_ignorance_stay(self):
        p = object_of(0.0, 1.0, 0.5)
        assert_close(sharpen(p, 0.1), p)


def test_renormalised_by_hand():
    """Sums of 0.8 and 0.4: the first is scaled, the second is too little to be known."""
    found = renormalised(torch.tensor([[[0.6, 0.1], [0.2, 0.3]]]))
    assert_close(found, torch.tensor([[[0.75, 0.0], [0.25, 0.0]]]))
