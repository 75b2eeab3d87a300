from __future__ import annotations

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_files import enhanced, oblique, save, segmentation, slices_of
from pydicom.uid import generate_uid
from refusals import raises

from segmend.data.dicom.objects import find_objects
from segmend.data.dicom.segmentation import Segmentation, write_segmentation
from segmend.data.dicom.series import read_series

SHAPE = (12, 8, 5)  # SimpleITK 2.5 loses the last bits of a SEG whose number of voxels is no multiple of 8
RANDOM = np.random.default_rng(1)
LABEL = RANDOM.integers(0, 3, SHAPE).astype(np.uint8)
NAMES = {1: "liver", 2: "left kidney"}
MASKS = {"liver": LABEL == 1, "left kidney": LABEL == 2}


@pytest.fixture
def datasets():
    return slices_of(RANDOM.integers(0, 4000, SHAPE).astype(np.uint16), oblique())


@pytest.fixture
def series(datasets, tmp_path):
    save(datasets, tmp_path / "images")
    (files,) = find_objects(tmp_path / "images").images.values()
    return read_series(files)


def masks(path, series, instances=None):
    found = Segmentation.open(path, instances or {})
    assert found.series == series.files.uid
    return dict(found.masks(series, found.names))


def same(found, expected):
    assert list(found) == list(expected)
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)


class TestReading:
    @pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
    def test_what_highdicom_writes(self, datasets, series, tmp_path, kind):
        same(masks(segmentation(tmp_path / "a.dcm", datasets, MASKS, kind=kind), series), MASKS)

    def test_segments_that_overlap(self, datasets, series, tmp_path):
        expected = {"one": LABEL > 0, "two": LABEL == 2}
        same(masks(segmentation(tmp_path / "a.dcm", datasets, expected), series), expected)

    def test_slices_in_another_order(self, datasets, series, tmp_path):
        reversed_masks = {name: mask[..., ::-1] for name, mask in MASKS.items()}
        same(masks(segmentation(tmp_path / "a.dcm", datasets[::-1], reversed_masks), series), MASKS)

    def test_fractions_from_a_half_on(self, datasets, series, tmp_path):
        fractions = np.zeros((*SHAPE[::-1], 1), np.float32)
        fractions[2, 3, 4], fractions[2, 3, 5], fractions[2, 3, 6] = 0.6, 0.4, 1.0
        path = segmentation(tmp_path / "a.dcm", datasets, {"a": LABEL > 0}, kind="FRACTIONAL", values=fractions)
        assert np.argwhere(masks(path, series)["a"]).tolist() == [[4, 3, 2], [6, 3, 2]]

    def test_a_part_of_the_field_of_view(self, datasets, series, tmp_path):
        dataset = pydicom.dcmread(segmentation(tmp_path / "a.dcm", datasets, {"a": LABEL > 0}))
        whole = highdicom.seg.Segmentation.from_dataset(dataset).get_volume(segment_numbers=[1], combine_segments=True)
        part = whole[1:4, 2:6, 3:9]
        cropped = highdicom.seg.Segmentation(
            datasets,
            part,
            "BINARY",
            [highdicom.seg.SegmentDescription.from_dataset(dataset.SegmentSequence[0])],
            *(generate_uid(), 1, generate_uid(), 1, "Maker", "Model", "1", "1"),
        )
        cropped.save_as(tmp_path / "part.dcm")
        assert cropped.Rows == 4
        found = masks(tmp_path / "part.dcm", series)["a"]
        kept = np.zeros(SHAPE, bool)
        z = np.sort(
            [series.indices_of(np.array([whole.affine[:3, 3] + i * whole.affine[:3, 0]]))[0, 2] for i in (1, 3)]
        )
        low, high = (round(float(index)) for index in z)
        kept[3:9, 2:6, low : high + 1] = True
        np.testing.assert_array_equal(found, (LABEL > 0) & kept)
        assert found.any()

    def test_the_series_by_its_images_where_it_is_not_named(self, datasets, series, tmp_path):
        path = segmentation(tmp_path / "a.dcm", datasets, MASKS)
        dataset = pydicom.dcmread(path)
        del dataset.ReferencedSeriesSequence
        dataset.save_as(path)
        same(masks(path, series, {each.SOPInstanceUID: each.SeriesInstanceUID for each in datasets}), MASKS)
        with raises("missing-value", path, match="which image series"):
            Segmentation.open(path, {})


