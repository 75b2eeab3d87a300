"""Makes a copy of a data folder with synthetic label noise."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.core.case import Case, Quality, Split
from segmend.core.errors import InputError
from segmend.core.folders import atomic_folder, require_empty
from segmend.core.masks import IGNORE
from segmend.core.paths import kind_of, parse_json
from segmend.core.progress import track
from segmend.data.cases_table import write_cases
from segmend.data.copying import copy_files
from segmend.data.finding import CLEAN, remedy_of_name
from segmend.data.folder import DataFolder
from segmend.data.image import read_label, write_label
from segmend.data.tables import read_list
from segmend.noise import CubeMorphology, NoisyLabel, Recipe, calibrate, corrupt_label

PUBLISHED = CubeMorphology()
"""The noise of PLIL, MTCL and ALC."""


def corrupt(
    *,
    data: Path,
    out: Path,
    recipe: Recipe = PUBLISHED,
    expert: int | Path = 0,
    dice: float | None = None,
    share: float = 1.0,
    seed: int = 0,
    cases: Path | None = None,
) -> pd.DataFrame:
    """Copy a data folder and corrupt training labels in the copy.

    Validation, test and expert cases keep their labels, also those that ``cases.csv`` marks as expert
    already. All other labelled training cases become noisy. The noise of a case depends on its name and
    the seed, not on which other cases there are.

    Images are hard links where the file system allows it, labels are copies. In addition, the copy holds
    ``cases.csv`` of all cases, the true labels of corrupted cases in ``labelsTr_clean``,
    ``corruption.csv`` with one row per corrupted case and label (``case, label, operation, parameters,
    strength, dice, emptied``), and in ``dataset.json`` how the noise was made.

    Args:
        data: data folder; it is not changed.
        out: folder to write.
        recipe: how labels go wrong.
        expert: how many labelled training cases stay expert, the first in alphabetical order; or a text
            file of their names, one a line.
        dice: mean Dice of corrupted to true labels, over cases and labels, that the strength of the recipe
            is fitted to (within 0.005).
        share: fraction of the noisy cases to corrupt, chosen at random; the others keep their labels.
        seed: decides every random choice, 0 or more.
        cases: a table to use instead of ``data/cases.csv``.

    Returns:
        The table of ``corruption.csv``.

    Raises:
        InputError: the data folder or an argument cannot be used, no label is left to corrupt, the recipe
            does not suit the data, or it cannot reach the wanted Dice.

    Example:
        segmend corrupt --data left_atrium --out left_atrium_noisy --expert 8 --recipe CubeMorphology
    """
    _check_arguments(data, out, dice, share, seed)
    folder = DataFolder.open(data, cases)
    recipe.check(folder.classes)
    noise = _Noise(folder, recipe, seed)
    experts = _experts(folder, expert)
    noisy = [case for case in _labelled(folder) if case.name not in experts]
    chosen = noise.choose(noisy, share)
    strength = 1.0 if dice is None else calibrate(partial(noise.mean_dice, chosen), dice)
    with atomic_folder(out) as copy:
        copy_files(data, copy, folder.cases)
        rows = [row for case in track(chosen, "corrupting labels") for row in noise.write(case, strength, copy)]
        table = pd.DataFrame(rows, columns=list(Row.__annotations__))
        table.to_csv(copy / "corruption.csv", index=False)
        write_cases(copy / "cases.csv", _with_experts(folder, experts))
        noise.describe(copy / "dataset.json", share=share, dice=dice, strength=strength)
    return table


class Row(TypedDict):
    """A line of corruption.csv."""

    case: str
    label: str
    operation: str
    parameters: str
    strength: float
    dice: float
    emptied: bool


@dataclass(frozen=True)
class _Noise:
    """The noise that a recipe and a seed give the cases of a data folder."""

    folder: DataFolder
    recipe: Recipe
    seed: int

    def choose(self, noisy: Sequence[Case], share: float) -> list[Case]:
        """Choose a fraction of the cases at random; a larger fraction includes the cases of a smaller one."""
        lots = {case.name: self._chances(case)[0].random() for case in noisy}
        chosen = sorted(lots, key=lambda name: lots[name])[: round(share * len(noisy))]
        if not chosen:
            remedy = "keep fewer labels, or mark more training cases in cases.csv as noisy"
            raise InputError("expert, share", "leave no label to corrupt", remedy, code="no-data")
        return [case for case in noisy if case.name in chosen]

    def mean_dice(self, cases: Sequence[Case], strength: float) -> float:
        """Mean Dice of corrupted to true labels, over cases and labels."""
        # Labels are read again at every strength: those of a large data set do not fit into memory.
        tracked = track(cases, f"trying strength {strength:.4g}")
        scores = [score for case in tracked for score in self._corrupted(case, strength)[1].dice.values()]
        return fmean(scores) if scores else 1.0

    def write(self, case: Case, strength: float, copy: Path) -> Iterator[Row]:
        """Puts the noisy label where the copy has the true one, which is kept apart."""
        assert case.label is not None
        values, noisy = self._corrupted(case, strength)
        place = copy / case.label.relative_to(self.folder.root)
        kept = copy / CLEAN / place.name
        kept.parent.mkdir(exist_ok=True)
        os.replace(place, kept)
        # Where nothing is known the file's own values stay, even those that dataset.json does not name.
        new = np.where(noisy.label == IGNORE, values, self.folder.to_values(noisy.label))
        write_label(place, new, like=case.label)
        names = list(self.folder.labels)
        for index, decision in noisy.decisions.items():
            yield Row(
                case=case.name,
                label=names[index],
                operation=decision.operation,
                parameters=json.dumps(decision.parameters),
                strength=decision.strength,
                dice=noisy.dice[index],
                emptied=index in noisy.emptied,
            )

    def describe(self, path: Path, **settings: float | None) -> None:
        """Writes a dataset.json like the given one that says how the noise was made."""
        content = parse_json(self.folder.root / "dataset.json", self.folder.description)
        recipe = {"recipe": type(self.recipe).__name__, "arguments": self.recipe.arguments}
        content["corruption"] = recipe | settings | {"seed": self.seed}
        # A lone surrogate stays what it was in the file: an escape of JSON.
        path.write_bytes((json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))

    def _corrupted(self, case: Case, strength: float) -> tuple[NDArray[np.integer[Any]], NoisyLabel]:
        """The values of a label file, and what becomes of the label."""
        assert case.label is not None
        values, grid = read_label(case.label)
        _, how = self._chances(case)
        return values, corrupt_label(self.folder.to_indices(values), grid.spacing, self.recipe, how, strength)

    def _chances(self, case: Case) -> tuple[np.random.Generator, np.random.Generator]:
        """What decides whether the case is corrupted, and what decides how."""
        whether, how = np.random.default_rng([self.seed, *case.name.encode()]).spawn(2)
        return whether, how


def _check_arguments(data: Path, out: Path, dice: float | None, share: float, seed: int) -> None:
    if dice is not None and not 0 <= dice <= 1:
        raise InputError("dice", f"is {dice}", "give a mean Dice coefficient from 0 to 1", code="invalid-value")
    if not 0 < share <= 1:
        raise InputError("share", f"is {share}", "give a share above 0, up to 1", code="invalid-value")
    if seed < 0:
        raise InputError("seed", f"is {seed}", "give 0 or more", code="invalid-value")
    if kind_of(data / CLEAN):
        raise InputError(
            data / CLEAN,
            "exists, so this data folder was corrupted before",
            "give the original one",
            code="already-exists",
        )
    if out.resolve().is_relative_to(data.resolve()):
        raise InputError(
            out, "lies in the data folder, which is not changed", "choose a folder elsewhere", code="invalid-value"
        )
    require_empty(out)


def _labelled(folder: DataFolder) -> list[Case]:
    return [case for case in folder.select(Split.TRAIN) if case.quality is not Quality.NONE]


def _experts(folder: DataFolder, expert: int | Path) -> set[str]:
    """Names of the training cases whose labels are kept."""
    names = [case.name for case in _labelled(folder)]
    marked = {case.name for case in folder.select(Split.TRAIN, Quality.EXPERT)}
    if isinstance(expert, Path):
        return marked | _listed(expert, names, folder)
    if expert < 0:
        raise InputError(
            "expert", f"is {expert}", "give a number of cases, 0 or more, or a file of names", code="invalid-value"
        )
    return marked | set(names[:expert])


def _listed(path: Path, names: Sequence[str], folder: DataFolder) -> set[str]:
    rows = read_list(path, "case", names, remedy="give a number of cases, or a text file with a name a line")
    for row in rows:
        name = row.cells["case"]
        if name in names:
            continue
        if any(case.name == name for case in folder.cases):
            problem = f"'{name}' is not a training case with a label (line {row.line})"
            raise InputError(path, problem, "list only such cases", code="invalid-value")
        raise InputError(
            path, f"there is no case '{name}' (line {row.line})", remedy_of_name(name, names), code="unknown-name"
        )
    return {row.cells["case"] for row in rows}


def _with_experts(folder: DataFolder, experts: set[str]) -> Iterator[Case]:
    for case in folder.cases:
        yield replace(case, quality=Quality.EXPERT) if case.name in experts else case
