"""The specification of a table, read from a short YAML file."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from segmend.bench.kinds import check_arguments, check_kinds
from segmend.bench.lines import Document
from segmend.commands.audit import audit
from segmend.commands.correct import correct
from segmend.commands.corrupt import corrupt
from segmend.commands.evaluate import evaluate
from segmend.commands.predict import predict
from segmend.commands.train import train
from segmend.core.errors import InputError, did_you_mean
from segmend.methods import all_methods
from segmend.metrics.results import METRICS
from segmend.noise import all_recipes

PLANS = Path(__file__).parent / "plans"
"""The plans that come with Segmend."""

_BATCH = {"expert", "noisy", "unlabelled", "any_labelled"}
_GIVEN_BY_BENCH = {
    *("data", "out", "method", "seed", "cases", "cache", "run", "images", "predictions", "references"),
    *("probabilities", "audit", "decisions", "preview"),
}
Selection = Literal["last", "best", "test"]


@dataclass(frozen=True)
class Labels:
    """One state of the data set's labels.

    Attributes:
        name: as the table shows it.
        cases: table of splits and qualities to use instead of the folder's own, or None.
        corruption: arguments of ``segmend corrupt`` with the recipe by name; None keeps the labels.
        audit: arguments of ``segmend audit`` by which the labels are then corrected; None leaves them unchanged.
        correct: arguments of ``segmend correct`` that follows.
        published: names of the corresponding settings in the published table.
    """

    name: str
    cases: Path | None
    corruption: dict[str, Any] | None
    audit: dict[str, Any] | None
    correct: dict[str, Any]
    published: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One row of the table, for each of some states of the labels.

    Attributes:
        name: as the table shows it.
        method: name of the method; None if only its published numbers are to be shown.
        arguments: of the method.
        labels: names of the states of the labels that it is trained on.
        train: arguments of ``segmend train``, batch composition included.
        published: name of the row in the published table.
    """

    name: str
    method: str | None
    arguments: dict[str, Any]
    labels: tuple[str, ...]
    train: dict[str, Any]
    published: str


