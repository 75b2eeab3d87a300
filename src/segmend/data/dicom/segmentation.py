"""DICOM SEG objects, read and written by highdicom (PS3.3 A.51)."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

from segmend.core.errors import InputError
from segmend.core.grid import PLACE_TOLERANCE
from segmend.core.masks import Mask
from segmend.data.dicom.coding import coded
from segmend.data.dicom.objects import quiet_reading, read_header
from segmend.data.dicom.patient import complete_patient, without_patient
from segmend.data.dicom.series import Series, functional_group
from segmend.data.dicom.structures import one_reference, structure_names

SERIES_NUMBERS = 1000
"""What is added to the number of a series for that of its labels."""

_MAKER = "Segmend"
_FRACTION = 0.5
"""Share of a voxel from which on a fractional segment holds it."""


@dataclass(frozen=True)
class Segmentation:
    """A SEG object; see ``Structures``.

    Attributes:
        path: the file.
        series: SeriesInstanceUID of the segmented images.
        numbers: of the segments, by their labels.
    """

    path: Path
    series: str
    numbers: Mapping[str, int]

    @classmethod
    def open(cls, path: Path, series_of_instance: Mapping[str, str]) -> Segmentation:
        """Read the header.

        Args:
            path: the file.
            series_of_instance: SeriesInstanceUID of known images by their SOPInstanceUID.

        Raises:
            InputError: it cannot be read, names no series or several, or two segments have one label.
        """
        header = read_header(path)
        with quiet_reading(path):
            segments = [(str(each.SegmentLabel), int(each.SegmentNumber)) for each in header.SegmentSequence]
            segments = [(label, number) for label, number in segments if number]  # 0 is the background of a label map
            references = {str(each.SeriesInstanceUID) for each in header.get("ReferencedSeriesSequence") or ()}
            references = references or _series_of_frames(header, series_of_instance)
        names = structure_names(path, [label for label, _ in segments])
        numbers = dict(zip(names, (number for _, number in segments), strict=True))
        return cls(path, one_reference(path, references), numbers)

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the segments."""
        return tuple(self.numbers)

    def masks(self, series: Series, names: Collection[str]) -> Iterator[tuple[str, Mask]]:
        """Masks ``[x, y, z]`` of some segments; fractional ones hold what is at least half in them.

        Raises:
            InputError: the file is damaged, or its frames do not lie on the voxels of the series.
        """
        with quiet_reading(self.path):
            seg = highdicom.seg.segread(self.path)
            is_map = str(seg.SegmentationType) == "LABELMAP"
            scale = float(seg.get("MaximumFractionalValue") or 1) if seg.SegmentationType == "FRACTIONAL" else None
            frames: dict[int, list[tuple[int, Any]]] = defaultdict(list)
            shared = seg.SharedFunctionalGroupsSequence[0]
            for index, groups in enumerate(seg.PerFrameFunctionalGroupsSequence):
                segment = functional_group("SegmentIdentification", groups, shared)
                frames[0 if is_map else int(segment.ReferencedSegmentNumber)].append((index, groups))
        for name in names:
            number = self.numbers[name]
            mask = np.zeros(series.grid.shape, dtype=bool)
            for index, groups in frames[0 if is_map else number]:
                with quiet_reading(self.path):
                    values = seg.get_stored_frame(index + 1).T
                    place = _place(self.path, seg, groups, series, values.shape)
                inside = values == number if is_map else values >= _FRACTION * scale if scale else values > 0
                mask[place] |= inside
            yield name, mask


