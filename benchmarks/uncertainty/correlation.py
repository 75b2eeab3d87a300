"""How well the expected Dice of 'segmend predict --uncertainty true' follows the true one (docs/uncertainty.md).

noise IMAGES OUT           adds Gaussian noise to scans: in alphabetical order none, 0.5, 1 and 1.5 standard deviations
                           of the scan, in turn
compare PREDICTIONS TABLE  prints correlations by class; TABLE is that of 'segmend evaluate'
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr

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
    """Print means, spreads over cases and correlations of expected and true Dice."""
    both = pd.read_csv(predictions / "quality.csv").merge(pd.read_csv(table), on=["case", "label"])
    for label, rows in both.groupby("label"):
        expected, true = rows["expected_dice"], rows["dice"]
        print(
            f"{label}: {len(rows)} cases, expected {expected.mean():.3f} ± {expected.std(ddof=0):.3f}, "
            f"true {true.mean():.3f} ± {true.std(ddof=0):.3f}, r {pearsonr(expected, true).statistic:.2f}, "
            f"rank correlation {spearmanr(expected, true).statistic:.2f}"
        )


if __name__ == "__main__":
    {"noise": noise, "compare": compare}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
