"""The golden runs: short computations whose results are compared with recorded ones, bit by bit."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import golden_adapter as adapter
import golden_data as data
import numpy as np
from numpy.typing import NDArray

STEPS = 3
"""Optimiser steps of a training; every method that rewrites labels does so within them."""

SHAPES = {3: (20, 24, 16), 2: (24, 20)}
PATCHES = {3: (16, 16, 16), 2: (16, 16)}
LARGE = {
    "large 3D": (32, 32, 32),
    "large 2D": (32, 32),
    "huge 3D": (64, 64, 64),
    "huge 2D": (64, 64),
}
"""Larger scans, of two channels, for networks that need them."""

Result = dict[str, Any]
"""Digests by what they are of, and ``size``: numbers that other processors come close to."""


@dataclass(frozen=True)
class Golden:
    """A golden run.

    Attributes:
        name: ``KIND/NAME/...``.
        of: what its result depends on: ``engine``, ``audit``, or the names of a method, a network and recipes.
        run: computes the result, in a folder of its own.
        portable: whether the result is the same on every processor.
        slow: whether it is left to ``make test-slow``.
    """

    name: str
    of: tuple[str, ...]
    run: Callable[[Stage, Path], Result]
    portable: bool = False
    slow: bool = False


class Stage:
    """The data of all golden runs, made when they are first needed.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: dict[str, adapter.Prepared] = {}
        self._schooled: dict[str, Mapping[str, Any]] = {}

    @cached_property
    def volumes(self) -> Path:
        """A data folder of volumes."""
        return data.write_folder(self.root / "volumes", SHAPES[3])

    @cached_property
    def images(self) -> Path:
        """A data folder of 2D images."""
        return data.write_folder(self.root / "images", SHAPES[2])

    @cached_property
    def audited(self) -> Path:
        """A data folder of labelled volumes, two of the labels drawn badly."""
        return data.write_folder(self.root / "audited", SHAPES[3], spoil=True)

    def prepared(self, where: str) -> adapter.Prepared:
        """What is trained on: volumes, images, volumes slice by slice, and large ones of two channels."""
        if where not in self._kept:
            folder = self.images if where == "2D" else self.volumes
            patch = PATCHES[3 if where == "3D" else 2]
            if where in LARGE:
                patch = LARGE[where]
                folder = data.write_folder(self.root / where, patch, channels=2)
            spacing = data.SPACING[:2] if where.endswith("2D") else data.SPACING
            self._kept[where] = self._prepared(folder, patch, spacing)
        return self._kept[where]

    def schooled(self, where: str) -> Mapping[str, Any]:
        """Weights of the network that all methods are tried with, after it has seen the scans."""
        if where not in self._schooled:
            self._schooled[where] = adapter.schooled(self.prepared(where), *_NETWORK)
        return self._schooled[where]

    def _prepared(self, folder: Path, patch: tuple[int, ...], spacing: tuple[float, ...]) -> adapter.Prepared:
        return adapter.Prepared.of(folder, self.root / "cache", patch, spacing)

    def resampled(self) -> adapter.Prepared:
        """The volumes at another spacing."""
        return self._prepared(self.volumes, PATCHES[3], (1.2, 1.2, 1.2))

    def run(self, golden: Golden) -> Result:
        """The result of a golden run."""
        with tempfile.TemporaryDirectory(dir=self.root) as place:
            return golden.run(self, Path(place))


def all_golden() -> dict[str, Golden]:
    """Every golden run by its name."""
    runs = [*_methods(), *_variants(), *_networks(), *_engine(), *_recipes(), *_audit()]
    return {golden.name: golden for golden in runs}


_NETWORK = ("UNet", {"width": 4, "stages": 4})
"""The network that methods are tried with; it names its features and its encoder."""

_WITH_DROPOUT = ("VNet", {"width": 4, "dropout_rate": 0.5})
"""The network that methods are tried with besides which look at what is uncertain."""

_UNCERTAIN = ("ALC", "MTCL", "PLIL", "UAMT")

_VARIANTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "ALC without selection": ("ALC", {"selection": False}),
    "ALC without refinement": ("ALC", {"refinement": False}),
    "PLIL short": (
        "PLIL",
        {"warm_up": 0.3, "ramp_length": 0.0, "uncertainty": "spread", "threshold": 0.1, "passes": 4},
    ),
    "PLIL in one pass": ("PLIL", {"warm_up": 0.3, "ramp_length": 0.0, "passes": 1}),
    "OffsetCorrection all alike": ("OffsetCorrection", {"by_trust": False}),
    "OffsetCorrection by neighbour": ("OffsetCorrection", {"offsets": "neighbour"}),
    "OffsetCorrection by direction": ("OffsetCorrection", {"offsets": "direction"}),
    "OffsetCorrection each alone": ("OffsetCorrection", {"hierarchical": False}),
    "OffsetCorrection by overlap": ("OffsetCorrection", {"criterion": "overlap"}),
    "OffsetCorrection by likelihood": ("OffsetCorrection", {"criterion": "likelihood"}),
    "OffsetCorrection remainder": ("OffsetCorrection", {"remainder": "teacher"}),
    "OffsetCorrection then PLIL": ("OffsetCorrection", {"then": "PLIL"}),
    "SelfCleansing centred": ("SelfCleansing", {"interval": 0.1, "warm_up": 0.3, "hand_over": 0.6, "centred": True}),
    "SelfCleansing of all": ("SelfCleansing", {"filtering": False}),
    "Reweighting": ("Reweighting", {"clean_weight": 1.0}),
    **{f"Supervised {each}": ("Supervised", {"criterion": each}) for each in adapter.criteria()},
}
"""Arguments by which a method computes something else, above all those of the shipped plans."""

