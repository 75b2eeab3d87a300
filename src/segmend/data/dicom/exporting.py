"""From label maps to SEG or RTSTRUCT objects of the series that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError, did_you_mean
from segmend.core.folders import atomic_folder, require_empty
from segmend.core.progress import say, track
from segmend.data.dicom.links import FILE, Link, read_links
from segmend.data.dicom.objects import find_objects
from segmend.data.dicom.rtstruct import write_structure_set
from segmend.data.dicom.segmentation import write_segmentation
from segmend.data.dicom.series import Series, read_series
from segmend.data.finding import image_files
from segmend.data.headers import raise_all
from segmend.data.image import case_name, read_grid, read_label
from segmend.data.names import canonical, check_file_name

Format = Literal["dicom_seg", "rtstruct"]
Algorithm = Literal["automatic", "semiautomatic", "manual"]


def export_objects(
    labels: Path,
    data: Path,
    dicom: Path,
    out: Path,
    *,
    classes: Mapping[str, int],
    ignore: int | None,
    format: Format,
    algorithm: Algorithm,
    patient_tags: bool,
) -> list[Path]:
    """Write each label map of a folder as a DICOM object of its series, CASE.dcm.

    Args:
        labels: a folder of label maps, named as the cases.
        data: the data folder that was imported from the series, for its dicom.json.
        dicom: the folder tree of the series.
        out: the folder to write.
        classes: values in the label maps by class names, background included.
        ignore: value of voxels that are not annotated, which become background; None if there is none.
        format: the kind of object.
        algorithm: how the labels were made.
        patient_tags: copy patient and study from the images.

    Returns:
        The files written.

    Raises:
        InputError: there is no label map, one belongs to no series or does not lie on it, or holds a value without a
            class, or a series is missing or damaged.
    """
    require_empty(out)
    files = _label_files(labels)
    links = read_links(data)
    for name, file in files.items():
        if name not in links:
            remedy = did_you_mean(name, links)
            raise InputError(file, f"is of no case in {data / FILE}", remedy, code="unknown-name")
    series = _series(dicom, {name: links[name] for name in files})
    names = {value: name for name, value in classes.items() if value != 0}
    problems = []
    for name, file in track(files.items(), "checking labels"):
        try:
            _read(file, series[name], names, ignore)
        except InputError as error:
            problems.append(error)
    raise_all(labels, "labels", problems)
    write = write_segmentation if format == "dicom_seg" else write_structure_set
    with atomic_folder(out) as folder:
        for name, file in track(files.items(), "writing DICOM"):
            label = _read(file, series[name], names, ignore)
            write(
                folder / check_file_name(file, f"{name}.dcm"),
                label,
                series[name],
                names,
                algorithm=algorithm.upper(),
                patient_tags=patient_tags,
            )
    say(f"{len(files)} labels written as {'SEG' if format == 'dicom_seg' else 'RTSTRUCT'}: {out}")
    return sorted(out.iterdir())


def _label_files(labels: Path) -> dict[str, Path]:
    problems: list[InputError] = []
    files = {canonical(case_name(path)): path for path in image_files(labels, problems, nested=False)}
    if problems:
        raise problems[0]
    if not files:
        raise InputError(labels, "holds no label maps", "give the folder with CASE.nii.gz files", code="no-data")
    return files


def _series(dicom: Path, links: Mapping[str, Link]) -> dict[str, Series]:
    """The series of each case; the folders where they were are searched first, and then all."""
    wanted = {link.series for link in links.values()}
    known = dict.fromkeys(dicom / link.folder for link in links.values() if link.folder)
    folders = [each for each in known if each.is_dir() and each.resolve().is_relative_to(dicom.resolve())]
    found = find_objects(dicom, folders).images if folders else {}
    if not wanted <= set(found):
        found = find_objects(dicom).images
    problems: list[InputError] = []
    series: dict[str, Series] = {}
    for name, link in track(links.items(), "reading series"):
        try:
            if link.series not in found:
                problem = f"holds no image series {link.series}, which is case '{name}'"
                raise InputError(dicom, problem, "give the folder that was imported", code="missing-file")
            series[name] = read_series(found[link.series])
            if not series[name].frame_of_reference:
                problem = "has no FrameOfReferenceUID, by which SEG and RTSTRUCT refer to its images"
                raise InputError(series[name].slices[0].path, problem, "export it again", code="missing-value")
        except InputError as error:
            problems.append(error)
    raise_all(dicom, "series", problems)
    return series


def _read(file: Path, series: Series, names: Mapping[int, str], ignore: int | None) -> NDArray[np.integer]:
    """A label map with the values of classes and 0 only.

    Raises:
        InputError: it does not lie on the series, or holds a value that is no class.
    """
    if not read_grid(file).matches(series.grid):
        problem = f"does not lie on its series, {series.slices[0].path.parent}"
        raise InputError(file, problem, "resample it to the grid of the imported scan", code="mismatch")
    label, _ = read_label(file)
    if ignore is not None:
        label = np.where(label == ignore, 0, label)
    unknown = sorted(set(np.unique(label).tolist()) - {0, *names})
    if unknown:
        values = ", ".join(map(str, unknown[:10]))
        remedy = "give the run that predicted it, or add the class to dataset.json"
        raise InputError(file, f"holds the value {values}, which is no class", remedy, code="unknown-name")
    return label
