from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from refusals import raises
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice, squared_dice_loss
from segmend.functional.soft_labels import one_hot
from segmend.methods import Step, UniMatch
from segmend.methods.semi import uni_match
from segmend.networks import Network, PlannedUNet, ResUNet, UNet, VNet

STEP = Step(5, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
BOX = torch.zeros(1, 4, 4, dtype=torch.bool)
BOX[0, :2, 1:] = True


class Staged(Network):
    """The logits are the image, which an encoder of one stage has passed on, times a gain."""

    encoder_stages = ("encoder",)

    def __init__(self, in_channels: int = 2, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.encoder, self.gain = nn.Identity(), nn.Parameter(torch.ones(()))
        self.inputs: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.inputs.append(image)
        return self.gain * self.encoder(image)


@pytest.fixture(autouse=True)
def _without_chance(monkeypatch):
    """Strong views are the negative image, and the box is always the same."""
    monkeypatch.setattr(uni_match, "strong_intensities", torch.neg)
    monkeypatch.setattr(uni_match, "random_cuboids", lambda count, *_: BOX.expand(count, -1, -1))


def method(**arguments: Any) -> UniMatch:
    return UniMatch(Staged(), **({"drop_rate": 0.0, "threshold": 0.5} | arguments))


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 2, 4, 4, generator=random)
    label = torch.randint(0, 2, (len(quality), 4, 4), generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


class TestStrongViews:
    def test_are_pasted_into_each_other_as_are_their_labels(self):
        made, of = method(strong=1.0), batch(EXPERT, NONE, NONE)
        term = made.loss(of, STEP)["strong"]
        one, other = -of.image[1:]
        views = torch.stack([torch.where(BOX, other, one), torch.where(BOX, one, other)])
        assert torch.equal(made.network.inputs[-1], torch.cat([views, views]))
        classes = of.image[1:].argmax(1)
        pasted = torch.where(BOX, classes.flip(0), classes)
        expected = squared_dice_loss(views.softmax(1), one_hot(pasted, 2)).mean()
        assert_close(term, 0.5 * 2 * expected)

    def test_of_a_single_sample_are_not_pasted(self):
        made, of = method(), batch(NONE)
        made.loss(of, STEP)
        assert torch.equal(made.network.inputs[-1], -of.image.expand(2, -1, -1, -1))


class TestPerturbedPass:
    def test_without_dropout_is_the_plain_pass(self):
        made, of = method(perturbed=1.0), batch(EXPERT, NONE)
        expected = squared_dice_loss(of.image[1:].softmax(1), one_hot(of.image[1:].argmax(1), 2)).mean()
        assert_close(made.loss(of, STEP)["perturbed"], 0.5 * expected)

    def test_drops_whole_channels_of_the_encoder(self, monkeypatch):
        seen = []
        made = method(drop_rate=0.5)
        monkeypatch.setattr(made, "_followed", lambda logits, *_: seen.append(logits) or logits.sum())
        torch.manual_seed(0)
        of = batch(*[NONE] * 40)
        made.loss(of, STEP)
        ratios = seen[0] / of.image
        assert_close(ratios, ratios[:, :, :1, :1].expand_as(ratios))
        assert set(ratios[:, :, 0, 0].round().unique().tolist()) == {0.0, 2.0}  # kept channels are scaled up

    def test_trains_the_encoder_and_leaves_its_statistics(self):
        torch.manual_seed(0)
        network = UNet(1, 2, 2, width=2, stages=2)
        made = UniMatch(network, threshold=0.0)
        counts = [module for module in network.encoder.modules() if isinstance(module, nn.BatchNorm2d)]
        image = torch.randn(2, 1, 4, 4)
        made.loss(Batch(image, torch.full((2, 4, 4), IGNORE), (NONE, NONE), ("a", "b")), STEP)["perturbed"].backward()
        assert next(network.encoder.parameters()).grad.any()
        assert {int(each.num_batches_tracked) for each in counts} == {2}  # the plain pass and that of the strong views


class TestPseudoLabels:
    def test_only_sure_voxels_count(self):
        # Probabilities of .982, .953, .881 and .5; the last two are below the threshold.
        odds = torch.tensor([4.0, 3.0, 2.0, 0.0])
        logits = torch.stack([odds, torch.zeros(4)]).unsqueeze(0)
        made, classes = method(threshold=0.95, pseudo_loss="cross_entropy"), torch.zeros(1, 4, dtype=torch.long)
        sure = logits.softmax(1).amax(1) >= 0.95
        expected = ((1 + (-odds[:2]).exp()).log()).sum() / 4
        assert_close(made._followed(logits, classes, sure), expected)
        dice = 1 - 2 * logits.softmax(1)[0, 0, :2].sum() / (logits.softmax(1)[0, 0, :2].square().sum() + 2)
        absent = 1 - 1e-5 / (logits.softmax(1)[0, 1, :2].square().sum() + 1e-5)
        assert_close(method()._followed(logits, classes, sure), (dice + absent) / 2, atol=1e-5, rtol=1e-4)

    def test_no_voxel_may_be_sure(self):
        made, of = method(threshold=1.1), batch(EXPERT, NONE)
        terms = made.loss(of, STEP)
        torch.stack(list(terms.values())).sum().backward()
        assert terms["strong"].item() == pytest.approx(0, abs=1e-6)
        assert made.network.gain.grad.isfinite()

    def test_no_gradient_passes_through_them(self):
        # Of the prediction 3/4 at one voxel, d/dz of -ln p is -1/4, and no more.
        image = torch.tensor([1.0986123, 0.0]).view(1, 2, 1, 1)
        made = method(pseudo_loss="cross_entropy", strong=0.0, perturbed=2.0)
        of = Batch(image, torch.full((1, 1, 1), IGNORE), (NONE,), ("only",))
        uni_match_box = torch.zeros(1, 1, 1, dtype=torch.bool)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(uni_match, "random_cuboids", lambda count, *_: uni_match_box.expand(count, -1, -1))
            made.loss(of, STEP)["perturbed"].backward()
        assert made.network.gain.grad.item() == pytest.approx(-0.25 * 1.0986123, rel=1e-5)


class TestTerms:
    def test_half_of_the_loss_is_of_expert_labels(self):
        of = batch(NONE, EXPERT, NOISY, EXPERT)
        expected = 0.5 * cross_entropy_dice(of.image[[1, 3]], of.label[[1, 3]])
        assert_close(method().loss(of, STEP)["expert"], expected)

    def test_weights_are_factors(self):
        of = batch(EXPERT, NONE, NONE)
        once = method(strong=1.0, perturbed=1.0).loss(of, STEP)
        less = method(strong=0.25, perturbed=0.5).loss(of, STEP)
        assert_close(less["strong"], 0.25 * once["strong"])
        assert_close(less["perturbed"], 0.5 * once["perturbed"])

    def test_labels_of_noisy_samples_are_not_used(self):
        of = batch(EXPERT, NOISY)
        flipped = replace(of, label=torch.stack([of.label[0], 1 - of.label[1]]))
        assert_close(method().loss(flipped, STEP), method().loss(of, STEP))

    @pytest.mark.parametrize(("quality", "terms"), [([EXPERT], {"expert"}), ([NONE], {"strong", "perturbed"})])
    def test_any_may_be_absent(self, quality, terms):
        assert set(method().loss(batch(*quality), STEP)) == terms


@pytest.mark.parametrize(
    ("network", "count"),
    [(UNet(1, 2, 2, width=2), 5), (VNet(1, 2, 2, width=2), 5), (PlannedUNet(1, 2, 2, widths=(2, 2, 2, 2, 2)), 5)],
    ids=lambda each: type(each).__name__,
)
def test_drops_from_every_stage_of_the_encoder(network, count):
    assert len(UniMatch(network)._taps._modules) == count


def test_of_a_network_that_names_no_encoder_it_has_to_be_named():
    with raises("missing-value", "network ResUNet", match="'encoder_features'"):
        UniMatch(ResUNet(1, 2, 2, width=2))


def test_takes_expert_and_unlabelled_samples():
    assert UniMatch.needs == Composition(expert=2, unlabelled=2)
