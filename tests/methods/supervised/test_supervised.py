from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from refusals import raises
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice, soft_cross_entropy_dice
from segmend.functional.soft_labels import one_hot
from segmend.methods import Step, Supervised
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.methods.supervised.supervised import LossName
from segmend.networks import UNet, VNet

STEP = Step(3, 10)


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    count = len(quality)
    image = torch.randn(count, 1, 8, 8, generator=random)
    label = torch.randint(0, 2, (count, 8, 8), generator=random)
    for row, each in enumerate(quality):
        if each is Quality.NONE:
            label[row] = IGNORE
    return Batch(image, label, quality, tuple(map(str, range(count))))


def method() -> Supervised:
    torch.manual_seed(0)
    return Supervised(UNet(1, 2, 2, width=2, stages=2))


def test_every_label_counts_as_if_it_were_right():
    mixed = batch(Quality.EXPERT, Quality.NOISY, Quality.NOISY)
    supervised = method()
    expected = cross_entropy_dice(supervised.network(mixed.image), mixed.label)
    terms = supervised.loss(mixed, STEP)
    assert set(terms) == {"supervised"}
    assert_close(terms["supervised"], expected)


def test_unlabelled_samples_are_not_looked_at():
    labelled = batch(Quality.EXPERT, Quality.NOISY)
    with_others = batch(Quality.EXPERT, Quality.NOISY, Quality.NONE)
    both = Batch(
        torch.cat([labelled.image[:1], with_others.image[2:], labelled.image[1:]]),
        torch.cat([labelled.label[:1], with_others.label[2:], labelled.label[1:]]),
        (Quality.EXPERT, Quality.NONE, Quality.NOISY),
        ("a", "b", "c"),
    )
    # In training, batch norm would show the unlabelled image to the others if it were in the same pass.
    assert_close(method().loss(both, STEP), method().loss(labelled, STEP))


def test_samples_all_labels_uniformly():
    assert Supervised.needs == Composition(any_labelled=4)


def test_the_loss_does_not_change_over_the_run():
    mixed = batch(Quality.EXPERT, Quality.NOISY)
    assert_close(method().loss(mixed, Step(0, 10)), method().loss(mixed, Step(9, 10)))


class TestSoftLabels:
    def test_one_hot_ones_are_class_labels(self):
        mixed, supervised = batch(Quality.EXPERT, Quality.NOISY, Quality.NONE), method()
        soft = replace(mixed, soft=one_hot(mixed.label, 2))
        assert_close(supervised.loss(soft, STEP), supervised.loss(mixed, STEP))

    def test_they_take_the_place_of_class_labels(self):
        mixed, supervised = batch(Quality.EXPERT, Quality.NOISY), method()
        soft = replace(mixed, soft=torch.full((2, 2, 8, 8), 0.5))
        expected = soft_cross_entropy_dice(supervised.network(mixed.image), soft.soft)
        assert_close(supervised.loss(soft, STEP)["supervised"], expected)

    def test_with_the_default_loss_only(self):
        assert method().takes_soft_labels()
        assert not Supervised(UNet(1, 2, 2, width=2, stages=2), loss="gce").takes_soft_labels()


