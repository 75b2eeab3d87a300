"""Everything that the runs of a plan share, prepared and checked before the first of them starts."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from segmend.bench.building import (
    audit_arguments,
    auditing_method,
    corruption_of,
    method_of,
    network_class,
    network_of,
    recipes_in,
    train_arguments,
    whole,
    whole_audit,
    whole_corruption,
    whole_training,
)
from segmend.bench.plan import Labels, Plan, Row
from segmend.bench.protocol import resolved, versions_of
from segmend.bench.resampling import resamples
from segmend.bench.unit import Unit, slug
from segmend.commands.audit import audit
from segmend.commands.correct import correct
from segmend.commands.corrupt import corrupt
from segmend.commands.evaluate import evaluate
from segmend.commands.predict import predict
from segmend.core.case import Split
from segmend.core.errors import InputError
from segmend.core.folders import atomic_folder
from segmend.core.grid import Grid
from segmend.core.io import atomic_file
from segmend.core.progress import track
from segmend.core.unallocated import build_unallocated
from segmend.data.cache import digest_of
from segmend.data.cases_table import write_cases
from segmend.data.copying import link
from segmend.data.folder import DataFolder
from segmend.data.image import case_name, read_grid
from segmend.data.sampling import BatchPlan
from segmend.engine.initial_labels import with_initial_labels
from segmend.engine.options import TrainingOptions
from segmend.engine.run import Run
from segmend.methods import all_methods
from segmend.networks import PlannedUNet


@dataclass(frozen=True)
class Preparation:
    """A plan on a data folder.

    Attributes:
        plan: the plan.
        data: the data folder.
        out: where everything is written.
    """

    plan: Plan
    data: Path
    out: Path

    def check(self) -> None:
        """Check that every run can be built and has the cases that it needs. Nothing is written.

        Raises:
            InputError: the data folder lacks cases, or a row cannot be built.
        """
        for labels in self.plan.labels.values():
            self._check_cases(self._folder(labels))
            if labels.corruption:
                corruption_of(labels)
            if labels.audit is not None:
                audit_arguments(labels)
        for row in self.plan.rows.values():
            if row.method:
                self._check_row(row)

    def units(self, labels: Sequence[str] | None = None) -> list[Unit]:
        """All runs of the plan, after the wanted states of the labels (all by default) and their test folders are made.

        Runs on other states only serve to find their results.
        """
        wanted = self.plan.labels if labels is None else labels
        places = {name: self._prepared(state) if name in wanted else {} for name, state in self.plan.labels.items()}
        units = []
        for row in self.plan.rows.values():
            for name in row.labels if row.method else ():
                for seed in self.plan.seeds:
                    what = self._what(row, self.plan.labels[name])
                    given = self._given(row)
                    units.append(Unit.at(self.out / "runs", row.name, name, seed, what, places[name], given))
        return units

    def _what(self, row: Row, labels: Labels) -> dict[str, Any]:
        """All that decides the results of a row, defaults included, but for the seed."""
        assert row.method
        where, method = f"row {row.name}", all_methods()[row.method]
        arguments = resolved(method, row.arguments, {"network"})
        return {
            "data": self._digest(labels),
            "labels": self._noise(labels),
            "method": row.method,
            "arguments": arguments,
            "train": whole_training(row.train, where),
            "select": self.plan.select,
            "predict": whole(predict, self.plan.predict),
            "evaluate": whole(evaluate, self.plan.evaluate),
            "versions": {
                **versions_of(
                    method,
                    network_class(row.train, where),
                    arguments=arguments,
                    planned=network_of(row.train, where) is None,
                    resampled=resamples(self._grids, row.train.get("spacing")),
                ),
                **self._versions_of(labels),
            },
        }

    def _given(self, row: Row) -> dict[str, Any]:
        """The arguments of it as the plan has them."""
        return {
            "arguments": row.arguments,
            "train": row.train,
            "predict": self.plan.predict,
            "evaluate": self.plan.evaluate,
        }

    def _noise(self, labels: Labels) -> dict[str, Any] | None:
        """The processing of the labels of the data folder."""
        corruption = whole_corruption(labels) if labels.corruption else None
        if labels.audit is None:
            return corruption
        return {"corruption": corruption, "audit": whole_audit(labels), "correct": whole(correct, labels.correct)}

    def _versions_of(self, labels: Labels) -> dict[str, int | str]:
        """Versions of what the labels are made by."""
        if labels.audit is None:
            return versions_of(*recipes_in(labels))
        where = f"labels {labels.name}"
        return versions_of(
            *recipes_in(labels),
            auditing_method(labels),
            network_class(labels.audit, where),
            audited=True,
            planned=network_of(labels.audit, where) is None,
            resampled=resamples(self._grids, labels.audit.get("spacing")),
        )

    def _check_cases(self, folder: DataFolder) -> None:
        wanted, source = self.plan.data, self.plan.data.get("source", "the data set that the plan names")
        for split in (Split.TRAIN, Split.TEST):
            cases = folder.select(split)
            usable = [case for case in cases if split is Split.TRAIN or case.label]
            number = wanted.get(split.value, 1)
            if len(usable) < number:
                raise InputError(
                    self.data,
                    f"holds {len(usable)} {split} cases{' with labels' if split is Split.TEST else ''}, "
                    f"but the plan needs {number}",
                    f"get {source}, and lay it out as imagesTr/CASE_0000, labelsTr/CASE, imagesTs and labelsTs "
                    "with a dataset.json",
                    code="no-data",
                )

    def _check_row(self, row: Row) -> None:
        assert row.method
        folder = self._folder(self.plan.labels[row.labels[0]])
        arguments = train_arguments(row.train, f"row {row.name}")
        scan = folder.select(Split.TRAIN)[0].images[0]
        dimensions = arguments.get("dimensions") or read_grid(scan).dimensions
        try:
            make = arguments["network"] or PlannedUNet  # of the usual size, in the place of the planned one
            build_unallocated(lambda: make(len(folder.channel_names), folder.classes, dimensions))
            network = make(len(folder.channel_names), folder.classes, dimensions)
            method = method_of(row.method, row.arguments)(network)
        except InputError:
            raise
        except Exception as error:  # constructors refuse an argument by errors of many kinds
            where = self.plan.document.where(("rows", row.name))
            raise InputError(
                where, f"cannot be built ({error})", "correct the arguments", code="invalid-value"
            ) from error
        known = {field.name for field in fields(TrainingOptions)}
        options = TrainingOptions(**{name: value for name, value in arguments.items() if name in known})
        for labels in (self.plan.labels[name] for name in row.labels):
            if options.counts and not labels.corruption:  # which would change qualities first
                cases = self._folder(labels).select(Split.TRAIN)
                cases = with_initial_labels(
                    cases,
                    Run(self.out),
                    folder.file_ending,
                    unlabelled=method.needs_initial_labels,
                    partial=not method.takes_class_sets(),
                )
                BatchPlan.of(cases, options.composition(method.needs), 0, f"row {row.name}")

    def _folder(self, labels: Labels) -> DataFolder:
        return DataFolder.open(self.data, labels.cases)

    def _digest(self, labels: Labels) -> str:
        """Of the whole data folder, its splits included."""
        return digest_of(self._files_digest, *([labels.cases] if labels.cases else []))

    @cached_property
    def _files_digest(self) -> str:
        files = _files_below(self.data)
        names = [str(path.relative_to(self.data)) for path in files]
        return digest_of(*names, *track(files, "reading the data"))

    @cached_property
    def _grids(self) -> list[Grid]:
        """Of all scans of the data folder."""
        return [read_grid(case.images[0]) for case in DataFolder.open(self.data).cases]

    def _prepared(self, labels: Labels) -> dict[str, Any]:
        made = {"labels": self._noise(labels), "versions": self._versions_of(labels)}
        mark = digest_of(self._digest(labels), json.dumps(made, sort_keys=True))[:8]
        data, cases = self.data, labels.cases
        if labels.corruption:
            kind = "_given" if labels.audit is not None else ""
            data, cases = self.out / "labels" / f"{slug(labels.name)}{kind}_{mark}", None
            if not data.exists():
                corrupt(data=self.data, out=data, cases=labels.cases, **corruption_of(labels))
        if labels.audit is not None:
            given, data = data, self.out / "labels" / f"{slug(labels.name)}_{mark}"
            if not data.exists():
                place = self.out / "audits" / f"{slug(labels.name)}_{mark}"
                audit(data=given, out=place, cases=cases, **audit_arguments(labels))
                correct(data=given, audit=place, out=data, cases=cases, **labels.correct)
        folder = DataFolder.open(data, cases)
        test = self.out / "test" / mark
        if not test.exists():
            _link_test_cases(folder, test)
        if self.plan.select == "test":
            cases = self.out / "test" / f"{mark}_selected_on.csv"
            shown = [replace(c, split=Split.VAL) if c.split is Split.TEST else c for c in folder.cases]
            with atomic_file(cases) as file:
                write_cases(file, shown)
        places = {"data": data, "cases": cases, "images": test / "imagesTs", "references": test / "labelsTs"}
        return {name: str(path.resolve()) if path else None for name, path in places.items()}


def _link_test_cases(folder: DataFolder, out: Path) -> None:
    """Test scans and their labels, wherever they are, as a folder for predict and evaluate."""
    with atomic_folder(out) as place:
        (place / "dataset.json").write_bytes(folder.description)
        for name in ("imagesTs", "labelsTs"):
            (place / name).mkdir()
        for case in folder.select(Split.TEST):
            if case.label:
                for image in case.images:
                    link(image, place / "imagesTs" / image.name)
                ending = case.label.name[len(case_name(case.label)) :]
                # A copy: people edit labels, and an edit in place would reach these through a link.
                shutil.copyfile(case.label, place / "labelsTs" / f"{case.name}{ending}")


def _files_below(root: Path) -> list[Path]:
    """All files of a folder, also those in folders that are links; a link to a folder above is not followed."""
    found: list[Path] = []
    for folder, folders, files in os.walk(root, followlinks=True):
        place = Path(folder)
        folders[:] = [name for name in folders if not place.resolve().is_relative_to((place / name).resolve())]
        found += [place / name for name in files]
    return sorted(path for path in found if path.is_file())
