from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice, soft_cross_entropy_dice
from segmend.functional.soft_labels import one_hot
from segmend.methods import Mixup, Step
from segmend.methods.noisy import mixup

STEP = Step(3, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 2, 4, 4, generator=random)
    label = torch.randint(0, 2, (len(quality), 4, 4), generator=random)
    label[0, 0] = IGNORE
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


@pytest.fixture
def draw(monkeypatch):
    """Decides what is drawn."""

    def decide(partners: list[int], shares: list[float]) -> None:
        monkeypatch.setattr(torch, "randperm", lambda count: torch.tensor(partners))
        monkeypatch.setattr(mixup, "beta_shares", lambda image, alpha: torch.tensor(shares))

    return decide


def test_images_and_labels_are_mixed_in_the_same_way(draw):
    draw([1, 2, 0], [0.75, 0.5, 1.0])
    given, method = batch(NOISY, EXPERT, NOISY), Mixup(ImageAsLogits())
    term = method.loss(given, STEP)["mixed"]
    (a, b, c), soft = given.image, one_hot(given.label, 2)
    assert_close(method.network.inputs[0], torch.stack([0.75 * a + 0.25 * b, 0.5 * b + 0.5 * c, c]))
    (p, q, r), known = soft, (given.label[0] != IGNORE) * 1.0
    # The last is all of the third sample, but what is unknown of its partner is unknown still.
    target = torch.stack([(0.75 * p + 0.25 * q) * known, 0.5 * q + 0.5 * r, r * known])
    assert_close(term, soft_cross_entropy_dice(method.network.inputs[0], target))


def test_without_mixing_it_is_plain_training(draw):
    draw([0, 1], [0.3, 0.9])
    given = batch(NOISY, EXPERT)
    assert_close(Mixup(ImageAsLogits()).loss(given, STEP)["mixed"], cross_entropy_dice(given.image, given.label))


def test_shares_are_drawn_from_alpha(monkeypatch):
    asked = []
    monkeypatch.setattr(mixup, "beta_shares", lambda image, alpha: asked.append(alpha) or torch.ones(len(image)))
    Mixup(ImageAsLogits(), alpha=0.3).loss(batch(NOISY), STEP)
    assert asked == [0.3]


def test_unlabelled_samples_are_not_mixed_in():
    given, method = batch(NOISY, NONE, EXPERT), Mixup(ImageAsLogits())
    torch.manual_seed(0)
    with_them = method.loss(given, STEP)
    rows = [0, 2]
    torch.manual_seed(0)
    without = method.loss(Batch(given.image[rows], given.label[rows], (NOISY, EXPERT), ("0", "2")), STEP)
    assert_close(with_them, without)
    assert method.loss(Batch(given.image, given.label, (NONE,) * 3, given.cases), STEP) == {}