class TestCriteria:
    OF_LABEL = torch.tensor([0.9, 0.5, 0.1])
    IMAGE = torch.stack([OF_LABEL, 1 - OF_LABEL]).log().unsqueeze(0)  # of three voxels, all labelled 0
    CE = (0.105361 + 0.693147 + 2.302585) / 3

    def evaluate(self, label: list[int], step: Step = STEP, **arguments) -> tuple[float, list[bool]]:
        """The loss, and in which voxels it has a gradient."""
        image = self.IMAGE.clone().requires_grad_()
        given = Batch(image, torch.tensor([label]), (Quality.NOISY,), ("only",))
        loss = Supervised(ImageAsLogits(), **arguments).loss(given, step)["supervised"]
        (gradient,) = torch.autograd.grad(loss, image)
        return loss.item(), gradient.any(1)[0].tolist()

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"loss": "gce"}, (0.1016 + 0.5492 + 1.1435) / 3),
            ({"loss": "gce", "q": 1.0}, 0.5),
            ({"loss": "symmetric_ce"}, 0.1 * CE + 4 * 0.5),
            ({"loss": "symmetric_ce", "alpha": 6.0, "beta": 0.1}, 6 * CE + 0.4 * 0.5),
            # The classes differ by 0.1, 0.5 and 0.9 from labels whose squares sum to 3 and 0.
            ({"loss": "nr_dice", "gamma": 2.0}, (1.07 / 4.07 + 1.07 / 1.07) / 2),
            ({"loss": "nr_dice"}, (1.23899 / 4.07 + 1.23899 / 1.07) / 2),
            ({"loss": "label_smoothing"}, 0.95 * CE + 0.05 * CE),  # one minus these are the same numbers
            ({"loss": "svls"}, CE),
        ],
        ids=str,
    )
    def test_by_hand(self, arguments, expected):
        loss, pulled = self.evaluate([0, 0, 0], **arguments)
        assert loss == pytest.approx(expected, abs=1e-4)
        assert all(pulled)

    def test_smoothing(self):
        # Cross-entropies with the label of the first voxel are 0.105361, with the other class 2.302585.
        assert self.evaluate([0, IGNORE, IGNORE], loss="label_smoothing", smoothing=0.5)[0] == pytest.approx(
            0.75 * 0.105361 + 0.25 * 2.302585, abs=1e-4
        )
        # In a row of voxels each of the two neighbours counts a quarter.
        own, half = (0.105361 + 0.105361) / 3, 0.693147 / 3
        assert self.evaluate([0, 0, 1], loss="svls")[0] == pytest.approx(
            own + half + 0.25 * (2.302585 - 0.105361) / 3, abs=1e-4
        )

    def test_truncation_comes_after_a_warm_up(self):
        arguments = {"loss": "truncated_gce", "k": 0.4, "warm_up": 0.5}
        early, late = (self.evaluate([0, 0, 0], Step(at, 10), **arguments) for at in (4, 5))
        assert early == self.evaluate([0, 0, 0], loss="gce")
        assert late[0] == pytest.approx((0.1016 + 0.5492 + (1 - 0.4**0.7) / 0.7) / 3, abs=1e-4)
        assert late[1] == [True, True, False]

    @pytest.mark.parametrize("loss", get_args(LossName))
    @pytest.mark.parametrize("shape", [(8, 8), (4, 8, 8)])
    def test_know_any_grid_and_number_of_classes_and_no_unknown_voxels(self, loss, shape):
        random = torch.Generator().manual_seed(0)
        image = torch.randn(2, 3, *shape, generator=random).requires_grad_()
        label = torch.randint(0, 3, (2, *shape), generator=random)
        label[torch.rand(label.shape, generator=random) < 0.3] = IGNORE
        made = Supervised(ImageAsLogits(3, 3), loss=loss, warm_up=0.0, k=1e-6)
        given = Batch(image, label, (Quality.NOISY, Quality.EXPERT), ("a", "b"))
        with torch.autocast("cpu", torch.bfloat16):
            loss = made.loss(given, STEP)["supervised"]
        (gradient,) = torch.autograd.grad(loss, image)
        assert loss > 0
        assert torch.equal(gradient.any(1), label != IGNORE)

    @pytest.mark.parametrize("loss", get_args(LossName))
    def test_nothing_known_costs_nothing(self, loss):
        loss, pulled = self.evaluate([IGNORE] * 3, loss=loss, warm_up=0.0)
        assert loss == 0
        assert not any(pulled)

    @pytest.mark.parametrize("q", [0.0, -1.0, 1.5])
    def test_q_without_a_meaning_is_refused(self, q):
        with raises("invalid-value", "method.q"):
            Supervised(ImageAsLogits(), q=q)


class TestDeepSupervision:
    @staticmethod
    def given() -> Batch:
        random = torch.Generator().manual_seed(0)
        label = torch.randint(0, 2, (2, 16, 16), generator=random)
        label[0, :4] = IGNORE
        image = torch.randn(2, 1, 16, 16, generator=random)
        return Batch(image, label, (Quality.EXPERT, Quality.NOISY), ("0", "1"))

    def test_is_the_weighted_mean_of_the_losses_of_all_scales(self):
        """V-Net's own logits, x8 and x7 weigh 1, 1/2 and 1/4; their sides are 16, 8 and 4."""
        torch.manual_seed(0)
        network = VNet(1, 2, 2, width=2, dropout_rate=0)
        supervised, given = Supervised(network, deep_supervision=True), self.given()
        with FeatureTaps(network, ["x7", "x8"]).recording() as tapped:
            logits = network(given.image)
        coarse, fine = (head(each) for head, each in zip(supervised.heads.heads, tapped, strict=True))
        expected = (
            cross_entropy_dice(logits, given.label)
            + cross_entropy_dice(fine, given.label[:, 1::2, 1::2]) / 2
            + cross_entropy_dice(coarse, given.label[:, 2::4, 2::4]) / 4
        ) / 1.75
        assert_close(supervised.loss(given, STEP)["supervised"], expected)

    @pytest.mark.parametrize("loss", get_args(LossName))
    def test_trains_heads_and_network_by_every_loss(self, loss):
        supervised = Supervised(UNet(1, 2, 2, width=2, stages=4), loss=loss, deep_supervision=True)
        supervised.loss(self.given(), STEP)["supervised"].backward()
        assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in supervised.heads.parameters())

    def test_predicts_by_the_network_alone(self):
        network = UNet(1, 2, 2, width=2, stages=4)
        image = self.given().image
        assert_close(Supervised(network, deep_supervision=True).predict(image), Supervised(network).predict(image))

    def test_is_off_by_default(self):
        assert not any(name.startswith("heads") for name in method().state_dict())

    def test_a_network_without_scales_is_refused(self):
        with raises("mismatch", "method.deep_supervision", match="ImageAsLogits"):
            Supervised(ImageAsLogits(), deep_supervision=True)
