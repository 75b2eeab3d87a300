"""Speed and memory of the hot paths against a plain implementation and against what users would pick instead.

    python benchmarks/speed.py [--data LEFT_ATRIUM] [--rounds 3] [--write FILE.md]

Every variant runs in a process of its own, in turn with the one it is compared with, so that both meet the same
machine; ratios are of medians over the rounds. With --data, a real scan is used, otherwise an ellipsoid of that size.
The two training steps start from the same weights, see the same batch and drop the same channels, so their losses
should agree but for rounding; the largest difference over the steps is printed, too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STEPS = 12
PATCH = (64, 64, 48)


@dataclass(frozen=True)
class Measured:
    """Of one variant: seconds, peak memory in bytes, and the losses if it trains."""

    seconds: float
    peak: int = 0
    losses: tuple[float, ...] = ()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--write", type=Path)
    arguments.add_argument("--variant", nargs=2, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.variant:
        what, side = given.variant
        measured = COMPARISONS[what][int(side)][1](*case(given.data))
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps(asdict(replace(measured, peak=peak))))
        return
    lines = ["| what | ours | against | ratio | peak memory, ours | against |", "|---|---|---|---|---|---|"]
    notes = []
    for what, ((ours, _), (other, _)) in COMPARISONS.items():
        mine, theirs = measure(what, given.data, given.rounds)
        lines.append(
            f"| {what} | {ours}: {mine.seconds:.3g} s | {other}: {theirs.seconds:.3g} s "
            f"| {theirs.seconds / mine.seconds:.1f}x | {mine.peak / 2**20:.0f} MiB | {theirs.peak / 2**20:.0f} MiB |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
        if mine.losses:
            pairs = list(zip(mine.losses, theirs.losses, strict=True))
            notes.append(
                f"Loss of the two trainings after {STEPS} steps: {pairs[-1][0]:.4f} (ours) and {pairs[-1][1]:.4f}; "
                f"largest difference on the way {max(abs(a - b) for a, b in pairs):.4f}."
            )
    machine = f"{cpu_name()}, {os.cpu_count()} cores, torch {torch.__version__}"
    notes.append(f"{machine}; medians of {given.rounds} rounds; {'a left-atrium scan' if given.data else 'ellipsoid'}.")
    text = "\n".join([*lines, "", *notes])
    print(text)
    if given.write:
        given.write.write_text(text + "\n")


def measure(what: str, data: Path | None, rounds: int) -> tuple[Measured, Measured]:
    found: tuple[list[Measured], list[Measured]] = ([], [])
    for _ in range(rounds):
        for side in (0, 1):
            command = [sys.executable, __file__, "--variant", what, str(side)]
            command += ["--data", str(data)] if data else []
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[side].append(Measured(**json.loads(output.splitlines()[-1])))
    return middle(found[0]), middle(found[1])


def middle(rounds: list[Measured]) -> Measured:
    """The round with the median time."""
    return sorted(rounds, key=lambda measured: measured.seconds)[len(rounds) // 2]


def case(data: Path | None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A scan ``[1, X, Y, Z]`` and its label."""
    if data:
        from segmend.data.image import read_image, read_label

        image = sorted((data / "imagesTr").iterdir())[0]
        label = data / "labelsTr" / image.name.replace("_0000", "")
        return read_image(image)[0], read_label(label)[0] > 0
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, side) for side in (200, 140, 90)], indexing="ij"))
    mask = (grid / np.array([0.5, 0.6, 0.5]).reshape(3, 1, 1, 1)).__pow__(2).sum(0) < 1
    noise = np.random.default_rng(0).normal(size=mask.shape)
    return (mask + noise)[None].astype(np.float32), mask


def timed(work: Callable[[], object], repeats: int = 1) -> Measured:
    work()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return Measured((time.perf_counter() - start) / repeats)


def trained(step: Callable[[], Tensor]) -> Measured:
    """Times training steps; chance is the same for every variant."""
    seconds, losses = [], []
    for number in range(STEPS):
        torch.manual_seed(number)
        start = time.perf_counter()
        losses.append(float(step()))
        seconds.append(time.perf_counter() - start)
    return Measured(statistics.median(seconds[1:]), losses=tuple(losses))


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(4, 1, *PATCH), torch.randint(0, 2, (4, *PATCH))


