"""DICOM RTSTRUCT objects, read and written by pydicom (PS3.3 A.19).

A structure is a stack of closed planar contours. Contours of one structure in one slice combine by the even-odd rule,
so one within another is a hole; ``functional.polygons`` states when a voxel is inside.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import ImplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from segmend.core.errors import InputError
from segmend.core.grid import PLACE_TOLERANCE
from segmend.core.masks import Mask
from segmend.core.progress import warn
from segmend.data.dicom.objects import RTSTRUCT, quiet_reading, read_header
from segmend.data.dicom.patient import copy_patient, without_patient
from segmend.data.dicom.segmentation import SERIES_NUMBERS
from segmend.data.dicom.series import Series
from segmend.data.dicom.structures import one_reference, structure_names
from segmend.functional.polygons import filled, outlines

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_COLOURS = matplotlib.colormaps["tab10"]


@dataclass(frozen=True)
class StructureSet:
    """An RTSTRUCT object; see ``Structures``.

    Attributes:
        path: the file.
        series: SeriesInstanceUID of the images that it was drawn on.
        contours: of each structure that has any, by its name: arrays ``[n, 3]`` of points in LPS mm.
    """

    path: Path
    series: str
    contours: Mapping[str, tuple[NDArray[np.float64], ...]]

    @classmethod
    def open(cls, path: Path, series_of_instance: Mapping[str, str]) -> StructureSet:
        """Read the contours.

        Structures without closed contours, such as points of reference, are left out.

        Args:
            path: the file.
            series_of_instance: SeriesInstanceUID of known images by their SOPInstanceUID.

        Raises:
            InputError: it cannot be read, names no series or several, or two structures have one name.
        """
        header = read_header(path)
        with quiet_reading(path):
            names = {int(each.ROINumber): each.get("ROIName") for each in header.get("StructureSetROISequence") or ()}
            found: dict[int, tuple[NDArray[np.float64], ...]] = {}
            images: set[str] = set()
            for roi in header.get("ROIContourSequence") or ():
                drawn = list(roi.get("ContourSequence") or ())
                closed = [each for each in drawn if str(each.ContourGeometricType) in _CLOSED and each.ContourData]
                if closed:
                    points = (np.array(each.ContourData, dtype=np.float64).reshape(-1, 3) for each in closed)
                    found[int(roi.ReferencedROINumber)] = tuple(points)
                    images |= {
                        str(image.ReferencedSOPInstanceUID)
                        for each in closed
                        for image in each.get("ContourImageSequence") or ()
                    }
            named = {series_of_instance[image] for image in images if image in series_of_instance}
            references = named or _referenced(header)
        kept = structure_names(path, [names.get(number) for number in found])
        left_out = len(names) - len(kept)
        if left_out:
            warn(f"{path}: {left_out} structures without closed contours are left out")
        return cls(path, one_reference(path, references), dict(zip(kept, found.values(), strict=True)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the structures that have contours."""
        return tuple(self.contours)

    def masks(self, series: Series, names: Collection[str]) -> Iterator[tuple[str, Mask]]:
        """Masks ``[x, y, z]`` of some structures.

        Raises:
            InputError: a contour does not lie on a slice.
        """
        for name in names:
            by_slice: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
            for contour in self.contours[name]:
                points = series.indices_of(contour)
                by_slice[self._slice_of(name, points, series)].append(points[:, :2])
            mask = np.zeros(series.grid.shape, dtype=bool)
            for index, polygons in by_slice.items():
                mask[..., index] = filled(polygons, series.slices[index].shape)
            yield name, mask

    def _slice_of(self, name: str, points: NDArray[np.float64], series: Series) -> int:
        heights = points[:, 2]
        index = round(float(heights.mean()))
        off = float(np.abs(heights - index).max())
        if off > PLACE_TOLERANCE or not 0 <= index < len(series.slices):
            where = f"{off:.2f} slices from the nearest one" if 0 <= index < len(series.slices) else "outside of them"
            problem = f"has a contour of '{name}' that does not lie on the slices of its series, but {where}"
            raise InputError(self.path, problem, "export the structures on the planes of the images", code="mismatch")
        return index


