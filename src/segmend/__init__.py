"""Train medical image segmentation networks from noisy, partial and missing annotations.

Every command of the command line is a function of this package::

    from segmend import audit, correct, predict, train

    run = train(data="DATA", out="RUN", method="PLIL", iterations=1000)
    predict(run=run.path, images="DATA/imagesTs", out="PREDICTIONS")

Methods and networks are here by their names (``segmend.PLIL``, ``segmend.VNet``). Everything is imported on first use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmend.commands.audit import audit as audit
    from segmend.commands.cache import cache as cache
    from segmend.commands.check import check as check
    from segmend.commands.cite import cite as cite
    from segmend.commands.correct import correct as correct
    from segmend.commands.corrupt import corrupt as corrupt
    from segmend.commands.evaluate import evaluate as evaluate
    from segmend.commands.export_dicom import export_dicom as export_dicom
    from segmend.commands.export_labels import export_labels as export_labels
    from segmend.commands.fuse import fuse as fuse
    from segmend.commands.import_data import import_data as import_data
    from segmend.commands.merge import merge as merge
    from segmend.commands.predict import predict as predict
    from segmend.commands.review import review as review
    from segmend.commands.select import select as select
    from segmend.commands.train import train as train
    from segmend.demo.command import demo as demo
    from segmend.engine.cross_validation import CrossValidation as CrossValidation
    from segmend.engine.run import Run as Run
    from segmend.engine.run_ensemble import RunEnsemble as RunEnsemble

COMMANDS = {
    "demo": "segmend.demo.command",
    "import": "segmend.commands.import_data",
    "merge": "segmend.commands.merge",
    "check": "segmend.commands.check",
    "corrupt": "segmend.commands.corrupt",
    "plan": "segmend.commands.plan",
    "train": "segmend.commands.train",
    "export-labels": "segmend.commands.export_labels",
    "predict": "segmend.commands.predict",
    "evaluate": "segmend.commands.evaluate",
    "audit": "segmend.commands.audit",
    "review": "segmend.commands.review",
    "select": "segmend.commands.select",
    "correct": "segmend.commands.correct",
    "fuse": "segmend.commands.fuse",
    "export-dicom": "segmend.commands.export_dicom",
    "bench": "segmend.bench.command",
    "methods": "segmend.commands.methods",
    "cache": "segmend.commands.cache",
    "cite": "segmend.commands.cite",
}
"""Modules of the commands by name, in the order of a typical workflow."""

_KEYWORDS = {"import": "import_data"}
"""Functions of the commands that are called like a keyword of Python."""

PACKAGES = ("audit", "bench", "demo", "methods", "review")
"""Commands whose name is that of a package: the package is callable, but for ``methods``, which holds the methods."""


def function_name(name: str) -> str:
    """The name of a command's function by that of the command."""
    return _KEYWORDS.get(name, name.replace("-", "_"))


__all__ = [
    "COMMANDS",
    "CrossValidation",
    "Run",
    "RunEnsemble",
    *sorted(function_name(name) for name in COMMANDS if name != "methods"),
]


def command(name: str) -> Callable[..., Any]:
    """The function of a command by its name on the command line."""
    from segmend.commands.calls import as_function

    return as_function(name)


def __getattr__(name: str) -> Any:
    by_function = {function_name(each): each for each in COMMANDS if each not in PACKAGES}
    if name in by_function:
        return command(by_function[name])
    if name == "Run":
        return importlib.import_module("segmend.engine.run").Run
    if name == "RunEnsemble":
        return importlib.import_module("segmend.engine.run_ensemble").RunEnsemble
    if name == "CrossValidation":
        return importlib.import_module("segmend.engine.cross_validation").CrossValidation
    if name == "__version__":
        from importlib.metadata import version

        return version("segmend")
    if name in PACKAGES:
        return importlib.import_module(f"segmend.{name}")
    if name[:1].isupper():
        for package in ("segmend.methods", "segmend.networks"):
            found = vars(importlib.import_module(package)).get(name)
            if isinstance(found, type):
                return found
    raise AttributeError(f"module 'segmend' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "methods", "networks"])
