"""Time of a training step of every method relative to plain training: same network, same batch.

    python benchmarks/method_cost.py [--steps 5] [--rounds 3] [--write FILE.md]

The batch holds 4 expert, 4 noisy and 4 unlabelled crops, so that every method finds what it works on; plain training
passes the 8 labelled ones. Rounds go through all methods in turn, and ratios are of medians over the rounds, so
that all meet the same machine. Rewriting labels, which happens a few times in a run, is not counted.
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

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.precision import autocast, float32_small_convs_on_cpu
from segmend.engine.learner import Learner, Optimisation, channels_last_batch
from segmend.methods import Method, Step, all_methods
from segmend.methods.components.ema import follow_students
from segmend.networks import UNet

PATCH = (32, 32, 32)
MIDDLE = Step(600, 1000)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=5)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in all_methods()}
    for _ in range(given.rounds):
        for name, cls in all_methods().items():
            seconds[name].append(step_seconds(cls, given.steps))
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
    lines += [
        "",
        f"U-Net of width 16, {shape} voxels, 12 crops; {plain}; medians of {given.rounds} rounds.",
        machine + ".",
    ]
    text = "\n".join(lines)
    print(text)
    if given.write:
        given.write.write_text(text + "\n")


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
        optimiser.zero_grad()
        with autocast("auto", torch.device("cpu")), float32_small_convs_on_cpu(torch.device("cpu")):
            loss = torch.stack([term.float() for term in method.loss(batch, MIDDLE).values()]).sum()
        loss.backward()
        optimiser.step()
        follow_students(method, MIDDLE.index)
        method.after_step(MIDDLE)
    return (time.perf_counter() - start) / steps


def make_batch(method: Method) -> Batch:
    quality = [quality for quality in Quality for _ in range(4)]
    image = torch.randn(len(quality), 1, *PATCH)
    label = (image[:, 0] > 1).long()
    label[-4:] = 255
    layers = {layer: label.clone() for layer in method.layers}
    maps = {name: label.clone() for name in method.maps}
    values = {name: torch.zeros(len(label)) for name in method.values}
    return Batch(image, label, tuple(quality), tuple(map(str, range(len(quality)))), layers, maps, values)


if __name__ == "__main__":
    main()