def write_segmentation(
    path: Path,
    label: NDArray[np.integer],
    series: Series,
    names: Mapping[int, str],
    *,
    algorithm: str,
    patient_tags: bool,
) -> None:
    """Write a label map as a binary SEG object that refers to every image of its series.

    Segments are numbered from 1 in the order of ``names``, so all cases have the same segments.

    Args:
        path: the file.
        label: ``[x, y, z]``, on the grid of the series; 0 and the values of classes.
        series: the images.
        names: of the classes by their values in the label.
        algorithm: AUTOMATIC, SEMIAUTOMATIC or MANUAL.
        patient_tags: copy patient and study from the images; otherwise these attributes are empty or left out.
    """
    numbers = np.zeros(max(names) + 1, dtype=np.uint16)
    numbers[list(names)] = np.arange(1, len(names) + 1)
    frames = numbers[label].transpose(2, 1, 0)
    files = list(dict.fromkeys(piece.path for piece in series.slices))
    if series.slices[0].frame is not None:  # highdicom takes the frames of an enhanced object in their order
        frames = frames[np.argsort([piece.frame or 0 for piece in series.slices])]
    made_by = highdicom.AlgorithmIdentificationSequence(
        name=_MAKER, version=version("segmend"), family=codes.DCM.ArtificialIntelligence
    )
    descriptions = [
        _description(number, name, algorithm, None if algorithm == "MANUAL" else made_by)
        for number, name in enumerate(names.values(), start=1)
    ]
    sources = [read_header(file) for file in files]
    for source in sources:
        complete_patient(source)
    with _explained(files[0]):
        seg = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=np.ascontiguousarray(frames),
            segmentation_type="BINARY",
            segment_descriptions=descriptions,
            series_instance_uid=highdicom.UID(),
            series_number=int(series.files.number or 0) + SERIES_NUMBERS,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=_MAKER,
            manufacturer_model_name=_MAKER,
            software_versions=version("segmend"),
            device_serial_number="0",
            series_description=f"{_MAKER} segmentation",
            omit_empty_frames=bool(frames.any()),
        )
        if not patient_tags:
            without_patient(seg)
        seg.save_as(path)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Explain what highdicom does not accept about images, and drop its remarks.

    Raises:
        InputError: it does not accept them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                path,
                f"and the images of its series cannot have a SEG ({reason})",
                "export the series again, or write `format rtstruct`",
                code="unsupported",
            ) from error


def _description(number: int, name: str, algorithm: str, made_by: Any) -> Any:
    category, kind, modifier = coded(name)
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],  # the most that the standard allows
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=algorithm,
        algorithm_identification=made_by,
    )
    if modifier is not None:
        of_type = description.SegmentedPropertyTypeCodeSequence[0]
        of_type.SegmentedPropertyTypeModifierCodeSequence = [highdicom.sr.CodedConcept.from_code(modifier)]
    return description


def _series_of_frames(header: Any, series_of_instance: Mapping[str, str]) -> set[str]:
    """The series of the images from which the frames were derived."""
    shared = list(header.get("SharedFunctionalGroupsSequence") or ())
    images = {
        str(source.ReferencedSOPInstanceUID)
        for groups in [*shared, *header.PerFrameFunctionalGroupsSequence]
        for derivation in groups.get("DerivationImageSequence") or ()
        for source in derivation.get("SourceImageSequence") or ()
    }
    return {series_of_instance[image] for image in images if image in series_of_instance}


def _place(path: Path, seg: Any, groups: Any, series: Series, shape: tuple[int, ...]) -> tuple[slice, slice, int]:
    """Where a frame lies in the volume of the series."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation, measures, position = (
        functional_group(name, groups, shared) for name in ("PlaneOrientation", "PixelMeasures", "PlanePosition")
    )
    cosines = np.array(orientation.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    between_rows, between_columns = (float(distance) for distance in measures.PixelSpacing)
    first = np.array(position.ImagePositionPatient, dtype=np.float64)
    extent = np.array(shape) - 1
    corners = [first, first + cosines[0] * between_columns * extent[0] + cosines[1] * between_rows * extent[1]]
    found = series.indices_of(np.array(corners))
    start = np.rint(found[0])
    expected = np.array([start, start + np.array([*extent, 0])])
    inside = (expected >= 0).all() and (expected < series.grid.shape).all()
    if np.abs(found - expected).max() > PLACE_TOLERANCE or not inside:
        problem = f"has a frame that does not lie on the voxels of its series, {series.slices[0].path.parent}"
        raise InputError(path, problem, "resample the segmentation to the images", code="mismatch")
    x, y, z = (int(index) for index in start)
    return slice(x, x + shape[0]), slice(y, y + shape[1]), z
