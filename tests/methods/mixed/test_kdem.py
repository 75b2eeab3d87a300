from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from refusals import raises
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import KDEM, Step
from segmend.networks import Network, SegResNet, VNet

EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
LAST, MIDDLE = Step(100, 100), Step(50, 100)


class Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        return self.value * image


class Shift(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(classes))

    def forward(self, image: Tensor) -> Tensor:
        return image + self.value.view(1, -1, 1)


class Transparent(Network):
    """The encoder scales the image, the decoder shifts the logits of each class."""

    encoder_stages = ("encoder",)

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.encoder, self.decoder = Gain(), Shift(classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.decoder(self.encoder(image))


IMAGE = torch.tensor([[0.7, 0.3], [0.7, 0.3]]).log().T.repeat(2, 1, 1)
LABEL = torch.tensor([[0, 1], [0, 0]])


def method(says: tuple[float, float] = (0.9, 0.1), **arguments: Any) -> KDEM:
    """The strong decoder predicts (0.7, 0.3) everywhere, the weak one something else."""
    network = KDEM(Transparent(), **arguments)
    with torch.no_grad():
        network.student.decoder.value.copy_(torch.tensor(says).log() - torch.tensor([0.7, 0.3]).log())
    return network


def terms(*quality: Quality, step: Step = LAST, says: tuple[float, float] = (0.9, 0.1), **arguments: Any) -> dict:
    loss = method(says, **arguments).loss(Batch(IMAGE, LABEL, quality, ("a", "b")), step)
    return {name: term.item() for name, term in loss.items()}


class TestTerms:
    def test_by_hand(self):
        every = terms(EXPERT, NOISY)
        probabilities = torch.tensor([[0.7, 0.3], [0.9, 0.1]])
        strong, weak = (p.log().expand(1, 2, 2).transpose(1, 2) for p in probabilities)
        assert every["strong"] == pytest.approx(cross_entropy_dice(strong, LABEL[:1]).item())
        assert every["weak"] == pytest.approx(0.1 * cross_entropy_dice(weak, LABEL[1:]).item())
        assert every["distilled"] == pytest.approx(20 * 0.153664, abs=1e-4)
        assert every["confident"] == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1), abs=1e-5)

    def test_two_equal_decoders_have_nothing_to_distil(self):
        assert terms(EXPERT, NOISY, says=(0.7, 0.3))["distilled"] == pytest.approx(0, abs=1e-5)

    def test_a_sure_decoder_is_confident(self):
        assert terms(EXPERT, NOISY, says=(1 - 1e-6, 1e-6))["confident"] == pytest.approx(0, abs=1e-4)

    @pytest.mark.parametrize(
        ("quality", "expected"),
        [
            ((EXPERT, EXPERT), {"strong"}),
            ((EXPERT, NONE), {"strong"}),
            ((NOISY, NOISY), {"weak", "distilled", "confident"}),
            ((EXPERT, NOISY), {"strong", "weak", "distilled", "confident"}),
        ],
    )
    def test_of_samples_that_are_there(self, quality, expected):
        assert set(terms(*quality)) == expected

    def test_distillation_may_be_on_expert_samples(self):
        assert set(terms(EXPERT, EXPERT, distil_on="expert")) == {"strong", "distilled"}
        assert set(terms(NOISY, NOISY, distil_on="expert")) == {"weak", "confident"}
        one, image = method(distil_on="expert"), IMAGE.clone().requires_grad_()
        loss = one.loss(Batch(image, LABEL, (EXPERT, NOISY), ("a", "b")), LAST)
        assert loss["distilled"].item() == pytest.approx(20 * 0.153664, abs=1e-4)
        (gradient,) = torch.autograd.grad(loss["distilled"], image)
        assert gradient.flatten(1).any(1).tolist() == [True, False]

    def test_unknown_voxels_count_for_agreement_and_confidence_only(self):
        one = method()
        label = torch.stack([LABEL[0], torch.full_like(LABEL[1], IGNORE)])
        unknown = one.loss(Batch(IMAGE, label, (EXPERT, NOISY), ("a", "b")), LAST)
        assert unknown["weak"].item() == 0
        assert {name: unknown[name].item() for name in ("distilled", "confident")} == pytest.approx(
            {name: value for name, value in terms(EXPERT, NOISY).items() if name in ("distilled", "confident")}
        )


