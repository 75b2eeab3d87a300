"""DICOM series, segmentations (SEG) and structure sets (RTSTRUCT) in and out; needs the extra ``segmend[dicom]``.

``objects`` finds what a folder tree holds, ``series`` reads image series, ``segmentation`` and ``rtstruct`` read and
write labels. ``importing`` makes a data folder of them, ``exporting`` writes label maps back to the series they belong
to; ``links`` is the file that says which series that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from segmend.core.errors import InputError

_LIBRARIES = ("pydicom", "highdicom")


def require_dicom() -> None:
    """Check that the libraries for DICOM are installed.

    Raises:
        InputError: they are not.
    """
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        problem = f"needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed"
        raise InputError("DICOM", problem, "run: pip install segmend[dicom]", code="environment")


def import_dicom(
    data: Path,
    out: Path,
    *,
    labels: Sequence[str] | None = None,
    modality: str | None = None,
    series: Sequence[str] | None = None,
    anonymous: bool = False,
) -> None:
    """Make a data folder of the DICOM series in a folder tree.

    Each image series becomes a case: a NIfTI scan in imagesTr, and a label in labelsTr where an RTSTRUCT or SEG refers
    to the series. The classes are the union of all structures by name. CT and PET are rescaled (HU, Bq/ml); MR keeps
    its stored values unless the scale differs between slices. ``dicom.json`` says which series each case is.

    Args:
        data: the folder tree; it is not changed.
        out: the data folder to write.
        labels: names of the structures to take, in the order of their label values; all by default, by name. Capitals
            do not matter.
        modality: take only series of this modality, such as CT; needed where there are several.
        series: SeriesInstanceUIDs to take; all by default.
        anonymous: number the cases instead of naming them by PatientID, StudyDate and SeriesNumber, and keep no paths
            in dicom.json. It still holds the UIDs of the series.

    Raises:
        InputError: the libraries are missing, there is no usable series, a series lacks slices, a label does not fit
            its series, structures overlap, or the output folder holds something.
    """
    require_dicom()
    from segmend.data.dicom.importing import import_series

    import_series(data, out, labels=labels, modality=modality, series=series, anonymous=anonymous)