_NETWORK_ARGUMENTS: dict[str, Mapping[str, Any]] = {
    "AttentionUnet": {"channels": (4, 8), "strides": (2,)},
    "BasicUNet": {"features": (4, 4, 8, 8, 16, 4)},
    "BasicUNetPlusPlus": {"features": (4, 4, 8, 8, 16, 4)},
    "DynUNet": {"kernel_size": (3,) * 3, "strides": (1, 2, 2), "upsample_kernel_size": (2, 2), "filters": (4, 8, 8)},
    "FlexibleUNet": {"backbone": "resnet10", "decoder_channels": (8, 8, 4, 4, 4)},
    "FusionUNet": {"width": 4, "stages": 3},
    "HighResNet": {"layer_params": [{"name": "conv_0", "n_features": 4, "kernel_size": 3}] * 3},
    "MedNeXt": {"init_filters": 4, "kernel_size": 3, "blocks_down": (1,) * 4, "blocks_up": (1,) * 4},
    "MonaiUNet": {"channels": (4, 8), "strides": (2,), "num_res_units": 1},
    "MonaiVNet": {},
    "ResUNet": {"width": 2},
    "SegResNet": {"init_filters": 8, "blocks_down": (1, 1), "blocks_up": (1,)},
    "SegResNetDS": {"init_filters": 8, "blocks_down": (1, 1)},
    "SwinUNETR": {"feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)},
    "UNETR": {"img_size": 16, "feature_size": 4, "hidden_size": 24, "mlp_dim": 24, "num_heads": 2},
    "UNet": {"width": 4, "stages": 3},
    "UNetPlusPlus": {"width": 2, "stages": 4},
    "VNet": {"width": 4},
}
"""Every network, small."""

_SCANS = {
    **dict.fromkeys(("BasicUNet", "BasicUNetPlusPlus", "FlexibleUNet", "FusionUNet", "MedNeXt", "VNet"), "large"),
    "SwinUNETR": "huge",
}
"""Networks that need larger scans, or several channels."""

_SLOW = {(name, "3D") for name in ("MonaiVNet", "SwinUNETR", "FlexibleUNet", "BasicUNetPlusPlus")}
"""Networks that cannot be made small."""

_IN_BFLOAT16 = {"MeanTeacher", "OffsetCorrection", "PLIL", "Supervised"}
"""Methods that are tried in bfloat16 by every run of the tests, not just by all tests."""


def _training(
    where: str,
    method: str,
    arguments: Mapping[str, Any],
    network: str,
    of_network: Mapping[str, Any],
    precision: str,
    options: str = "papers",
    *,
    schooled: bool = True,
) -> Callable[[Stage, Path], Result]:
    def run(stage: Stage, out: Path) -> Result:
        start = stage.schooled(where) if schooled else None
        trained = adapter.fitted(
            stage.prepared(where), out / "run", method, arguments, network, of_network, precision, STEPS, options, start
        )
        result = {
            "weights": digest_in_any_order(trained.state),
            "probabilities": digest(trained.probabilities),
            "size": [
                _size(trained.moved),
                float(sum(np.square(each[-1], dtype=float).sum() for each in trained.probabilities)),
            ],
        }
        return result | ({"labels": digest(trained.labels)} if trained.labels else {})

    return run


def _methods() -> Iterable[Golden]:
    network, of_network = _NETWORK
    for name in adapter.method_names():
        for where, precision in (("3D", "32"), ("3D", "bf16"), ("2D", "32")):
            run = _training(where, name, {}, network, of_network, precision)
            slow = precision == "bf16" and name not in _IN_BFLOAT16
            yield Golden(f"method/{name}/{where}/{precision}", ("engine", name, network), run, slow=slow)


def _variants() -> Iterable[Golden]:
    network, of_network = _NETWORK
    for title, (name, arguments) in _VARIANTS.items():
        run = _training("2D", name, arguments, network, of_network, "32")
        more = tuple(str(value) for value in arguments.values() if value in adapter.method_names())
        yield Golden(f"variant/{title}/2D/32", ("engine", name, network, *more), run)
    network, of_network = _WITH_DROPOUT
    for name in _UNCERTAIN:
        run = _training("large 2D", name, {}, network, of_network, "32", schooled=False)
        yield Golden(f"variant/{name} with dropout/2D/32", ("engine", name, network), run)


def _networks() -> Iterable[Golden]:
    for name in adapter.network_names():
        for dimensions in ("3D", "2D"):
            where = f"{_SCANS[name]} {dimensions}" if name in _SCANS else dimensions
            run = _training(where, "Supervised", {}, name, _NETWORK_ARGUMENTS[name], "32", schooled=False)
            slow = (name, dimensions) in _SLOW
            yield Golden(f"network/{name}/{dimensions}/32", ("engine", "Supervised", name), run, slow=slow)


def _engine() -> Iterable[Golden]:
    network, of_network = _NETWORK
    yield Golden("engine/preparation", ("engine",), _preparation)
    for where, precision in (("slices", "32"), ("3D", "32")):
        run = _training(where, "MeanTeacher", {}, network, of_network, precision, "strong", schooled=where == "3D")
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
        "size": [_size(images)],
    }


