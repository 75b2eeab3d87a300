from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from labelled_case import CaseInMemory, take
from refusals import raises
from torch import Tensor, nn

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.methods import MSTFAL, Step
from segmend.methods.noisy.mstfal import _slice_weight
from segmend.networks import Network

NOISY, EXPERT = Quality.NOISY, Quality.EXPERT
SIDE, SLICES = 8, 4


class Shown(Network):
    """Features and logits are the image's channels times a gain: truth as one-hot."""

    decoder_scales = ("feature",)

    def __init__(self, in_channels: int = 2, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.gain, self.feature = nn.Parameter(torch.ones(())), nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        return self.feature(self.gain * image)


def method(**arguments: Any) -> MSTFAL:
    return MSTFAL(Shown(), **arguments)


def volume(wrong: int = 0, name: str = "a", quality: Quality = NOISY, *, sliced: bool = True) -> CaseInMemory:
    """Half object, half background; in each slice, the first ``wrong`` voxels of the background are drawn as object."""
    truth = (torch.arange(SIDE * SIDE) >= SIDE * SIDE // 2).long().view(SIDE, SIDE, 1).expand(-1, -1, SLICES)
    drawn = truth.clone().view(SIDE * SIDE, SLICES)
    drawn[:wrong] = 1
    image = 3.0 * torch.stack([1 - truth, truth])
    return CaseInMemory(name, image, drawn.view_as(truth).to(torch.uint8), quality, sliced)


def batch(label: list[int], weights: list[float], image: Tensor, place: Tensor | None = None) -> Batch:
    labels = torch.tensor(label).view(-1, 1, 1)
    values, names = {"weight": torch.tensor(weights)}, tuple(map(str, label))
    return Batch(image, labels, (NOISY,) * len(label), names, {"rectified": labels}, {}, values, place=place)


PREDICTED = torch.tensor([0.4, 0.6]).log().view(1, 2, 1, 1)


class TestLoss:
    @pytest.mark.parametrize(("weight", "expected"), [(1.0, 1), (0.4, 0.4), (math.nan, 1)])
    def test_is_weighted_cross_entropy(self, weight, expected):
        found = method().loss(batch([0], [weight], PREDICTED), Step(0, 10))
        assert found["rectified"].item() == pytest.approx(-expected * math.log(0.4))

    def test_easy_voxels_do_not_count(self):
        image = torch.cat([PREDICTED, torch.tensor([0.9, 0.1]).log().view(1, 2, 1, 1)])
        found = method().loss(batch([0, 0], [1.0, 1.0], image), Step(0, 10))
        assert found["rectified"].item() == pytest.approx(-math.log(0.4))

    def test_2d_images_are_refused(self):
        with raises("mismatch", "method MSTFAL"):
            method().loss(batch([0], [1.0], PREDICTED, place=torch.zeros(1, 2, 3)), Step(0, 10))
        assert method().loss(batch([0], [1.0], PREDICTED, place=torch.zeros(1, 3, 3)), Step(0, 10))


def test_labels_are_evaluated_from_stage_2_on():
    made = method(stages=(0.2, 0.3, 0.4), interval=0.25)
    assert [index for index in range(100) if made.revises(Step(index, 100))] == [20, 45, 70, 95]


def revised(made: MSTFAL, cases: list[CaseInMemory], progress: int) -> dict[str, CaseInMemory]:
    take(made.eval().revise(cases, Step(progress, 100)), cases)
    return {case.name: case for case in cases}


class TestStages:
    cases = staticmethod(lambda: [volume(0, "clean"), volume(8, "middle"), volume(24, "worst")])

    def test_2_weighs_scans_by_rank(self):
        found = revised(method(), self.cases(), 20)
        weights = {name: case.values["weight"] for name, case in found.items()}
        assert {name: each[0] for name, each in weights.items()} == pytest.approx(
            {"clean": 1.0, "middle": 0.7, "worst": 0.4}
        )
        assert all(len(set(each)) == 1 and len(each) == SLICES for each in weights.values())
        assert not any(case.layers for case in found.values())

    def test_3_weighs_slices_too(self):
        cases = self.cases()
        cases[0].given[:, :, 3] = cases[2].given[:, :, 3]
        weights = revised(method(), cases, 30)["clean"].values["weight"]
        assert weights[0] > weights[3]
        assert weights[0] > 1

    def test_4_relabels_the_worst(self):
        found = revised(method(worst=1 / 3), self.cases(), 40)
        assert found["worst"].values["weight"] == [0.7] * SLICES
        assert set(found["clean"].layers) == set(found["middle"].layers) == set()
        truth = volume(0).given
        given, rectified = found["worst"].given, found["worst"].layers["rectified"]
        assert (rectified != truth).sum() < (given != truth).sum()

    def test_a_scan_that_is_no_longer_the_worst_gets_its_label_back(self):
        cases = self.cases()
        cases[0].layers["rectified"] = 1 - cases[0].given
        assert torch.equal(revised(method(worst=1 / 3), cases, 50)["clean"].layers["rectified"], cases[0].given)

    def test_expert_labels_stay(self):
        cases = [*self.cases(), volume(20, "expert", EXPERT)]
        found = revised(method(), cases, 50)["expert"]
        assert not found.layers
        assert not found.values


@pytest.mark.parametrize(("above", "expected"), [((0.1, -0.1), 1.491825), ((-0.1, 0.1), 0.670320), ((math.nan, 0), 1)])
def test_weight_of_a_slice(above, expected):
    assert _slice_weight(*above) == pytest.approx(expected, abs=1e-6)


def test_volumes_as_a_whole_have_one_weight():
    cases = [volume(0, "clean", sliced=False), volume(24, "worst", sliced=False)]
    found = revised(MSTFAL(Shown(dimensions=3)), cases, 20)
    assert {name: case.values["weight"] for name, case in found.items()} == pytest.approx({"clean": 1.0, "worst": 0.4})


@pytest.mark.parametrize("value", [0, IGNORE])
def test_labels_without_an_object_weigh_1(value):
    case = volume(0)
    case.given = torch.full_like(case.given, value)
    assert revised(method(), [case, volume(0, "b")], 45)["a"].values["weight"][0] == pytest.approx(1.0)


def test_takes_labelled_samples():
    assert MSTFAL.needs == Composition(any_labelled=4)
