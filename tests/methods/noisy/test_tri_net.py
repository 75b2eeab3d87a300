from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from refusals import raises
from torch import Tensor
from torch.testing import assert_close
from written_networks import ChannelsAsLogits

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.methods import Step, TriNet
from segmend.networks import VNet

FIRST, LAST = Step(0, 10), Step(10, 10)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE

LOSSES = [[0.1, 0.2, 0.3, 0.4], [0.45, 0.3, 0.2, 0.1], [0.1, 0.4, 0.2, 0.35]]
"""Of three networks at four voxels."""


def method(**arguments: Any) -> TriNet:
    made = TriNet(ChannelsAsLogits(6), **arguments)
    made.second.group, made.third.group = 1, 2
    return made


def batch(losses: Any, label: Tensor | None = None, quality: tuple[Quality, ...] = (NOISY,)) -> Batch:
    """Scans on which the networks have these losses ``[3, voxels]`` or ``[3, B, voxels]`` if the label is 1."""
    values = torch.as_tensor(losses).view(3, len(quality), -1)
    right = (-values).exp()
    image = torch.stack([1 - right, right], dim=1).flatten(0, 1).transpose(0, 1).log()
    label = torch.ones(image.shape[0], image.shape[2], dtype=torch.long) if label is None else label
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def selected(made: TriNet, given: Batch, step: Step = LAST) -> float:
    (name, term), *others = made.loss(given, step).items()
    assert name == "selected"
    assert not others
    return term.item()


class TestSelection:
    @pytest.mark.parametrize(
        ("rule", "expected"), [("consensus", 0.35 + 0.325 + 0.3), ("difference", 0.3 + 0.25 + 0.95 / 3)]
    )
    def test_by_hand(self, rule, expected):
        # Each selection leaves one voxel out. By their losses, the networks leave out voxels 3, 0 and 1.
        assert selected(method(rule=rule, noise_rate=0.25), batch(LOSSES)) == pytest.approx(expected)

    @pytest.mark.parametrize("noise_rate", [0.1, 0.4, 0.7])
    @pytest.mark.parametrize("rule", ["consensus", "difference", "both"])
    def test_is_the_plain_computation(self, rule, noise_rate):
        losses = 3 * torch.rand(3, 20, generator=torch.Generator().manual_seed(0))
        kept = round((1 - noise_rate) * 20)
        expected = 0.0
        for own, one, other in [(0, 1, 2), (1, 2, 0), (2, 0, 1)]:
            small = [set(values.argsort()[:kept].tolist()) for values in (losses[one], losses[other])]
            similar = set((losses[one] - losses[other]).abs().argsort()[:kept].tolist())
            chosen = {"consensus": small[0] & small[1], "difference": similar, "both": small[0] & small[1] & similar}[
                rule
            ]
            expected += sum(losses[own, voxel].item() for voxel in chosen) / max(len(chosen), 1)
        assert selected(method(rule=rule, noise_rate=noise_rate), batch(losses)) == pytest.approx(expected, rel=1e-5)

    def test_may_find_no_consensus(self):
        # Of two voxels the first network likes one and the second network the other: the third learns nothing.
        given = batch([[0.1, 0.2], [0.2, 0.1], [0.1, 0.2]])
        assert selected(method(noise_rate=0.5), given) == pytest.approx(0 + 0.2 + 0)

    @pytest.mark.parametrize("rule", ["consensus", "difference", "both"])
    def test_does_not_ask_the_network_that_is_taught(self, rule):
        other = torch.tensor(LOSSES)
        other[0] = torch.tensor([0.9, 0.1, 0.8, 0.2])
        gradients = []
        for losses in (torch.tensor(LOSSES), other):
            given = batch(losses)
            image = given.image.clone().requires_grad_()
            method(rule=rule, noise_rate=0.25).loss(replace(given, image=image), LAST)["selected"].backward()
            gradients.append(image.grad[0, :2].any(0))
        assert torch.equal(*gradients)
        assert 0 < gradients[0].sum() < 4

    @pytest.mark.parametrize("rule", ["consensus", "difference", "both"])
    def test_does_not_depend_on_which_network_is_which(self, rule):
        totals = [selected(method(rule=rule, noise_rate=0.25), batch(list(turn))) for turn in permutations(LOSSES)]
        assert totals == pytest.approx([totals[0]] * 6)

    def test_may_be_made_in_each_class_apart(self):
        # The object's losses are the larger ones: alone among all voxels it would be forgotten.
        label = torch.tensor([[0, 0, 1, 1]])
        easy, hard = [3.0, 3.1], [2.0, 2.1]  # of class 0 these are losses of 0.05 to 0.06
        given = batch([[*easy, *hard]] * 3, label)
        by_class = selected(method(noise_rate=[0.0, 0.5], scope="class"), given)
        easy_losses = -torch.log1p(-torch.tensor(easy).neg().exp())
        assert by_class == pytest.approx(3 * (easy_losses.sum().item() + 2.0) / 3, rel=1e-4)
        assert selected(method(noise_rate=0.5), given) == pytest.approx(3 * easy_losses.mean().item(), rel=1e-4)

    def test_unknown_voxels_are_neither_selected_nor_counted(self):
        losses = torch.cat([torch.tensor(LOSSES), torch.full((3, 4), 0.01)], dim=1)
        label = torch.tensor([[1, 1, 1, 1, *[IGNORE] * 4]])
        expected = selected(method(noise_rate=0.25), batch(LOSSES))
        assert selected(method(noise_rate=0.25), batch(losses, label)) == pytest.approx(expected)