def _by_command(stage: Stage, out: Path) -> Result:
    arrays = adapter.by_command(stage.volumes, out, stage.root / "cache", "AIDE")
    weights = [array.astype(float) for array in arrays if array.dtype.kind == "f"]
    return {"everything": digest_in_any_order(arrays), "size": [_size(weights)]}


def _prediction(where: str) -> Callable[[Stage, Path], Result]:
    def run(stage: Stage, out: Path) -> Result:
        folder = stage.images if where == "2D" else stage.volumes
        arrays = adapter.predicted(stage.prepared(where), folder, *_NETWORK)
        return {
            "everything": digest(arrays),
            "size": [_size([array]) for array in arrays if array.dtype.kind == "f"][-3:],
        }

    return run


def _evaluation(stage: Stage, out: Path) -> Result:
    numbers: list[float | None] = []
    for shape in SHAPES.values():
        for way in range(3):
            _, label = data.scan(shape, way)
            numbers += adapter.scores(data.redrawn(label, way), label, (1, 2, 3), data.SPACING[: len(shape)])
        numbers += adapter.scores(np.zeros_like(label), label, (1, 2), data.SPACING[: len(shape)])
    references, predictions = stage.volumes / "labelsTr_clean", out / "predictions"
    predictions.mkdir()
    for file in sorted(references.iterdir()):
        (predictions / file.name).write_bytes((stage.volumes / "labelsTr" / file.name).read_bytes())
    for unit in ("mm", "voxel"):
        numbers += adapter.evaluated(predictions, references, out / f"{unit}.csv", unit)
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


def _recipes() -> Iterable[Golden]:
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
                        noisy.append(adapter.corrupted(name, arguments, label, spacing, seed, strength))
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
    return {"labels": digest(adapter.corrupted_folder(folder, out / "noisy"))}


def _audit() -> Iterable[Golden]:
    yield Golden("audit/given probabilities", ("audit",), _audited)
    yield Golden("audit/folds", ("audit", "engine", "Supervised", "UNet"), _audited_by_folds, slow=True)


def _audited(stage: Stage, out: Path) -> Result:
    folder, given = stage.audited, data.write_probabilities(out / "probabilities", SHAPES[3])
    numbers = adapter.audited(folder, given, out / "audit")
    return {
        "numbers": digest_of_numbers(numbers),
        "proposed": digest(adapter.proposed(out / "audit")),
        "corrected": digest(adapter.corrected(folder, out / "audit", out / "corrected", 0.0, offsets=False)),
        "moved": digest(adapter.corrected(folder, out / "audit", out / "moved", 0.9, offsets=True)),
        "size": [0.0 if number is None else number for number in numbers],
    }


def _audited_by_folds(stage: Stage, out: Path) -> Result:
    numbers = adapter.audited_by_folds(stage.audited, out / "audit", stage.root / "cache")
    return {"numbers": digest_of_numbers(numbers)}


def digest(arrays: Iterable[NDArray[Any]]) -> str:
    """A digest of arrays, in their order: of types, shapes and bytes."""
    return _joined([_digest(array) for array in arrays])


def digest_in_any_order(arrays: Iterable[NDArray[Any]]) -> str:
    """A digest of arrays that does not depend on their order: parts of a network may be rearranged."""
    return _joined(sorted(_digest(array) for array in arrays))


def digest_of_numbers(numbers: Iterable[float | None]) -> str:
    """A digest of numbers to nine digits: the order of a sum does not matter."""
    return _joined([f"{number:.8e}" if number is not None else "undefined" for number in numbers])


def _digest(array: NDArray[Any]) -> str:
    head = f"{array.dtype.name}{array.shape}"
    return hashlib.blake2b(head.encode() + np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def _joined(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def _size(arrays: Iterable[NDArray[Any]]) -> float:
    return float(np.sqrt(sum(np.square(array, dtype=float).sum() for array in arrays)))
