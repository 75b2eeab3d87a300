"""DICOM files made by pydicom and highdicom alone, to compare with what Segmend reads and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


def oblique(spacing: Sequence[float] = (0.7, 0.9, 2.5), origin: Sequence[float] = (-41.3, 17.9, 233.1)) -> NDArray:
    """A right-handed RAS affine whose axes are parallel to none of the patient."""
    a, b, c = 0.3, -0.2, 0.5
    about_x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    about_y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    about_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(about_x) @ about_y @ about_z @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def slices_of(
    stored: NDArray[np.integer],
    affine: NDArray[np.float64],
    *,
    modality: str = "CT",
    patient: str = "P1",
    number: int = 3,
    slope: float = 1.0,
    intercept: float = -1024.0,
    **attributes: Any,
) -> list[pydicom.Dataset]:
    """The slices of a volume ``[x, y, z]`` of stored values on a RAS affine, in the order of z."""
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    result = []
    for index in range(stored.shape[2]):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CT if modality == "CT" else MR
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = modality, number, index + 1
        dataset.PatientName, dataset.PatientID = "Curie^Marie", patient
        dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "18671107", "F", "066Y"
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20240131", "101500", "17"
        dataset.StudyDescription, dataset.AccessionNumber, dataset.ReferringPhysicianName = "Thorax", "A1", "Dr^X"
        dataset.SeriesDate, dataset.SeriesTime, dataset.ContentDate, dataset.ContentTime = (
            "20240131",
            "101500",
            "20240131",
            "101500",
        )
        dataset.Manufacturer, dataset.ImageType = "Scanner", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.PositionReferenceIndicator = ""
        dataset.Columns, dataset.Rows = stored.shape[:2]
        dataset.ImagePositionPatient = _written(lps[:3, :3] @ [0, 0, index] + lps[:3, 3])
        cosines = (lps[:3, :2] / spacing[:2]).T.ravel()
        dataset.ImageOrientationPatient = _written(cosines)
        dataset.PixelSpacing = _written(spacing[1::-1])
        dataset.SliceThickness = _written(spacing[2:])
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, int(stored.dtype.kind == "i")
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = str(slope), str(intercept), "HU"
        dataset.PixelData = np.ascontiguousarray(stored[..., index].T).astype(stored.dtype.newbyteorder("<")).tobytes()
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        result.append(dataset)
    return result


def save(datasets: Sequence[pydicom.Dataset], folder: Path, *, seed: int = 0) -> list[Path]:
    """Writes slices under names that say nothing about their order; the paths are in the order of the datasets."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(seed).permutation(len(datasets))
    paths = []
    for name, dataset in zip(names, datasets, strict=True):
        paths.append(folder / f"IM{name:04d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def enhanced(datasets: Sequence[pydicom.Dataset], folder: Path) -> Path:
    """The slices as one multi-frame object, frames in an order of no meaning."""
    kinds = {
        "CT": highdicom.legacy.LegacyConvertedEnhancedCTImage,
        "MR": highdicom.legacy.LegacyConvertedEnhancedMRImage,
    }
    whole = kinds[datasets[0].Modality](
        datasets,
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
    )
    order = [*range(1, len(datasets), 2), *range(0, len(datasets), 2)]
    groups, size = whole.PerFrameFunctionalGroupsSequence, len(whole.PixelData) // len(datasets)
    pixels = [whole.PixelData[frame * size : (frame + 1) * size] for frame in order]
    whole.PerFrameFunctionalGroupsSequence = [groups[frame] for frame in order]
    whole.PixelData = b"".join(pixels)
    folder.mkdir(parents=True, exist_ok=True)
    whole.save_as(folder / "enhanced.dcm")
    return folder / "enhanced.dcm"


def segmentation(
    path: Path,
    datasets: Sequence[pydicom.Dataset],
    masks: Mapping[str, NDArray[np.bool_]],
    *,
    kind: str = "BINARY",
    values: NDArray[np.floating] | None = None,
) -> Path:
    """A SEG of highdicom with one segment for each mask ``[x, y, z]``, which may overlap."""
    descriptions = [
        highdicom.seg.SegmentDescription(number, name, codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL")
        for number, name in enumerate(masks, start=1)
    ]
    stack = np.stack(list(masks.values()), axis=-1).transpose(2, 1, 0, 3)
    if kind == "LABELMAP":
        stack = (stack * np.arange(1, len(masks) + 1)).max(-1)
    whole = highdicom.seg.Segmentation(
        datasets,
        stack.astype(np.float32)
        if kind == "FRACTIONAL" and values is None
        else stack.astype(np.uint8)
        if values is None
        else values,
        kind,
        descriptions,
        generate_uid(),
        30,
        generate_uid(),
        1,
        "Maker",
        "Model",
        "1",
        "1",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save_as(path)
    return path


def structure_set(
    path: Path, datasets: Sequence[pydicom.Dataset], contours: Mapping[str, Sequence[NDArray[np.float64]]]
) -> Path:
    """An RTSTRUCT with the contours ``[n, 3]`` (LPS mm) of each structure, on a series as a whole."""
    source = datasets[0]
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RTSTRUCT
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientID, dataset.StudyInstanceUID = source.PatientID, source.StudyInstanceUID
    dataset.SeriesInstanceUID, dataset.Modality = generate_uid(), "RTSTRUCT"
    series, study, frame, rois, drawn = (pydicom.Dataset() for _ in range(5))
    series.SeriesInstanceUID = source.SeriesInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.RTReferencedStudySequence = [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    rois, drawn = [], []
    for number, (name, polygons) in enumerate(contours.items(), start=1):
        roi, shape = pydicom.Dataset(), pydicom.Dataset()
        roi.ROINumber, roi.ROIName = number, name
        shape.ReferencedROINumber, shape.ContourSequence = number, []
        for polygon in polygons:
            contour = pydicom.Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(polygon)
            contour.ContourData = _written(polygon.ravel())
            shape.ContourSequence.append(contour)
        rois.append(roi)
        drawn.append(shape)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = rois, drawn
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _written(values: NDArray[np.float64]) -> list[str]:
    """Numbers as decimal strings of 16 letters, the most that DICOM allows."""
    return [format_number_as_ds(float(value)) for value in values]
