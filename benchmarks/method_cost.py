"""Cost of a training step of every method: time relative to plain training, and what an accelerator is waited for.

    python benchmarks/method_cost.py [--steps 5] [--rounds 3] [--write FILE.md]
    python benchmarks/method_cost.py --waits [--write FILE.md]    counts only; times that FILE.md holds are kept

The batch holds 4 expert, 4 noisy and 4 unlabelled crops, so that every method finds what it works on; plain training
passes the 8 labelled ones. Rounds go through all methods in turn, and ratios are of medians over the rounds, so
that all meet the same machine. Rewriting labels, which happens a few times in a run, is not counted.

Waits need no accelerator: tests/support/accelerator.py stands in for one. They are counted with 2 crops of each kind in
the first step of a run, in one after the middle and in the last; the largest number counts.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.precision import Precision, autocast, float32_small_convs_on_cpu
from segmend.engine.learner import Learner, Optimisation, channels_last_batch
from segmend.methods import Method, Step, all_methods
from segmend.methods.components.ema import follow_students
from segmend.networks import UNet

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from accelerator import DEVICE, Accelerator

PATCH = (32, 32, 32)
MIDDLE = Step(600, 1000)

COUNTED_PATCH = (8, 16, 16)
COUNTED_STEPS = (Step(0, 1000), MIDDLE, Step(999, 1000))
COUNTS = "## Waits for an accelerator"
FEW = 2
"""More waits than this need a reason."""

REASONS = {
    "DivideMix": "which samples of the batch are clean, and which are not, for each of two networks",
    "MTCL": "confident learning on the batch: counts and histograms of its voxels, evaluated on the host",
    "Superpixel": "mean of each superpixel; classes of the batch; number of voxels of each class, to select a fraction",
    "TriNet": "number of labelled voxels, to select a fraction of them, for each of three networks",
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=5)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--waits", action="store_true", help="count waits, and measure no times")
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    if given.waits:
        old = given.write.read_text(encoding="utf-8") if given.write and given.write.is_file() else ""
        times = old.partition(COUNTS)[0].strip()
    else:
        times = "\n".join(time_lines(given.steps, given.rounds))
    text = f"{times}\n\n" + "\n".join(wait_lines()) + "\n"
    print(text)
    if given.write:
        given.write.write_text(text, encoding="utf-8")


def time_lines(steps: int, rounds: int) -> list[str]:
    """The table of times."""
    seconds: dict[str, list[float]] = {name: [] for name in all_methods()}
    for _ in range(rounds):
        for name, cls in all_methods().items():
            seconds[name].append(step_seconds(cls, steps))
            print(f"{name}: {seconds[name][-1]:.3f} s", file=sys.stderr, flush=True)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {name: median / medians["Supervised"] for name, median in medians.items()}
    cheap = sum(ratio < 2 for ratio in ratios.values())
    lines = ["# Time of a training step", ""]
    result = f"{cheap} of {len(ratios)} methods take less than twice the time of plain training"
    lines += [f"**Result**: {result}; the slowest takes {max(ratios.values()):.0f} times.", ""]
    lines += ["| method | time per step, relative to plain training | forward passes |", "|---|---|---|"]
    for name in sorted(medians, key=lambda name: medians[name]):
        lines.append(f"| {name} | {ratios[name]:.2f} | {all_methods()[name].cost} |")
    plain = f"plain training takes {1000 * medians['Supervised']:.0f} ms"
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    shape = " x ".join(map(str, PATCH))
    setting = f"U-Net of width 16, {shape} voxels, 12 crops; {plain}; medians of {rounds} rounds."
    return [*lines, "", setting, machine + "."]


def step_seconds(cls: type[Method], steps: int) -> float:
    """Mean seconds of a step after a warm-up step."""
    torch.manual_seed(0)
    method = Learner(cls(UNet(1, 2, 3, width=16, stages=3)), Optimisation(), 1000, 0).method
    trainable = [parameter for parameter in method.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trainable, lr=1e-4)
    batch = channels_last_batch(make_batch(method))
    for step in range(steps + 1):
        if step == 1:
            start = time.perf_counter()
        take_step(method, optimiser, batch, MIDDLE, "auto")
    return (time.perf_counter() - start) / steps


def take_step(
    method: Method, optimiser: Optimizer, batch: Batch, step: Step, precision: Precision = "32"
) -> dict[str, Tensor]:
    """One step as in a run, on the device of the batch; the terms of its loss."""
    optimiser.zero_grad()
    device = batch.image.device
    with autocast(precision, device), float32_small_convs_on_cpu(device):
        terms = method.loss(batch, step)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
    loss.backward()
    optimiser.step()
    follow_students(method, step.index)
    method.after_step(step)
    return terms


def wait_lines() -> list[str]:
    """The table of waits."""
    counted = {name: waits_of_step(cls) for name, cls in all_methods().items()}
    free = [name for name, counts in counted.items() if not any(counts)]
    copying = sum(not waits for waits, _ in counted.values()) - len(free)
    result = (
        f"the accelerator never has to be waited for by {' and '.join(free)}, and by {copying} more methods only in "
    )
    lines = [COUNTS, "", f"**Result**: {result}copies to it; of {len(counted)} methods.", ""]
    lines += ["| method | waits | copies to the device | what is waited for |", "|---|---|---|---|"]
    for name, (waits, copies) in sorted(counted.items(), key=lambda each: (each[1], each[0])):
        lines.append(f"| {name} | {waits} | {copies} | {REASONS.get(name, '')} |")
    return [
        *lines,
        "",
        "A wait is an operation whose result the host reads, or whose size depends on values. Copies to the device are",
        "mostly lists of samples. They are small, but PyTorch waits for a copy from ordinary memory too.",
        "A run adds one wait to each step, in which it reads the loss.",
        "Counted without a GPU, with tensors that only say that they are elsewhere: "
        "`python benchmarks/method_cost.py --waits`.",
    ]


def waits_of_step(cls: type[Method]) -> tuple[int, int]:
    """The most waits for an accelerator in a step, and the most copies to it."""
    found = [counted_step(cls, step) for step in COUNTED_STEPS]
    return max(sum(each.waits.values()) for each in found), max(sum(each.copies.values()) for each in found)


def counted_step(cls: type[Method], step: Step) -> Accelerator:
    """What is counted in a step of a method."""
    torch.manual_seed(0)
    method = Learner(cls(UNet(1, 2, 3, width=4, stages=3)), Optimisation(), 1000, 0).method
    batch = channels_last_batch(make_batch(method, COUNTED_PATCH, 2))
    with Accelerator() as accelerator:
        method.to(DEVICE)
        batch = batch.to(DEVICE)
        optimiser = torch.optim.SGD([each for each in method.parameters() if each.requires_grad], lr=1e-4)
        accelerator.forget()
        take_step(method, optimiser, batch, step)
    return accelerator


def make_batch(method: Method, patch: tuple[int, ...] = PATCH, count: int = 4) -> Batch:
    """Crops of noise, ``count`` of each quality; bright voxels are labelled."""
    quality = [quality for quality in Quality for _ in range(count)]
    image = torch.randn(len(quality), 1, *patch)
    label = (image[:, 0] > 1).long()
    label[-count:] = 255
    layers = {layer: label.clone() for layer in method.layers}
    maps = {name: label.clone() for name in method.maps}
    values = {name: torch.zeros(len(label)) for name in method.values}
    return Batch(image, label, tuple(quality), tuple(map(str, range(len(quality)))), layers, maps, values)


if __name__ == "__main__":
    main()
