"""Evidence from the out-of-fold probabilities of a cross-validation, which was trained already."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from segmend.audit.folder import AuditFolder
from segmend.core.case import Case, cases_in_words
from segmend.core.errors import InputError
from segmend.core.io import atomic_file
from segmend.core.progress import track
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.engine.cross_validation import CrossValidation
from segmend.engine.evidence import without_evidence


def check_out_of_fold(place: CrossValidation, folder: DataFolder, judged: Sequence[Case]) -> None:
    """Make sure that a cross-validation has judged the scans of a data folder. Labels may have changed since.

    Raises:
        InputError: folds are not finished, classes or channels differ, cases or scans are others, or probabilities
            are missing or damaged.
    """
    place.check_data_folder(folder)
    fold_of, before = place.assignment.fold_of, place.assignment.data.cases
    unknown = [case.name for case in judged if case.name not in fold_of]
    if unknown:
        problem = f"has no out-of-fold probabilities of {cases_in_words(unknown)}"
        remedy = "train the cross-validation again in another folder, with these cases"
        raise InputError(place.path, problem, remedy, code="mismatch")
    changed = [case.name for case in judged if digest_of(*case.images) != before[case.name]["images"]]
    if changed:
        problem = f"was trained on other scans: those of {cases_in_words(changed)} have changed since"
        raise InputError(place.path, problem, "restore them, or train again", code="changed-data")
    missing = [case.name for case in without_evidence(judged, folder.classes, place.out_of_fold)]
    if missing:
        problem = f"has no usable out-of-fold probabilities of {cases_in_words(missing)}"
        remedy = f"run the same 'segmend train' with `folds {place.assignment.folds}` again, which makes them"
        raise InputError(place.path, problem, remedy, code="damaged")


def source_of(place: CrossValidation, judged: Sequence[Case]) -> dict[str, object]:
    """What the settings of an audit say of its evidence."""
    digests = {case.name: digest_of(place.out_of_fold(case.name)) for case in judged}
    return {"cross_validation": str(place.path.resolve()), "out_of_fold": digests}


def copy_evidence(cases: Sequence[Case], place: CrossValidation, out: AuditFolder) -> None:
    """Copy the probabilities of cases: an audit stays complete when the runs are deleted."""
    for case in track(cases, "copying probabilities"):
        with atomic_file(out.evidence(case.name)) as temporary:
            shutil.copyfile(place.out_of_fold(case.name), temporary)
