from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import squared_dice_loss
from segmend.functional.soft_labels import one_hot
from segmend.functional.uncertainty import dirichlet, expected_cross_entropy, misleading_evidence
from segmend.methods import Step, TBraTS

LAST = Step(10, 10)


def evidence(*voxels: list[float]) -> Tensor:
    """Logits ``[1, C, voxels]`` of this evidence."""
    return torch.tensor(voxels).T.unsqueeze(0).expm1().log()


def batch(image: Tensor, label: list[int], quality: Quality = Quality.NOISY) -> Batch:
    return Batch(image, torch.tensor([label]), (quality,), ("only",))


class TestTerms:
    def test_without_evidence(self):
        terms = TBraTS(ImageAsLogits(3, 3)).loss(batch(torch.full((1, 3, 1), -1e3), [1]), LAST)
        # psi(3) - psi(1); and of probabilities 1/3 each, Dice losses 1, 1 - (2/3) / (10/9) and 1.
        assert terms["expected"].item() == pytest.approx(1.5, abs=1e-4)
        assert terms["dice"].item() == pytest.approx((1 + 0.4 + 1) / 3, abs=1e-4)
        assert terms["misleading"].item() == pytest.approx(0, abs=1e-6)

    def test_with_evidence_for_the_label(self):
        terms = TBraTS(ImageAsLogits(3, 3)).loss(batch(evidence([8.0, 1e-6, 1e-6]), [0]), LAST)
        assert terms["expected"].item() == pytest.approx(0.2111, abs=1e-4)
        assert terms["misleading"].item() == pytest.approx(0, abs=1e-5)

    def test_have_their_weights(self):
        random = torch.Generator().manual_seed(0)
        image = torch.randn(1, 3, 20, generator=random)
        label = torch.randint(0, 3, (1, 20), generator=random)
        label[0, :5] = IGNORE
        alpha = dirichlet(image[:, :, 5:])
        known = label[:, 5:]
        dice = squared_dice_loss(alpha / alpha.sum(1, keepdim=True), one_hot(known, 3)).mean()
        terms = TBraTS(ImageAsLogits(3, 3), dice=0.5, divergence=3.0).loss(batch(image, label[0].tolist()), LAST)
        assert_close(terms["expected"], expected_cross_entropy(alpha, known).mean())
        assert_close(terms["dice"], 0.5 * dice)
        assert_close(terms["misleading"], 3 * misleading_evidence(alpha, known).mean())

    @pytest.mark.parametrize(("index", "share"), [(0, 0), (2, 0.5), (4, 1), (9, 1)])
    def test_misleading_evidence_counts_more_and_more(self, index, share):
        method, given = TBraTS(ImageAsLogits(3, 3), ramp_length=0.4), batch(evidence([2.0, 3.0, 1.0]), [1])
        terms, full = method.loss(given, Step(index, 10)), method.loss(given, LAST)
        assert_close(terms["misleading"], share * full["misleading"])
        assert_close(terms["expected"], full["expected"])

    def test_there_are_none_without_labels(self):
        assert TBraTS(ImageAsLogits(3, 3)).loss(batch(evidence([2.0, 3.0, 1.0]), [IGNORE], Quality.NONE), LAST) == {}


class TestPrediction:
    IMAGE = evidence([8.0, 1.0, 1.0], [1.0, 0.5, 0.5])

    def test_is_the_mean_of_the_distribution(self):
        expected = torch.tensor([[9 / 13, 2 / 5], [2 / 13, 1.5 / 5], [2 / 13, 1.5 / 5]])
        assert_close(TBraTS(ImageAsLogits(3, 3)).predict(self.IMAGE)[0], expected)

    def test_says_how_uncertain_it_is(self):
        method = TBraTS(ImageAsLogits(3, 3))
        assert_close(method.uncertainty(self.IMAGE), torch.tensor([[3 / 13, 3 / 5]]))
        assert_close(method.uncertainty(torch.full((1, 3, 1), -math.inf)), torch.ones(1, 1))
