"""segmend import."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from segmend.core.errors import InputError
from segmend.data.folder import DataFolder
from segmend.data.imports.msd import import_msd
from segmend.data.imports.totalsegmentator import import_totalsegmentator

Layout = Literal["msd", "totalsegmentator"]


def import_data(*, from_: Layout, data: Path, out: Path, labels: list[str] | None = None) -> DataFolder:
    """Write a data set in another layout as a data folder.

    Layouts: 'msd', a task of the Medical Segmentation Decathlon as downloaded: scans of several channels are split
    into a file a channel, and test scans without a label are unlabelled test cases. 'totalsegmentator', a folder a
    subject with ct.nii.gz or mri.nii.gz and a mask a class in 'segmentations': label maps with the classes by name;
    where masks overlap, the smaller structure wins; the split is that of meta.csv.

    Scans whose bytes stay the same become hard links where the file system allows it, so they take no space. All
    headers are checked before anything is written. The given folder is not changed.

    Args:
        from_: the layout.
        data: the folder of the data set.
        out: the data folder to write.
        labels: classes to take, by name, such as "liver spleen"; all by default. Only of 'totalsegmentator'.

    Returns:
        The data folder.

    Raises:
        InputError: a file is missing, damaged or does not fit the others, or the output folder holds something.

    Example:
        segmend import --from msd --data Task04_Hippocampus --out DATA
    """
    if labels is not None and from_ != "totalsegmentator":
        problem = f"are given, but a data set of the layout '{from_}' is taken with all its classes"
        raise InputError("labels", problem, "leave it out", code="mismatch")
    if from_ == "msd":
        import_msd(data, out)
    else:
        import_totalsegmentator(data, out, labels)
    return DataFolder.open(out)
