"""The results folder of an nnU-Net cross-validation as it lies: each case by the fold that held it out.

    RESULTS/dataset.json, plans.json    RESULTS/fold_K/validation/CASE.npz

``nnUNetv2_train DATASET CONFIGURATION FOLD --npz`` leaves the arrays; ``--val --npz`` makes them of a finished fold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.paths import entries, is_folder, read_json
from segmend.data.folder import DataFolder
from segmend.data.names import canonical
from segmend.engine.splits import Splits

_FOLD = re.compile(r"fold_([0-9]+)")
_ALL = "fold_all"
_EXPORT = "run nnUNetv2_train DATASET CONFIGURATION FOLD --val --npz"


@dataclass(frozen=True)
class NnunetResults:
    """What the folds of a model gave for the cases that they held out.

    Attributes:
        root: the folder of the model, with ``plans.json``.
        files: the array of each case, by its name.
        fold_of: the fold of each case, from 1; nnU-Net counts from 0.
    """

    root: Path
    files: Mapping[str, Path]
    fold_of: Mapping[str, int]

    @classmethod
    def find(cls, path: Path) -> NnunetResults:
        """Find the arrays of all folds.

        Args:
            path: the folder of a model, or that of a data set which holds one model.

        Raises:
            InputError: there is no such folder or several, no fold has arrays, or two folds have one of the same case.
        """
        root = _model(path)
        files: dict[str, Path] = {}
        fold_of: dict[str, int] = {}
        folds = {int(named[1]): each for each in entries(root) if (named := _FOLD.fullmatch(each.name))}
        for number, fold in sorted(folds.items()):
            for file in entries(fold / "validation"):
                name = canonical(file.name.removesuffix(".npz"))
                if file.suffix != ".npz":
                    continue
                if name in files:
                    problem = f"holds case '{name}', as {files[name].parent} does, but a case is held out by one fold"
                    remedy = "train all folds by the same splits_final.json"
                    raise InputError(file.parent, problem, remedy, code="duplicate")
                files[name], fold_of[name] = file, number + 1
        if not files:
            problem = "has no arrays of held-out cases (fold_*/validation/*.npz)"
            if (root / _ALL).is_dir():
                problem += f"; {_ALL} is trained on all cases and holds out none"
            raise InputError(root, problem, f"{_EXPORT} for each fold", code="no-data")
        return cls(root, files, fold_of)

    def check(self, folder: DataFolder, cases: Sequence[Case], splits: Splits | None = None) -> None:
        """Check that each case was held out by a fold, in a model of the same classes.

        Args:
            folder: the data folder.
            cases: those to judge.
            splits: the splits that the folds were trained by; they are compared with what the folds hold.

        Raises:
            InputError: it was not.
        """
        labels = read_json(self.root / "dataset.json", "copy it from the data set").get("labels")
        named = sorted(labels) if isinstance(labels, dict) else []
        known = sorted([*folder.labels, *(["ignore"] if folder.ignore is not None else [])])
        if named != known:
            problem = f"is of a model with the labels {', '.join(named)}, but the data have {', '.join(known)}"
            raise InputError(self.root / "dataset.json", problem, "give the data of this model", code="mismatch")
        missing = [case.name for case in cases if case.name not in self.files]
        if missing:
            problem = f"has no array of {len(missing)} of {len(cases)} cases, '{missing[0]}' the first of them"
            have = ", ".join(str(fold - 1) for fold in sorted(set(self.fold_of.values())))
            remedy = f"{_EXPORT} for every fold; those of fold {have} were found"
            raise InputError(self.root, problem, remedy, code="missing-file")
        if splits:
            expected = splits.assign(cases, [case.name for case in folder.cases])
            wrong = [name for name, fold in expected.items() if self.fold_of[name] != fold]
            if wrong:
                held, found = expected[wrong[0]] - 1, self.fold_of[wrong[0]] - 1
                problem = f"holds case '{wrong[0]}' in fold {found}, but {splits.path} holds it out in fold {held}"
                raise InputError(self.root, problem, "give the splits of this model", code="mismatch")


def _model(path: Path) -> Path:
    """The folder of a model: the given one, or the only one in it."""
    if not is_folder(path):
        remedy = "give nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION"
        raise InputError(path, "does not exist", remedy, code="missing-file")
    if (path / "plans.json").is_file():
        return path
    inner = [each for each in entries(path) if (each / "plans.json").is_file()]
    if len(inner) == 1:
        return inner[0]
    if inner:
        problem = f"holds {len(inner)} models: {', '.join(each.name for each in inner)}"
        raise InputError(path, problem, "give the folder of one", code="mismatch")
    remedy = "give nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION, with its plans.json"
    raise InputError(path, "holds no plans.json of nnU-Net", remedy, code="missing-file")
