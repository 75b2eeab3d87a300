"""Small valid folders to be broken: data of three kinds, with a run, probabilities and an audit of each."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
from numpy.typing import NDArray

SHAPES = {".nii.gz": (12, 14, 10), ".png": (24, 20), ".mha": (12, 14, 10)}
"""Sides of the scans by the ending of all files."""
TINY = ("--network", "UNet", "--network.width", "4", "--network.stages", "2", "--iterations", "1")
TRAIN, TEST = ("anna", "ben", "carl"), ("dora",)


@dataclass(frozen=True)
class Base:
    """Where a valid folder and all that was made of it lie; its copies have the same layout."""

    root: Path
    ending: str

    @property
    def data(self) -> Path:
        return self.root / "data"

    def label(self, case: str) -> Path:
        part = "labelsTs" if case in TEST else "labelsTr"
        return self.data / part / f"{case}{self.ending}"

    def image(self, case: str) -> Path:
        part = "imagesTs" if case in TEST else "imagesTr"
        return self.data / part / f"{case}_0000{self.ending}"

    def command(self, name: str) -> list[str]:
        """A call that the valid folder answers with exit status 0."""
        at = self.root
        calls: dict[str, Sequence[object]] = {
            "check": ("check", "--data", self.data),
            "train": ("train", "--data", self.data, "--out", at / "new_run", *self.patch, *TINY),
            "corrupt": ("corrupt", "--data", self.data, "--out", at / "noisy", "--recipe.side_max", 3),
            "fuse": ("fuse", "--data", self.data, "--out", at / "fused"),
            "predict": ("predict", "--run", at / "run", "--images", self.data / "imagesTr", "--out", at / "predicted"),
            "evaluate": (
                *("evaluate", "--predictions", self.data / "labelsTr_eva", "--references", self.data / "labelsTr"),
                *("--out", at / "scores.csv"),
            ),
            "audit": (
                *("audit", "--data", self.data, "--out", at / "new_audit"),
                *("--probabilities", at / "probabilities"),
            ),
            "correct": (
                *("correct", "--data", self.data, "--audit", at / "audit", "--out", at / "corrected"),
                *("--decisions", at / "decisions.csv"),
            ),
        }
        return [str(word) for word in calls[name]]

    @property
    def patch(self) -> tuple[str, ...]:
        return ("--patch", *["8"] * len(SHAPES[self.ending]))


def make_base(root: Path, ending: str) -> Base:
    """Draws the scans and runs the commands that make the rest."""
    base = Base(root, ending)
    shape = SHAPES[ending]
    for number, case in enumerate((*TRAIN, *TEST)):
        random = np.random.default_rng(number)
        label = _ellipsoid(shape, random)
        image = (90 + 70 * label + random.normal(0, 8, shape)).clip(0, 255).astype(np.uint8)
        write(base.image(case), image)
        write(base.label(case), label)
        if case in TRAIN:
            write(base.data / "labelsTr_eva" / f"{case}{ending}", np.roll(label, 1, 0))
            packed = np.stack([1 - 0.8 * label, 0.2 * label * 4]).astype(np.float32)
            packed = np.transpose(packed, (0, *range(len(shape), 0, -1)))
            packed = packed if len(shape) == 3 else packed[:, None]
            (root / "probabilities").mkdir(exist_ok=True)
            np.savez_compressed(root / "probabilities" / f"{case}.npz", probabilities=packed)
    description = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "organ": 1}, "file_ending": ending}
    (base.data / "dataset.json").write_text(json.dumps(description))
    rows = [f"{case},train,{quality},A," for case, quality in zip(TRAIN, ("expert", "noisy", "noisy"), strict=True)]
    table = ["case,split,quality,domain,annotator", *rows, *(f"{case},test,expert,B," for case in TEST)]
    (base.data / "cases.csv").write_text("\n".join([*table, ""]))
    (root / "decisions.csv").write_text("case,label,decision\nben,organ,accept\ncarl,organ,reject\n")
    for name, made, kept in (("train", "new_run", "run"), ("audit", "new_audit", "audit")):
        _succeed(base.command(name))
        (root / made).rename(root / kept)
    return base


def write(path: Path, array: NDArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nifti = nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 1.5, 1.0]))
        nifti.header.set_xyzt_units("mm")
        nibabel.save(nifti, path)
        return
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T)), str(path), useCompression=True)


def _ellipsoid(shape: Sequence[int], random: np.random.Generator) -> NDArray[np.uint8]:
    sides = np.array(shape)
    centre, radii = sides * random.uniform(0.4, 0.6, len(shape)), sides * random.uniform(0.2, 0.3, len(shape))
    grid = np.moveaxis(np.indices(shape), 0, -1)
    return ((((grid - centre) / radii) ** 2).sum(-1) < 1).astype(np.uint8)


def _succeed(words: list[str]) -> None:
    from segmend.cli import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main(words)
    if status:
        raise RuntimeError(f"{' '.join(words)} ended with {status}: {said.getvalue()}")
