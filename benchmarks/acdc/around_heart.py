"""ACDC cut to 128 x 128 pixels around the heart, as Deep Self-Cleansing and others use it.

    python benchmarks/acdc/around_heart.py --data ACDC --out ACDC_HEART

Every slice of a scan is cut at the same place, around the middle of the box of its labels; the affine moves along.
The true labels decide where the heart is, also in test scans: results on these data say how well a heart is outlined
that was found before, not how well it is found.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import nibabel
import numpy as np

SIDE = 128


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    for folder in ("imagesTr", "labelsTr"):
        (given.out / folder).mkdir(parents=True)
    for path in sorted((given.data / "labelsTr").glob("*.nii.gz")):
        label = nibabel.load(path)
        place = window(np.asanyarray(label.dataobj))
        image = path.name.replace(".nii.gz", "_0000.nii.gz")
        nibabel.save(label.slicer[place], given.out / "labelsTr" / path.name)
        nibabel.save(nibabel.load(given.data / "imagesTr" / image).slicer[place], given.out / "imagesTr" / image)
    shutil.copyfile(given.data / "dataset.json", given.out / "dataset.json")


def window(label: np.ndarray) -> tuple[slice, ...]:
    """Where to cut: in the first two axes, as near around the middle of the labels as the scan reaches."""
    places = []
    for axis in (0, 1):
        inside = np.flatnonzero(label.any(axis=tuple({0, 1, 2} - {axis})))
        start = int((inside[0] + inside[-1] + 1 - SIDE) // 2)
        start = max(0, min(start, label.shape[axis] - SIDE))
        places.append(slice(start, start + SIDE))
    return (*places, slice(None))


if __name__ == "__main__":
    main()
