from __future__ import annotations

import math

import pytest
import torch
from semi_batches import batch_of, logits_of, random_batch
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Composition
from segmend.core.case import Quality
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import EntropyMinimisation, Step

LAST = Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


class TestTerms:
    def test_expert_labels_are_learnt(self):
        mixed = random_batch(NONE, EXPERT, NOISY, EXPERT, channels=2)
        expected = cross_entropy_dice(mixed.image[[1, 3]], mixed.label[[1, 3]])
        assert_close(EntropyMinimisation(ImageAsLogits()).loss(mixed, LAST)["expert"], expected)

    def test_the_entropy_is_a_fraction_of_the_largest(self):
        image = logits_of([[0.7, 1 / 3], [0.2, 1 / 3], [0.1, 1 / 3]])
        mixed = batch_of(image, torch.zeros(1, 2, dtype=torch.long), NONE)
        made = EntropyMinimisation(ImageAsLogits(classes=3), entropy=0.5)
        assert made.loss(mixed, LAST)["entropy"].item() == pytest.approx(0.5 * (0.729847 + 1) / 2, abs=1e-6)

    @pytest.mark.parametrize(("which", "rows"), [("all", [0, 1, 2]), ("unlabelled", [0, 2])])
    def test_its_samples(self, which, rows):
        mixed = random_batch(NONE, EXPERT, NOISY, channels=2)
        among = batch_of(mixed.image[rows], mixed.label[rows], *[NONE] * len(rows))
        made = EntropyMinimisation(ImageAsLogits(), entropy_on=which)
        assert_close(made.loss(mixed, LAST)["entropy"], made.loss(among, LAST)["entropy"])

    def test_descending_it_makes_predictions_confident(self):
        mixed = random_batch(NONE, channels=2)
        made = EntropyMinimisation(ImageAsLogits())
        made.loss(mixed, LAST)["entropy"].backward()
        assert made.network.gain.grad < 0

    @pytest.mark.parametrize(
        ("quality", "which", "terms"),
        [
            ([EXPERT, EXPERT], "unlabelled", {"expert"}),
            ([EXPERT, EXPERT], "all", {"expert", "entropy"}),
            ([NONE, NOISY], "all", {"entropy"}),
        ],
    )
    def test_any_may_be_absent(self, quality, which, terms):
        made = EntropyMinimisation(ImageAsLogits(), entropy_on=which)
        assert set(made.loss(random_batch(*quality, channels=2), LAST)) == terms

    @pytest.mark.parametrize(("index", "ramp"), [(0, math.exp(-5)), (4, math.exp(-5 * 0.5**2)), (8, 1), (10, 1)])
    def test_ramp(self, index, ramp):
        mixed, made = random_batch(EXPERT, NONE, channels=2), EntropyMinimisation(ImageAsLogits(), ramp_length=0.8)
        full, early = made.loss(mixed, LAST), made.loss(mixed, Step(index, 10))
        assert_close(early["entropy"], ramp * full["entropy"])
        assert_close(early["expert"], full["expert"])


def test_takes_expert_and_unlabelled_samples():
    assert EntropyMinimisation.needs == Composition(expert=2, unlabelled=2)
