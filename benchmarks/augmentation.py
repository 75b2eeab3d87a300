"""Augmented samples in a second of CPU time: ours, MONAI's and nnU-Net's (batchgeneratorsv2); the cost of each change.

    python benchmarks/augmentation.py [--samples 40] [--rounds 5] [--write FILE.md]

All three rotate, scale, mirror, add noise, blur, vary brightness and contrast, lower the resolution and change gamma,
with the ranges and probabilities of nnU-Net's default trainer, on an image of one channel with its label. Rounds go
through the libraries in turn, so that all meet the same machine; what counts is the ratio of the medians over rounds.
batchgeneratorsv2 is no dependency: without it (pip install batchgeneratorsv2), its column is empty.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai import transforms as monai
from torch import Tensor

from segmend.data.augment import NO_AUGMENTATION, PLANNED, Augmentation

PATCHES = ((64, 64, 64), (128, 128, 16))
LIBRARIES = ("ours", "MONAI", "batchgeneratorsv2")
Augment = Callable[[int, Tensor, Tensor], Any]
"""Gives one augmented sample from a seed, an image ``[1, *patch]`` and a label ``[*patch]``."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--samples", type=int, default=40)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    lines = []
    ratios = {}
    for often in (True, False):
        for patch in PATCHES:
            augments = {"ours": ours(patch, often), "MONAI": of_monai(patch, often), **of_nnunet(patch, often)}
            rates = measured(augments, patch, given.samples if often else given.samples // 2, given.rounds)
            name = "as often as nnU-Net" if often else "every change to every sample"
            shown = [f"{rates[each]:.1f}" if each in rates else "" for each in LIBRARIES]
            lines.append(f"| {' x '.join(map(str, patch))} | {name} | {' | '.join(shown)} |")
            for each in rates:
                ratios.setdefault(each, []).append(rates["ours"] / rates[each])
            print(lines[-1], flush=True)
    compared = "; ".join(
        f"{min(ratios[each]):.1f} to {max(ratios[each]):.1f} times the rate of {each}"
        for each in LIBRARIES[1:]
        if each in ratios
    )
    title = ["# Augmentation", "", f"**Result**: ours makes {compared}.", ""]
    head = ["| patch | changes | ours, samples per CPU second | MONAI | batchgeneratorsv2 |", "|---|---|---|---|---|"]
    machine = (
        f"Image and label of one channel, one thread; medians of {given.rounds} rounds in turn. {platform.machine()}, "
        f"{os.cpu_count()} cores, torch {torch.__version__}. Other processes were running (load {load:.1f} at the "
        "start): read the ratios within this run, not the rates."
    )
    costs = [
        "",
        "CPU time of one change to every sample, ours:",
        "",
        "| change | ms, 64 x 64 x 64 | ms, 128 x 128 x 16 |",
        "|---|---|---|",
    ]
    text = "\n".join([*title, *head, *lines, "", machine, *costs, *cost_of_each(given.samples // 3)])
    print(text)
    if given.write:
        given.write.write_text(text + "\n")


def measured(augments: dict[str, Augment], patch: Sequence[int], samples: int, rounds: int) -> dict[str, float]:
    """Samples of each library in a second of CPU time, medians over rounds."""
    image = torch.randn(1, *patch, generator=torch.Generator().manual_seed(0))
    label = (image[0] > 0.5).long()
    rates: dict[str, list[float]] = {name: [] for name in augments}
    for number in range(rounds):
        for name, augment in augments.items():
            for seed in range(3):  # some choose their algorithms first
                augment(seed, image.clone(), label.clone())
            start = time.process_time()  # of one thread: not what other processes take
            for seed in range(samples):
                augment(1000 * number + seed, image.clone(), label.clone())
            rates[name].append(samples / (time.process_time() - start))
    return {name: statistics.median(values) for name, values in rates.items()}


def cost_of_each(samples: int) -> list[str]:
    """A line for each change of ours, made to every sample."""
    amounts = {name: value for name, value in PLANNED.strengths.items() if value and name != "occasional"}
    times: dict[str, list[float]] = {}
    for patch in PATCHES:
        augments = {
            name: _ours(replace(NO_AUGMENTATION, **{name: value}, across_slices=patch[-1] == patch[0]), patch)
            for name, value in amounts.items()
        }
        for name, rate in measured(augments, patch, samples, 3).items():
            times.setdefault(name, []).append(1000 / rate)
    return [f"| `{name}` {amounts[name]} | {one:.1f} | {other:.1f} |" for name, (one, other) in times.items()]


def ours(patch: Sequence[int], often: bool) -> Augment:
    """What a plan takes."""
    return _ours(replace(PLANNED, mirror=(0, 1, 2), occasional=often), patch)


def _ours(augmentation: Augmentation, patch: Sequence[int]) -> Augment:
    def augment(seed: int, image: Tensor, label: Tensor) -> Any:
        rng = np.random.default_rng(seed)
        return augmentation.apply(image[None], label[None], augmentation.draw(rng, 1, patch), rng)

    return augment


def of_monai(patch: Sequence[int], often: bool) -> Augment:
    """The same changes by MONAI's dictionary transforms."""
    both, thick, angle = ["image", "label"], patch[-1] != patch[0], math.radians(30)

    def p(probability: float) -> float:
        return probability if often else 1.0

    modes, tilt = ["bilinear", "nearest"], 0.0 if thick else angle
    sigma = {"sigma_x": (0.5, 1.0), "sigma_y": (0.5, 1.0), "sigma_z": (0.01, 0.02) if thick else (0.5, 1.0)}
    chain = monai.Compose(
        [
            monai.RandRotated(
                both, range_x=tilt, range_y=tilt, range_z=angle, prob=p(0.2), mode=modes, padding_mode="zeros"
            ),
            monai.RandZoomd(both, prob=p(0.2), min_zoom=0.7, max_zoom=1.4, mode=["trilinear", "nearest"]),
            monai.RandGaussianNoised("image", prob=p(0.1), std=0.3),
            monai.RandGaussianSmoothd("image", prob=p(0.1), **sigma),
            monai.RandScaleIntensityd("image", factors=0.25, prob=p(0.15)),
            monai.RandScaleIntensityFixedMeand("image", factors=0.25, preserve_range=True, prob=p(0.15)),
            monai.RandSimulateLowResolutiond("image", prob=p(0.125), zoom_range=(0.5, 1.0), upsample_mode="trilinear"),
            monai.RandAdjustContrastd("image", prob=p(0.1), gamma=(0.7, 1.5), invert_image=True, retain_stats=True),
            monai.RandAdjustContrastd("image", prob=p(0.3), gamma=(0.7, 1.5), retain_stats=True),
            *[monai.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)],
        ]
    )

    def augment(seed: int, image: Tensor, label: Tensor) -> Any:
        chain.set_random_state(seed)
        return chain({"image": image, "label": label[None]})

    return augment


def of_nnunet(patch: Sequence[int], often: bool) -> dict[str, Augment]:
    """The transforms of nnU-Net's default trainer; none if batchgeneratorsv2 is not installed."""
    try:
        from batchgeneratorsv2.transforms.intensity import brightness, contrast, gamma, gaussian_noise
        from batchgeneratorsv2.transforms.noise import gaussian_blur
        from batchgeneratorsv2.transforms.spatial import low_resolution, mirroring, spatial
        from batchgeneratorsv2.transforms.utils import compose, pseudo2d, random
    except ImportError:
        return {}
    thick, angle = patch[-1] != patch[0], math.radians(30)
    sides = patch[:2] if thick else patch

    def sometimes(probability: float, transform: Any) -> Any:
        return random.RandomTransform(transform, apply_probability=probability if often else 1.0)

    turns = 0.2 if often else 1.0
    moved = [
        spatial.SpatialTransform(
            tuple(sides),
            patch_center_dist_from_border=0,
            random_crop=False,
            p_rotation=turns,
            rotation=(-angle, angle),
            p_scaling=turns,
            scaling=(0.7, 1.4),
            p_synchronize_scaling_across_axes=1,
        )
    ]
    if thick:
        moved = [pseudo2d.Convert3DTo2DTransform(), *moved, pseudo2d.Convert2DTo3DTransform()]
    gamma_range = contrast.BGContrast((0.7, 1.5))
    around = contrast.BGContrast((0.75, 1.25))
    blurring = gaussian_blur.GaussianBlurTransform(
        blur_sigma=(0.5, 1.0),
        synchronize_channels=False,
        synchronize_axes=False,
        p_per_channel=0.5 if often else 1.0,
        benchmark=True,
    )
    coarse = low_resolution.SimulateLowResolutionTransform(
        scale=(0.5, 1),
        synchronize_channels=False,
        synchronize_axes=True,
        ignore_axes=(0,) if thick else None,
        p_per_channel=0.5 if often else 1.0,
    )
    chain = compose.ComposeTransforms(
        [
            *moved,
            sometimes(0.1, gaussian_noise.GaussianNoiseTransform((0, 0.1), p_per_channel=1, synchronize_channels=True)),
            sometimes(0.2, blurring),
            sometimes(0.15, brightness.MultiplicativeBrightnessTransform(around, False, 1)),
            sometimes(0.15, contrast.ContrastTransform(around, True, False, 1)),
            sometimes(0.25, coarse),
            sometimes(0.1, gamma.GammaTransform(gamma_range, 1, False, 1, 1)),
            sometimes(0.3, gamma.GammaTransform(gamma_range, 0, False, 1, 1)),
            mirroring.MirrorTransform((0, 1, 2)),
        ]
    )

    def augment(seed: int, image: Tensor, label: Tensor) -> Any:
        np.random.seed(seed)  # where it takes its random numbers from
        torch.manual_seed(seed)
        if thick:  # it has slices first
            image, label = image.permute(0, 3, 1, 2).contiguous(), label.permute(2, 0, 1).contiguous()
        return chain(image=image, segmentation=label[None].to(torch.int16))

    return {"batchgeneratorsv2": augment}


if __name__ == "__main__":
    main()
