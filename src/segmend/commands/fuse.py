"""segmend fuse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.core.case import Quality
from segmend.core.errors import InputError
from segmend.core.folders import atomic_folder, require_empty
from segmend.core.progress import say, track
from segmend.core.regions import mask_of
from segmend.core.tables import write_rows
from segmend.data.cases_table import write_cases
from segmend.data.copying import copy_files
from segmend.data.finding import MAIN
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, write_label, write_map
from segmend.data.maps import MapNames
from segmend.data.raters import choose_raters, drawings_of, read_drawing
from segmend.fusion import disagreement, fused_regions, majority, staple, staple_label, votes
from segmend.metrics.overlap import dice

Rule = Literal["majority", "staple"]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of ``fusion.csv``: one class of one case by one rater.

    Attributes:
        case: the case's name.
        label: name of the class.
        rater: who drew it.
        dice_to_fused: Dice to the fused label.
        sensitivity: fraction of the object, as STAPLE estimates it, that the rater labelled as object.
        specificity: fraction of the background near all drawings that the rater labelled as background.
    """

    case: str
    label: str
    rater: str
    dice_to_fused: float
    sensitivity: float
    specificity: float


def fuse(
    *,
    data: Path,
    out: Path,
    rule: Rule = "majority",
    raters: list[str] | None = None,
    soft: bool = False,
    cases: Path | None = None,
) -> pd.DataFrame:
    """Fuse the labels of several raters into one, in a copy of the data folder.

    The raters are labelsTr and every labelsTr_NAME. The copy has the fused labels in labelsTr, on the grid
    of the scan; in the folder 'disagreement' a map a case, the share of raters who say something else than the
    fused label; and fusion.csv with a row a case, label and rater. Cases that one rater drew keep that label.

    Args:
        data: the data folder; it is not changed.
        out: the data folder to write.
        rule: majority takes the class that most raters chose, of several the first, so background before all
            others; staple weighs the raters by how reliable they seem.
        raters: names to use, such as "[anna, ben]"; labelsTr is the name of that folder. All by default.
        soft: also write the mean of the raters' labels, a map a class, into the folder 'soft', named as those
            of 'segmend predict --probabilities true'.
        cases: a table to use instead of cases.csv, for data folders that cannot be written to.

    Returns:
        The table of ``fusion.csv``.

    Raises:
        InputError: fewer than two raters, a label that cannot be used, or the output folder holds something.

    Example:
        segmend fuse --data DATA --out FUSED --rule staple
    """
    folder = DataFolder.open(data, cases)
    chosen = choose_raters(folder, raters)
    if len(chosen) < 2:
        raise InputError(
            data, f"has only the rater {', '.join(chosen) or 'none'}", "put others into labelsTr_NAME", code="no-data"
        )
    if out.resolve().is_relative_to(data.resolve()):
        raise InputError(
            out, "lies in the data folder, which is not changed", "choose a folder elsewhere", code="invalid-value"
        )
    require_empty(out)
    drawn = {case.name: drawings_of(case, folder, chosen) for case in folder.cases}
    names = MapNames([case.name for case in folder.cases if drawn[case.name]], folder.labels)
    if soft:
        names.check(data)
    rows: list[Row] = []
    with atomic_folder(out) as copy:
        copy_files(data, copy, folder.cases)
        (copy / MAIN).mkdir(exist_ok=True)
        (copy / "dataset.json").write_bytes(folder.description)
        for case in track([case for case in folder.cases if drawn[case.name]], "fusing labels"):
            grid = read_grid(case.images[0])
            drawings = {rater: read_drawing(file, folder, grid) for rater, file in drawn[case.name].items()}
            fused = _fused(list(drawings.values()), folder, rule)
            write_label(copy / MAIN / (case.name + folder.file_ending), folder.to_values(fused), like=case.images[0])
            if len(drawings) > 1:
                different = disagreement(list(drawings.values()), fused)
                write_map(copy / "disagreement" / f"{case.name}.nii.gz", different, like=case.images[0])
                rows += _rows(case.name, folder.objects, drawings, fused)
            if soft:
                for index, label in enumerate(folder.labels):
                    share = votes(list(drawings.values()), index)
                    write_map(copy / "soft" / names.name(case.name, label), share, like=case.images[0])
        write_cases(
            copy / "cases.csv",
            [
                replace(
                    case,
                    annotator="",
                    quality=Quality.NOISY if case.quality is Quality.NONE else case.quality,
                )
                if drawn[case.name]
                else case
                for case in folder.cases
            ],
        )
        table = write_rows(copy / "fusion.csv", Row, rows)
    for line in _in_words(drawn, chosen, out):
        say(line)
    return table


def _in_words(drawn: Mapping[str, Mapping[str, Path]], raters: Iterable[str], out: Path) -> Iterator[str]:
    """What was fused, which raters drew less than all of it, and where it is."""
    fused = [name for name, files in drawn.items() if len(files) > 1]
    single = [name for name, files in drawn.items() if len(files) == 1]
    yield f"labels fused: {len(fused)}, in {out}"
    for rater in raters:
        absent = [name for name in (*fused, *single) if rater not in drawn[name]]
        if absent:
            yield f"{rater} drew {len(fused) + len(single) - len(absent)} of them; the first without is {absent[0]}"
    if single:
        yield f"labels of one rater only, kept as they are: {len(single)}; the first is {single[0]}"


def _fused(drawings: Sequence[NDArray[np.uint8]], folder: DataFolder, rule: Rule) -> NDArray[np.uint8]:
    by = staple_label if rule == "staple" and len(drawings) > 1 else majority
    if folder.regions:
        return fused_regions(drawings, folder.classes, folder.regions, by)
    return by(drawings, folder.classes)


def _rows(
    case: str,
    objects: Mapping[str, tuple[int, ...]],
    drawings: dict[str, NDArray[np.uint8]],
    fused: NDArray[np.uint8],
) -> list[Row]:
    rows = []
    for label, classes in objects.items():
        masks = [mask_of(drawing, classes) for drawing in drawings.values()]
        estimate = staple(masks)
        for rater, mask, sensitivity, specificity in zip(
            drawings, masks, estimate.sensitivity, estimate.specificity, strict=True
        ):
            rows.append(Row(case, label, rater, dice(mask, mask_of(fused, classes)), sensitivity, specificity))
    return rows
