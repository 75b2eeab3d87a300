"""segmend export-dicom."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from segmend.data.description import read_description
from segmend.data.dicom import require_dicom
from segmend.engine.cross_validation import opened


def export_dicom(
    *,
    labels: Path,
    data: Path,
    dicom: Path,
    out: Path,
    format: Literal["dicom_seg", "rtstruct"] = "dicom_seg",
    run: Path | None = None,
    algorithm: Literal["automatic", "semiautomatic", "manual"] = "automatic",
    patient_tags: bool = True,
) -> list[Path]:
    """Write label maps as DICOM SEG or RTSTRUCT of the image series that they belong to.

    The label maps are those of 'segmend predict', of a corrected copy (labelsTr) or of any program that keeps the grid
    of the imported scan. Each becomes CASE.dcm, which refers to the images of its series. A SEG has the same segments
    in all cases, with codes for known names and the general code 'Tissue' for others. The contours of an RTSTRUCT pass
    half-way between the voxels inside and outside, and importing them gives the same voxels.

    Args:
        labels: a folder of label maps, CASE.ENDING.
        data: the data folder that 'segmend import' made of the series; dicom.json there says which series a case is.
        dicom: the folder tree of the series.
        out: the folder to write; it must not hold anything yet.
        format: dicom_seg or rtstruct.
        run: the run that predicted the labels, or a cross-validation, for its classes; those of dataset.json in the
            data folder by default.
        algorithm: how the labels were made, as the objects say it.
        patient_tags: copy patient and study from the images. Without, these attributes are empty; UIDs stay.

    Returns:
        The files written.

    Raises:
        InputError: a library is missing, a label belongs to no series, does not lie on it or holds an unknown value, a
            series is not there, or the output folder holds something.

    Example:
        segmend export-dicom --labels PREDICTIONS --run RUN --data DATA --dicom DICOM --out SEG
    """
    require_dicom()
    from segmend.data.dicom.exporting import export_objects

    description = read_description(data)
    return export_objects(
        labels,
        data,
        dicom,
        out,
        classes=opened(run).task.labels if run else description.labels,
        ignore=None if run else description.ignore,
        format=format,
        algorithm=algorithm,
        patient_tags=patient_tags,
    )
