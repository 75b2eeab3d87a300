from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_files import enhanced, oblique, save, slices_of, structure_set
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from refusals import raises

from segmend.data.dicom.objects import find_objects
from segmend.data.dicom.rtstruct import StructureSet, write_structure_set
from segmend.data.dicom.series import read_series

SHAPE = (16, 13, 6)
NAMES = {1: "liver", 2: "GTV-1"}


@pytest.fixture(scope="module")
def datasets():
    return slices_of(np.random.default_rng(0).integers(0, 4000, SHAPE).astype(np.uint16), oblique((0.7, 0.9, 2.5)))


@pytest.fixture(scope="module")
def series(datasets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    save(datasets, folder)
    (files,) = find_objects(folder).images.values()
    return read_series(files)


def contour(series, polygon, z):
    """A polygon in voxels ``[n, 2]`` of slice z, in LPS mm."""
    voxels = np.column_stack([polygon, np.full(len(polygon), z), np.ones(len(polygon))])
    return (voxels @ series.lps.T)[:, :3]


def square(low, high):
    return np.array([[low, low], [high, low], [high, high], [low, high]], float)


def masks(path, series):
    found = StructureSet.open(path, {})
    assert found.series == series.files.uid
    return dict(found.masks(series, found.names))


class TestReading:
    def test_squares_with_a_hole(self, datasets, series, tmp_path):
        drawn = {"a": [contour(series, square(1.5, 8.5), 2), contour(series, square(3.5, 5.5), 2)]}
        drawn["b"] = [contour(series, square(0.6, 2.4), z) for z in (0, 5)]
        found = masks(structure_set(tmp_path / "a.dcm", datasets, drawn), series)
        expected = np.zeros(SHAPE, bool)
        expected[2:9, 2:9, 2] = True
        expected[4:6, 4:6, 2] = False
        np.testing.assert_array_equal(found["a"], expected)
        assert np.argwhere(found["b"]).tolist() == [[x, y, z] for x in (1, 2) for y in (1, 2) for z in (0, 5)]

    def test_an_ellipse_holds_the_voxels_whose_centres_lie_inside(self, datasets, series, tmp_path):
        angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
        ellipse = np.column_stack([7.3 + 5.1 * np.cos(angles), 6.2 + 3.7 * np.sin(angles)])
        found = masks(structure_set(tmp_path / "a.dcm", datasets, {"a": [contour(series, ellipse, 3)]}), series)["a"]
        x, y = np.indices(SHAPE[:2])
        distance = ((x - 7.3) / 5.1) ** 2 + ((y - 6.2) / 3.7) ** 2
        clear = np.abs(distance - 1) > 1e-3
        np.testing.assert_array_equal(found[..., 3][clear], (distance < 1)[clear])
        assert found[..., [0, 1, 2, 4, 5]].sum() == 0

    def test_the_series_by_its_images_where_it_is_not_named(self, datasets, series, tmp_path):
        path = structure_set(tmp_path / "a.dcm", datasets, {"a": [contour(series, square(1, 3), 0)]})
        dataset = pydicom.dcmread(path)
        del dataset.ReferencedFrameOfReferenceSequence
        image = pydicom.Dataset()
        image.ReferencedSOPInstanceUID = datasets[0].SOPInstanceUID
        dataset.ROIContourSequence[0].ContourSequence[0].ContourImageSequence = [image]
        dataset.save_as(path)
        instances = {each.SOPInstanceUID: each.SeriesInstanceUID for each in datasets}
        assert StructureSet.open(path, instances).series == series.files.uid
        with raises("missing-value", path):
            StructureSet.open(path, {})

    def test_points_and_empty_structures_are_left_out(self, datasets, series, tmp_path, capsys):
        drawn = {"a": [contour(series, square(1, 3), 0)], "isocentre": [np.zeros((1, 3))], "empty": []}
        path = structure_set(tmp_path / "a.dcm", datasets, drawn)
        dataset = pydicom.dcmread(path)
        dataset.ROIContourSequence[1].ContourSequence[0].ContourGeometricType = "POINT"
        dataset.save_as(path)
        assert StructureSet.open(path, {}).names == ("a",)
        assert "2 structures without closed contours are left out" in capsys.readouterr().err


class TestRefusals:
    @pytest.mark.parametrize(
        ("z", "said"), [(2.4, r"but 0\.40 slices from"), (-1, "but outside of them"), (6, "but outside of them")]
    )
    def test_a_contour_off_the_slices(self, datasets, series, tmp_path, z, said):
        path = structure_set(tmp_path / "a.dcm", datasets, {"a": [contour(series, square(1, 3), z)]})
        with raises("mismatch", path, match=f"'a' that does not lie on the slices of its series, {said}"):
            masks(path, series)

    def test_a_contour_across_the_slices(self, datasets, series, tmp_path):
        polygon = contour(series, square(1, 3), 2)
        polygon[0] += series.slices[0].normal * 5
        path = structure_set(tmp_path / "a.dcm", datasets, {"a": [polygon]})
        with raises("mismatch", path, match="does not lie on the slices"):
            masks(path, series)

    def test_two_structures_of_one_name(self, datasets, series, tmp_path):
        drawn = {"a": [contour(series, square(1, 3), 0)], "A": [contour(series, square(1, 3), 1)]}
        with raises("duplicate", tmp_path / "a.dcm", match="'a' and 'A'"):
            StructureSet.open(structure_set(tmp_path / "a.dcm", datasets, drawn), {})

    def test_a_damaged_file(self, datasets, series, tmp_path):
        path = structure_set(tmp_path / "a.dcm", datasets, {"a": [contour(series, square(1, 3), 0)]})
        path.write_bytes(path.read_bytes()[:-30])
        with raises("damaged", path):
            masks(path, series)


def write(path, label, series, **options):
    options = {"algorithm": "AUTOMATIC", "patient_tags": True} | options
    write_structure_set(path, label, series, NAMES, **options)
    return path


class TestWriting:
    @given(arrays(np.uint8, SHAPE, elements=st.integers(0, 2)))
    def test_every_label_comes_back_voxel_by_voxel(self, series, tmp_path_factory, label):
        label[0, 0, 0] = 1
        found = masks(write(tmp_path_factory.mktemp("rt") / "a.dcm", label, series), series)
        for value, name in NAMES.items():
            np.testing.assert_array_equal(found.get(name, np.zeros(SHAPE, bool)), label == value)

    def test_on_an_enhanced_object(self, datasets, tmp_path):
        enhanced(datasets, tmp_path / "images")
        (files,) = find_objects(tmp_path / "images").images.values()
        series = read_series(files)
        label = np.random.default_rng(3).integers(0, 3, SHAPE).astype(np.uint8)
        path = write(tmp_path / "a.dcm", label, series)
        found = masks(path, series)
        np.testing.assert_array_equal(found["liver"] + 2 * found["GTV-1"], label)
        first = pydicom.dcmread(path).ROIContourSequence[0].ContourSequence[0]
        (image,) = first.ContourImageSequence
        assert image.ReferencedFrameNumber == series.slices[0].frame + 1

    def test_contours_lie_on_the_images_that_they_name(self, datasets, series, tmp_path):
        label = np.zeros(SHAPE, np.uint8)
        label[3:6, 4:9, 2:4] = 2
        dataset = pydicom.dcmread(write(tmp_path / "a.dcm", label, series))
        (roi,) = dataset.StructureSetROISequence
        assert (roi.ROIName, roi.ROIGenerationAlgorithm) == ("GTV-1", "AUTOMATIC")
        assert roi.ReferencedFrameOfReferenceUID == datasets[0].FrameOfReferenceUID
        (drawn,) = dataset.ROIContourSequence
        named = [each.ContourImageSequence[0].ReferencedSOPInstanceUID for each in drawn.ContourSequence]
        assert named == [datasets[2].SOPInstanceUID, datasets[3].SOPInstanceUID]
        for each, z in zip(drawn.ContourSequence, (2, 3), strict=True):
            points = series.indices_of(np.array(each.ContourData, float).reshape(-1, 3))
            assert len(points) == each.NumberOfContourPoints == 8
            np.testing.assert_allclose(points[:, 2], z, atol=0.01)
            np.testing.assert_allclose([points.min(0)[:2], points.max(0)[:2]], [[2.5, 3.5], [5.5, 8.5]], atol=0.01)

    def test_refers_to_the_study_the_series_and_every_image(self, datasets, series, tmp_path):
        dataset = pydicom.dcmread(write(tmp_path / "a.dcm", np.ones(SHAPE, np.uint8), series))
        (study,) = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence
        assert study.ReferencedSOPInstanceUID == datasets[0].StudyInstanceUID
        (images,) = study.RTReferencedSeriesSequence
        assert images.SeriesInstanceUID == datasets[0].SeriesInstanceUID
        assert [each.ReferencedSOPInstanceUID for each in images.ContourImageSequence] == [
            each.SOPInstanceUID for each in datasets
        ]

    def test_patient_tags(self, datasets, series, tmp_path):
        label = np.ones(SHAPE, np.uint8)
        dataset = pydicom.dcmread(write(tmp_path / "a.dcm", label, series))
        for keyword in ("PatientName", "PatientID", "PatientSex", "StudyDate", "StudyInstanceUID"):
            assert dataset[keyword].value == datasets[0][keyword].value
        path = write(tmp_path / "b.dcm", label, series, patient_tags=False)
        assert pydicom.dcmread(path).PatientName == ""
        for text in (b"Curie", b"18671107", b"066Y", b"20240131", b"Thorax", b"Dr^X"):
            assert text not in path.read_bytes()
