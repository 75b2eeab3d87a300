"""Seconds and memory of an audit of given probabilities, by the number of cases and of classes.

    python benchmarks/audit/cost.py [--write FILE.md]

Synthetic volumes of 160 x 160 x 80 voxels with a row of balls, one per class, a third of them over- or under-segmented.
Each line is a process of its own, whose peak memory is the system's figure; making the volumes does not count.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from segmend.audit.auditor import AuditedCase, Auditor
from segmend.audit.evidence import Evidence, write_evidence
from segmend.audit.folder import AuditFolder
from segmend.core.case import Split
from segmend.data.folder import DataFolder

SHAPE = (160, 160, 80)
LINES = [(25, 1), (50, 1), (100, 1), (25, 20)]
"""Cases and foreground classes."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--write", type=Path)
    arguments.add_argument("--one", nargs=2, metavar=("DATA", "AUDIT"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        print(json.dumps(audit(*map(Path, given.one))))
        return
    lines = ["# Cost of an audit", ""]
    lines += [
        "**Result**: time is proportional to cases and grows with classes; memory does not depend on the cases.",
        "",
    ]
    lines += ["| cases | classes | seconds | seconds per case | peak memory |", "|---|---|---|---|---|"]
    for cases, classes in LINES:
        with tempfile.TemporaryDirectory() as folder:
            data, out = Path(folder) / "data", Path(folder) / "audit"
            draw(data, out, cases, classes)
            output = subprocess.run(
                [sys.executable, __file__, "--one", data, out], check=True, capture_output=True, text=True
            ).stdout
        seconds, mebibytes = json.loads(output.splitlines()[-1])
        lines.append(f"| {cases} | {classes} | {seconds:.1f} | {seconds / cases:.2f} | {mebibytes:.0f} MiB |")
    text = "\n".join(lines) + "\n"
    print(text)
    if given.write:
        given.write.write_text(text)


def audit(data: Path, out: Path) -> tuple[float, float]:
    """Audits a folder whose evidence is there; seconds and peak memory in MiB."""
    folder, place = DataFolder.open(data), AuditFolder(out)
    cases = [AuditedCase(case, Evidence(place.evidence(case.name))) for case in folder.select(Split.TRAIN)]
    start = time.perf_counter()
    Auditor(folder, cases, {}, place).run()
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def draw(data: Path, out: Path, cases: int, classes: int) -> None:
    """Writes scans, labels and evidence."""
    for name in ("imagesTr", "labelsTr"):
        (data / name).mkdir(parents=True)
    names = {"background": 0, **{f"ball{index}": index for index in range(1, classes + 1)}}
    description = {"channel_names": {"0": "MR"}, "labels": names, "file_ending": ".nii.gz", "numTraining": cases}
    (data / "dataset.json").write_text(json.dumps(description))
    for case in range(cases):
        rng = np.random.default_rng(case)
        distances = np.stack([distance(index, classes, rng) for index in range(classes)])
        off = rng.choice([-3.0, 0.0, 0.0, 0.0, 0.0, 3.0], classes)
        drawn = distances - off[:, None, None, None]
        label = np.where(drawn.min(0) < 0, drawn.argmin(0) + 1, 0).astype(np.uint8)
        name = f"case{case:03d}"
        nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), data / "labelsTr" / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), data / "imagesTr" / f"{name}_0000.nii.gz")
        write_evidence(AuditFolder(out).evidence(name), probabilities(distances))


def distance(index: int, classes: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Distance to the surface of a ball; those of several classes lie on a grid."""
    columns = int(np.ceil(np.sqrt(classes)))
    side = SHAPE[0] / columns
    centre = [side * (index % columns + 0.5), side * (index // columns + 0.5), SHAPE[2] / 2]
    axes = np.ogrid[tuple(slice(0, side) for side in SHAPE)]
    squares = sum((axis - at) ** 2 for axis, at in zip(axes, centre + rng.normal(0, 1, 3), strict=True))
    return np.asarray(np.sqrt(squares) - min(0.3 * side, 30), dtype=np.float32)


def probabilities(distances: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Of background and each class, as a model would see it that is sure beyond two voxels of a surface."""
    nearest = 1 / (1 + np.exp(np.clip(distances.min(0), -8, 8)))
    yield 1 - nearest
    for of_class in distances:
        yield np.where(of_class == distances.min(0), nearest, 1e-4)


if __name__ == "__main__":
    main()
