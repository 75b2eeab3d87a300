from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import raises

from segmend.data.nifti_channels import read_volumes, split_channels

OBLIQUE = np.array([[0.9, 0.2, 0, -30], [-0.2, 0.9, 0, 12], [0, 0, 3, 7], [0, 0, 0, 1.0]])


def write(path, array, affine=OBLIQUE, *, kind=nibabel.Nifti1Image, order="<"):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    nibabel.save(kind(array, affine, header), path)
    return path


@given(
    st.sampled_from(["int16", "uint8", "float32"]),
    st.sampled_from("<>"),
    st.integers(2, 4),
    st.sampled_from([".nii", ".nii.gz"]),
    st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image]),
)
def test_channels_keep_voxels_type_and_place(tmp_path, dtype, order, channels, ending, kind):
    array = np.random.default_rng(0).integers(0, 100, (5, 4, 3, channels)).astype(dtype)
    header = read_volumes(write(tmp_path / f"scan{ending}", array, kind=kind, order=order))
    assert (header.channels, header.grid.shape) == (channels, (5, 4, 3))
    places = [tmp_path / f"part_{number}{ending}" for number in range(channels)]
    split_channels(header, places)
    for number, place in enumerate(places):
        part = nibabel.load(place)
        assert part.shape == (5, 4, 3)
        assert part.get_data_dtype() == array.dtype.newbyteorder(order)
        np.testing.assert_array_equal(np.asanyarray(part.dataobj), array[..., number])
        np.testing.assert_allclose(part.affine, OBLIQUE, atol=1e-6)


def test_scale_of_the_voxels_is_kept(tmp_path):
    stored = np.arange(24, dtype=np.int16).reshape(2, 2, 3, 2)
    image = nibabel.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    image.to_filename(tmp_path / "scan.nii.gz")
    values = nibabel.load(tmp_path / "scan.nii.gz").get_fdata()
    places = [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]
    split_channels(read_volumes(tmp_path / "scan.nii.gz"), places)
    for channel, place in enumerate(places):
        np.testing.assert_allclose(nibabel.load(place).get_fdata(), values[..., channel])


def test_equal_scans_give_equal_files(tmp_path):
    array = np.ones((3, 3, 3, 2), np.uint8)
    for name in "ab":
        header = read_volumes(write(tmp_path / f"{name}.nii.gz", array))
        split_channels(header, [tmp_path / f"{name}{number}.nii.gz" for number in range(2)])
    assert (tmp_path / "a0.nii.gz").read_bytes() == (tmp_path / "b1.nii.gz").read_bytes()


def test_one_volume_is_one_channel(tmp_path):
    assert read_volumes(write(tmp_path / "scan.nii.gz", np.zeros((3, 4, 5), np.uint8))).channels == 1
    assert read_volumes(write(tmp_path / "last.nii.gz", np.zeros((3, 4, 5, 1), np.uint8))).channels == 1


def test_more_axes_are_refused(tmp_path):
    path = write(tmp_path / "scan.nii.gz", np.zeros((3, 4, 5, 2, 2), np.uint8))
    with raises("unsupported", path):
        read_volumes(path)


@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_a_truncated_file_is_found_before_anything_is_written(tmp_path, kept):
    array = np.random.default_rng(0).integers(0, 255, (8, 8, 8, 2)).astype(np.uint8)
    path = write(tmp_path / "scan.nii.gz", array)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with raises("damaged", path):
        read_volumes(path)


def test_more_voxels_than_the_header_describes(tmp_path):
    path = write(tmp_path / "scan.nii.gz", np.zeros((3, 4, 5, 2), np.uint8))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"1"))
    with raises("damaged", path):
        read_volumes(path)


def test_as_many_places_as_channels(tmp_path):
    header = read_volumes(write(tmp_path / "scan.nii.gz", np.zeros((3, 4, 5, 2), np.uint8)))
    with pytest.raises(ValueError, match="1 places for 2 channels"):
        split_channels(header, [tmp_path / "a.nii.gz"])
