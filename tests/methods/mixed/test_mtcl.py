from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.ramps import sigmoid_ramp
from segmend.functional.soft_labels import one_hot
from segmend.methods import MTCL, Step
from segmend.methods.components.ema import follow_students
from segmend.methods.mixed import mtcl
from segmend.networks import UNet

EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
LAST, MIDDLE = Step(100, 100), Step(50, 100)


def image_of(p: list[float]) -> Tensor:
    """A 1D image whose second class has these probabilities."""
    object_ = torch.tensor(p)
    return torch.stack([1 - object_, object_]).log().unsqueeze(0)


# The worked example of confident learning: voxels 4 and 9 are doubtful.
IMAGE = image_of([0.1, 0.1, 0.2, 0.2, 0.9, 0.4, 0.8, 0.9, 0.7, 0.2])
LABEL = torch.tensor([[0, 0, 0, 0, 0, 0, 1, 1, 1, 1]])
DOUBTFUL = [4, 9]


def object_share(method: MTCL, label: Tensor = LABEL) -> Tensor:
    target = method.correct(IMAGE, label)
    assert_close(target.sum(1), (label != IGNORE).float())
    return target[0, 1]


@pytest.fixture
def without_noise(monkeypatch) -> None:
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)


class TestCorrection:
    @pytest.mark.parametrize(
        ("arguments", "doubtful_background", "doubtful_object"),
        [
            ({"correction": "hard"}, 1.0, 0.0),
            ({"correction": "fs"}, 0.8, 0.2),
            ({"correction": "fs", "fixed_share": 0.6}, 0.6, 0.4),
            ({"correction": "fs", "fixed_share": 0.0}, 0.0, 1.0),
            ({"correction": "hard", "truncate": True}, 1.0, 0.0),
            ({"correction": "fs", "truncate": True}, 0.0, 0.0),
            ({"correction": "fs", "fixed_share": 0.0, "truncate": True}, 0.0, 1.0),
        ],
        ids=str,
    )
    def test_moves_doubtful_labels_and_no_others(self, arguments, doubtful_background, doubtful_object):
        expected = LABEL[0].float()
        expected[DOUBTFUL] = torch.tensor([doubtful_background, doubtful_object])
        assert_close(object_share(MTCL(ImageAsLogits(), **arguments)), expected)

    def test_goes_as_far_as_the_teacher_is_certain(self, without_noise):
        def certainty(p: float) -> float:
            return 1 + (p * math.log(p) + (1 - p) * math.log(1 - p)) / math.log(2)

        expected = LABEL[0].float()
        expected[DOUBTFUL] = torch.tensor([certainty(0.9), 1 - certainty(0.8)])
        assert_close(object_share(MTCL(ImageAsLogits())), expected, atol=1e-5, rtol=0)
        assert object_share(MTCL(ImageAsLogits(), truncate=True))[DOUBTFUL].tolist() == [0, 0]

    def test_certainty_is_that_of_the_mean_over_the_noisy_passes(self, monkeypatch):
        method = MTCL(ImageAsLogits(), passes=2)
        opposite = torch.stack([IMAGE, IMAGE.flip(1)])
        monkeypatch.setattr(method.teacher, "perturbed_passes", lambda image, passes, noise: opposite)
        # The mean of p and 1 - p is 0.5 everywhere: no certainty, so labels stay.
        assert_close(object_share(method), LABEL[0].float(), atol=1e-5, rtol=0)

    def test_three_classes_move_to_the_most_probable_one(self):
        rows = {0: [0.8, 0.1, 0.1], 1: [0.1, 0.8, 0.1], 2: [0.1, 0.1, 0.8]}
        image = torch.tensor([rows[cls] for cls in (0, 0, 0, 1, 1, 1, 2, 2, 2, 2)]).log().T.unsqueeze(0)
        label = torch.tensor([[0, 0, 0, 1, 1, 1, 2, 2, 2, 1]])
        target = MTCL(ImageAsLogits(), correction="fs").correct(image, label)
        assert_close(target[..., :9], one_hot(label, 3)[..., :9])
        assert_close(target[0, :, 9], torch.tensor([0.0, 0.2, 0.8]))
        truncated = MTCL(ImageAsLogits(), correction="fs", truncate=True).correct(image, label)
        assert truncated[0, :, 9].tolist() == [1, 0, 0]

    def test_unknown_voxels_stay_unknown(self):
        label = LABEL.clone()
        label[:, [0, 4]] = IGNORE
        for truncate in (False, True):
            target = MTCL(ImageAsLogits(), correction="hard", truncate=truncate).correct(IMAGE, label)
            assert not target[:, :, [0, 4]].any()
            assert target[0, :, 9].tolist() == [1, 0]

    def test_is_the_teachers(self):
        method = MTCL(ImageAsLogits(), correction="hard")
        with torch.no_grad():
            method.network.gain.zero_()
        assert object_share(method)[DOUBTFUL].tolist() == [1, 0]

    def test_certain_agreement_leaves_labels_alone(self):
        image = (20 * one_hot(LABEL, 2) - 10).float()
        assert_close(MTCL(ImageAsLogits(), correction="hard").correct(image, LABEL), one_hot(LABEL, 2))


