from __future__ import annotations

import math

import pytest
import torch
from paired_networks import paired, scans
from refusals import raises
from torch import Tensor
from torch.testing import assert_close

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.losses import cross_entropy
from segmend.methods import CoTeaching, Step
from segmend.networks import UNet

NOISY, NONE = Quality.NOISY, Quality.NONE
LAST = Step(99, 100)


def co_teaching(**arguments) -> CoTeaching:
    return paired(CoTeaching, **arguments)


def batch(image: Tensor, label: list[list[int]], quality: Quality = NOISY) -> Batch:
    count = len(image)
    return Batch(image, torch.tensor(label), (quality,) * count, tuple(map(str, range(count))))


def random_batch(samples: int = 4, voxels: int = 50) -> Batch:
    random = torch.Generator().manual_seed(0)
    label = (torch.rand(samples, voxels, generator=random) < 0.2).long()
    return batch(2 * torch.randn(samples, 4, voxels, generator=random), label.tolist())


def pulled(method: CoTeaching, data: Batch, step: Step = LAST) -> tuple[Tensor, Tensor]:
    """The voxels that train each network."""
    image = data.image.clone().requires_grad_()
    terms = method.loss(Batch(image, data.label, data.quality, data.cases), step)
    (gradient,) = torch.autograd.grad(terms["chosen"], image)
    first, second = gradient.chunk(2, dim=1)
    return first.abs().sum(1) > 0, second.abs().sum(1) > 0


class TestExchange:
    IMAGE = scans([[0.9, 0.2], [0.8, 0.3]], [[0.3, 0.9], [0.2, 0.7]])
    LABEL = ((1, 1), (1, 1))

    def test_each_learns_where_the_other_finds_it_easy(self):
        method = co_teaching(noise_rate=0.5)
        data = batch(self.IMAGE, self.LABEL)
        expected = -(math.log(0.2) + math.log(0.3)) / 2 - (math.log(0.3) + math.log(0.2)) / 2
        assert method.loss(data, LAST)["chosen"].item() == pytest.approx(expected, abs=1e-5)
        first, second = pulled(method, data)
        assert first.tolist() == [[False, True], [False, True]]
        assert second.tolist() == [[True, False], [True, False]]

    def test_without_noise_both_learn_from_everything(self):
        data = random_batch()
        first, second = data.image.chunk(2, dim=1)
        expected = cross_entropy(first, data.label).mean() + cross_entropy(second, data.label).mean()
        assert_close(co_teaching(noise_rate=0.0).loss(data, LAST)["chosen"], expected)

    def test_the_networks_have_equal_parts(self):
        data = random_batch()
        method, swapped = co_teaching(), co_teaching()
        swapped.network.group, swapped.peer.group = 1, 0
        assert_close(method.loss(data, LAST), swapped.loss(data, LAST))
        assert_close(pulled(swapped, data), pulled(method, data))

    def test_the_share_falls_until_the_noise_is_left_out(self):
        method, data = co_teaching(noise_rate=0.4, ramp_length=0.5), random_batch()
        counts = [pulled(method, data, Step(at, 100))[0].sum().item() for at in (0, 25, 50, 99)]
        assert counts == [200, 160, 120, 120]
        slower = co_teaching(noise_rate=0.4, ramp_length=0.5, exponent=2.0)
        assert pulled(slower, data, Step(25, 100))[0].sum() == 180

    def test_voxels_and_samples_without_a_label_take_no_part(self):
        data = random_batch()
        label = data.label.clone()
        label[0], label[1, :25] = IGNORE, IGNORE
        first, _ = pulled(co_teaching(noise_rate=0.2), Batch(data.image, label, data.quality, data.cases))
        assert first.sum() == 0.8 * 125
        assert not first[label == IGNORE].any()
        assert co_teaching().loss(batch(data.image, data.label.tolist(), NONE), LAST) == {}


