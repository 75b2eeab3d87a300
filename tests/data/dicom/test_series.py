from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_files import enhanced, oblique, save, slices_of
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from refusals import raises

from segmend.data.dicom.objects import find_objects
from segmend.data.dicom.series import read_series

SHAPE = (11, 7, 5)
STORED = np.random.default_rng(0).integers(0, 4000, SHAPE).astype(np.uint16)


def read(folder):
    (files,) = find_objects(folder).images.values()
    return read_series(files)


@pytest.mark.parametrize("spacing", [(0.7, 0.9, 2.5), (1.0, 1.0, 1.0), (0.3, 2.0, 0.4)])
def test_values_and_place_of_an_oblique_series(tmp_path, spacing):
    affine = oblique(spacing)
    save(slices_of(STORED, affine), tmp_path)
    series = read(tmp_path)
    voxels = series.read()
    assert voxels.dtype == np.int16
    np.testing.assert_array_equal(voxels, STORED.astype(int) - 1024)
    assert series.grid.shape == SHAPE
    np.testing.assert_allclose(series.grid.affine, affine, atol=1e-5)


@given(st.floats(0.1, 9), st.floats(0.1, 9), st.floats(0.1, 9), st.floats(-900, 900))
def test_every_voxel_lies_within_a_hundredth_of_a_voxel(tmp_path_factory, x, y, z, origin):
    folder = tmp_path_factory.mktemp("series")
    affine = oblique((x, y, z), (origin, -origin, 3.0))
    save(slices_of(STORED[:3, :4], affine), folder)
    grid = read(folder).grid
    corner = np.array([*grid.shape, 1])
    apart = np.linalg.inv(affine) @ grid.affine @ corner - corner
    assert np.abs(apart).max() < 0.01


def test_agrees_with_simpleitk(tmp_path):
    paths = save(slices_of(STORED, oblique()), tmp_path)
    image = SimpleITK.ReadImage([str(path) for path in paths])
    series = read(tmp_path)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image).T, series.read())
    index = (3, 2, 4)
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), (series.lps @ [*index, 1])[:3], atol=1e-4)
    np.testing.assert_allclose(series.indices_of((series.lps @ [*index, 1])[None, :3]), [index], atol=1e-9)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_an_enhanced_object_is_the_same_volume(tmp_path, modality):
    datasets = slices_of(STORED, oblique(), modality=modality, intercept=0.0)
    enhanced(datasets, tmp_path)
    series = read(tmp_path)
    np.testing.assert_array_equal(series.read(), STORED)
    np.testing.assert_allclose(series.grid.affine, oblique(), atol=1e-5)
    frames = [piece.frame for piece in series.slices]
    assert sorted(frames) == [0, 1, 2, 3, 4]
    assert frames not in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0])


class TestRescaling:
    def test_signed_values(self, tmp_path):
        save(slices_of(STORED.astype(np.int16) - 2000, oblique(), intercept=0.0), tmp_path)
        np.testing.assert_array_equal(read(tmp_path).read(), STORED.astype(int) - 2000)

    def test_of_fractions_gives_floats(self, tmp_path):
        save(slices_of(STORED, oblique(), slope=0.25, intercept=-3.0), tmp_path)
        voxels = read(tmp_path).read()
        assert voxels.dtype == np.float32
        np.testing.assert_allclose(voxels, STORED * 0.25 - 3)

    def test_values_beyond_16_bits(self, tmp_path):
        save(slices_of(STORED, oblique(), slope=100.0), tmp_path)
        voxels = read(tmp_path).read()
        assert voxels.dtype == np.int32
        np.testing.assert_array_equal(voxels, STORED.astype(int) * 100 - 1024)

    def test_mr_keeps_stored_values(self, tmp_path):
        save(slices_of(STORED, oblique(), modality="MR", slope=2.5, intercept=7.0), tmp_path)
        np.testing.assert_array_equal(read(tmp_path).read(), STORED)

    def test_mr_whose_slices_have_different_scales_is_rescaled(self, tmp_path):
        datasets = slices_of(STORED, oblique(), modality="MR", slope=2.0, intercept=0.0)
        datasets[2].RescaleSlope = "3"
        save(datasets, tmp_path)
        voxels = read(tmp_path).read()
        np.testing.assert_array_equal(voxels[..., 2], STORED[..., 2].astype(int) * 3)
        np.testing.assert_array_equal(voxels[..., 1], STORED[..., 1].astype(int) * 2)


