"""How well the expected Dice of 'segmend predict --uncertainty true' follows the true one (docs/uncertainty.md).

noise IMAGES OUT           adds Gaussian noise to scans: in alphabetical order none, 0.5, 1 and 1.5 standard deviations
                           of the scan, in turn
compare PREDICTIONS TABLE  prints correlations and errors by class; TABLE is that of 'segmend evaluate'
split DATA TABLE           writes cases.csv with every fifth case, in alphabetical order, for testing
calibrate CV DATA CASES    predicts the test cases of a table by all folds, and prints the expected Dice without and
                           with calibration
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr

from segmend.core.case import Split
from segmend.data.check import load_case
from segmend.data.folder import DataFolder
from segmend.engine.cross_validation import CrossValidation
from segmend.engine.quality import QualitySums, view_axes
from segmend.engine.quality_calibration import Calibration
from segmend.metrics.overlap import dice

LEVELS = (0.0, 0.5, 1.0, 1.5)


def noise(images: Path, out: Path) -> None:
    """Write noisy copies of NIfTI scans."""
    out.mkdir(parents=True)
    for number, file in enumerate(sorted(images.iterdir())):
        scan = nibabel.load(file)
        values = scan.get_fdata()
        drawn = np.random.default_rng(number).normal(0, 1, values.shape)
        noisy = values + drawn * values.std() * LEVELS[number % len(LEVELS)]
        nibabel.save(nibabel.Nifti1Image(noisy.astype(np.float32), scan.affine), out / file.name)


def compare(predictions: Path, table: Path) -> None:
    """Print means, spreads over cases, correlations and errors of expected and true Dice."""
    _print(pd.read_csv(predictions / "quality.csv").merge(pd.read_csv(table), on=["case", "label"]))


def split(data: Path, out: Path) -> None:
    """Write the table of cases: all labels are expert ones, and every fifth case is for testing."""
    names = sorted(file.name.removesuffix("_0000.nii.gz") for file in (data / "imagesTr").iterdir())
    rows = [(name, "expert", "test" if number % 5 == 4 else "train") for number, name in enumerate(names)]
    pd.DataFrame(rows, columns=["case", "quality", "split"]).to_csv(out, index=False)


def calibrate(run: Path, data: Path, cases: Path) -> None:
    """Print both for the test cases of a table: expected Dice of uncalibrated and of calibrated probabilities."""
    whole = CrossValidation(run)
    folder = DataFolder.open(data, cases)
    names = list(folder.labels)
    segmenter, views = whole.segmenter(), whole.segmenter(flips=view_axes(whole.task))
    rows: dict[str, list[dict[str, object]]] = {"not calibrated": [], "calibrated": []}
    for case in folder.select(Split.TEST):
        loaded = load_case(case, folder)
        assert loaded.label is not None
        predicted = segmenter.classes(loaded.image, loaded.grid)
        maps = list(views.probabilities(loaded.image, loaded.grid))
        for kind, calibration in (("not calibrated", Calibration()), ("calibrated", whole.calibration())):
            sums = QualitySums(predicted, names, loaded.grid.spacing, calibration)
            for of_class in maps:
                sums.add(of_class)
            for index, row in enumerate(sums.rows(case.name), start=1):
                true = dice(predicted == index, loaded.label == index)
                rows[kind].append({**asdict(row), "dice": true})
    for kind, found in rows.items():
        print(kind)
        _print(pd.DataFrame(found))


def _print(both: pd.DataFrame) -> None:
    for label, rows in both.groupby("label"):
        expected, true = rows["expected_dice"], rows["dice"]
        error = np.sqrt(((expected - true) ** 2).mean())
        print(
            f"{label}: {len(rows)} cases, expected {expected.mean():.3f} ± {expected.std(ddof=0):.3f}, "
            f"true {true.mean():.3f} ± {true.std(ddof=0):.3f}, error {error:.3f}, "
            f"r {pearsonr(expected, true).statistic:.2f}, rank correlation {spearmanr(expected, true).statistic:.2f}"
        )


if __name__ == "__main__":
    commands = {"noise": noise, "compare": compare, "split": split, "calibrate": calibrate}
    commands[sys.argv[1]](*map(Path, sys.argv[2:]))