def samples(*quality: Quality) -> Batch:
    """Noisy discs with labels that are too large on one side."""
    random = torch.Generator().manual_seed(0)
    x, y = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    truth = ((x - 16) ** 2 + (y - 14) ** 2).sqrt() < 7
    image = 2.0 * truth.float() + 0.3 * torch.randn(len(quality), 1, 32, 32, generator=random)
    label = truth.long().repeat(len(quality), 1, 1)
    for row, each in enumerate(quality):
        if each is NOISY:
            label[row, :, 20:24] = 1
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


@pytest.fixture(scope="module")
def network() -> UNet:
    """One that has seen enough to predict both classes."""
    torch.manual_seed(0)
    network, experts = UNet(1, 2, 2, width=4, stages=2), samples(EXPERT, EXPERT)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(15):
        optimiser.zero_grad()
        cross_entropy_dice(network(experts.image), experts.label).backward()
        optimiser.step()
    optimiser.zero_grad()
    return network


@pytest.fixture
def on_samples(network) -> Callable[..., dict[str, float]]:
    """The loss terms of some samples."""

    def terms(data: Batch, step: Step = MIDDLE, **arguments: Any) -> dict[str, float]:
        method = MTCL(copy.deepcopy(network), **arguments)
        torch.manual_seed(1)
        return {name: term.item() for name, term in method.loss(data, step).items()}

    return terms


class TestSwitches:
    """Each changes what it says, and nothing else."""

    BOTH = samples(EXPERT, NOISY, EXPERT, NOISY)

    @pytest.mark.parametrize(
        ("arguments", "changed"),
        [
            ({"correction": "hard"}, {"corrected"}),
            ({"correction": "fs"}, {"corrected"}),
            ({"fixed_share": 0.5}, set()),
            ({"passes": 1}, {"corrected"}),
            ({"rule": "confident_learning"}, {"corrected"}),
            ({"truncate": True}, {"corrected"}),
            ({"consistency": 0.3}, {"consistency"}),
            ({"corrected": 0.3}, {"corrected"}),
            ({"ramp_length": 1.0}, {"consistency", "corrected"}),
            ({"ramp_stairs": 3}, {"consistency", "corrected"}),
            ({"noise": 0.4}, {"consistency", "corrected"}),
            ({"decay": 0.5}, set()),
        ],
    )
    def test_terms(self, on_samples, arguments, changed):
        usual, other = on_samples(self.BOTH), on_samples(self.BOTH, **arguments)
        assert usual.keys() == other.keys() == {"expert", "consistency", "corrected"}
        assert {name for name in other if other[name] != pytest.approx(usual[name], rel=1e-6)} == changed

    def test_both_weights_rise_with_the_ramp(self, on_samples):
        early, late = on_samples(self.BOTH, Step(30, 100)), on_samples(self.BOTH, LAST)
        ramp = sigmoid_ramp(0.3, 0.75, 40)
        assert early["expert"] == late["expert"]
        assert [early[name] for name in ("consistency", "corrected")] == pytest.approx(
            [ramp * late[name] for name in ("consistency", "corrected")]
        )

    def test_decay_is_the_teachers(self):
        method = MTCL(ImageAsLogits(), decay=0.75)
        with torch.no_grad():
            method.network.gain.fill_(5.0)
        follow_students(method, MIDDLE.index)
        assert method.teacher.network.gain.item() == pytest.approx(2)


class TestSamples:
    @pytest.mark.parametrize(
        ("quality", "names"),
        [
            ((EXPERT,), {"expert"}),
            ((NOISY,), {"consistency", "corrected"}),
            ((NONE,), {"consistency"}),
            ((EXPERT, NONE), {"expert", "consistency"}),
        ],
    )
    def test_each_enters_its_own_terms(self, on_samples, quality, names):
        assert on_samples(samples(*quality)).keys() == names

    def test_corrected_labels_cost_the_student_less_than_the_given_ones(self, on_samples):
        given = on_samples(samples(NOISY, NOISY), LAST, correction="fs", fixed_share=0.0)
        corrected = on_samples(samples(NOISY, NOISY), LAST, correction="hard")
        assert corrected["corrected"] < 0.6 * given["corrected"]

    def test_where_nothing_is_doubtful_the_loss_is_the_supervised_one(self, network, monkeypatch):
        monkeypatch.setattr(mtcl, "label_issues", lambda p, label, rule: torch.zeros_like(label, dtype=torch.bool))
        method, data = MTCL(copy.deepcopy(network), corrected=1.0), samples(NOISY, NOISY)
        expected = cross_entropy_dice(method.network(data.image), data.label)
        assert_close(method.loss(data, LAST)["corrected"], expected)

    def test_only_the_student_gets_a_gradient(self, network):
        method = MTCL(copy.deepcopy(network))
        sum(method.loss(samples(NOISY, NOISY), LAST).values()).backward()
        assert all(parameter.grad is None for parameter in method.teacher.parameters())
        assert any(parameter.grad.any() for parameter in method.network.parameters())
