"""segmend import."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from segmend.core.errors import InputError
from segmend.data.dicom import import_dicom
from segmend.data.folder import DataFolder
from segmend.data.imports.msd import import_msd
from segmend.data.imports.totalsegmentator import import_totalsegmentator

Layout = Literal["msd", "totalsegmentator", "dicom"]


def import_data(
    *,
    from_: Layout,
    data: Path,
    out: Path,
    labels: list[str] | None = None,
    modality: str | None = None,
    series: list[str] | None = None,
    anonymous: bool = False,
) -> DataFolder:
    """Write a data set in another layout as a data folder.

    Layouts: 'msd', a task of the Medical Segmentation Decathlon as downloaded: scans of several channels are split
    into a file a channel, and test scans without a label are unlabelled test cases. 'totalsegmentator', a folder a
    subject with ct.nii.gz or mri.nii.gz and a mask a class in 'segmentations': label maps with the classes by name;
    where masks overlap, the smaller structure wins; the split is that of meta.csv.
    'dicom', a folder tree of DICOM series: a case a series, labels from the RTSTRUCT and SEG that refer to it; needs
    'pip install segmend[dicom]'. Classes are the structures by name, overlaps are refused, and dicom.json keeps what
    'segmend export-dicom' needs to find the series again.

    Scans whose bytes stay the same become hard links where the file system allows it, so they take no space. All
    headers are checked before anything is written. The given folder is not changed.

    Args:
        from_: the layout.
        data: the folder of the data set.
        out: the data folder to write.
        labels: classes to take, by name, such as "liver spleen"; all by default. Only of 'totalsegmentator' and
            'dicom', where capitals do not matter and the values follow the given order.
        modality: take DICOM series of this modality only, such as CT; must be given where there are several.
        series: SeriesInstanceUIDs of the DICOM series to take; all by default.
        anonymous: number the cases of DICOM series instead of naming them by PatientID, StudyDate and SeriesNumber.

    Returns:
        The data folder.

    Raises:
        InputError: a file is missing, damaged or does not fit the others, or the output folder holds something.

    Example:
        segmend import --from msd --data Task04_Hippocampus --out DATA
    """
    if from_ == "dicom":
        import_dicom(data, out, labels=labels, modality=modality, series=series, anonymous=anonymous)
        return DataFolder.open(out)
    for name, value in (("modality", modality), ("series", series), ("anonymous", anonymous or None)):
        if value is not None:
            raise InputError(name, f"is of DICOM series only, not of '{from_}'", "leave it out", code="mismatch")
    if labels is not None and from_ != "totalsegmentator":
        problem = f"are given, but a data set of the layout '{from_}' is taken with all its classes"
        raise InputError("labels", problem, "leave it out", code="mismatch")
    if from_ == "msd":
        import_msd(data, out)
    else:
        import_totalsegmentator(data, out, labels)
    return DataFolder.open(out)
