from __future__ import annotations

from typing import Any

import pytest
import torch
from refusals import raises
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import ContrastivePretraining, Step
from segmend.networks import PlannedUNet, ResUNet, UNet, UNetPlusPlus, VNet

START, THEN, LATER = Step(0, 100), Step(40, 100), Step(50, 100)
EXPERT, NONE = Quality.EXPERT, Quality.NONE


def method(**arguments: Any) -> ContrastivePretraining:
    torch.manual_seed(0)
    return ContrastivePretraining(UNet(1, 2, 2, width=4, stages=3), **arguments)


def batch(*quality: Quality, positions: tuple[float, ...] = ()) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 1, 16, 16, generator=random)
    label = torch.randint(0, 2, (len(quality), 16, 16), generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    place = torch.zeros(len(quality), 3, 3)
    place[:, :, 2] = torch.tensor(positions or [0.1] * len(quality)).unsqueeze(1)
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))), place=place)


FOUR = batch(EXPERT, NONE, NONE, NONE, positions=(0.1, 0.2, 0.5, 0.99))


@pytest.fixture
def same_views(monkeypatch):
    monkeypatch.setattr("segmend.methods.semi.contrastive_pretraining.strong_intensities", lambda image: image)


def pair(first: torch.Tensor, second: torch.Tensor, negatives: list[torch.Tensor], temperature: float) -> torch.Tensor:
    """The loss of one ordered pair, written down."""
    against = sum((first @ each / temperature).exp() for each in negatives)
    own = (first @ second / temperature).exp()
    return -(own / (own + against)).log()


class TestPhases:
    @pytest.mark.parametrize(("step", "terms"), [(START, {"global"}), (THEN, {"local"}), (LATER, {"expert"})])
    def test_follow_each_other(self, step, terms):
        assert set(method().loss(FOUR, step)) == terms

    def test_of_the_decoder_may_be_left_out(self):
        assert set(method(decoder_phase=0.0).loss(FOUR, THEN)) == {"expert"}

    def test_last_is_supervised(self):
        made = method().eval()
        expected = cross_entropy_dice(made.network(FOUR.image[:1]), FOUR.label[:1])
        assert_close(made.loss(FOUR, LATER)["expert"], expected)
        assert made.loss(batch(NONE), LATER) == {}

    def test_first_trains_the_encoder_only(self):
        made = method()
        made.loss(FOUR, START)["global"].backward()
        assert all(each.grad is not None for each in made.network.encoder.parameters())
        assert all(each.grad is None for each in made.network.decoder.parameters())

    @pytest.mark.parametrize(
        "network",
        [
            lambda: UNet(1, 2, 2, width=2),
            lambda: VNet(1, 2, 2, width=2),
            lambda: PlannedUNet(1, 2, 2, widths=(2, 2, 2, 2, 2)),
            lambda: UNetPlusPlus(1, 2, 2, width=2),
        ],
        ids=["UNet", "VNet", "PlannedUNet", "UNetPlusPlus"],
    )
    def test_second_trains_the_decoder_up_to_its_feature_only(self, network):
        made = ContrastivePretraining(network())
        of = Batch(torch.randn(2, 1, 32, 32), FOUR.label[:2, :1, :1].expand(2, 32, 32), (NONE, NONE), ("a", "b"))
        made.loss(of, THEN)["local"].backward()
        trained = {name for name, each in made.network.named_parameters() if each.grad is not None and each.grad.any()}
        scale = made.network.decoder_scales[0]
        assert any(name.startswith(scale) for name in trained)
        assert not any(name.startswith(f"{stage}.") for stage in made.network.encoder_stages for name in trained)
        assert not any(name.startswith(f"{each}.") for each in made.network.decoder_scales[1:] for name in trained)


@pytest.mark.usefixtures("same_views")
class TestContrast:
    def test_global_is_of_partitions(self):
        made = method(partitions=2, temperature=0.5).eval()
        with made._encoder.recording() as tapped:
            made.network(FOUR.image)
        rows = made.of_encoder(tapped)[0][:, 0]
        upper, lower = [rows[0], rows[1]] * 2, [rows[2], rows[3]] * 2
        expected = [
            pair(side[i], side[j], other, 0.5)
            for side, other in ((upper, lower), (lower, upper))
            for i in range(4)
            for j in range(4)
            if i != j
        ]
        assert_close(made.loss(FOUR, START)["global"], torch.stack(expected).mean())

    def test_local_is_of_regions_of_one_image(self):
        made = method(regions=2, temperature=0.5).eval()
        with made._decoder.recording() as tapped:
            made.network(FOUR.image)
        expected = []
        for regions in made.of_decoder(tapped, 2)[0]:
            for i, own in enumerate(regions):
                others = [each for j, each in enumerate(regions) if j != i]
                expected.append(pair(own, own, others * 2, 0.5))
        assert_close(made.loss(FOUR, THEN)["local"], torch.stack(expected).mean())


def test_views_differ_in_intensities_and_are_passed_together():
    made, seen = method(), []
    made.network.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    torch.manual_seed(3)
    made.loss(FOUR, START)
    assert seen[0].shape == (8, 1, 16, 16)
    assert not torch.allclose(seen[0][:4], seen[0][4:])


def test_features_may_be_named():
    assert ContrastivePretraining(ResUNet(1, 2, 2, width=2), encoder_features="res3")
    with raises("missing-value", "network ResUNet"):
        ContrastivePretraining(ResUNet(1, 2, 2, width=2))


def test_takes_expert_and_unlabelled_samples():
    assert ContrastivePretraining.needs == Composition(expert=2, unlabelled=6)
