"""ACDC cut to 128 x 128 pixels around the heart, as Deep Self-Cleansing uses it.

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
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.folders import atomic_folder

SIDE = 128


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    with atomic_folder(given.out) as out:
        for folder in ("imagesTr", "labelsTr"):
            (out / folder).mkdir()
        for path in sorted((given.data / "labelsTr").glob("*.nii.gz")):
            label = nibabel.load(path)
            mask = np.asanyarray(label.dataobj) > 0
            if not mask.any() or min(mask.shape[:2]) < SIDE:
                raise InputError(path, f"has no label, or fewer than {SIDE} pixels along a side", "leave the case out")
            image = path.name.replace(".nii.gz", "_0000.nii.gz")
            place = window(mask)
            nibabel.save(label.slicer[place], out / "labelsTr" / path.name)
            nibabel.save(nibabel.load(given.data / "imagesTr" / image).slicer[place], out / "imagesTr" / image)
        shutil.copyfile(given.data / "dataset.json", out / "dataset.json")


def window(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Where to cut: in the first two axes, as near around the middle of the object as the scan reaches."""
    places = []
    for axis in (0, 1):
        inside = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        start = int((inside[0] + inside[-1] + 1 - SIDE) // 2)
        start = max(0, min(start, mask.shape[axis] - SIDE))
        places.append(slice(start, start + SIDE))
    return (*places, slice(None))


if __name__ == "__main__":
    main()
