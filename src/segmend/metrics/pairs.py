"""Which prediction belongs to which reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segmend.core.errors import InputError
from segmend.core.paths import is_folder
from segmend.data.finding import image_files
from segmend.data.image import case_name, read_grid
from segmend.data.names import canonical


@dataclass(frozen=True, slots=True)
class Pair:
    """The two label files of one case.

    Attributes:
        case: name of the case.
        prediction: the file to score.
        reference: the file that is used as the ground truth.
    """

    case: str
    prediction: Path
    reference: Path


def pair_files(predictions: Path, references: Path) -> tuple[list[Pair], list[str]]:
    """Match the files of two folders by the names of their cases.

    Returns:
        One pair for each reference, by name, and the cases that have a prediction only.

    Raises:
        InputError: a folder is missing or empty, a case has two files or no prediction, or the two files of
            a case are not on one grid.
    """
    predicted, true = label_files(predictions), label_files(references)
    missing = [case for case in true if case not in predicted]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        remedy = f"predict every case of {references}, or give a folder with only the references to score"
        if all(f"{case}_0000" in predicted for case in missing):
            remedy = "files of labels are named CASE, without the _0000 of scans; rename them if they are predictions"
        raise InputError(
            predictions, f"holds no prediction for {', '.join(missing[:3])}{more}", remedy, code="missing-file"
        )
    pairs = [Pair(case, predicted[case], true[case]) for case in sorted(true)]
    for pair in pairs:
        _check_grids(pair)
    return pairs, sorted(predicted.keys() - true.keys())


def label_files(folder: Path) -> dict[str, Path]:
    """The label files of a folder by the names of their cases.

    Raises:
        InputError: the folder is missing or empty, or a case has two files.
    """
    if not is_folder(folder):
        raise InputError(folder, "is not a folder", "give a folder of label files", code="missing-file")
    files: dict[str, Path] = {}
    problems: list[InputError] = []
    for path in image_files(folder, problems, nested=False):
        other = files.setdefault(canonical(case_name(path)), path)
        if other != path:
            raise InputError(path, f"is of the same case as {other.name}", "keep one of the two", code="duplicate")
    if problems:
        raise problems[0]
    if not files:
        raise InputError(folder, "holds no label files", "give a folder of files such as CASE.nii.gz", code="no-data")
    return files


def _check_grids(pair: Pair) -> None:
    predicted, true = read_grid(pair.prediction), read_grid(pair.reference)
    remedy = "predict on the reference's own scan, or resample the prediction to it"
    if predicted.shape != true.shape:
        raise InputError(
            pair.prediction,
            f"has shape {predicted.shape}, but {pair.reference} has {true.shape}",
            remedy,
            code="mismatch",
        )
    if not predicted.matches(true):
        raise InputError(
            pair.prediction,
            f"lies elsewhere in space than {pair.reference}: their affines differ",
            remedy,
            code="mismatch",
        )
