"""Golden runs of all but training itself: preparation, prediction, evaluation, noise, audit and correction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import golden_adapter as adapter
import golden_commands as commands
import golden_data as data
import numpy as np
from golden_digests import digest, digest_in_any_order, digest_of_numbers, size_of
from golden_stage import NETWORK, SHAPES, Golden, Result, Stage
from golden_trainings import training_run


def engine() -> Iterable[Golden]:
    """What all results go through."""
    network, of_network = NETWORK
    yield Golden("engine/preparation", ("engine", "resampling"), _preparation)
    for where, precision in (("slices", "32"), ("3D", "32")):
        run = training_run(where, "MeanTeacher", {}, network, of_network, precision, "strong", schooled=where == "3D")
        yield Golden(f"engine/strong augmentation/{where}/{precision}", ("engine", "MeanTeacher", network), run)
    yield Golden("engine/train and predict", ("engine", "AIDE", "Supervised", "UNet"), _by_command)
    for where in ("3D", "2D", "slices"):
        yield Golden(f"engine/prediction/{where}", ("engine", "Supervised", network), _prediction(where))
    yield Golden("engine/evaluation", ("engine",), _evaluation, portable=True)


def _preparation(stage: Stage, out: Path) -> Result:
    arrays = stage.resampled().arrays()
    images = [array for array in arrays if array.dtype == np.float32]
    return {
        "images": digest(images),
        "labels": digest([array for array in arrays if array.dtype == np.uint8]),
        "size": [size_of(images)],
    }


def _by_command(stage: Stage, out: Path) -> Result:
    arrays = commands.by_command(stage.volumes, out, stage.root / "cache", "AIDE")
    weights = [array.astype(float) for array in arrays if array.dtype.kind == "f"]
    return {"everything": digest_in_any_order(arrays), "size": [size_of(weights)]}


def _prediction(where: str) -> Callable[[Stage, Path], Result]:
    def run(stage: Stage, out: Path) -> Result:
        folder = stage.images if where == "2D" else stage.volumes
        arrays = adapter.predicted(stage.prepared(where), folder, *NETWORK)
        return {
            "everything": digest(arrays),
            "size": [size_of([array]) for array in arrays if array.dtype.kind == "f"][-3:],
        }

    return run


def _evaluation(stage: Stage, out: Path) -> Result:
    numbers: list[float | None] = []
    for shape in SHAPES.values():
        for way in range(3):
            _, label = data.scan(shape, way)
            numbers += commands.scores(data.redrawn(label, way), label, (1, 2, 3), data.SPACING[: len(shape)])
        numbers += commands.scores(np.zeros_like(label), label, (1, 2), data.SPACING[: len(shape)])
    references, predictions = stage.volumes / "labelsTr_clean", out / "predictions"
    predictions.mkdir()
    for file in sorted(references.iterdir()):
        (predictions / file.name).write_bytes((stage.volumes / "labelsTr" / file.name).read_bytes())
    for unit in ("mm", "voxel"):
        numbers += commands.evaluated(predictions, references, out / f"{unit}.csv", unit)
    return {"scores": digest_of_numbers(numbers)}


_RECIPE_ARGUMENTS: dict[str, tuple[Mapping[str, Any], ...]] = {
    "ClassSwap": ({"probability": 0.9}, {"within": "case"}),
    "CubeMorphology": ({"side_max": 7}, {"side_min": 2, "side_max": 5}),
    "InPlaneRotation": ({"angle_max": 60},),
    "MarkovBoundary": ({"steps": 30, "scatter_probability": 0.01},),
    "MissingLabel": (
        {"probability": 1.0, "part": "ends", "share": 0.4},
        {"probability": 1.0, "part": "middle"},
        {"probability": 1.0, "part": "components"},
    ),
    "MixedNoise": ({},),
    "PolygonSimplification": ({"vertices_min": 4, "vertices_max": 6},),
    "RadiusMorphology": ({"radius_min": 0.5, "radius_max": 4.0},),
    "RotatedMorphology": ({"radius_max": 4},),
    "SliceNoise": ({"share": 0.5, "radius": 3, "jitter": 1},),
}


def recipes() -> Iterable[Golden]:
    """Every noise recipe."""
    for name in adapter.recipe_names():
        of = (name, *(("RadiusMorphology", "MissingLabel") if name == "MixedNoise" else ()))
        yield Golden(f"recipe/{name}", ("engine", *of), _recipe(name), portable=True)
    of = ("engine", "RadiusMorphology")
    yield Golden("engine/noise of a wanted Dice", of, _corruption, portable=True)


def _recipe(name: str) -> Callable[[Stage, Path], Result]:
    def run(stage: Stage, out: Path) -> Result:
        noisy = []
        for arguments in ({}, *_RECIPE_ARGUMENTS[name]):
            for shape in SHAPES.values():
                for seed in range(3):
                    _, label = data.scan(shape, seed)
                    for strength in (1.0, 0.6):
                        spacing = data.SPACING[: len(shape)]
                        noisy.append(commands.corrupted(name, arguments, label, spacing, seed, strength))
        return {"labels": digest(noisy)}

    return run


def _corruption(stage: Stage, out: Path) -> Result:
    folder = data.write_folder(out / "given", SHAPES[3])
    for made in ("labelsTr_clean", "cases.csv"):
        place = folder / made
        if place.is_dir():
            for file in place.iterdir():
                file.unlink()
            place.rmdir()
        else:
            place.unlink()
    return {"labels": digest(commands.corrupted_folder(folder, out / "noisy"))}


_PLANNED: dict[str, tuple[Any, ...]] = {
    "isotropic": ((1.0, 1.0, 1.0), (36, 50, 37), (1.0, 1.0, 1.0), 1, 8, 16, False),
    "thick slices": ((0.8, 0.8, 5.0), (512, 512, 106), (0.7, 0.7, 2.5), 0, 8, 32, False),
    "slice by slice": ((1.4, 1.4, 10.0), (216, 256, 9), (1.2, 1.2, 10.0), None, 4, 16, True),
    "2D": ((1.0, 1.0), (600, 800), (1.0, 1.0), None, 2, 16, False),
}
"""Scans and machines: spacing, sides, fine spacing, axis that tells classes apart, GiB, channels, by slices."""


def planner() -> Iterable[Golden]:
    """What is chosen where no network is named."""
    for name, given in _PLANNED.items():
        yield Golden(f"planner/{name}", ("planner",), _planning(given), portable=True)


def _planning(given: tuple[Any, ...]) -> Callable[[Stage, Path], Result]:
    def run(stage: Stage, out: Path) -> Result:
        text = json.dumps(adapter.planned(*given), sort_keys=True)
        return {"plan": digest([np.frombuffer(text.encode(), np.uint8)])}

    return run


def audit() -> Iterable[Golden]:
    """Audit and correction."""
    yield Golden("audit/given probabilities", ("audit",), _audited)
    yield Golden("audit/folds", ("audit", "engine", "Supervised", "UNet"), _audited_by_folds, slow=True)


def _audited(stage: Stage, out: Path) -> Result:
    folder, given = stage.audited, data.write_probabilities(out / "probabilities", SHAPES[3])
    numbers = commands.audited(folder, given, out / "audit")
    return {
        "numbers": digest_of_numbers(numbers),
        "proposed": digest(commands.proposed(out / "audit")),
        "corrected": digest(commands.corrected(folder, out / "audit", out / "corrected", 0.0, offsets=False)),
        "moved": digest(commands.corrected(folder, out / "audit", out / "moved", 0.9, offsets=True)),
        "size": [0.0 if number is None else number for number in numbers],
    }


def _audited_by_folds(stage: Stage, out: Path) -> Result:
    numbers = commands.audited_by_folds(stage.audited, out / "audit", stage.root / "cache")
    return {"numbers": digest_of_numbers(numbers)}
