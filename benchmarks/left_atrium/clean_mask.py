"""How good PLIL's clean mask is: the voxels of noisy training labels that it believes, against the true labels.

    python benchmarks/left_atrium/clean_mask.py --run WORK/PLIL_seed0 --data WORK/noisy_0

For both uncertainties and several thresholds, and dilated and eroded labels apart, over one crop of noisy training
cases around its object: the precision of the mask, the shares of the right and of the wrong voxels that it keeps, and
the volume that the nearest prototype gives relative to the true one. Writes results/clean_mask.csv and .png.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from crops import Crop, noisy_cases
from matplotlib.figure import Figure
from torch import Tensor

from segmend.core.precision import autocast
from segmend.engine.run import Run
from segmend.methods import PLIL

RESULTS = Path(__file__).parent / "results"
VARIANTS = (("entropy", 0.1), ("entropy", 1.0), ("spread", 0.1), ("spread", 0.15), ("spread", 0.2))


SHOWN = 3
"""Cases of each kind in the picture."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", type=Path, required=True)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--checkpoint", type=Path, help="last.ckpt of the run by default")
    arguments.add_argument("--name", default="clean_mask")
    arguments.add_argument("--cases", type=int, default=24, help="how many, in alphabetical order")
    given = arguments.parse_args()
    torch.manual_seed(0)
    run = Run(given.run)
    method = run.method(given.checkpoint)
    assert isinstance(method, PLIL)
    method.train()
    method.passes = 8
    rows, views = [], []
    for case in islice(noisy_cases(run, given.data), given.cases):
        label_kind = "dilated" if case.label.sum() > case.truth.sum() else "eroded"
        masks = {variant: isolated(method, case, *variant) for variant in VARIANTS}
        for (uncertainty, threshold), clean in masks.items():
            row = {"case": case.name, "labels": label_kind, "uncertainty": uncertainty, "threshold": threshold}
            rows.append(row | quality(clean, case))
        if sum(kind == label_kind for kind, _, _ in views) < SHOWN:
            views.append((label_kind, case, masks))
    table = pd.DataFrame(rows)
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / f"{given.name}.csv", index=False)
    draw(views, RESULTS / f"{given.name}.png")
    print(table.groupby(["labels", "uncertainty", "threshold"]).mean(numeric_only=True).round(3).to_string())


def isolated(method: PLIL, case: Crop, uncertainty: Literal["entropy", "spread"], threshold: float) -> Tensor:
    method.uncertainty, method.threshold = uncertainty, threshold
    with autocast("auto", torch.device("cpu")):
        return method.isolate(case.image.contiguous(memory_format=torch.channels_last_3d), case.label)


def quality(clean: Tensor, case: Crop) -> dict[str, float]:
    """Over the voxels that the given or the true label calls object: that is where the noise is."""
    zone = (case.label > 0) | (case.truth > 0)
    right, wrong = zone & (case.label == case.truth), zone & (case.label != case.truth)
    nearest = torch.where(clean, case.label, 1 - case.label)
    return {
        "precision": ratio((clean & right).sum(), (clean & zone).sum()),
        "right_kept": ratio((clean & right).sum(), right.sum()),
        "wrong_kept": ratio((clean & wrong).sum(), wrong.sum()),
        "volume_ratio": ratio(nearest.sum(), case.truth.sum()),
    }


def ratio(part: Tensor, whole: Tensor) -> float:
    return float(part) / float(whole) if whole else float("nan")


def draw(views: list[tuple[str, Crop, dict[tuple[str, float], Tensor]]], path: Path) -> None:
    columns = (VARIANTS[0], VARIANTS[3])
    views = sorted(views, key=lambda view: view[0])
    figure = Figure(figsize=(2.3 * len(views), 2.5 * len(columns) + 0.6), layout="constrained")
    axes = figure.subplots(len(columns), len(views), squeeze=False)
    for column, (kind, case, masks) in enumerate(views):
        z = int(case.truth[0].sum((0, 1)).argmax())
        image, label, truth = case.image[0, 0, :, :, z], case.label[0, :, :, z], case.truth[0, :, :, z]
        for row, variant in enumerate(columns):
            clean, axis = masks[variant][0, :, :, z], axes[row, column]
            axis.imshow(image.T, cmap="gray", origin="lower")
            wrong = label != truth
            for chosen, colour in ((wrong & clean, "Reds"), (wrong & ~clean, "Greens"), (~wrong & ~clean, "Blues")):
                shade = np.ma.masked_where(~chosen.numpy(), np.full(chosen.shape, 0.75))
                axis.imshow(shade.T, cmap=colour, vmin=0, vmax=1, alpha=0.65, origin="lower")
            axis.contour(truth.T, [0.5], colors="yellow", linewidths=1.2)
            axis.contour(label.T, [0.5], colors="white", linewidths=1, linestyles="dashed")
            axis.set(xticks=[], yticks=[], title=f"{kind} label" if row == 0 else None)
            if column == 0:
                axis.set_ylabel(f"{variant[0]} below {variant[1]}")
    figure.supxlabel(
        "yellow: true outline   dashed: given label   red: wrong and believed   "
        "green: wrong and rejected   blue: right but rejected",
        fontsize=9,
    )
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
