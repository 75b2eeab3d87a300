from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from refusals import raises
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import AnnotatorConfusion, Step
from segmend.networks import Network

START, LATER = Step(0, 100), Step(50, 100)
EXPERT, NOISY = Quality.EXPERT, Quality.NOISY


class Shown(Network):
    """Logits are the image's channels times a gain."""

    def __init__(self, in_channels: int = 2, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        return self.gain * image


def method(**arguments: Any) -> AnnotatorConfusion:
    return AnnotatorConfusion(Shown(), **arguments)


def batch(label: list[int], quality: tuple[Quality, ...], annotators: tuple[str, ...] = ()) -> Batch:
    """One voxel a sample, predicted as (0.8, 0.2)."""
    image = torch.tensor([0.8, 0.2]).log().view(1, 2, 1, 1).repeat(len(label), 1, 1, 1)
    return Batch(image, torch.tensor(label).view(-1, 1, 1), quality, tuple(map(str, label)), annotators=annotators)


def given(made: AnnotatorConfusion, *matrices: list[list[float]]) -> AnnotatorConfusion:
    made.logits.data = torch.tensor(matrices).log()
    return made


A = [[0.9, 0.3], [0.1, 0.7]]


class TestLoss:
    def test_noisy_label_is_compared_with_what_the_annotator_would_draw(self):
        terms = given(method(), A).loss(batch([1], (NOISY,)), START)
        assert {name: term.item() for name, term in terms.items()} == {"noisy": pytest.approx(1.514128, abs=1e-6)}

    def test_after_the_warm_up_the_trace_counts(self):
        terms = given(method(), A).loss(batch([1], (NOISY,)), LATER)
        assert terms["noisy"].item() == pytest.approx(1.514128 + 0.16, abs=1e-6)

    def test_expert_label_is_compared_with_the_prediction(self):
        given_batch = batch([1], (EXPERT,))
        terms = given(method(), A).loss(given_batch, LATER)
        assert_close(terms, {"expert": cross_entropy_dice(given_batch.image, given_batch.label)})

    def test_matrices_go_by_the_annotator(self):
        made = given(method(annotators=("ann", "ben"), trace=0.0), A, [[1.0 - 1e-6, 1e-6], [1e-6, 1.0 - 1e-6]])
        for name, likelihood in (("ann", 0.22), ("ben", 0.2)):
            found = made.loss(batch([1], (NOISY,), (name,)), LATER)["noisy"]
            assert found.neg().exp().item() == pytest.approx(likelihood, abs=1e-5)

    def test_trace_is_that_of_the_annotators_in_the_batch(self):
        made = given(method(annotators=("ann", "ben")), A, [[0.5, 0.5], [0.5, 0.5]])
        found = [made.loss(batch([0], (NOISY,), ("ann",)), step)["noisy"] for step in (START, LATER)]
        assert (found[1] - found[0]).item() == pytest.approx(0.16)

    def test_unknown_voxels_count_for_nothing(self):
        both, one = batch([1, IGNORE], (NOISY, NOISY)), batch([1], (NOISY,))
        assert_close(given(method(), A).loss(both, START), given(method(), A).loss(one, START))

    def test_an_annotator_who_is_not_named_is_refused(self):
        made = method(annotators=("ann",))
        for names in (("anna",), ()):
            with raises("unknown-name", "the batch", match="whom `method.annotators` does not name"):
                made.loss(batch([0], (NOISY,), names), LATER)
        assert made.loss(replace(batch([0], (EXPERT,)), annotators=("anna",)), LATER)


class TestMatrices:
    def test_start_near_the_identity(self):
        found = method(annotators=("ann", "ben"), diagonal=2.0).confusion()
        assert found.shape == (2, 2, 2)
        assert_close(found[:, 0, 0], torch.full((2,), 1 / (1 + torch.tensor(-2.0).exp().item())))
        assert_close(found.sum(1), torch.ones(2, 2))

    def test_are_learned_for_each_annotator(self):
        """Ann draws a third of the background as object, Ben misses a third of the object; truth is in the image."""
        random = torch.Generator().manual_seed(0)
        truth = torch.arange(600).view(2, 1, 300) % 2
        wrong = torch.rand(truth.shape, generator=random) < 1 / 3
        drawn = torch.where(wrong, torch.tensor([1, 0]).view(2, 1, 1), truth)
        image = 8.0 * torch.stack([1 - truth, truth], 1)
        data = Batch(image, drawn, (NOISY, NOISY), ("0", "1"), annotators=("ann", "ben"))
        made = method(annotators=("ann", "ben"), trace=0.01)
        optimiser = torch.optim.Adam(made.parameters(), lr=0.1)
        for index in range(150):
            optimiser.zero_grad()
            torch.stack(list(made.loss(data, Step(index, 150)).values())).sum().backward()
            optimiser.step()
        expected = torch.tensor([[[2 / 3, 0], [1 / 3, 1]], [[1, 1 / 3], [0, 2 / 3]]])
        assert_close(made.confusion(), expected, atol=0.06, rtol=0)
