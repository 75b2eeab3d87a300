from __future__ import annotations

import math

import pytest
import torch
from paired_networks import paired, scans
from torch import Tensor
from torch.testing import assert_close

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.losses import cross_entropy
from segmend.methods import JoCoR, Step

LAST = Step(99, 100)


def jocor(**arguments) -> JoCoR:
    return paired(JoCoR, **arguments)


def batch(image: Tensor, label: Tensor, quality: Quality = Quality.NOISY) -> Batch:
    return Batch(image, label, (quality,) * len(image), tuple(map(str, range(len(image)))))


def random_batch() -> Batch:
    random = torch.Generator().manual_seed(0)
    label = (torch.rand(4, 50, generator=random) < 0.2).long()
    return batch(2 * torch.randn(4, 4, 50, generator=random), label)


def pulled(method: JoCoR, data: Batch, term: str, step: Step = LAST) -> list[Tensor]:
    """The voxels at which a term pulls at each network."""
    image = data.image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(method.loss(batch(image, data.label), step)[term], image)
    return [half.abs().sum(1) > 0 for half in gradient.chunk(2, dim=1)]


def symmetric_kl(p: float, q: float) -> float:
    one = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    return one + q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))


def test_by_hand():
    # KL between (.1, .9) and (.4, .6) is .9 ln 1.5 + .1 ln .25 = .226289 one way and .311239 the other.
    terms = jocor(noise_rate=0.0, co_lambda=0.25).loss(batch(scans([[0.9]], [[0.6]]), torch.tensor([[1]])), LAST)
    assert terms["supervised"].item() == pytest.approx(-0.75 * (math.log(0.9) + math.log(0.6)), abs=1e-5)
    assert terms["agreement"].item() == pytest.approx(0.25 * (0.226289 + 0.311239), abs=1e-5)


@pytest.mark.parametrize(
    ("co_lambda", "chosen", "agreement"), [(0.1, [True, False], 0.1 * symmetric_kl(0.95, 0.6)), (0.9, [False, True], 0)]
)
def test_the_joint_loss_decides_for_both(co_lambda, chosen, agreement):
    # Both find the first voxel easier than the second, but they agree on the second.
    data = batch(scans([[0.95, 0.5]], [[0.6, 0.5]]), torch.tensor([[1, 1]]))
    method = jocor(noise_rate=0.5, co_lambda=co_lambda)
    first, second = pulled(method, data, "supervised")
    assert first.tolist() == second.tolist() == [chosen]
    assert method.loss(data, LAST)["agreement"].item() == pytest.approx(agreement, abs=1e-6)


def test_agreement_pulls_both_networks():
    first, second = pulled(jocor(noise_rate=0.0), random_batch(), "agreement")
    assert first.all()
    assert second.all()


def test_equal_networks_only_pay_for_the_label():
    data, method = random_batch(), jocor(noise_rate=0.0, co_lambda=0.4)
    method.peer.group = 0
    terms = method.loss(data, LAST)
    assert_close(terms["supervised"], 0.6 * 2 * cross_entropy(data.image[:, :2], data.label).mean())
    assert terms["agreement"].item() == pytest.approx(0, abs=1e-6)


def test_the_networks_have_equal_parts():
    data, method, swapped = random_batch(), jocor(), jocor()
    swapped.network.group, swapped.peer.group = 1, 0
    assert_close(method.loss(data, LAST), swapped.loss(data, LAST))


@pytest.mark.parametrize("scope", ["pixel", "class", "image"])
def test_scope_and_share_are_those_of_co_teaching(scope):
    data, method = random_batch(), jocor(noise_rate=0.25, scope=scope, ramp_length=0.5)
    assert pulled(method, data, "supervised", Step(0, 100))[0].all()
    (first, _), counts = pulled(method, data, "supervised"), {}
    for index in (0, 1):
        counts[index] = first[data.label == index].float().mean().item()
    assert first.sum().item() == pytest.approx(150, abs=1)
    assert (counts[0] == pytest.approx(counts[1], abs=0.02)) is (scope == "class")
    assert bool((first.all(1) | ~first.any(1)).all()) is (scope == "image")


def test_exponent_slows_the_start():
    data = random_batch()
    counts = [
        pulled(jocor(noise_rate=0.4, ramp_length=0.5, exponent=exponent), data, "supervised", Step(25, 100))[0].sum()
        for exponent in (1.0, 2.0)
    ]
    assert counts == [160, 180]


def test_without_agreement_it_is_a_joint_choice_of_small_losses():
    data = random_batch()
    terms = jocor(co_lambda=0.0, noise_rate=0.5).loss(data, LAST)
    losses = sum(cross_entropy(half, data.label) for half in data.image.chunk(2, dim=1)).flatten()
    assert_close(terms["supervised"], losses.sort().values[:100].mean())
    assert terms["agreement"] == 0


def test_what_has_no_label_takes_no_part():
    data, label = random_batch(), random_batch().label
    label[0], label[1, :25] = IGNORE, IGNORE
    for term in ("supervised", "agreement"):
        first, second = pulled(jocor(noise_rate=0.2), batch(data.image, label), term)
        assert first.sum() == second.sum() == 0.8 * 125
        assert not (first | second)[label == IGNORE].any()
    assert jocor().loss(batch(data.image, label, Quality.NONE), LAST) == {}


@pytest.mark.parametrize(("prediction", "expected"), [("first", 0.9), ("second", 0.3), ("mean", 0.6)])
def test_the_network_that_is_asked_predicts(prediction, expected):
    method = jocor(prediction=prediction)
    assert_close(method.predict(scans([[0.9]], [[0.3]]))[0, 1], torch.tensor([expected]))