@dataclass(frozen=True)
class Plan:
    """A table to be made.

    Attributes:
        document: the file, with lines.
        path: its file.
    """

    document: Document
    path: Path

    @classmethod
    def read(cls, name: str | Path) -> Plan:
        """Reads a plan by the name of one that comes with Segmend, or by its file.

        Raises:
            InputError: there is none, or it holds an unknown entry.
        """
        path = _find(str(name))
        document = Document.read(path)
        if "base" in document.content:
            base = Document.read(_find(str(document.content["base"]), path.parent))
            if "base" in base.content:
                raise InputError(
                    document.where(("base",)),
                    "is built on another plan",
                    "name that one, or copy it",
                    code="invalid-value",
                )
            document = document.over(base)
        plan = cls(document, path)
        plan._check()
        return plan

    @property
    def title(self) -> str:
        """Heading of the table; says so if checkpoints are selected on test cases."""
        title = str(self.document.content.get("title", self.path.stem))
        return f"{title} - CHECKPOINTS SELECTED ON THE TEST SET" if self.select == "test" else title

    @property
    def select(self) -> Selection:
        """Which checkpoint counts."""
        selection: Selection = self.document.content.get("select", "last")
        return selection

    @property
    def seeds(self) -> list[int]:
        """Seeds of every row."""
        return list(self.document.content.get("seeds", [0]))

    @property
    def metrics(self) -> list[str]:
        """Columns of the table."""
        return list(self.document.content.get("metrics", ["dice", "jaccard", "hd95", "asd"]))

    @property
    def baseline(self) -> str:
        """Name of the row that the others are tested against."""
        return str(self.document.content.get("baseline", next(iter(self.rows))))

    @property
    def data(self) -> dict[str, Any]:
        """What the data folder must hold, and where to get it."""
        return dict(self.document.content.get("data", {}))

    @property
    def predict(self) -> dict[str, Any]:
        """Arguments of ``segmend predict``."""
        return dict(self.document.content.get("predict", {}))

    @property
    def evaluate(self) -> dict[str, Any]:
        """Arguments of ``segmend evaluate``."""
        return dict(self.document.content.get("evaluate", {}))

    @property
    def published(self) -> dict[str, Any]:
        """Paper, table and names of the metrics in the list of published numbers."""
        return dict(self.document.content.get("published", {}))

    @cached_property
    def labels(self) -> dict[str, Labels]:
        """States of the labels by name."""
        return {
            name: Labels(
                name,
                self.path.parent / given["cases"] if given.get("cases") else None,
                {key: value for key, value in given.items() if key in _corruption()} if "recipe" in given else None,
                dict(given["audit"] or {}) if "audit" in given else None,
                dict(given.get("correct", {})),
                tuple(given.get("published", ())),
            )
            for name, given in self.document.content["labels"].items()
        }

    @cached_property
    def rows(self) -> dict[str, Row]:
        """Rows by name."""
        common = self.document.content.get("train", {})
        return {
            name: Row(
                name,
                given.get("method"),
                dict(given.get("arguments", {})),
                tuple(given.get("labels", self.labels)),
                {**common, **given.get("train", {}), **given.get("batch", {})},
                str(given.get("published", name)),
            )
            for name, given in self.document.content["rows"].items()
        }

    def _check(self) -> None:
        document = self.document
        document.check_keys((), _TOP, "known to plans")
        check_kinds(document)
        for part in ("labels", "rows"):
            if not document.content.get(part):
                raise InputError(
                    self.path,
                    f"has no '{part}'",
                    "see the plans that come with Segmend for an example",
                    code="missing-value",
                )
        for part, known in (
            ("data", {"name", "train", "test", "source"}),
            ("train", _arguments(train) - {"folds", "fold"}),  # a unit is one run
            ("predict", _arguments(predict)),
            ("evaluate", _arguments(evaluate)),
            ("published", {"paper", "table", "metrics"}),
        ):
            if part in document.content:
                document.check_keys((part,), known, f"an argument of '{part}'")
        for part, command in (("train", train), ("predict", predict), ("evaluate", evaluate)):
            check_arguments(document, (part,), command, _arguments(command))
        self._check_labels()
        self._check_rows()
        self._check_choices()

    def _check_choices(self) -> None:
        document = self.document
        for index, metric in enumerate(self.metrics):
            if metric not in METRICS:
                place = document.where(("metrics", str(index)))
                raise InputError(
                    place,
                    f"'{metric}' is not a column of the results",
                    did_you_mean(metric, METRICS),
                    code="unknown-name",
                )
        if self.select not in ("last", "best", "test"):
            raise InputError(
                document.where(("select",)),
                f"'{self.select}' is unknown",
                "choose last, best or test",
                code="unknown-name",
            )
        if self.baseline not in self.rows:
            remedy = did_you_mean(self.baseline, self.rows)
            raise InputError(
                document.where(("baseline",)), f"there is no row '{self.baseline}'", remedy, code="unknown-name"
            )
        if not self.seeds or not all(isinstance(seed, int) and seed >= 0 for seed in self.seeds):
            raise InputError(
                document.where(("seeds",)),
                f"{self.seeds} are no seeds",
                "give numbers of 0 or more",
                code="invalid-value",
            )

    def _check_labels(self) -> None:
        for name, given in self.document.content["labels"].items():
            place = ("labels", name)
            self.document.check_keys(
                place, {*_corruption(), "cases", "audit", "correct", "published"}, "known of labels"
            )
            for part, taken in (("audit", _arguments(audit) | {"method", "seed"}), ("correct", _arguments(correct))):
                if given.get(part):
                    self.document.check_keys((*place, part), taken, f"an argument of '{part}'")
            check_arguments(self.document, (*place, "audit"), audit, _arguments(audit))
            check_arguments(self.document, (*place, "correct"), correct, _arguments(correct))
            check_arguments(self.document, place, corrupt, _corruption() - {"arguments"})
            recipe = given.get("recipe")
            if recipe is None:
                continue
            known = all_recipes()
            if recipe not in known:
                where = self.document.where((*place, "recipe"))
                raise InputError(
                    where, f"there is no recipe '{recipe}'", did_you_mean(recipe, known), code="unknown-name"
                )
            if "arguments" in given:
                taken = set(inspect.signature(known[recipe]).parameters)
                self.document.check_keys((*place, "arguments"), taken, f"an argument of {recipe}")

    def _check_rows(self) -> None:
        for name, given in self.document.content["rows"].items():
            place = ("rows", name)
            self.document.check_keys(place, {f.name for f in fields(Row)} - {"name"} | {"batch"}, "known of a row")
            method = given.get("method")
            known = all_methods()
            if method is not None and method not in known:
                where = self.document.where((*place, "method"))
                raise InputError(
                    where, f"there is no method '{method}'", did_you_mean(method, known), code="unknown-name"
                )
            if "arguments" in given and method:
                taken = set(inspect.signature(known[method]).parameters) - {"network"}
                self.document.check_keys((*place, "arguments"), taken, f"an argument of {method}")
            if "train" in given:
                self.document.check_keys((*place, "train"), _arguments(train), "an argument of 'train'")
                check_arguments(self.document, (*place, "train"), train, _arguments(train))
            if "batch" in given:
                self.document.check_keys((*place, "batch"), _BATCH, "a quality of samples")
                check_arguments(self.document, (*place, "batch"), train, _BATCH)
            for index, labels in enumerate(given.get("labels", ())):
                if labels not in self.labels:
                    where = self.document.where((*place, "labels", str(index)))
                    raise InputError(
                        where, f"there are no labels '{labels}'", did_you_mean(labels, self.labels), code="unknown-name"
                    )


_TOP = {
    *("title", "base", "data", "labels", "train", "rows", "seeds", "metrics", "predict", "evaluate"),
    *("select", "baseline", "published"),
}


def _find(name: str, base: Path | None = None) -> Path:
    for path in (Path(name), *([base / name, base / f"{name}.yaml"] if base else []), PLANS / f"{name}.yaml"):
        if os.path.isfile(path):  # noqa: PTH113 - a name may be too long for a file
            return path
    known = sorted(path.stem for path in PLANS.glob("*.yaml"))
    raise InputError(
        name, "is neither a file nor a plan that comes with Segmend", did_you_mean(name, known), code="unknown-name"
    )


def _arguments(command: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(command).parameters) - _GIVEN_BY_BENCH


def _corruption() -> set[str]:
    return (_arguments(corrupt) | {"seed", "arguments"}) - {"cases"}