class TestRefusals:
    @pytest.mark.parametrize("shift", [[0.3, 0, 0], [0, 0, 1.2], [50, 0, 0]])
    def test_frames_off_the_voxels(self, datasets, series, tmp_path, shift):
        path = segmentation(tmp_path / "a.dcm", datasets, MASKS)
        dataset = pydicom.dcmread(path)
        for groups in dataset.PerFrameFunctionalGroupsSequence:
            position = groups.PlanePositionSequence[0]
            moved = np.array(position.ImagePositionPatient, float) + (series.lps[:3, :3] @ shift)
            position.ImagePositionPatient = [f"{value:.8g}" for value in moved]
        dataset.save_as(path)
        with raises("mismatch", path, match="does not lie on the voxels"):
            masks(path, series)

    def test_two_series_of_one_label(self, datasets, tmp_path):
        path = segmentation(tmp_path / "a.dcm", datasets, MASKS)
        dataset = pydicom.dcmread(path)
        other = pydicom.Dataset()
        other.SeriesInstanceUID = "1.2.3"
        dataset.ReferencedSeriesSequence.append(other)
        dataset.save_as(path)
        with raises("unsupported", path, match=r"belongs to 2 image series: 1\.2\.3, "):
            Segmentation.open(path, {})

    @pytest.mark.parametrize(
        ("name", "code"), [("Liver", "duplicate"), ("background", "invalid-name"), ("Ignore", "invalid-name")]
    )
    def test_names_that_cannot_be_told_apart_or_mean_something_else(self, datasets, tmp_path, name, code):
        path = segmentation(tmp_path / "a.dcm", datasets, {"liver": LABEL == 1, name: LABEL == 2})
        with raises(code, path, match=name):
            Segmentation.open(path, {})

    def test_a_truncated_file(self, datasets, series, tmp_path):
        path = segmentation(tmp_path / "a.dcm", datasets, MASKS)
        path.write_bytes(path.read_bytes()[:-20])
        with raises("damaged", path):
            masks(path, series)


def write(path, label, series, **options):
    options = {"algorithm": "AUTOMATIC", "patient_tags": True} | options
    write_segmentation(path, label, series, NAMES, **options)
    return path


