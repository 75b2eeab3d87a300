"""Segmend: train medical image segmentation from labels you only half trust, and mend the labels.

The commands of the command line are the functions of this package::

    from segmend import corrupt, evaluate, predict, train

Only ``segmend.bench``, ``segmend.labels`` and ``segmend.methods`` are not commands but packages.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmend.commands.audit import audit as audit
    from segmend.commands.check import check as check
    from segmend.commands.cite import cite as cite
    from segmend.commands.correct import correct as correct
    from segmend.commands.corrupt import corrupt as corrupt
    from segmend.commands.evaluate import evaluate as evaluate
    from segmend.commands.fuse import fuse as fuse
    from segmend.commands.predict import predict as predict
    from segmend.commands.train import train as train
    from segmend.demo.command import demo as demo

COMMANDS = {
    "demo": "segmend.demo.command",
    "check": "segmend.commands.check",
    "corrupt": "segmend.commands.corrupt",
    "train": "segmend.commands.train",
    "labels": "segmend.commands.labels",
    "predict": "segmend.commands.predict",
    "evaluate": "segmend.commands.evaluate",
    "audit": "segmend.commands.audit",
    "correct": "segmend.commands.correct",
    "fuse": "segmend.commands.fuse",
    "bench": "segmend.bench.command",
    "methods": "segmend.commands.methods",
    "cite": "segmend.commands.cite",
}
"""Modules of the commands by name, in the order in which one meets them."""

PACKAGES = ("bench", "labels", "methods")
"""Commands whose function is found in that module only, since the name here is that of a package."""


def __getattr__(name: str) -> Any:
    # Imported on first use: torch and MONAI take seconds, and not every command needs them.
    if name in COMMANDS and name not in PACKAGES:
        return getattr(importlib.import_module(COMMANDS[name]), name)
    raise AttributeError(f"module 'segmend' has no attribute '{name}'")
