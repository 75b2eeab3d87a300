from __future__ import annotations

import contextlib
import errno
import gzip
import resource
import struct
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from segmend.core.errors import InputError
from segmend.data.image import (
    ENDINGS,
    PICTURES,
    Grid,
    case_name,
    is_image_file,
    read_grid,
    read_image,
    read_label,
    write_label,
    write_map,
)

PLACED = [ending for ending in ENDINGS if ending not in PICTURES]
ALL = [(ending, 3) for ending in PLACED] + [(ending, 2) for ending in ENDINGS]


def peak_memory() -> float:
    """Most bytes that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def oblique(dimensions: int) -> np.ndarray:
    """A rotated affine with different spacings and an origin; in 2D the rotation stays in the plane."""
    turn, tilt = np.deg2rad(20), np.deg2rad(35 if dimensions == 3 else 0)
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag([0.7, 0.9, 2.5 if dimensions == 3 else 1])
    affine[:3, 3] = [-31.5, 12.25, 80.0 if dimensions == 3 else 0]
    return affine


def voxels(dimensions: int) -> np.ndarray:
    """Different along every axis, so that no transposition can go unseen."""
    shape = (7, 6, 5)[:dimensions]
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


class TestReading:
    @pytest.mark.parametrize(("ending", "dimensions"), ALL)
    def test_axes_are_in_x_y_z_order(self, tmp_path, write_scan, ending, dimensions):
        path = write_scan(tmp_path / f"scan{ending}", voxels(dimensions))
        image, grid = read_image(path)
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, voxels(dimensions)[None])
        np.testing.assert_array_equal(read_label(path)[0], voxels(dimensions))
        assert grid.shape == image.shape[1:]
        assert grid.dimensions == dimensions

    @pytest.mark.parametrize("dimensions", [2, 3])
    @pytest.mark.parametrize("ending", PLACED)
    def test_an_oblique_affine_is_read(self, tmp_path, write_scan, ending, dimensions):
        path = write_scan(tmp_path / f"scan{ending}", voxels(dimensions), oblique(dimensions))
        for grid in (read_grid(path), read_image(path)[1], read_label(path)[1]):
            np.testing.assert_allclose(grid.affine, oblique(dimensions), atol=1e-5)
            np.testing.assert_allclose(grid.spacing, (0.7, 0.9, 2.5)[:dimensions], atol=1e-6)

    def test_scaled_intensities_are_in_their_unit(self, tmp_path):
        scan = bytearray(nibabel.Nifti1Image(voxels(3), np.eye(4)).to_bytes())
        scan[112:120] = struct.pack("<2f", 2, -1000)  # slope and intercept
        (tmp_path / "ct.nii").write_bytes(scan)
        np.testing.assert_array_equal(read_image(tmp_path / "ct.nii")[0][0], 2.0 * voxels(3) - 1000)

    def test_a_trailing_axis_of_one_is_dropped(self, tmp_path):
        nibabel.save(nibabel.Nifti1Image(voxels(3)[..., None], np.eye(4)), tmp_path / "scan.nii.gz")
        assert read_image(tmp_path / "scan.nii.gz")[1].shape == (7, 6, 5)

    def test_colours_are_channels(self, tmp_path):
        colours = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)  # y, x, colour
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(colours, isVector=True), str(tmp_path / "photo.png"))
        image, grid = read_image(tmp_path / "photo.png")
        assert grid.shape == (4, 5)
        np.testing.assert_array_equal(image, colours.transpose(2, 1, 0))

    @pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64])
    def test_labels_of_whole_numbers_are_integers(self, tmp_path, write_scan, dtype):
        label = write_scan(tmp_path / "label.nii.gz", voxels(3).astype(dtype))
        values, _ = read_label(label)
        assert np.issubdtype(values.dtype, np.integer)
        np.testing.assert_array_equal(values, voxels(3))

    @pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
    @pytest.mark.parametrize("noise", [1e-7, -1e-7, 9e-4])
    def test_labels_that_miss_whole_numbers_by_rounding_are_rounded(self, tmp_path, write_scan, ending, noise):
        path = write_scan(tmp_path / f"label{ending}", voxels(3) + noise)
        np.testing.assert_array_equal(read_label(path)[0], voxels(3))

    def test_small_fractions_alone_are_no_label(self, tmp_path, write_scan):
        path = write_scan(tmp_path / "label.nii.gz", voxels(3) * 1e-6)
        with pytest.raises(InputError, match=r"not whole numbers, but fractions below 0\.001 only"):
            read_label(path)

    def test_the_first_fraction_and_its_voxel_are_named(self, tmp_path, write_scan):
        array = voxels(3).astype(np.float32)
        array[1, 2, 3] += 0.25
        path = write_scan(tmp_path / "label.mha", array)
        with pytest.raises(InputError, match=rf"such as {array[1, 2, 3]:g} at voxel \(1, 2, 3\)\. Save the label"):
            read_label(path)

    @pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e300])
    def test_labels_of_other_numbers_are_refused(self, tmp_path, write_scan, value):
        array = voxels(3).astype(np.float64)
        array[1, 2, 3] = value
        path = write_scan(tmp_path / "label.nii.gz", array)
        with pytest.raises(InputError, match=r"label\.nii\.gz: holds values that are not whole numbers.*as integers"):
            read_label(path)

    def test_intensities_beyond_float32_become_infinite(self, tmp_path, write_scan):
        path = write_scan(tmp_path / "scan.nii.gz", np.full((3, 3, 3), 1e300))
        assert np.isinf(read_image(path)[0]).all()


class TestRefusing:
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_missing_file(self, tmp_path, ending):
        for read in (read_image, read_label, read_grid):
            with pytest.raises(InputError, match=f"scan{ending}: does not exist"):
                read(tmp_path / f"scan{ending}")

    def test_an_unknown_ending(self, tmp_path):
        (tmp_path / "scan.dcm").touch()
        with pytest.raises(InputError, match=r"scan\.dcm: has an ending that is not read\. Convert it to one of \.nii"):
            read_image(tmp_path / "scan.dcm")

    @pytest.mark.parametrize("share", [0, 0.3, 0.9])
    @pytest.mark.parametrize(("ending", "dimensions"), ALL)
    def test_a_truncated_file(self, tmp_path, write_scan, ending, dimensions, share):
        noise = np.random.default_rng(0).integers(0, 255, (60, 50, 20)[:dimensions], dtype=np.uint8)
        path = write_scan(tmp_path / f"scan{ending}", noise)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match="cannot be read; it is damaged, truncated"):
            read_image(path)

    def test_a_compressed_file_with_one_wrong_bit(self, tmp_path, write_scan):
        noise = np.random.default_rng(0).integers(0, 255, (30, 30, 30), dtype=np.uint8)
        path = write_scan(tmp_path / "scan.nii.gz", noise)
        for position in (3000, 9000, 15000):
            damaged = bytearray(path.read_bytes())
            damaged[position] ^= 16
            (tmp_path / "damaged.nii.gz").write_bytes(damaged)
            with pytest.raises(InputError, match=r"damaged\.nii\.gz: cannot be read"):
                read_image(tmp_path / "damaged.nii.gz")

    @pytest.mark.parametrize(
        ("at", "content"),
        [
            pytest.param(108, struct.pack("<f", 128), id="data before the end of the header"),
            pytest.param(70, struct.pack("<h", 999), id="unknown data type"),
            pytest.param(42, struct.pack("<3h", 32767, 32767, 32767), id="more voxels than fit into any memory"),
            pytest.param(280, struct.pack("<f", float("nan")), id="affine is not a number"),
        ],
    )
    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    def test_an_unusable_nifti_header(self, tmp_path, ending, at, content):
        scan = bytearray(nibabel.Nifti1Image(voxels(3), np.eye(4)).to_bytes())
        scan[at : at + len(content)] = content
        path = tmp_path / f"scan{ending}"
        path.write_bytes(gzip.compress(scan) if ending == ".nii.gz" else scan)
        with pytest.raises(InputError, match=rf"scan{ending}: (cannot be read|has a header without a usable)"):
            read_image(path)

    def test_a_compressed_file_without_a_valid_stream(self, tmp_path):
        scan = bytearray(gzip.compress(nibabel.Nifti1Image(voxels(3), np.eye(4)).to_bytes()))
        scan[10] = 0b111  # a kind of block that does not exist
        (tmp_path / "scan.nii.gz").write_bytes(scan)
        with pytest.raises(InputError, match=r"scan\.nii\.gz: cannot be read"):
            read_image(tmp_path / "scan.nii.gz")

    def test_four_dimensions(self, tmp_path):
        nibabel.save(nibabel.Nifti1Image(np.zeros((5, 4, 3, 2)), np.eye(4)), tmp_path / "scan.nii.gz")
        series = SimpleITK.GetImageFromArray(np.zeros((2, 3, 4, 5)), isVector=False)
        SimpleITK.WriteImage(series, str(tmp_path / "scan.mha"))
        for name in ("scan.nii.gz", "scan.mha"):
            for read in (read_image, read_label, read_grid):
                with pytest.raises(InputError, match=rf"{name}: has 4 dimensions \(5, 4, 3, 2\)\. Split it"):
                    read(tmp_path / name)

    @pytest.mark.parametrize("ending", [".tif", ".tiff"])
    def test_a_stack_of_pictures(self, tmp_path, write_scan, ending):
        path = write_scan(tmp_path / f"scan{ending}", voxels(3))
        with pytest.raises(InputError, match=r"is a stack of pictures without a voxel spacing\. Convert it"):
            read_grid(path)

    def test_nifti_colours_and_complex_numbers(self, tmp_path):
        colours = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
        for array in (colours, np.zeros((4, 4, 4), dtype=np.complex64)):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "scan.nii.gz")
            for read in (read_image, read_label):
                with pytest.raises(
                    InputError, match=r"holds colours or complex numbers\. Save it with one plain number"
                ):
                    read(tmp_path / "scan.nii.gz")

    def test_a_label_in_colours(self, tmp_path):
        colours = SimpleITK.GetImageFromArray(np.zeros((5, 4, 3), dtype=np.uint8), isVector=True)
        SimpleITK.WriteImage(colours, str(tmp_path / "label.png"))
        with pytest.raises(InputError, match=r"label\.png: has 3 channels, a label has one\. Save it as a single"):
            read_label(tmp_path / "label.png")


class TestGarbage:
    """Whatever bytes a file holds, reading it ends in voxels or in an InputError."""

    @staticmethod
    def read_all(path):
        for read in (read_image, read_label, read_grid):
            with contextlib.suppress(InputError):
                read(path)

    @pytest.mark.parametrize("ending", ENDINGS)
    @given(content=st.binary(max_size=400))
    def test_random_bytes(self, tmp_path, ending, content):
        path = tmp_path / f"scan{ending}"
        path.write_bytes(content)
        with pytest.raises(InputError):
            read_image(path)
        self.read_all(path)

    @pytest.mark.parametrize("ending", ENDINGS)
    @given(damage=st.dictionaries(st.integers(0, 351), st.integers(0, 255), min_size=1, max_size=6))
    def test_damaged_files(self, tmp_path, write_scan, ending, damage):
        path = write_scan(tmp_path / f"scan{ending}", voxels(2))
        content = bytearray(gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes())
        for position, byte in damage.items():
            content[position % len(content)] = byte
        path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
        self.read_all(path)


class TestMutations:
    """Files of which some bytes were changed, left out or put in: whole arrays or an InputError, and no more memory."""

    MUTATIONS = 90
    LARGEST_RATIO = 4096

    @staticmethod
    def mutated(content, random):
        content = bytearray(content)
        head = min(len(content), 400)
        match random.integers(5):
            case 0:  # single bytes, most of them in the header
                for position in random.integers(
                    0, head if random.random() < 0.8 else len(content), random.integers(1, 9)
                ):
                    content[position] = random.integers(256)
            case 1:
                del content[random.integers(len(content)) :]
            case 2:
                position = int(random.integers(len(content)))
                content[position:position] = random.bytes(int(random.integers(1, 40)))
            case 3:
                position = int(random.integers(len(content)))
                del content[position : position + int(random.integers(1, 40))]
            case 4:  # numbers that break programs
                number = random.choice([0, -1, 1, 2**15 - 1, 2**31 - 1, 2**16])
                form = random.choice(["<i", ">i", "<h", ">h"])
                value = int(np.array(number).astype(form[1].replace("i", "i4").replace("h", "i2")))
                struct.pack_into(form, content, int(random.integers(max(1, min(len(content) - 8, head)))), value)
        return bytes(content)

    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_reading_ends_in_voxels_or_an_error(self, tmp_path, write_scan, ending, packed):
        path = write_scan(tmp_path / f"scan{ending}", voxels(2 if ending in PICTURES else 3) % 3)
        whole = path.read_bytes()
        if packed and ending == ".nii.gz":
            whole = gzip.decompress(whole)
        random = np.random.default_rng([*ending.encode(), packed])
        before = peak_memory()
        read = 0
        for _ in range(self.MUTATIONS):
            content = self.mutated(whole, random)
            path.write_bytes(gzip.compress(content) if packed and ending.startswith(".nii") else content)
            for function in (read_image, read_label, read_grid):
                with contextlib.suppress(InputError):
                    result = function(path)
                    grid = result if isinstance(result, Grid) else result[1]
                    assert np.isfinite(grid.affine).all()
                    assert np.prod(grid.shape) < self.LARGEST_RATIO * (path.stat().st_size + 2**16)
                    if isinstance(result, tuple):
                        assert result[0].shape[-grid.dimensions :] == grid.shape
                        assert result[0].dtype.isnative
                        read += 1
        assert read > 0 or ending in (".png", ".nii.gz")  # which have checksums
        assert peak_memory() - before < 300e6


class TestWriting:
    @pytest.mark.parametrize(("ending", "dimensions"), ALL)
    def test_labels_lie_where_the_scan_lies(self, tmp_path, write_scan, ending, dimensions):
        affine = oblique(dimensions) if ending in PLACED else np.eye(4)
        scan = write_scan(tmp_path / f"scan{ending}", voxels(dimensions) + 40, affine)
        before = scan.read_bytes()
        write_label(tmp_path / f"label{ending}", voxels(dimensions), like=scan)
        label, grid = read_label(tmp_path / f"label{ending}")
        assert label.dtype == np.uint8
        np.testing.assert_array_equal(label, voxels(dimensions))
        np.testing.assert_allclose(grid.affine, read_grid(scan).affine, atol=1e-5)
        assert scan.read_bytes() == before

    @pytest.mark.parametrize("ending", PLACED)
    def test_other_programs_see_the_label_there_too(self, tmp_path, write_scan, ending):
        scan = write_scan(tmp_path / f"scan{ending}", voxels(3), oblique(3))
        write_label(tmp_path / f"label{ending}", voxels(3), like=scan)
        label = SimpleITK.ReadImage(str(tmp_path / f"label{ending}"))
        corner = oblique(3) @ [6, 5, 4, 1]
        np.testing.assert_allclose(
            label.TransformIndexToPhysicalPoint((6, 5, 4)), [-corner[0], -corner[1], corner[2]], atol=1e-4
        )
        assert label[6, 5, 4] == voxels(3)[6, 5, 4]

    @pytest.mark.parametrize(("of_scan", "of_label"), [(".nrrd", ".nii.gz"), (".nii.gz", ".mha")])
    def test_a_label_may_have_another_format_than_its_scan(self, tmp_path, write_scan, of_scan, of_label):
        scan = write_scan(tmp_path / f"scan{of_scan}", voxels(3), oblique(3))
        write_label(tmp_path / f"label{of_label}", voxels(3), like=scan)
        label, grid = read_label(tmp_path / f"label{of_label}")
        np.testing.assert_array_equal(label, voxels(3))
        assert grid.distance(read_grid(scan)) < 1e-3

    def test_nifti_headers_are_kept(self, tmp_path):
        scan = nibabel.Nifti1Image(voxels(3).astype(np.int16), oblique(3))
        scan.set_qform(oblique(3), code=1)
        scan.set_sform(oblique(3) + np.diag([0, 0, 0.01, 0]), code=4)
        scan.header.set_xyzt_units("mm", "sec")
        scan.header["descrip"] = b"centre 3"
        scan.header["cal_max"] = 400
        nibabel.save(scan, tmp_path / "scan.nii.gz")
        write_label(tmp_path / "label.nii.gz", voxels(3), like=tmp_path / "scan.nii.gz")
        given, written = (nibabel.load(tmp_path / name).header for name in ("scan.nii.gz", "label.nii.gz"))
        fields = ("qform_code", "sform_code", "pixdim", "xyzt_units", "descrip", "quatern_b", "qoffset_x", "srow_z")
        for field in fields:
            np.testing.assert_array_equal(written[field], given[field], err_msg=field)
        assert written.get_data_dtype() == np.uint8
        assert written["cal_max"] == 0

    def test_the_scale_of_the_scan_is_not_applied_to_the_label(self, tmp_path):
        scan = nibabel.Nifti1Image(np.random.default_rng(0).normal(size=(7, 6, 5)), np.eye(4))
        scan.set_data_dtype(np.int16)  # stored with a slope
        nibabel.save(scan, tmp_path / "scan.nii")
        assert nibabel.load(tmp_path / "scan.nii").dataobj.slope != 1
        write_label(tmp_path / "label.nii", voxels(3), like=tmp_path / "scan.nii")
        np.testing.assert_array_equal(read_label(tmp_path / "label.nii")[0], voxels(3))

    def test_a_trailing_axis_of_one_is_kept(self, tmp_path):
        nibabel.save(nibabel.Nifti1Image(voxels(3)[..., None], np.eye(4)), tmp_path / "scan.nii.gz")
        write_label(tmp_path / "label.nii.gz", voxels(3), like=tmp_path / "scan.nii.gz")
        assert nibabel.load(tmp_path / "label.nii.gz").shape == (7, 6, 5, 1)

    @pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd", ".png"])
    def test_large_values_get_sixteen_bits(self, tmp_path, write_scan, ending):
        scan = write_scan(tmp_path / f"scan{ending}", voxels(2))
        write_label(tmp_path / f"label{ending}", voxels(2).astype(np.int64) * 7, like=scan)
        label, _ = read_label(tmp_path / f"label{ending}")
        assert label.dtype == np.uint16
        np.testing.assert_array_equal(label, voxels(2).astype(int) * 7)

    @pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
    @pytest.mark.parametrize("value", [-1, 65_536, 2**31 - 1, 2**40])
    def test_all_values_are_kept(self, tmp_path, write_scan, ending, value):
        scan = write_scan(tmp_path / f"scan{ending}", voxels(3))
        label = voxels(3).astype(np.int64)
        label[2, 1, 0] = value
        write_label(tmp_path / f"label{ending}", label, like=scan)
        np.testing.assert_array_equal(read_label(tmp_path / f"label{ending}")[0], label)

    @pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mha", ".nrrd", ".tif"])
    def test_maps_keep_their_fractions(self, tmp_path, write_scan, ending):
        scan = write_scan(tmp_path / f"scan{ending}", voxels(2))
        values = np.linspace(0, 1, 42).reshape(7, 6)
        write_map(tmp_path / f"map{ending}", values, like=scan)
        np.testing.assert_array_equal(read_image(tmp_path / f"map{ending}")[0][0], values.astype(np.float32))

    def test_a_format_without_fractions_says_so(self, tmp_path, write_scan):
        scan = write_scan(tmp_path / "scan.png", voxels(2))
        with pytest.raises(InputError, match=r"map\.png: cannot be written \(PNG supports unsigned.*that the format"):
            write_map(tmp_path / "map.png", np.zeros((7, 6)), like=scan)
        assert list(tmp_path.iterdir()) == [scan]

    def test_another_shape_is_a_mistake(self, tmp_path, write_scan):
        scan = write_scan(tmp_path / "scan.nii.gz", voxels(3))
        with pytest.raises(ValueError, match=r"shape \(5, 6, 7\) does not lie on the grid of .*scan\.nii\.gz"):
            write_label(tmp_path / "label.nii.gz", voxels(3).T, like=scan)
        assert list(tmp_path.iterdir()) == [scan]

    def test_a_full_disk_leaves_the_old_label(self, tmp_path, write_scan, monkeypatch):
        def save_half(image, path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        def write_nothing(*arguments, **options):
            raise RuntimeError("Exception thrown in SimpleITK\nReason: No space left on device\n")

        files = [write_scan(tmp_path / f"label{ending}", voxels(3)) for ending in (".nii.gz", ".mha")]
        old = [file.read_bytes() for file in files]
        monkeypatch.setattr(nibabel, "save", save_half)
        monkeypatch.setattr(SimpleITK, "WriteImage", write_nothing)
        for file, message in zip(files, ("the disk is full", "No space left on device"), strict=True):
            with pytest.raises(InputError, match=f"{file.name}: .*{message}"):
                write_label(file, voxels(3), like=file)
        assert [file.read_bytes() for file in files] == old
        assert sorted(tmp_path.iterdir()) == sorted(files)


class TestNames:
    @pytest.mark.parametrize(
        ("file", "name"),
        [("a.nii.gz", "a"), ("a.nii", "a"), ("a.b.mha", "a.b"), ("scan.NII.GZ", "scan"), ("a.nii.png", "a.nii")],
    )
    def test_case_name_drops_the_ending(self, tmp_path, file, name):
        assert case_name(tmp_path / file) == name

    def test_case_name_of_other_files(self, tmp_path):
        with pytest.raises(InputError, match=r"notes\.txt"):
            case_name(tmp_path / "notes.txt")

    def test_hidden_and_other_files_are_no_images(self, tmp_path):
        names = ["a.nii.gz", "B.PNG", "._a.nii.gz", "notes.txt", "nii.gz"]
        assert [name for name in names if is_image_file(tmp_path / name)] == ["a.nii.gz", "B.PNG"]