class TestWriting:
    def test_segmend_highdicom_and_simpleitk_read_the_same_voxels(self, series, tmp_path):
        path = write(tmp_path / "a.dcm", LABEL, series)
        same(masks(path, series), MASKS)
        seg = highdicom.seg.segread(path)
        volume = seg.get_volume(combine_segments=True)
        found = np.zeros(SHAPE, int)
        for index in np.ndindex(volume.shape[:3]):
            if volume.array[index]:
                x, y, z = np.rint(series.indices_of((volume.affine @ [*index, 1])[None, :3])[0]).astype(int)
                found[x, y, z] = volume.array[index]
        np.testing.assert_array_equal(found, LABEL)
        frames = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        by_frame = [
            (int(each.SegmentIdentificationSequence[0].ReferencedSegmentNumber), each.PlanePositionSequence[0])
            for each in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
        ]
        assert len(frames) == len(by_frame) == 10
        for frame, (number, place) in zip(frames, by_frame, strict=True):
            z = round(series.indices_of(np.array([place.ImagePositionPatient], float))[0, 2])
            np.testing.assert_array_equal(frame.T > 0, LABEL[..., z] == number)

    def test_on_an_enhanced_object(self, datasets, tmp_path):
        enhanced(datasets, tmp_path / "images")
        (files,) = find_objects(tmp_path / "images").images.values()
        series = read_series(files)
        same(masks(write(tmp_path / "a.dcm", LABEL, series), series), MASKS)

    def test_on_slices_of_a_tilted_gantry(self, tmp_path):
        affine = np.diag([1.0, 1.0, 3.0, 1.0])
        affine[1, 2] = 0.8
        save(slices_of(LABEL.astype(np.uint16), affine), tmp_path / "images")
        (files,) = find_objects(tmp_path / "images").images.values()
        series = read_series(files)
        same(masks(write(tmp_path / "a.dcm", LABEL, series), series), MASKS)

    def test_all_cases_have_the_same_segments(self, series, tmp_path):
        only = np.where(LABEL == 2, 2, 0)
        for label in (only, np.zeros_like(only)):
            path = write(tmp_path / f"{label.any()}.dcm", label, series)
            same(masks(path, series), {"liver": label == 1, "left kidney": label == 2})

    def test_codes_and_algorithm(self, series, tmp_path):
        liver, kidney = pydicom.dcmread(write(tmp_path / "a.dcm", LABEL, series)).SegmentSequence
        assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
        assert liver.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Anatomical Structure"
        (kind,) = kidney.SegmentedPropertyTypeCodeSequence
        assert (kind.CodeMeaning, kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning) == ("Kidney", "Left")
        assert (liver.SegmentAlgorithmType, liver.SegmentAlgorithmName) == ("AUTOMATIC", "Segmend")
        manual = pydicom.dcmread(write(tmp_path / "b.dcm", LABEL, series, algorithm="MANUAL"))
        assert manual.SegmentSequence[0].SegmentAlgorithmType == "MANUAL"
        assert "SegmentAlgorithmName" not in manual.SegmentSequence[0]

    def test_refers_to_every_image(self, datasets, series, tmp_path):
        seg = pydicom.dcmread(write(tmp_path / "a.dcm", LABEL, series))
        (referenced,) = seg.ReferencedSeriesSequence
        assert referenced.SeriesInstanceUID == datasets[0].SeriesInstanceUID
        instances = {each.ReferencedSOPInstanceUID for each in referenced.ReferencedInstanceSequence}
        assert instances == {each.SOPInstanceUID for each in datasets}
        assert seg.FrameOfReferenceUID == datasets[0].FrameOfReferenceUID
        assert seg.StudyInstanceUID == datasets[0].StudyInstanceUID

    def test_patient_and_study_are_those_of_the_images(self, datasets, series, tmp_path):
        seg = pydicom.dcmread(write(tmp_path / "a.dcm", LABEL, series))
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber"):
            assert seg[keyword].value == datasets[0][keyword].value

    def test_without_patient_tags_nothing_of_the_patient_is_in_the_file(self, datasets, series, tmp_path):
        path = write(tmp_path / "a.dcm", LABEL, series, patient_tags=False)
        seg, content = pydicom.dcmread(path), path.read_bytes()
        assert seg.PatientName == seg.PatientID == seg.StudyDate == ""
        for text in (b"Curie", b"18671107", b"066Y", b"20240131", b"Thorax", b"Dr^X"):
            assert text not in content
        assert seg.StudyInstanceUID == datasets[0].StudyInstanceUID

    def test_images_that_lack_attributes_of_the_patient(self, datasets, tmp_path):
        for dataset in datasets:
            for keyword in ("PatientName", "PatientBirthDate", "StudyTime", "AccessionNumber", "StudyID"):
                delattr(dataset, keyword)
        save(datasets, tmp_path / "images")
        (files,) = find_objects(tmp_path / "images").images.values()
        series = read_series(files)
        same(masks(write(tmp_path / "a.dcm", LABEL, series), series), MASKS)
