"""End-to-end demo on synthetic data."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from segmend.commands.check import check
from segmend.commands.corrupt import corrupt
from segmend.commands.evaluate import evaluate
from segmend.commands.predict import predict
from segmend.commands.train import train
from segmend.core import signals as stopping
from segmend.core.errors import InputError
from segmend.core.folders import is_whole, locked_folder, require_empty
from segmend.core.progress import say
from segmend.core.tables import write_json, write_table
from segmend.data.augment import LEFT_ATRIUM_PROTOCOL
from segmend.demo.command_line import command_line
from segmend.demo.phantom import write_phantoms
from segmend.demo.story import METRICS, DemoFolder, result_row, write_story
from segmend.engine.learner import Optimisation
from segmend.methods import PLIL, Supervised
from segmend.metrics.results import summarise
from segmend.networks import VNet
from segmend.noise import CubeMorphology

SHAPE, SPACING, PATCH = (64, 64, 48), (1.5, 1.5, 2.0), (48, 48, 32)
NETWORK = partial(VNet, width=8, dropout_rate=0.1)
"""Narrow, so with less dropout than the usual width bears."""
PROTOCOL = {
    "foreground": 0.0,
    "augmentation": LEFT_ATRIUM_PROTOCOL,
    "optimisation": Optimisation(optimiser="sgd"),
}
"""Sampling, augmentation and optimiser of the paper of the second training."""
NOISE, DICE_OF_NOISE = CubeMorphology(), 0.6
"""The published noise, scaled down to the phantoms, which are smaller than hearts."""
FEWEST_TO_SCALE = 10
"""The mean Dice of fewer noisy labels moves in steps too coarse to hit a value, so their noise is left as it is."""
METHODS = {"Supervised": Supervised, "PLIL": partial(PLIL, passes=2, threshold=0.5, decay=0.97)}
"""In a run this short the teacher must follow faster, and be trusted sooner, than in the paper."""


@dataclass(frozen=True)
class _Step:
    """A call of a command.

    Attributes:
        command: the function; its name is that of the command.
        arguments: by name.
        result: its output, which shows that it is done; None to run it again.
    """

    command: Callable[..., object]
    arguments: Mapping[str, Any]
    result: Path | None = None

    @property
    def line(self) -> str:
        return command_line(self.command.__name__, self.arguments)

    def run(self) -> None:
        if self.result is None or not self.result.exists() or (self.result.is_dir() and not is_whole(self.result)):
            with redirect_stdout(io.StringIO()):  # the list of 'check' is for users with their own data
                self.command(**self.arguments)


def demo(
    *,
    out: Path,
    seed: int = 0,
    iterations: int = 300,
    train_cases: int = 20,
    expert_cases: int = 4,
    test_cases: int = 10,
) -> pd.DataFrame:
    """Show on synthetic scans how noisy labels affect a training, and how much a noise-robust method recovers.

    Generates phantoms, corrupts most of their training labels, trains the same network by ``Supervised``, which
    treats every label as correct, and by ``PLIL``, which does not, and compares both on clean test scans.
    ``report.html`` describes the results; ``results.csv`` and ``summary.json`` hold the numbers. Takes some
    minutes on a laptop, and about 100 MB. An interrupted demo continues where it stopped.

    Args:
        out: the folder to write.
        seed: decides the phantoms, the noise and the trainings.
        iterations: optimiser steps of each training.
        train_cases: training scans.
        expert_cases: those of them that keep their true labels.
        test_cases: test scans.

    Returns:
        The scores as in ``results.csv``: a row a method and test scan.

    Raises:
        InputError: the folder holds something else, or a demo with other arguments.

    Example:
        segmend demo --out demo
    """
    folder = DemoFolder(out, tuple(METHODS))
    settings = {
        "seed": seed,
        "iterations": iterations,
        "train_cases": train_cases,
        "expert_cases": expert_cases,
        "test_cases": test_cases,
    }
    _check_arguments(settings)
    with locked_folder(out):
        _claim(out, settings)
        stopping.promise("continue")
        if not folder.data.exists():
            write_phantoms(folder.data, train=train_cases, test=test_cases, seed=seed, shape=SHAPE, spacing=SPACING)
        steps = _steps(folder, seed, iterations, expert_cases, train_cases - expert_cases)
        for number, step in enumerate(steps, start=1):
            say(f"[{number}/{len(steps)}] {step.line}")
            step.run()
        return _tell(folder, settings, [step.line for step in steps])


def _check_arguments(settings: Mapping[str, int]) -> None:
    for name, least in (("seed", 0), ("iterations", 1), ("expert_cases", 1), ("test_cases", 1)):
        if settings[name] < least:
            raise InputError(name, f"is {settings[name]}", f"give {least} or more", code="invalid-value")
    if settings["train_cases"] <= settings["expert_cases"]:
        raise InputError(
            "train_cases", f"is {settings['train_cases']}", "give more of them than expert cases", code="invalid-value"
        )


def _claim(out: Path, settings: Mapping[str, int]) -> None:
    """Writes the settings into a new folder, or makes sure that an old one has the same."""
    file = out / "settings.json"
    if not file.is_file():
        require_empty(out)
        write_json(file, settings)
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            file, f"is damaged ({error})", "choose another `out`, or delete this one", code="damaged"
        ) from error
    if before != settings:
        raise InputError(
            out, "holds a demo with other arguments", "choose another `out`, or delete this one", code="already-exists"
        )


def _steps(folder: DemoFolder, seed: int, iterations: int, expert_cases: int, noisy_cases: int) -> list[_Step]:
    corruption = {"data": folder.data, "out": folder.noisy, "recipe": NOISE, "expert": expert_cases, "seed": seed}
    if noisy_cases >= FEWEST_TO_SCALE:
        corruption["dice"] = DICE_OF_NOISE
    steps = [_Step(corrupt, corruption, folder.noisy), _Step(check, {"data": folder.noisy})]
    for name, method in METHODS.items():
        training = {
            "data": folder.noisy,
            "method": method,
            "network": NETWORK,
            "out": folder.run(name),
            "iterations": iterations,
            "patch": PATCH,
            **PROTOCOL,
            "seed": seed,
            "cache": folder.root / "cache",
        }
        steps.append(_Step(train, training))
    for name in METHODS:
        prediction = {"run": folder.run(name), "images": folder.noisy / "imagesTs", "out": folder.predictions(name)}
        steps.append(_Step(predict, prediction, folder.predictions(name)))
    baseline, *others = METHODS
    for name in METHODS:
        evaluation = {
            "predictions": folder.predictions(name),
            "references": folder.noisy / "labelsTs",
            "out": folder.scores(name),
        }
        against = {"against": folder.scores(baseline)} if name in others else {}
        last_file = folder.scores(name).with_name(f"{name}_boxplot.png")
        steps.append(_Step(evaluate, evaluation | against, last_file))
    return steps


def _tell(folder: DemoFolder, settings: Mapping[str, int], lines: list[str]) -> pd.DataFrame:
    """Writes the files that sum up the demo, and shows the table."""
    tables = folder.tables()
    results = pd.concat([table.assign(method=method) for method, table in tables.items()], ignore_index=True)
    results.insert(0, "method", results.pop("method"))
    write_table(folder.root / "results.csv", results)
    means = {method: summarise(table)["overall"] for method, table in tables.items()}
    noise = folder.corruption()["dice"].mean()
    write_json(folder.root / "summary.json", {"settings": settings, "dice_of_noisy_labels": noise, "methods": means})
    report = write_story(folder, settings, lines)
    shown = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    shown.add_column("method", no_wrap=True)
    for column in (*METRICS.values(), "undefined"):
        shown.add_column(column, justify="right", no_wrap=True)
    for method, table in tables.items():
        shown.add_row(method, *result_row(table))
    Console().print(shown)
    say(f"Report: {report}")
    return results