class TestGradients:
    @pytest.mark.parametrize(
        ("term", "strong", "weak"),
        [("strong", True, False), ("weak", False, True), ("distilled", False, True), ("confident", False, True)],
    )
    def test_each_term_trains_one_decoder_and_the_encoder(self, term, strong, weak):
        one = method()
        one.loss(Batch(IMAGE, LABEL, (EXPERT, NOISY), ("a", "b")), LAST)[term].backward()
        gradients = [one.network.decoder.value.grad, one.student.decoder.value.grad, one.network.encoder.value.grad]
        assert [gradient is not None and bool(gradient.any()) for gradient in gradients] == [strong, weak, True]

    def test_the_weak_decoder_is_pulled_to_the_strong_one(self):
        one = method()
        one.loss(Batch(IMAGE, LABEL, (EXPERT, NOISY), ("a", "b")), LAST)["distilled"].backward()
        assert_close(one.student.decoder.value.grad, 20 * torch.tensor([0.2, -0.2]))


class TestBranches:
    def network(self, **arguments: Any) -> KDEM:
        torch.manual_seed(0)
        return KDEM(VNet(1, 2, 2, width=2), **arguments)

    def samples(self, count: int = 4) -> Batch:
        random = torch.Generator().manual_seed(0)
        image = torch.randn(count, 1, 32, 32, generator=random)
        image[2:] *= 5.0  # noisy samples have other batch statistics
        quality = (EXPERT, EXPERT, NOISY, NOISY)[:count]
        return Batch(image, torch.randint(0, 2, (count, 32, 32), generator=random), quality, tuple("abcd")[:count])

    def test_stand_on_the_same_features(self):
        kdem, features = self.network(), []
        kdem.network.x5.register_forward_hook(lambda _module, _inputs, output: features.append(output))
        kdem.loss(self.samples(), MIDDLE)
        assert len(features) == 2
        assert torch.equal(*features)

    def test_are_apart_above_the_encoder(self):
        kdem = self.network()
        assert kdem.student.x5 is kdem.network.x5
        assert kdem.student.x6 is not kdem.network.x6
        assert not torch.equal(kdem.student.head.weight, kdem.network.head.weight)

    def test_share_what_is_named(self):
        kdem = self.network(shared=("x1", "x2"))
        assert kdem.student.x2 is kdem.network.x2
        assert kdem.student.x3 is not kdem.network.x3

    def test_a_network_without_named_stages_must_be_told_them(self):
        network = SegResNet(1, 2, 2, init_filters=8)
        with raises("missing-value", "network SegResNet", match="encoder stages"):
            KDEM(network)
        KDEM(network, shared=("net.down_layers",))

    def test_the_one_asked_for_predicts(self):
        image = self.samples().image
        for arguments, branch in [
            ({}, "student"),
            ({"predict_with": "weak"}, "student"),
            ({"predict_with": "strong"}, "network"),
        ]:
            kdem = self.network(**arguments).eval()
            assert_close(kdem.predict(image), getattr(kdem, branch)(image).softmax(1))
        assert not torch.allclose(self.network().eval().predict(image), kdem.predict(image))


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "factors"),
        [
            ({"weak": 0.3}, {"weak": 3}),
            ({"distillation": 5.0}, {"distilled": 0.25}),
            ({"confidence": 0.5}, {"confident": 0.5}),
            ({"distillation": 0.0, "confidence": 0.0}, {"distilled": 0, "confident": 0}),
            ({"ramp_length": 0.25}, {"confident": 1 / math.exp(-5 / 4)}),
            ({"ramp_length": 0.0}, {"confident": 1 / math.exp(-5 / 4)}),
            ({"predict_with": "strong"}, {}),
        ],
        ids=str,
    )
    def test_each_changes_what_it_says_and_nothing_else(self, arguments, factors):
        usual = terms(EXPERT, NOISY, step=MIDDLE)
        expected = {name: factors.get(name, 1) * value for name, value in usual.items()}
        assert terms(EXPERT, NOISY, step=MIDDLE, **arguments) == pytest.approx(expected)

    def test_confidence_rises_with_the_run(self):
        first, last = terms(EXPERT, NOISY, step=Step(0, 100)), terms(EXPERT, NOISY, step=LAST)
        assert first["confident"] == pytest.approx(math.exp(-5) * last["confident"])
        assert {**first, "confident": 0} == {**last, "confident": 0}

    def test_takes_as_many_expert_as_noisy_samples(self):
        assert KDEM.needs == Composition(expert=2, noisy=2)
