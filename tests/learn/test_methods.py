"""Every method must learn: on a toy task of seconds it must beat plain training on the same imperfect labels."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segmend.data.batch import Batch
from segmend.data.case import Case, Quality
from segmend.data.sampling import BatchPlan
from segmend.functional.voxel import IGNORE
from segmend.methods import Method, Step, all_methods
from segmend.networks import UNet

SEEDS = (0, 1)
STEPS, LEARNING_RATE = 120, 0.1
SIDE, CASES, EXPERTS, TEST_CASES = 32, 24, 4, 32
MARGIN = 0.1

ARGUMENTS: dict[str, dict[str, Any]] = {
    "MeanTeacher": {"consistency": 1.0, "ramp_length": 0.5},
    "PLIL": {"passes": 1, "ramp_length": 0.5},  # the network has no dropout, and the run is short
}
"""What suits a run of this length; the rest are the defaults."""

EXCUSED: dict[str, str] = {
    "Supervised": "It is what the others are compared with.",
}
"""Methods that need not beat the baseline, with the reason."""


def scans(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of one ellipse, the object, among small discs as bright as it; contrast differs from scan to scan."""
    random = np.random.default_rng(seed)
    grid = np.moveaxis(np.indices((SIDE, SIDE)), 0, -1)
    image, label = np.zeros((count, 1, SIDE, SIDE), np.float32), np.zeros((count, SIDE, SIDE), bool)
    for scan in range(count):
        centre, radii = random.uniform(9, SIDE - 9, 2), random.uniform(5, 7, 2)
        label[scan] = (((grid - centre) / radii) ** 2).sum(-1) < 1
        bright = label[scan].copy()
        for place, radius in zip(random.uniform(3, SIDE - 3, (7, 2)), random.uniform(1.5, 2.5, 7), strict=True):
            if np.linalg.norm(place - centre) > radii.max() + radius + 4:
                bright |= np.linalg.norm(grid - place, axis=-1) < radius
        image[scan, 0] = random.uniform(0.6, 1.4) * bright + random.normal(0, 0.3, (SIDE, SIDE))
    return torch.from_numpy(image), torch.from_numpy(label).long()


def too_large(label: Tensor) -> Tensor:
    """What a careless annotator draws: every border two voxels too far out."""
    return F.max_pool2d(label.float(), 5, stride=1, padding=2).long()


def dice(method: Method, image: Tensor, label: Tensor) -> float:
    with torch.no_grad():
        return overlap(method.eval().predict(image).argmax(1), label)


def overlap(prediction: Tensor, label: Tensor) -> float:
    """Mean Dice of the object over the scans."""
    both, sizes = (prediction * label).sum((1, 2)), prediction.sum((1, 2)) + label.sum((1, 2))
    return (2 * both / sizes).mean().item()


def trained(cls: type[Method], image: Tensor, label: Tensor, quality: list[Quality], seed: int, **arguments) -> Method:
    """The method after a plain loop with its own batches."""
    torch.manual_seed(seed)
    method = cls(UNet(1, 2, 2, width=8, stages=3), **arguments)
    cases = [Case(str(position), (), None, quality=each) for position, each in enumerate(quality)]
    plan = BatchPlan.of(cases, method.needs, seed, cls.__name__)
    trainable = [parameter for parameter in method.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trainable, lr=LEARNING_RATE, momentum=0.9, weight_decay=1e-4)
    for index in range(STEPS):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * (1 - index / STEPS) ** 0.9
        rows = list(plan.cases_at(index))
        batch = Batch(image[rows], label[rows], tuple(quality[row] for row in rows), tuple(map(str, rows)))
        optimiser.zero_grad()
        torch.stack(list(method.loss(batch, Step(index, STEPS)).values())).sum().backward()
        optimiser.step()
        method.after_step(Step(index, STEPS))
    return method


@functools.cache
def result(name: str, seed: int, kind: str = "imperfect") -> float:
    """Dice on clean test scans after training on labels that are 'imperfect', all 'clean', or 'expert' only."""
    image, label = scans(CASES, 100 + seed)
    given = label.clone()
    quality = [Quality.EXPERT] * EXPERTS + [Quality.NOISY] * (CASES - EXPERTS)
    if kind == "imperfect":
        given[EXPERTS:] = too_large(label[EXPERTS:])
        if all_methods()[name].needs.unlabelled:
            given[EXPERTS:], quality[EXPERTS:] = IGNORE, [Quality.NONE] * (CASES - EXPERTS)
    if kind == "expert":
        image, given, quality = image[:EXPERTS], given[:EXPERTS], quality[:EXPERTS]
    method = trained(all_methods()[name], image, given, quality, seed, **ARGUMENTS.get(name, {}))
    return dice(method, *scans(TEST_CASES, 1000))


def mean_result(name: str, kind: str = "imperfect") -> float:
    return float(np.mean([result(name, seed, kind) for seed in SEEDS]))


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums in one order, so that the results are the same in every run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_baseline_learns_from_clean_labels_what_no_threshold_finds():
    image, label = scans(TEST_CASES, 1000)
    best = max(overlap((image[:, 0] > threshold).long(), label) for threshold in np.linspace(0, 1.4, 29))
    assert best < 0.8
    assert mean_result("Supervised", "clean") > best + 0.15


def test_imperfect_labels_spoil_the_baseline():
    assert mean_result("Supervised") < mean_result("Supervised", "clean") - 0.15


@pytest.mark.parametrize("name", [name for name in all_methods() if name not in EXCUSED])
def test_beats_plain_training_on_the_same_labels(name):
    assert mean_result(name) > mean_result("Supervised") + MARGIN


@pytest.mark.parametrize("name", [name for name, cls in all_methods().items() if cls.kind == "mixed"])
def test_beats_plain_training_on_the_expert_labels_alone(name):
    assert mean_result(name) > mean_result("Supervised", "expert")


def test_excuses_are_for_methods_that_exist():
    assert set(EXCUSED) | set(ARGUMENTS) <= set(all_methods())
