from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods import DUWMStyle, Step
from segmend.networks import Network, UNet

LAST, START = Step(100, 100), Step(0, 100)
EXPERT, NONE = Quality.EXPERT, Quality.NONE


class Shown(Network):
    """Logits are the first two channels of the image, the feature is the others."""

    decoder_scales = ("feature",)

    def __init__(self, in_channels: int = 4, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.gain, self.feature = nn.Parameter(torch.ones(())), nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        self.feature(self.gain * image[:, 2:])
        return self.gain * image[:, :2]


def one_voxel(student: tuple[float, float], feature: tuple[float, float]) -> Tensor:
    return torch.tensor([math.log(student[0]), math.log(student[1]), *feature]).view(1, 4, 1, 1)


def batch(image: Tensor, *quality: Quality) -> Batch:
    label = torch.full((len(image), *image.shape[2:]), IGNORE)
    for row, each in enumerate(quality):
        label[row] = 0 if each is EXPERT else IGNORE
    return Batch(image, label, quality, tuple(map(str, range(len(image)))))


def seen_by_teacher(made: DUWMStyle, *images: Tensor) -> None:
    """Have the teacher see these images, one in each pass, whatever it is given."""
    turn = iter(images)
    made.teacher.network.register_forward_pre_hook(lambda *_: (next(turn),))


STUDENT = one_voxel((0.9, 0.1), (3.0, 4.0))


class TestTerms:
    def test_segmentation_is_the_weighted_difference_to_the_mean_of_the_passes(self):
        made = DUWMStyle(Shown(), passes=2, consistency=1.0)
        seen_by_teacher(made, *(one_voxel((p, 1 - p), (3.0, 4.0)) for p in (0.6, 0.8)))
        found = made.loss(batch(STUDENT, NONE), LAST)["segmentation"]
        assert found.item() == pytest.approx(0.897861 - 0.881291, abs=1e-5)

    def test_features_are_compared_by_direction(self):
        made = DUWMStyle(Shown(), passes=2, consistency=1.0)
        seen_by_teacher(made, *(one_voxel((0.5, 0.5), feature) for feature in ((8.0, 6.0), (0.0, 0.0))))
        found = made.loss(batch(STUDENT, NONE), LAST)["features"]
        share = (1 / (1 + math.exp(-2)) + 0.5) / 2
        uncertainty = -(share * math.log(share) + (1 - share) * math.log(1 - share)) / math.log(2)
        assert found.item() == pytest.approx(math.exp(-uncertainty) * 0.2**2, abs=1e-5)

    def test_agreement_costs_nothing(self):
        made = DUWMStyle(Shown(), noise=0.0)
        terms = made.loss(batch(STUDENT, NONE), LAST)
        assert [term.item() for term in terms.values()] == pytest.approx([0, 0], abs=1e-10)

    def test_weight_ramps_up(self):
        values = []
        for step in (START, LAST):
            made = DUWMStyle(Shown(), passes=1, consistency=0.5)
            seen_by_teacher(made, one_voxel((0.6, 0.4), (1.0, 0.0)))
            values.append(made.loss(batch(STUDENT, NONE), step)["segmentation"].item())
        assert values[0] == pytest.approx(values[1] * sigmoid_ramp(0.0))

    def test_expert_labels_are_learnt(self):
        image = torch.cat([STUDENT, STUDENT])
        found = DUWMStyle(Shown(), passes=1).loss(batch(image, EXPERT, NONE), LAST)
        assert set(found) == {"expert", "segmentation", "features"}
        assert_close(found["expert"], cross_entropy_dice(STUDENT[:, :2], torch.zeros(1, 1, 1).long()))


def passes_of(made: Any, image: Tensor) -> list[Tensor]:
    seen: list[Tensor] = []
    made.teacher.network.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    made.loss(batch(image, *[NONE] * len(image)), LAST)
    return seen


def test_each_pass_has_noise_of_its_own():
    seen = passes_of(DUWMStyle(UNet(1, 2, 2, width=2, stages=3), passes=3, noise=0.2), torch.zeros(2, 1, 8, 8))
    assert len(seen) == 3
    assert len({float(each[0, 0, 0, 0]) for each in seen}) == 3
    assert max(float(each.abs().max()) for each in seen) <= 0.4 + 1e-6


def test_takes_expert_and_unlabelled_samples():
    assert DUWMStyle.needs == Composition(expert=2, unlabelled=2)
