from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import PickAndLearn, Step
from segmend.networks import VNet

STEP = Step(5, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


def method(**arguments: Any) -> PickAndLearn:
    torch.manual_seed(0)
    return PickAndLearn(VNet(1, 2, 2, width=2), **{"width": 4, **arguments}).eval()


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 1, 16, 16, generator=random)
    label = torch.randint(0, 2, (len(quality), 16, 16), generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def losses(made: PickAndLearn, given: Batch) -> Tensor:
    logits = made.network(given.image)
    return torch.stack([cross_entropy_dice(logits[[row]], given.label[[row]]) for row in range(len(logits))])


class TestLoss:
    def test_is_the_weighted_sum_of_the_samples(self, monkeypatch):
        made, mixed = method(), batch(EXPERT, NOISY, NOISY)
        monkeypatch.setattr(made, "weights", lambda *_: torch.tensor([0.2, 0.7, 0.1]))
        expected = (losses(made, mixed) * torch.tensor([0.2, 0.7, 0.1])).sum()
        assert_close(made.loss(mixed, STEP), {"weighted": expected})

    def test_without_a_bound_is_the_mean_of_the_samples(self):
        made, mixed = method(bound=0.0), batch(EXPERT, NOISY, NOISY, NOISY)
        assert_close(made.loss(mixed, STEP)["weighted"], losses(made, mixed).mean())

    def test_raises_the_weights_of_samples_with_a_small_loss(self, monkeypatch):
        made, mixed = method(), batch(EXPERT, NOISY, NOISY)
        scores = torch.zeros(3, requires_grad=True)
        monkeypatch.setattr(made.quality, "forward", lambda *_: scores)
        made.loss(mixed, STEP)["weighted"].backward()
        each = losses(made, mixed).detach()
        assert_close(scores.grad, 2 / 3 * (each - each.mean()))  # of a softmax that is uniform, times lambda

    def test_trains_both_networks(self):
        made = method()
        made.loss(batch(EXPERT, NOISY, NOISY), STEP)["weighted"].backward()
        assert made.network.head.weight.grad.any()
        assert made.quality.trunk[0][0].weight.grad.any()

    def test_leaves_unlabelled_samples_out(self):
        made, mixed = method(), batch(NOISY, NONE, EXPERT)
        alone = Batch(mixed.image[[0, 2]], mixed.label[[0, 2]], (NOISY, NOISY), ("a", "b"))
        assert_close(made.loss(mixed, STEP), made.loss(alone, STEP))


class TestWeights:
    def test_add_up_to_1_and_move_with_the_samples(self):
        made, mixed = method().train(), batch(NOISY, NOISY, NOISY, NOISY)
        weights = made.weights(mixed.image, mixed.label)
        assert weights.sum().item() == pytest.approx(1)
        assert weights.unique().numel() == 4
        order = [2, 0, 3, 1]
        assert_close(made.weights(mixed.image[order], mixed.label[order]), weights[order])

    def test_samples_without_any_known_voxel_have_none(self):
        made, mixed = method(), batch(NOISY, NOISY, NOISY)
        mixed.label[1] = IGNORE
        weights = made.weights(mixed.image, mixed.label)
        assert weights[1] == 0
        assert weights.sum().item() == pytest.approx(1)

    def test_labels_that_have_nothing_to_do_with_their_images_lose_weight(self):
        made = method(width=2).train()
        random = torch.Generator().manual_seed(0)
        label = torch.zeros(32, 16, 16, dtype=torch.long)
        for scan, (x, y) in enumerate(torch.randint(2, 8, (32, 2), generator=random).tolist()):
            label[scan, x : x + 6, y : y + 6] = 1
        image = 2.0 * label.unsqueeze(1) + 0.3 * torch.randn(32, 1, 16, 16, generator=random)
        given = torch.cat([label[:20], label[20:].roll(1, 0).transpose(1, 2)])  # the last are someone else's
        optimiser = torch.optim.SGD(made.parameters(), lr=0.1, momentum=0.9)
        for _ in range(60):
            rows = torch.randperm(32, generator=random)[:8]
            optimiser.zero_grad()
            batch_ = Batch(image[rows], given[rows], (NOISY,) * 8, ("",) * 8)
            made.loss(batch_, STEP)["weighted"].backward()
            optimiser.step()
        with torch.no_grad():
            weights = made.weights(image, given)
        assert weights[:20].mean() > 1.5 * weights[20:].mean()  # 1.8 on one processor


def test_takes_labelled_samples_of_any_quality():
    assert PickAndLearn.needs == Composition(any_labelled=4)
