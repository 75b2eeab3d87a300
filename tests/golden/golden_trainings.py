"""Golden runs that train: every method, network and option."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import golden_adapter as adapter
import numpy as np
from golden_digests import digest, digest_in_any_order, size_of
from golden_stage import NETWORK, Golden, Result, Stage

STEPS = 3
"""Optimiser steps of a training; every method that rewrites labels does so within them."""

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
    "OffsetCorrection all alike": ("OffsetCorrection", {"weight_by_reliability": False}),
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
    **{f"Supervised {each}": ("Supervised", {"loss": each}) for each in adapter.criteria()},
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
    "PlannedUNet": {"kernels": (3,) * 3, "strides": (1, 2, 2), "widths": (4, 8, 8)},
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

_OF_VOLUMES = ("MSTFAL",)
"""Methods that compare slices, which the 2D images of the golden runs are not."""


def training_run(
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
                size_of(trained.moved),
                float(sum(np.square(each[-1], dtype=float).sum() for each in trained.probabilities)),
            ],
        }
        return result | ({"labels": digest(trained.labels)} if trained.labels else {})

    return run


def methods() -> Iterable[Golden]:
    """Every method, with its default arguments."""
    network, of_network = NETWORK
    for name in adapter.method_names():
        for where, precision in (("3D", "32"), ("3D", "bf16"), ("2D", "32")):
            if where == "2D" and name in _OF_VOLUMES:
                continue
            run = training_run(where, name, {}, network, of_network, precision)
            slow = where == "3D" and name not in _IN_BFLOAT16
            yield Golden(f"method/{name}/{where}/{precision}", ("engine", name, network), run, slow=slow)


def variants() -> Iterable[Golden]:
    """Methods with other arguments."""
    network, of_network = NETWORK
    for title, (name, arguments) in _VARIANTS.items():
        run = training_run("2D", name, arguments, network, of_network, "32")
        more = tuple(str(value) for value in arguments.values() if value in adapter.method_names())
        yield Golden(f"variant/{title}/2D/32", ("engine", name, network, *more), run)
    network, of_network = _WITH_DROPOUT
    for name in _UNCERTAIN:
        run = training_run("large 2D", name, {}, network, of_network, "32", schooled=False)
        yield Golden(f"variant/{name} with dropout/2D/32", ("engine", name, network), run)


def networks() -> Iterable[Golden]:
    """Every network, by plain training."""
    for name in adapter.network_names():
        for dimensions in ("3D", "2D"):
            where = f"{_SCANS[name]} {dimensions}" if name in _SCANS else dimensions
            run = training_run(where, "Supervised", {}, name, _NETWORK_ARGUMENTS[name], "32", schooled=False)
            slow = (name, dimensions) in _SLOW
            yield Golden(f"network/{name}/{dimensions}/32", ("engine", "Supervised", name), run, slow=slow)