def step_ours(*_: object) -> Measured:
    from segmend.core.batch import Batch
    from segmend.core.case import Quality
    from segmend.core.precision import autocast
    from segmend.engine.learner import channels_last, channels_last_batch
    from segmend.methods import Step, Supervised
    from segmend.networks import VNet

    image, label = batch()
    method = channels_last(Supervised(VNet(1, 2)))
    optimiser = torch.optim.SGD(method.parameters(), lr=0.01, momentum=0.9)

    def step() -> Tensor:
        whole = channels_last_batch(Batch(image, label, (Quality.NOISY,) * 4, ("",) * 4))
        with autocast("auto", torch.device("cpu")):
            loss = method.loss(whole, Step(0, 1))["supervised"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss

    return trained(step)


def step_plain(*_: object) -> Measured:
    from segmend.functional.dice import cross_entropy_dice
    from segmend.networks import VNet

    image, label = batch()
    network = VNet(1, 2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def step() -> Tensor:
        loss = cross_entropy_dice(network(image), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss

    return trained(step)


def shifted(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A prediction that is off by a few voxels."""
    return np.roll(mask, (3, -2, 1), (0, 1, 2))


def metrics_ours(_: object, mask: NDArray[np.bool_]) -> Measured:
    from segmend.metrics import asd, dice, hd95, surface_distances

    prediction = shifted(mask)

    def score() -> None:
        distances = surface_distances(prediction, mask, (0.625,) * 3)
        hd95(distances), asd(distances), dice(prediction, mask)

    return timed(score, 3)


def metrics_medpy(_: object, mask: NDArray[np.bool_]) -> Measured:
    from medpy.metric import binary

    prediction = shifted(mask)

    def score() -> None:
        binary.hd95(prediction, mask, (0.625,) * 3)
        binary.asd(prediction, mask, (0.625,) * 3)
        binary.dc(prediction, mask)

    return timed(score, 3)


def dilation_ours(_: object, mask: NDArray[np.bool_]) -> Measured:
    from segmend.functional.morphology import dilate

    return timed(lambda: dilate(mask, 15), 5)


def dilation_scipy(_: object, mask: NDArray[np.bool_]) -> Measured:
    from scipy.ndimage import binary_dilation

    start = time.perf_counter()
    binary_dilation(mask, np.ones((15, 15, 15)))
    return Measured(time.perf_counter() - start)


def window_ours(image: NDArray[np.float32], _: object) -> Measured:
    from segmend.data.preprocess import Normalisation, Preprocessing
    from segmend.engine.learner import channels_last
    from segmend.engine.run import Task
    from segmend.engine.segmenter import Segmenter
    from segmend.methods import Supervised
    from segmend.networks import VNet

    preprocessing = Preprocessing((None,) * 3, (Normalisation(),))
    task = Task(("MR",), {"background": 0, "object": 1}, 3, PATCH, preprocessing, "")
    segmenter = Segmenter(channels_last(Supervised(VNet(1, 2))).eval(), task)
    return timed(lambda: segmenter.prepared_classes(image))


def window_plain(image: NDArray[np.float32], _: object) -> Measured:
    from itertools import product

    from segmend.networks import VNet

    network = VNet(1, 2).eval()
    scan = torch.from_numpy(image)
    starts = [sorted({*range(0, side - p, p // 2), side - p}) for side, p in zip(scan.shape[1:], PATCH, strict=True)]

    def predict() -> None:
        total, count = torch.zeros(2, *scan.shape[1:]), torch.zeros(scan.shape[1:])
        for corner in product(*starts):
            where = tuple(slice(first, first + side) for first, side in zip(corner, PATCH, strict=True))
            with torch.inference_mode():
                total[(slice(None), *where)] += network(scan[(slice(None), *where)][None])[0].softmax(0)
            count[where] += 1
        (total / count).argmax(0)

    return timed(predict)


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


Variant = tuple[str, Callable[..., Measured]]
COMPARISONS: dict[str, tuple[Variant, Variant]] = {
    "V-Net training step, 4 x 64x64x48": (
        ("bfloat16, channels last", step_ours),
        ("eager float32, contiguous", step_plain),
    ),
    "HD95 + ASD + Dice of one scan": (
        ("segmend.metrics", metrics_ours),
        ("MedPy", metrics_medpy),
    ),
    "dilation by a cube of side 15": (
        ("segmend.functional.morphology", dilation_ours),
        ("scipy.ndimage.binary_dilation, full cube", dilation_scipy),
    ),
    "sliding window over one scan, overlap 0.5": (
        ("segmend.Segmenter, bfloat16, slabs", window_ours),
        ("one patch at a time, float32, the same stride", window_plain),
    ),
}
"""What is compared: ours first."""

if __name__ == "__main__":
    main()
