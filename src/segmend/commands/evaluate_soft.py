"""segmend evaluate --soft: probability maps against soft references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from segmend.core.errors import InputError
from segmend.core.paths import is_folder
from segmend.core.progress import say, track
from segmend.core.tables import write_json, write_rows
from segmend.data.image import is_image_file, read_grid
from segmend.data.maps import MapNames
from segmend.data.soft_labels import check_maps, read_map
from segmend.metrics.pairs import label_files
from segmend.metrics.soft import SoftScore, score_maps

MEASURES = ("threshold_dice", "calibration_error", "brier")


def evaluate_soft(
    predictions: Path, references: Path, out: Path, names: Mapping[int, str], unit: str = "mm"
) -> pd.DataFrame:
    """Score the probability maps of predictions case by case and class by class.

    Args:
        predictions: the folder that 'segmend predict --probabilities true' wrote.
        references: folder of maps CASE_CLASS.nii.gz.
        out: the CSV file to write; means are written next to it.
        names: the classes to score, by their values.
        unit: of volumes, mm or voxel.

    Returns:
        The table as written, with the columns of ``metrics.soft.SoftScore``.

    Raises:
        InputError: maps are missing or unusable, or do not lie over each other.
    """
    maps = predictions / "probabilities"
    if not is_folder(maps):
        remedy = "give a folder that 'segmend predict --probabilities true' wrote"
        raise InputError(maps, "is not a folder", remedy, code="missing-file")
    if not is_folder(references):
        raise InputError(references, "is not a folder", "give a folder of maps CASE_CLASS.nii.gz", code="missing-file")
    if not names:
        problem = "names no classes, by which maps are found"
        raise InputError(references.absolute().parent / "dataset.json", problem, "add it", code="missing-file")
    predicted = label_files(predictions)
    of_maps = MapNames(list(predicted), list(names.values()))
    pairs = {
        (case, label): (of_maps.file(maps, case, label), of_maps.file(references, case, label))
        for case in sorted(predicted)
        for label in names.values()
    }
    scored = {case for case, label in pairs if pairs[case, label][1].is_file()}
    pairs = {pair: files for pair, files in pairs.items() if pair[0] in scored}
    _check(pairs, references, predictions, names)
    rows = []
    for (case, label), (prediction, reference) in track(pairs.items(), "evaluating maps", len(pairs)):
        grid = read_grid(reference)
        spacing = grid.spacing if unit == "mm" else (1.0,) * grid.dimensions
        rows.append(score_maps(case, label, read_map(prediction), read_map(reference), spacing))
    table = write_rows(out, SoftScore, rows)
    extra = sorted(set(predicted) - scored)
    means = {
        str(label): {measure: float(of_label[measure].mean()) for measure in MEASURES}
        for label, of_label in table.groupby("label", sort=False)
    }
    about = {"predictions": str(predictions), "references": str(references), "unit": unit}
    write_json(out.with_suffix(".json"), {**about, "cases": len(scored), "extra_predictions": extra, "labels": means})
    for line in _in_words(means, len(scored), extra, out):
        say(line)
    return table


def _check(
    pairs: Mapping[tuple[str, str], tuple[Path, Path]], references: Path, predictions: Path, names: Mapping[int, str]
) -> None:
    """Make sure that each map has its counterpart, on the same grid; only headers are read."""
    if not pairs:
        problem = f"holds no map of a case in {predictions}"
        remedy = f"give maps named CASE_CLASS.nii.gz of the classes {', '.join(names.values())}"
        raise InputError(references, problem, remedy, code="no-data")
    for prediction, reference in pairs.values():
        for file in (prediction, reference):
            if not file.is_file():
                remedy = "predict and fuse all classes of one dataset.json"
                raise InputError(file, "does not exist", remedy, code="missing-file")
        check_maps([prediction], read_grid(reference))
    known = {reference.name for _, reference in pairs.values()}
    endings = tuple(f"_{name}.nii.gz" for name in names.values())
    missing = sorted(
        file.name
        for file in references.iterdir()
        if is_image_file(file) and file.name.endswith(endings) and file.name not in known
    )
    if missing:
        problem = f"holds no prediction for {missing[0]}" + (f" and {len(missing) - 1} more" * (len(missing) > 1))
        remedy = f"predict every case of {references}, or give a folder with only the references to score"
        raise InputError(predictions, problem, remedy, code="missing-file")


def _in_words(means: Mapping[str, Mapping[str, float]], cases: int, extra: list[str], out: Path) -> Iterator[str]:
    for label, of_label in means.items():
        yield (
            f"{label}: Dice over thresholds {of_label['threshold_dice']:.3f}, calibration error "
            f"{of_label['calibration_error']:.3f}, Brier score {of_label['brier']:.3f}, {cases} cases"
        )
    if extra:
        more = f" and {len(extra) - 3} more" if len(extra) > 3 else ""
        yield f"not scored, as they have no reference: {', '.join(extra[:3])}{more}"
    yield f"scores: {out}"