class TestScopes:
    def test_classes_compete_apart(self):
        data = random_batch()
        first, second = pulled(co_teaching(noise_rate=0.3, scope="class"), data)
        for index in (0, 1):
            count = (data.label == index).sum().item()
            assert first[data.label == index].sum().item() == round(0.7 * count)
            assert second[data.label == index].sum().item() == round(0.7 * count)

    def test_each_class_may_have_its_rate(self):
        data = random_batch()
        first, _ = pulled(co_teaching(noise_rate=(0.0, 0.5), scope="class"), data)
        assert first[data.label == 0].all()
        assert first[data.label == 1].sum().item() == round(0.5 * (data.label == 1).sum().item())

    def test_samples_are_taken_whole(self):
        # Mean losses of the first network are about 0.36, 1.2, 0.5, and of the second 1.2, 0.36, 0.5.
        image = scans([[0.7, 0.7], [0.3, 0.3], [0.9, 0.4]], [[0.3, 0.3], [0.7, 0.7], [0.4, 0.9]])
        first, second = pulled(co_teaching(noise_rate=0.4, scope="image"), batch(image, [[1, 1]] * 3))
        assert first.all(1).tolist() == [False, True, True]
        assert second.all(1).tolist() == [True, False, True]
        assert first.any(1).tolist() == [False, True, True]

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            ({"noise_rate": 1.0}, "invalid-value"),
            ({"noise_rate": -0.1}, "invalid-value"),
            ({"noise_rate": (0.1, 0.2)}, "mismatch"),
            ({"noise_rate": (0.1, 0.2, 0.3), "scope": "class"}, "mismatch"),
            ({"noise_rate": (), "scope": "class"}, "mismatch"),
        ],
        ids=str,
    )
    def test_rates_that_say_nothing_are_refused(self, arguments, code):
        with raises(code, "method.noise_rate"):
            co_teaching(**arguments)


class TestDisagreement:
    # The networks disagree on the first two voxels of each sample.
    IMAGE = scans([[0.9, 0.4, 0.8, 0.1], [0.2, 0.7, 0.6, 0.3]], [[0.3, 0.8, 0.7, 0.2], [0.6, 0.1, 0.9, 0.4]])
    LABEL = ((1, 0, 1, 0), (1, 0, 1, 0))

    def test_nothing_is_learned_where_they_agree(self):
        first, second = pulled(co_teaching(disagreement=True, noise_rate=0.0), batch(self.IMAGE, self.LABEL))
        assert first.tolist() == second.tolist() == [[True, True, False, False]] * 2

    def test_the_small_losses_are_those_among_the_disagreed(self):
        first, second = pulled(co_teaching(disagreement=True, noise_rate=0.5), batch(self.IMAGE, self.LABEL))
        # Probabilities of the labels are .9 .6 | .2 .3 by the first network and .3 .2 | .6 .9 by the second.
        assert second.tolist() == [[True, True, False, False], [False] * 4]
        assert first.tolist() == [[False] * 4, [True, True, False, False]]

    def test_comes_after_a_warm_up(self):
        method = co_teaching(disagreement=True, noise_rate=0.0, warm_up=0.3)
        assert pulled(method, batch(self.IMAGE, self.LABEL), Step(29, 100))[0].all()
        assert not pulled(method, batch(self.IMAGE, self.LABEL), Step(30, 100))[0].all()

    def test_equal_networks_choose_among_everything(self):
        data = random_batch()
        equal, usual = co_teaching(disagreement=True), co_teaching()
        equal.peer.group = usual.peer.group = 0
        assert_close(equal.loss(data, LAST), usual.loss(data, LAST))

    def test_no_class_is_lost(self):
        label = ((1, 1, 1, 0), (1, 1, 1, 0))  # no background where they disagree
        assert pulled(co_teaching(disagreement=True, noise_rate=0.0), batch(self.IMAGE, label))[0].all()

    def test_unknown_voxels_are_not_disagreed_on(self):
        label = ((IGNORE, 0, 1, 0), (1, IGNORE, 1, 0))
        first, _ = pulled(co_teaching(disagreement=True, noise_rate=0.0), batch(self.IMAGE, label))
        assert first.tolist() == [[False, True, False, False], [True, False, False, False]]


class TestNetworks:
    def test_start_apart(self):
        method = CoTeaching(UNet(1, 2, 2, width=2, stages=2))
        image = torch.randn(2, 1, 8, 8)
        assert not torch.allclose(method.network(image), method.peer(image), atol=1e-3)

    @pytest.mark.parametrize(
        ("prediction", "expected"), [("first", [0.9, 0.2]), ("second", [0.3, 0.6]), ("mean", [0.6, 0.4])]
    )
    def test_the_one_that_is_asked_predicts(self, prediction, expected):
        method = co_teaching(prediction=prediction)
        assert_close(method.predict(scans([[0.9, 0.2]], [[0.3, 0.6]]))[0, 1], torch.tensor(expected))