class TestSchedule:
    @pytest.mark.parametrize("rule", ["consensus", "difference", "both"])
    def test_at_first_all_voxels_count(self, rule):
        total = torch.tensor(LOSSES).mean(1).sum().item()
        assert selected(method(rule=rule, noise_rate=0.5), batch(LOSSES), FIRST) == pytest.approx(total)

    def test_the_share_falls_linearly(self):
        losses = torch.linspace(0.1, 1.0, 100).expand(3, 100)
        for index, kept in [(0, 100), (2, 90), (4, 80), (8, 60), (10, 60)]:
            expected = 3 * losses[0, :kept].mean().item()
            made = method(noise_rate=0.4, ramp_length=0.8)
            assert selected(made, batch(losses), Step(index, 10)) == pytest.approx(expected, rel=1e-5)

    def test_without_noise_nothing_is_left_out(self):
        assert selected(method(noise_rate=0.0), batch(LOSSES)) == pytest.approx(sum(map(sum, LOSSES)) / 4)

    def test_a_rate_of_1_is_refused(self):
        with raises("invalid-value", "method.noise_rate"):
            method(noise_rate=1.0)


def test_expert_and_noisy_samples_count_the_same_and_unlabelled_ones_are_left_out():
    losses = torch.rand(3, 3, 4, generator=torch.Generator().manual_seed(0))
    label = torch.ones(3, 4, dtype=torch.long)
    mixed = batch(losses, label, (EXPERT, NONE, NOISY))
    expected = selected(method(noise_rate=0.25), batch(losses[:, [0, 2]], label[:2], (NOISY, NOISY)))
    assert selected(method(noise_rate=0.25), mixed) == pytest.approx(expected)


@pytest.mark.parametrize(("prediction", "expected"), [("first", 0.9), ("mean", 0.5)])
def test_prediction(prediction, expected):
    image = batch((-torch.tensor([0.9, 0.4, 0.2]).log()).view(3, 1)).image
    assert_close(method(prediction=prediction).predict(image)[0, 1].item(), expected)


def test_networks_start_apart():
    made = TriNet(VNet(1, 2, 2, width=2))
    heads = [network.head.weight for network in (made.network, made.second, made.third)]
    assert not any(torch.equal(one, other) for one, other in permutations(heads, 2))


def test_takes_labelled_samples_of_any_quality():
    assert TriNet.needs == Composition(any_labelled=4)
