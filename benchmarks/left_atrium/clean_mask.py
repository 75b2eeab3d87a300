"""How good PLIL's clean mask is: the voxels of noisy training labels that it believes, against the true labels.

    python benchmarks/left_atrium/clean_mask.py --run WORK/PLIL_seed0 --data WORK/noisy_0

For several thresholds of the uncertainty, and dilated and eroded labels apart, over one crop of each noisy training
case around its object: the precision of the mask, the shares of the right and of the wrong voxels that it keeps, and
the volume that the nearest prototype gives relative to the true one. Writes results/clean_mask.csv and .png.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from segmend.data.cache import default_cache, prepare
from segmend.data.case import Quality, Split
from segmend.data.folder import DataFolder
from segmend.methods import PLIL
from segmend.precision import autocast
from segmend.run import Run

RESULTS = Path(__file__).parent / "results"
THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 1.0)


SHOWN = 3
"""Cases of each kind in the picture."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", type=Path, required=True)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--checkpoint", type=Path, help="last.ckpt of the run by default")
    arguments.add_argument("--name", default="clean_mask")
    given = arguments.parse_args()
    torch.manual_seed(0)
    run = Run(given.run)
    method = run.method(given.checkpoint)
    assert isinstance(method, PLIL)
    method.train()
    method.passes = 8
    rows, views = [], []
    for case in noisy_cases(run, given.data):
        label_kind = "dilated" if case.label.sum() > case.truth.sum() else "eroded"
        masks = {threshold: isolated(method, case, threshold) for threshold in THRESHOLDS}
        for threshold, clean in masks.items():
            rows.append({"case": case.name, "labels": label_kind, "threshold": threshold} | quality(clean, case))
        if sum(kind == label_kind for kind, _, _ in views) < SHOWN:
            views.append((label_kind, case, masks))
    table = pd.DataFrame(rows)
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / f"{given.name}.csv", index=False)
    draw(views, RESULTS / f"{given.name}.png")
    print(table.groupby(["labels", "threshold"]).mean(numeric_only=True).round(3).to_string())


@dataclass(frozen=True)
class Crop:
    """Around the object of one noisy training case: image ``[1, channels, *patch]``, labels ``[1, *patch]``."""

    name: str
    image: Tensor
    label: Tensor
    truth: Tensor


def noisy_cases(run: Run, data: Path) -> Iterator[Crop]:
    folder = DataFolder.open(data)
    noisy = folder.select(Split.TRAIN, Quality.NOISY)
    true = [replace(case, label=folder.root / "labelsTr_clean" / f"{case.name}{folder.file_ending}") for case in noisy]
    prepared = [prepare(folder, cases, run.task.preprocessing, default_cache()) for cases in (noisy, true)]
    for given, correct in zip(*prepared, strict=True):
        assert given.label is not None
        assert correct.label is not None
        centre = np.argwhere(correct.label > 0).mean(0).astype(int)
        room = [max(side - wanted, 0) for side, wanted in zip(correct.label.shape, run.task.patch, strict=True)]
        start = [min(max(c - p // 2, 0), r) for c, p, r in zip(centre, run.task.patch, room, strict=True)]
        where = tuple(slice(s, s + p) for s, p in zip(start, run.task.patch, strict=True))
        if correct.label[where].shape != run.task.patch:
            continue
        yield Crop(
            given.case.name,
            torch.tensor(given.image[(slice(None), *where)])[None],
            torch.tensor(given.label[where])[None].long(),
            torch.tensor(correct.label[where])[None].long(),
        )


def isolated(method: PLIL, case: Crop, threshold: float) -> Tensor:
    method.threshold = threshold
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


def draw(views: list[tuple[str, Crop, dict[float, Tensor]]], path: Path) -> None:
    columns = (THRESHOLDS[0], THRESHOLDS[-1])
    views = sorted(views, key=lambda view: view[0])
    figure = Figure(figsize=(2.3 * len(views), 2.5 * len(columns) + 0.6), layout="constrained")
    axes = figure.subplots(len(columns), len(views), squeeze=False)
    for column, (kind, case, masks) in enumerate(views):
        z = int(case.truth[0].sum((0, 1)).argmax())
        image, label, truth = case.image[0, 0, :, :, z], case.label[0, :, :, z], case.truth[0, :, :, z]
        for row, threshold in enumerate(columns):
            clean, axis = masks[threshold][0, :, :, z], axes[row, column]
            axis.imshow(image.T, cmap="gray", origin="lower")
            wrong = label != truth
            for chosen, colour in ((wrong & clean, "Reds"), (wrong & ~clean, "Greens"), (~wrong & ~clean, "Blues")):
                shade = np.ma.masked_where(~chosen.numpy(), np.full(chosen.shape, 0.75))
                axis.imshow(shade.T, cmap=colour, vmin=0, vmax=1, alpha=0.65, origin="lower")
            axis.contour(truth.T, [0.5], colors="yellow", linewidths=1.2)
            axis.contour(label.T, [0.5], colors="white", linewidths=1, linestyles="dashed")
            axis.set(xticks=[], yticks=[], title=f"{kind} label" if row == 0 else None)
            if column == 0:
                axis.set_ylabel(f"threshold {threshold}")
    figure.supxlabel(
        "yellow: true outline   dashed: given label   red: wrong and believed   "
        "green: wrong and rejected   blue: right but rejected",
        fontsize=9,
    )
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