def compressed_by_itk(paths, folder):
    """The slices in lossless JPEG, as scanners send them, with the attributes they had."""
    folder.mkdir()
    for path in paths:
        image = SimpleITK.ReadImage(str(path), SimpleITK.sitkInt16)
        writer = SimpleITK.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetCompressor("JPEG")
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / path.name))
        writer.Execute(image)
        written, original = pydicom.dcmread(folder / path.name), pydicom.dcmread(path)
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            assert written[keyword].value == original[keyword].value
        assert written.file_meta.TransferSyntaxUID.name.startswith("JPEG Lossless")


class TestCompression:
    def test_lossless_jpeg(self, tmp_path):
        paths = save(slices_of(STORED, oblique()), tmp_path / "raw")
        compressed_by_itk(paths, tmp_path / "jpeg")
        series = read(tmp_path / "jpeg")
        np.testing.assert_array_equal(series.read(), STORED.astype(int) - 1024)

    def test_run_length(self, tmp_path):
        datasets = slices_of(STORED, oblique())
        for dataset in datasets:
            dataset.compress(pydicom.uid.RLELossless)
        save(datasets, tmp_path)
        np.testing.assert_array_equal(read(tmp_path).read(), STORED.astype(int) - 1024)

    @pytest.mark.parametrize("syntax", [pydicom.uid.MPEG2MPML, pydicom.uid.HTJ2KLossless, pydicom.uid.JPEG2000Lossless])
    def test_that_cannot_be_decoded(self, tmp_path, syntax):
        datasets = slices_of(STORED, oblique())
        for dataset in datasets:
            dataset.PixelData = encapsulate([b"\x00\x01" * 100])
            dataset["PixelData"].is_undefined_length = True
            dataset.file_meta.TransferSyntaxUID = syntax
        save(datasets, tmp_path)
        with raises("unsupported", tmp_path / "IM", match=rf"{syntax.name[:8]}.*Decompress the series"):
            read(tmp_path)


class TestRefusals:
    def test_a_missing_slice(self, tmp_path):
        paths = save(slices_of(STORED, oblique()), tmp_path)
        paths[2].unlink()
        with raises("missing-file", paths[3], match=rf"misses 1 slice between this and {paths[1].name}.*5 mm.*2\.5 mm"):
            read(tmp_path)

    def test_two_slices_at_one_place(self, tmp_path):
        datasets = slices_of(STORED, oblique())
        datasets[3].ImagePositionPatient = datasets[2].ImagePositionPatient
        save(datasets, tmp_path)
        with raises("unsupported", tmp_path / "IM", match="time points or echoes"):
            read(tmp_path)

    def test_unequal_distances(self, tmp_path):
        datasets = slices_of(STORED, np.diag([1.0, 1.0, 2.0, 1.0]))
        position = list(datasets[2].ImagePositionPatient)
        datasets[2].ImagePositionPatient = [*position[:2], float(position[2]) + 0.6]
        paths = save(datasets, tmp_path)
        with raises("unsupported", paths[2], match=r"lies 0\.6 mm from"):
            read(tmp_path)

    @pytest.mark.parametrize(
        ("keyword", "value"),
        [("ImageOrientationPatient", [1, 0, 0, 0, 1, 0]), ("PixelSpacing", [2, 2]), ("Rows", 6)],
    )
    def test_slices_that_differ(self, tmp_path, keyword, value):
        datasets = slices_of(STORED, oblique())
        setattr(datasets[4], keyword, value)
        save(datasets, tmp_path)
        with raises("mismatch", tmp_path, match="another size, spacing or direction"):
            read(tmp_path)

    @pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
    def test_a_slice_without_a_place(self, tmp_path, keyword):
        datasets = slices_of(STORED, oblique())
        for dataset in datasets:
            dataset[keyword].value = None
        paths = save(datasets, tmp_path)
        with raises("missing-value", sorted(paths)[0], match=f"has no {keyword}"):
            read(tmp_path)

    def test_a_truncated_file(self, tmp_path):
        paths = save(slices_of(STORED, oblique()), tmp_path)
        paths[1].write_bytes(paths[1].read_bytes()[:-40])
        with raises("damaged", paths[1]):
            read(tmp_path).read()


def test_one_slice_is_a_volume_as_thick_as_its_header_says(tmp_path):
    save(slices_of(STORED[..., :1], oblique()), tmp_path)
    series = read(tmp_path)
    assert series.grid.shape == (11, 7, 1)
    np.testing.assert_allclose(series.grid.affine, oblique(), atol=1e-5)


def test_slices_of_a_tilted_gantry_keep_their_shift(tmp_path):
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[1, 2] = 0.8
    save(slices_of(STORED, affine, SliceThickness="3"), tmp_path)
    np.testing.assert_allclose(read(tmp_path).grid.affine, affine, atol=1e-6)
