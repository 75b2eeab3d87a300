from __future__ import annotations

import copy

import pytest
import torch
from refusals import raises
from torch.testing import assert_close

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import Decoupled, Step
from segmend.networks import SegResNet, UNet

EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
MIDDLE = Step(50, 100)


@pytest.fixture
def method() -> Decoupled:
    torch.manual_seed(0)
    return Decoupled(UNet(1, 2, 2, width=2, stages=3))


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 1, 16, 16, generator=random)
    label = (image[:, 0] + 0.5 * torch.randn(len(quality), 16, 16, generator=random) > 0.5).long()
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


BOTH = batch(EXPERT, NOISY, NOISY, EXPERT)


def trained_by(method: Decoupled, term: str) -> set[str]:
    """The halves of the networks that a term pulls at."""
    method.zero_grad()
    method.loss(BOTH, MIDDLE)[term].backward()
    halves = {
        "encoder": method.network.encoder,
        "strong": method.network.decoder,
        "weak": method.weak_branch.decoder,
    }
    return {
        name for name, half in halves.items() if any(p.grad is not None and p.grad.any() for p in half.parameters())
    }


class TestBranches:
    def test_expert_labels_train_encoder_and_strong_decoder(self, method):
        assert trained_by(method, "strong") == {"encoder", "strong"}

    def test_noisy_labels_train_encoder_and_weak_decoder(self, method):
        assert trained_by(method, "weak") == {"encoder", "weak"}

    def test_each_passes_its_own_samples_only(self, method):
        image = BOTH.image.clone().requires_grad_()
        terms = method.loss(Batch(image, BOTH.label, BOTH.quality, BOTH.cases), MIDDLE)
        for term, rows in (("strong", [0, 3]), ("weak", [1, 2])):
            (gradient,) = torch.autograd.grad(terms[term], image, retain_graph=True)
            assert gradient.flatten(1).any(1).nonzero().flatten().tolist() == rows

    def test_share_the_encoder_and_start_apart_behind_it(self, method):
        strong, weak = method.network, method.weak_branch
        assert all(a is b for a, b in zip(strong.encoder.parameters(), weak.encoder.parameters(), strict=True))
        assert not torch.equal(strong.decoder.head.weight, weak.decoder.head.weight)

    def test_the_strong_one_predicts(self, method):
        method.eval()
        assert_close(method.predict(BOTH.image), method.network(BOTH.image).softmax(1))


class TestTerms:
    def test_are_the_ordinary_losses_of_each_branch(self, method):
        again = copy.deepcopy(method)
        terms = method.loss(BOTH, MIDDLE)
        assert_close(terms["strong"], cross_entropy_dice(again.network(BOTH.image[[0, 3]]), BOTH.label[[0, 3]]))
        assert_close(terms["weak"], cross_entropy_dice(again.weak_branch(BOTH.image[[1, 2]]), BOTH.label[[1, 2]]))

    def test_the_weak_one_may_count_for_less(self):
        network = UNet(1, 2, 2, width=2, stages=2)
        torch.manual_seed(1)
        usual = Decoupled(copy.deepcopy(network)).loss(BOTH, MIDDLE)
        torch.manual_seed(1)
        less = Decoupled(copy.deepcopy(network), weak=0.25).loss(BOTH, MIDDLE)
        assert_close(less["weak"], 0.25 * usual["weak"])
        assert_close(less["strong"], usual["strong"])

    @pytest.mark.parametrize(
        ("quality", "terms"), [((EXPERT, NONE), {"strong"}), ((NOISY, NOISY), {"weak"}), ((NONE, NONE), set())]
    )
    def test_are_those_that_the_batch_has_samples_for(self, method, quality, terms):
        assert set(method.loss(batch(*quality), MIDDLE)) == terms


class TestShared:
    def test_may_be_named(self):
        method = Decoupled(SegResNet(1, 2, 2, init_filters=8), shared=("net.convInit", "net.down_layers"))
        assert method.weak_branch.net.convInit is method.network.net.convInit
        assert method.weak_branch.net.up_layers is not method.network.net.up_layers

    def test_must_be_named_if_the_network_does_not(self):
        with raises("missing-value", match="encoder"):
            Decoupled(SegResNet(1, 2, 2, init_filters=8))
