"""A further round of an audit, after labels were corrected or edited: what an earlier round knows is used again.

The probabilities of an earlier round come from models that never saw the label they judge, whatever that label is now.
So they judge the changed label as they judged the former one, and nothing needs to be trained. Where the models are to
profit from the corrections, the same folds are trained again, each from the weights of its model of the earlier round:
the assignment is kept, so these weights know no label of the fold that they will judge.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from segmend.audit.folder import AuditFolder
from segmend.core.case import Case, Quality, cases_in_words
from segmend.core.errors import InputError
from segmend.core.progress import track
from segmend.data.cache import digest_of
from segmend.data.copying import link
from segmend.data.folder import DataFolder
from segmend.engine.evidence import without_evidence
from segmend.engine.run import Run

SINCE = ("case", "label", "change", "expected_dice_before", "expected_dice_now", "suspect_before", "suspect_now")
"""Columns of ``since.csv``."""


@dataclass(frozen=True)
class EarlierRound:
    """A finished audit of the same scans.

    Attributes:
        place: the folder of the audit.
    """

    place: AuditFolder

    @cached_property
    def table(self) -> pd.DataFrame:
        """Its ``audit.csv``."""
        return self.place.read_labels()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Its settings."""
        return self.place.read_settings()

    @cached_property
    def fold_of(self) -> dict[str, int]:
        """Fold whose model judged each case; 0 if that was a given run."""
        return {str(case): int(fold) for case, fold in self.table.groupby("case")["fold"].first().items()}

    @cached_property
    def seen(self) -> dict[str, bool]:
        """Whether that model was trained on the very label of a case."""
        return {str(case): bool(seen) for case, seen in self.table.groupby("case")["in_training_set"].first().items()}

    @property
    def source(self) -> dict[str, object]:
        """What the settings of the next round say of it."""
        return {"earlier_round": str(self.place.root.resolve()), "audit": self.place.mark}

    def check(self, folder: DataFolder, judged: Sequence[Case], out: Path) -> None:
        """Make sure that the earlier round knows all cases of a data folder. Labels may have changed since.

        Args:
            folder: the data folder.
            judged: cases whose labels are judged now.
            out: folder of the next round.

        Raises:
            InputError: the audit is not finished, classes, cases or scans are others, or probabilities are missing.
        """
        root = self.place.root
        if out.resolve() == root.resolve():
            raise InputError(
                out, "is the earlier round itself", "choose another `out`: both are compared", code="mismatch"
            )
        classes = {**folder.labels, "ignore": folder.ignore}
        before = {name: value for name, value in self.settings["classes"].items() if name != "ignore"}
        if before != folder.labels:
            problem = f"judged the classes {before}, but the data have {classes}"
            raise InputError(root, problem, "audit the folder without an earlier round", code="mismatch")
        unknown = [case.name for case in judged if case.name not in self.fold_of]
        if unknown:
            problem = f"did not judge {cases_in_words(unknown)}"
            raise InputError(root, problem, "audit the folder without an earlier round", code="mismatch")
        images = self.settings.get("images", {})
        changed = [case.name for case in judged if digest_of(*case.images) != images.get(case.name)]
        if changed:
            problem = f"judged other scans: those of {cases_in_words(changed)} have changed since"
            raise InputError(
                root, problem, "restore them, or audit the folder without an earlier round", code="changed-data"
            )
        missing = [case.name for case in without_evidence(judged, folder.classes, self.place.evidence)]
        if missing:
            problem = f"has no usable probabilities of {cases_in_words(missing)}"
            raise InputError(root, problem, "run the same 'segmend audit' again, which makes them", code="damaged")

    def folds_to_continue(self, held_out: Sequence[Case]) -> dict[str, int]:
        """Fold of each case that is held out, where the models of the folds are to be trained again.

        Args:
            held_out: cases that are held out now.

        Raises:
            InputError: the earlier round trained no folds, or a run is gone, or it was trained on a label that is to
                be judged now.
        """
        root = self.place.root
        known = [case.name for case in held_out if self.seen[case.name]]
        if known:
            problem = f"trained its models on {cases_in_words(known)}, which were expert labels then"
            remedy = "mark them 'expert' again, or leave `retrain` out"
            raise InputError(root, problem, remedy, code="mismatch")
        folds = sorted({self.fold_of[case.name] for case in held_out})
        gone = [fold for fold in folds if not fold or not Run(self.place.fold(fold)).last.is_file()]
        if gone:
            problem = "trained no models of its own" if 0 in gone else f"has no model of fold {gone[0]}"
            raise InputError(
                root, f"{problem}, which could be trained further", "leave `retrain` out", code="missing-file"
            )
        return {case.name: self.fold_of[case.name] for case in held_out}

    def copy_evidence(self, cases: Sequence[Case], out: AuditFolder) -> None:
        """Link the probabilities of cases into the next round."""
        for case in track(cases, "taking over probabilities"):
            place = out.evidence(case.name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            link(self.place.evidence(case.name), place)

    def since(self, now: pd.DataFrame, judged: Sequence[Case]) -> pd.DataFrame:
        """What changed, a row for each label of either round: the columns ``SINCE``.

        ``change`` is "changed" where the label file is another, "confirmed" where it became an expert label, "new" or
        "gone" where only one of the rounds judges it, else "".

        Args:
            now: ``audit.csv`` of the next round.
            judged: its cases.
        """
        digests = self.settings.get("labels", {})
        edited = {case.name for case in judged if digest_of(case.label) != digests.get(case.name)}
        expert = {case.name for case in judged if case.quality is Quality.EXPERT}
        before = {(str(row["case"]), str(row["label"])): row for row in self.table.to_dict("records")}
        after = {(str(row["case"]), str(row["label"])): row for row in now.to_dict("records")}
        rows = []
        for key in sorted(before.keys() | after.keys()):
            old, new = before.get(key), after.get(key)
            if old is None or new is None:
                change = "new" if old is None else "gone"
            elif key[0] in edited:
                change = "changed"
            else:
                change = "confirmed" if key[0] in expert and old["quality"] != Quality.EXPERT else ""
            rows.append((*key, change, *_values(old, new, "expected_dice"), *_values(old, new, "suspect")))
        return pd.DataFrame(rows, columns=list(SINCE))


def summarise_changes(since: pd.DataFrame) -> dict[str, Any]:
    """The changes in numbers, for ``audit.json``."""
    counts = Counter(since["change"])
    of_changed = since[since["change"] == "changed"]
    means = [of_changed[f"expected_dice_{when}"].mean() for when in ("before", "now")]
    return {
        **{change: counts.get(change, 0) for change in ("changed", "confirmed", "new", "gone")},
        "expected_dice_of_changed": None if any(map(math.isnan, means)) else [float(mean) for mean in means],
        "suspect": [int(since[f"suspect_{when}"].fillna(0).sum()) for when in ("before", "now")],
    }


def changes_in_words(changes: Mapping[str, Any]) -> str:
    """The same in a sentence."""
    counts = ", ".join(f"{changes[name]} {name}" for name in ("changed", "confirmed", "new", "gone") if changes[name])
    means = changes["expected_dice_of_changed"]
    gained = f"; mean expected Dice of the changed labels {means[0]:.2f} -> {means[1]:.2f}" if means else ""
    before, now = changes["suspect"]
    return f"Since the earlier round: {counts or 'no label changed'}{gained}; suspect labels {before} -> {now}."


def _values(old: Mapping[Any, Any] | None, new: Mapping[Any, Any] | None, column: str) -> tuple[float, float]:
    before, now = (float(row[column]) if row is not None and column in row else math.nan for row in (old, new))
    return before, now
