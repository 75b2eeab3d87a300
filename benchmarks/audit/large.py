"""CPU seconds and memory of an audit of one large case with many classes, by given probabilities.

    python benchmarks/audit/large.py [--write FILE.md] [--profile] [--classes 100] [--shape 512 512 200]

Synthetic: a body of balls, one per class, a fifth of them over- or under-segmented; the probabilities are an array as
nnU-Net writes it (float16, compressed), with noise near the surfaces. The audit is a process of its own, on one core,
whose CPU time and peak memory are the system's figures; making the case does not count.
"""

from __future__ import annotations

import argparse
import cProfile
import inspect
import json
import pstats
import resource
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from segmend.commands.audit import audit

CERTAIN_MM = 4.0
"""Distance from a surface from which the probabilities are 0 or 1 in float16."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--write", type=Path, help="add the figures to this file")
    arguments.add_argument("--profile", action="store_true", help="print the functions that take most time")
    arguments.add_argument("--classes", type=int, default=100)
    arguments.add_argument("--cases", type=int, default=1)
    arguments.add_argument("--shape", type=int, nargs=3, default=(512, 512, 200))
    arguments.add_argument("--one", nargs=3, metavar=("DATA", "MAPS", "AUDIT"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        print(json.dumps(measured(*map(Path, given.one), given.profile)))
        return
    with tempfile.TemporaryDirectory() as folder:
        data, maps = Path(folder) / "data", Path(folder) / "maps"
        draw(data, maps, given.cases, given.classes, tuple(given.shape))
        command = [sys.executable, __file__, "--one", data, maps, Path(folder) / "audit"]
        output = subprocess.run(
            [*command, *(["--profile"] if given.profile else [])], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    *report, figures = output.splitlines()
    if given.profile:
        print("\n".join(report))
    seconds, mebibytes = json.loads(figures)
    shape = " x ".join(map(str, given.shape))
    line = f"| {given.cases} | {shape} | {given.classes} | {seconds / given.cases:.0f} | {mebibytes:.0f} MiB |"
    print(line)
    if given.write:
        with given.write.open("a") as file:
            file.write(line + "\n")


def measured(data: Path, maps: Path, out: Path, profile: bool) -> tuple[float, float]:
    """Audit a folder; CPU seconds and peak memory in MiB."""
    before = _cpu_seconds()
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    audit(
        data=data,
        out=out,
        probabilities=maps,
        **({"cores": 1} if "cores" in inspect.signature(audit).parameters else {}),
    )
    if profile:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)
    return _cpu_seconds() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def draw(data: Path, maps: Path, cases: int, classes: int, shape: tuple[int, int, int]) -> None:
    """Write scans, labels and probabilities."""
    for folder in (data / "imagesTr", data / "labelsTr", maps):
        folder.mkdir(parents=True)
    names = {"background": 0, **{f"ball{index}": index for index in range(1, classes + 1)}}
    description = {"channel_names": {"0": "CT"}, "labels": names, "file_ending": ".nii.gz", "numTraining": cases}
    (data / "dataset.json").write_text(json.dumps(description))
    (maps / "plans.json").write_text(json.dumps({"image_reader_writer": "SimpleITKIO"}))
    for case in range(cases):
        draw_case(data, maps / f"case{case}.npz", f"case{case}", classes, shape, np.random.default_rng(case))


def draw_case(
    data: Path, arrays: Path, name: str, classes: int, shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    """Write a scan, its label and its probabilities."""
    columns = int(np.ceil((classes / 2) ** 0.5))
    sides = np.array([shape[0] / columns, shape[1] / columns, shape[2] / 2])
    label = np.zeros(shape, np.uint8)
    parts = []
    background = np.ones(shape, np.float32)
    for index in range(classes):
        place = np.array([index % columns, index // columns % columns, index // columns**2])
        centre = sides * (place + 0.5) + rng.normal(0, 1, 3)
        radius = rng.uniform(0.3, 0.42) * sides.min()
        box, distance = _ball(centre, radius, shape)
        label[box][distance < rng.choice([-3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0])] = index + 1
        odds = np.where(np.abs(distance) < CERTAIN_MM, -2 * distance + rng.normal(0, 1, distance.shape), -99 * distance)
        probability = (1 / (1 + np.exp(odds.clip(-30, 30) * -1))).astype(np.float32)
        probability = np.minimum(probability, background[box])
        background[box] -= probability
        parts.append((box, probability))
    image = np.where(label > 0, 60, -20) + rng.integers(-20, 20, shape)
    image[:4] = -1000
    for folder, array, ending in (("imagesTr", image.astype(np.int16), "_0000"), ("labelsTr", label, "")):
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), data / folder / f"{name}{ending}.nii.gz")
    with (
        zipfile.ZipFile(arrays, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("probabilities.npy", "w", force_zip64=True) as file,
    ):
        header = {"descr": "<f2", "fortran_order": False, "shape": (classes + 1, *shape[::-1])}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(background.T.astype(np.float16).tobytes())
        for box, probability in parts:
            of_class = np.zeros(shape[::-1], np.float16)
            of_class[box[::-1]] = probability.T
            file.write(of_class.tobytes())


def _ball(
    centre: NDArray[np.float64], radius: float, shape: tuple[int, int, int]
) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
    """A box around a ball, and the distance to its surface, negative inside."""
    box = tuple(
        slice(max(0, int(at - radius - CERTAIN_MM - 2)), min(side, int(at + radius + CERTAIN_MM + 3)))
        for at, side in zip(centre, shape, strict=True)
    )
    axes = np.meshgrid(*[np.arange(side.start, side.stop) for side in box], indexing="ij", sparse=True)
    distance = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True))) - radius
    return box, distance.astype(np.float32)


if __name__ == "__main__":
    main()