def write_structure_set(
    path: Path,
    label: NDArray[np.integer],
    series: Series,
    names: Mapping[int, str],
    *,
    algorithm: str,
    patient_tags: bool,
) -> None:
    """Write a label map as an RTSTRUCT object on the slices of its series.

    The contours pass half-way between voxel centres inside and outside, holes are contours of their own. Classes that
    the label does not hold have no structure, as an empty one is read as an error by some programs.

    Args:
        path: the file.
        label: ``[x, y, z]``, on the grid of the series; 0 and the values of classes.
        series: the images.
        names: of the classes by their values in the label.
        algorithm: AUTOMATIC, SEMIAUTOMATIC or MANUAL.
        patient_tags: copy patient and study from the images; otherwise these attributes are empty or left out.
    """
    source = read_header(series.slices[0].path)
    dataset = _frame(source, series)
    frame_of_reference = series.frame_of_reference
    rois, contours, observations = [], [], []
    present = [(value, name) for value, name in names.items() if (label == value).any()]
    for number, (value, name) in enumerate(present, start=1):
        roi = _item(ROINumber=number, ReferencedFrameOfReferenceUID=frame_of_reference, ROIName=name[:64])
        roi.ROIGenerationAlgorithm = algorithm
        rois.append(roi)
        colour = [round(255 * part) for part in _COLOURS(number % 10)[:3]]
        drawn = list(_contours(label == value, series))
        contours.append(_item(ROIDisplayColor=colour, ReferencedROINumber=number, ContourSequence=drawn))
        observation = _item(ObservationNumber=number, ReferencedROINumber=number)
        observation.RTROIInterpretedType, observation.ROIInterpreter = "", ""
        observations.append(observation)
    dataset.StructureSetROISequence = rois
    dataset.ROIContourSequence = contours
    dataset.RTROIObservationsSequence = observations
    if not patient_tags:
        without_patient(dataset)
    dataset.save_as(path, enforce_file_format=True)


def _contours(mask: Mask, series: Series) -> Iterator[Any]:
    lps = series.lps
    for index in np.flatnonzero(mask.any(axis=(0, 1))):
        piece = series.slices[index]
        for polygon in outlines(mask[..., index]):
            voxels = np.column_stack([polygon, np.full(len(polygon), float(index))])
            points = voxels @ lps[:3, :3].T + lps[:3, 3]
            image = _reference(piece.sop_class, piece.instance)
            if piece.frame is not None:
                image.ReferencedFrameNumber = piece.frame + 1
            contour = _item(ContourImageSequence=[image], ContourGeometricType="CLOSED_PLANAR")
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [format_number_as_ds(float(value)) for value in points.ravel()]
            yield contour


def _frame(source: Any, series: Series) -> Any:
    """The object around the contours: patient, study, equipment, and the images that it refers to."""
    now = datetime.datetime.now(tz=datetime.UTC).astimezone()
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # explicit lengths end at 64 kB, contours do not
    copy_patient(source, dataset)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RTSTRUCT
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.Modality = generate_uid(), "RTSTRUCT"
    dataset.SeriesNumber, dataset.SeriesDescription = (
        int(series.files.number or 0) + SERIES_NUMBERS,
        "Segmend structures",
    )
    dataset.OperatorsName = ""
    dataset.Manufacturer = dataset.ManufacturerModelName = "Segmend"
    dataset.SoftwareVersions = version("segmend")
    dataset.InstanceNumber, dataset.StructureSetLabel = 1, "Segmend"
    dataset.StructureSetDate = dataset.InstanceCreationDate = dataset.SeriesDate = now.strftime("%Y%m%d")
    dataset.StructureSetTime = dataset.InstanceCreationTime = dataset.SeriesTime = now.strftime("%H%M%S")
    dataset.ApprovalStatus = "UNAPPROVED"
    images = [_reference(sop, uid) for sop, uid in dict.fromkeys((s.sop_class, s.instance) for s in series.slices)]
    of_series = _item(SeriesInstanceUID=series.files.uid, ContourImageSequence=images)
    # The standard names the class of study management here, which it has retired otherwise.
    of_study = _reference("1.2.840.10008.3.1.2.3.1", series.files.study)
    of_study.RTReferencedSeriesSequence = [of_series]
    dataset.FrameOfReferenceUID = series.frame_of_reference
    dataset.PositionReferenceIndicator = ""
    dataset.ReferencedFrameOfReferenceSequence = [
        _item(FrameOfReferenceUID=series.frame_of_reference, RTReferencedStudySequence=[of_study])
    ]
    return dataset


def _referenced(header: Any) -> set[str]:
    return {
        str(series.SeriesInstanceUID)
        for frame in header.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
    }


def _reference(sop_class: str, instance: str) -> Any:
    return _item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance)


def _item(**attributes: Any) -> Any:
    item = pydicom.Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item
