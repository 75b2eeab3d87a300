from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from refusals import raises
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.mutual_information import discrete_mutual_information
from segmend.methods import DiscreteMI, Step
from segmend.networks import PlannedUNet, ResUNet, UNet, VNet

MIDDLE = Step(5, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


def method(**arguments: Any) -> DiscreteMI:
    torch.manual_seed(0)
    return DiscreteMI(UNet(1, 2, 2, width=4, stages=3), **({"clusters": 4, "heads": 2} | arguments)).eval()


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 1, 16, 16, generator=random)
    label = torch.randint(0, 2, (len(quality), 16, 16), generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


@pytest.fixture
def mirrored_both_ways(monkeypatch):
    """Every sample is mirrored along both axes."""
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.zeros(*shape))


@pytest.mark.usefixtures("mirrored_both_ways")
class TestTerms:
    def test_consistency_is_the_squared_difference_to_the_mirrored_prediction(self):
        made, of = method(consistency=5.0), batch(NONE, NONE)
        plain, mirrored = (made.network(image).softmax(1) for image in (of.image, of.image.flip(2, 3)))
        expected = 5 * (mirrored - plain.flip(2, 3)).square().mean()
        assert expected > 1e-6
        assert_close(made.loss(of, MIDDLE)["consistency"], expected)

    def test_consistency_trains_the_mirrored_view_only(self):
        made, of = method(), batch(NONE)
        of.image.requires_grad_()
        made.loss(of, MIDDLE)["consistency"].backward()
        through_mirror, alone = of.image.grad, of.image.detach().flip(2, 3).requires_grad_()
        target = made.network(of.image.detach()).softmax(1).flip(2, 3).detach()
        (5 * (made.network(alone).softmax(1) - target).square().mean()).backward()
        assert_close(through_mirror, alone.grad.flip(2, 3))

    def test_information_is_the_weighted_mean_of_the_features(self):
        made, of = method(information=1.0, padding=(0, 1)), batch(NONE, NONE)
        views = [of.image, of.image.flip(2, 3)]
        tapped = []
        for view in views:
            with made._taps.recording() as features:
                made.network(view)
            features[0] = features[0].mean((2, 3), keepdim=True)
            tapped.append(made.heads(features))
        encoder, coarse, fine = zip(*tapped, strict=True)
        of_encoder = discrete_mutual_information(*encoder).mean()
        of_coarse = discrete_mutual_information(coarse[0].flip(3, 4), coarse[1], 0, subtract_minimum=True).mean()
        of_fine = discrete_mutual_information(fine[0].flip(3, 4), fine[1], 1, subtract_minimum=True).mean()
        assert_close(made.loss(of, MIDDLE)["information"], -(of_encoder + (of_coarse + of_fine) / 2) / 2)

    def test_information_trains_heads_and_network(self):
        made = method()
        made.loss(batch(NONE, NONE), MIDDLE)["information"].backward()
        assert all(parameter.grad.any() for parameter in made.heads.parameters())
        assert next(made.network.parameters()).grad.any()

    def test_weights_are_factors(self):
        of = batch(EXPERT, NONE)
        once = method(consistency=1.0, information=1.0).loss(of, MIDDLE)
        less = method(consistency=0.5, information=0.2).loss(of, MIDDLE)
        assert_close(less["consistency"], 0.5 * once["consistency"])
        assert_close(less["information"], 0.2 * once["information"])

    def test_the_minimum_may_be_kept(self):
        of = batch(NONE, NONE)
        subtracted, kept = (method(subtract_minimum=each).loss(of, MIDDLE)["information"] for each in (True, False))
        assert subtracted < -1e-4
        assert kept.item() == pytest.approx(0, abs=1e-5)  # the heads start without any relation to the image


class TestSamples:
    def test_expert_labels_are_learnt(self):
        made, of = method(), batch(EXPERT, NONE, EXPERT)
        expected = cross_entropy_dice(made.network(of.image[[0, 2]]), of.label[[0, 2]])
        assert_close(made.loss(of, MIDDLE)["expert"], expected)

    def test_labels_of_noisy_samples_are_not_used(self):
        of = batch(EXPERT, NOISY)
        flipped = replace(of, label=torch.stack([of.label[0], 1 - of.label[1]]))
        made = method()
        values = []
        for each in (of, flipped):
            torch.manual_seed(0)
            values.append(made.loss(each, MIDDLE))
        assert_close(*values)

    @pytest.mark.parametrize(
        ("quality", "terms"),
        [([EXPERT], {"expert"}), ([NONE], {"consistency", "information"})],
    )
    def test_any_may_be_absent(self, quality, terms):
        assert set(method().loss(batch(*quality), MIDDLE)) == terms


class TestFeatures:
    @pytest.mark.parametrize(
        ("network", "names"),
        [
            (UNet(1, 2, 2, width=2), ["encoder.4", "decoder.stages.1", "decoder.stages.0"]),
            (VNet(1, 2, 2, width=2), ["x5", "x8", "x9"]),
            (PlannedUNet(1, 2, 2, widths=(2, 2, 2, 2, 2)), ["encoder.4", "decoder.1", "decoder.0"]),
        ],
        ids=lambda each: type(each).__name__,
    )
    def test_are_the_bottom_and_the_two_finest_scales(self, network, names):
        made = DiscreteMI(network)
        assert made._taps._modules == [network.get_submodule(name) for name in names]

    def test_of_a_network_that_names_no_encoder_have_to_be_named(self):
        made = DiscreteMI(ResUNet(1, 2, 2, width=2), encoder_features=["res3"], features=["res6"])
        assert len(made.heads.heads) == 2

        with raises("missing-value", "network ResUNet", match="'encoder_features'"):
            DiscreteMI(ResUNet(1, 2, 2, width=2))

    def test_each_needs_a_padding(self):
        scales = ["decoder.stages.1", "decoder.stages.0"]
        with raises("mismatch", "method.padding"):
            DiscreteMI(UNet(1, 2, 2, width=2), features=scales, padding=[1])

    def test_of_one_scale_takes_the_last_padding(self):
        made = DiscreteMI(UNet(1, 2, 2, width=2), features=["decoder.stages.0"], padding=(1, 3))
        assert made._shifts == [None, 3]


def test_takes_expert_and_unlabelled_samples():
    assert DiscreteMI.needs == Composition(expert=2, unlabelled=2)
