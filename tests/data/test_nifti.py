from __future__ import annotations

import gzip
import struct
import tracemalloc

import nibabel
import numpy as np
import psutil
import pytest
import SimpleITK
from refusals import raises

from segmend.core.errors import InputError
from segmend.data import nifti
from segmend.data.image import read_grid, read_image, read_label, write_label, write_map

AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])
VOXELS = np.arange(120, dtype=np.int16).reshape(6, 5, 4)
PLAIN = nibabel.Nifti1Image(VOXELS, AFFINE).to_bytes()


@pytest.fixture
def file(tmp_path):
    """Writes a NIfTI file whose header is changed at some bytes."""

    def write(changes=(), *, content=PLAIN, name="scan.nii"):
        scan = bytearray(content)
        for at, form, *values in changes:
            scan[at : at + struct.calcsize(form)] = struct.pack(form, *values)
        path = tmp_path / name
        path.write_bytes(gzip.compress(scan) if name.endswith(".gz") else scan)
        return path

    return write


class TestVoxels:
    @pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5), (6, 5, 4, 1), (7, 1, 1)])
    @pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", ">u4", "<i8", "<f4", ">f4", ">f8"])
    @pytest.mark.parametrize("scale", [None, (2, -1000), (0.003921569, 0.25)])
    def test_they_are_what_nibabel_reads(self, file, monkeypatch, shape, dtype, scale):
        monkeypatch.setattr(nifti, "_PIECE_BYTES", 64)  # so that there are several pieces
        values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
        header = nibabel.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
        header.set_data_dtype(np.dtype(dtype))
        image = nibabel.Nifti1Image(values, AFFINE, header)
        path = file([(112, header.endianness + "2f", *scale)] if scale else [], content=image.to_bytes())
        expected = np.asarray(nibabel.load(path).dataobj).reshape(shape[:3]).astype(np.float32)
        assert read_image(path)[0].tobytes() == expected.tobytes()
        assert read_image(path)[0].dtype.isnative

    def test_a_big_endian_label_is_native(self, file):
        header = nibabel.Nifti1Header(endianness=">")
        label, _ = read_label(file(content=nibabel.Nifti1Image(VOXELS.astype(">i2"), AFFINE, header).to_bytes()))
        assert label.dtype.isnative
        np.testing.assert_array_equal(label, VOXELS)

    def test_nifti_2_is_read(self, file):
        path = file(content=nibabel.Nifti2Image(VOXELS, AFFINE).to_bytes())
        np.testing.assert_array_equal(read_image(path)[0][0], VOXELS)

    @pytest.mark.parametrize("slope", [0.0, float("nan"), float("inf")])
    def test_a_slope_that_means_nothing_is_not_applied(self, file, slope):
        np.testing.assert_array_equal(read_image(file([(112, "<2f", slope, 0)]))[0][0], VOXELS)

    def test_labels_keep_large_values(self, file):
        values = np.zeros((3, 3, 3), dtype=np.int64)
        values[1, 2, 0] = 2**40 + 1
        label, _ = read_label(file(content=nibabel.Nifti1Image(values, AFFINE, dtype=np.int64).to_bytes()))
        assert label[1, 2, 0] == 2**40 + 1

    def test_a_scale_that_misses_whole_numbers_by_rounding(self, file):
        stored = nibabel.Nifti1Image((VOXELS % 2 * 255).astype(np.uint8), AFFINE).to_bytes()
        path = file([(112, "<2f", 1 / 255, 0)], content=stored)
        assert set(np.unique(np.asarray(nibabel.load(path).dataobj)) % 1) != {0}
        np.testing.assert_array_equal(read_label(path)[0], VOXELS % 2)

    def test_a_file_of_zeros_takes_no_memory(self, tmp_path):
        shape = (1000, 500, 300)
        header = nibabel.Nifti1Header()
        header.set_data_shape(shape)
        header.set_data_dtype(np.uint8)
        header["vox_offset"] = 352
        with gzip.open(tmp_path / "scan.nii.gz", "wb", 1) as stream:
            stream.write(header.binaryblock + bytes(4))
            for _ in range(shape[2]):
                stream.write(bytes(shape[0] * shape[1]))
        process = psutil.Process()
        before = process.memory_info().rss
        image, _ = read_image(tmp_path / "scan.nii.gz")
        assert image.shape == (1, *shape)
        assert process.memory_info().rss - before < 300e6  # of 600e6 that the array could hold
        assert not image[0, ::100, ::100].any()


class TestContainer:
    def test_compressed_or_not_whatever_the_name_says(self, tmp_path):
        (tmp_path / "packed.nii").write_bytes(gzip.compress(PLAIN))
        (tmp_path / "plain.nii.gz").write_bytes(PLAIN)
        for name in ("packed.nii", "plain.nii.gz"):
            np.testing.assert_array_equal(read_image(tmp_path / name)[0][0], VOXELS)
            assert read_grid(tmp_path / name).shape == VOXELS.shape
            write_label(tmp_path / "label.nii.gz", VOXELS, like=tmp_path / name)
            np.testing.assert_array_equal(read_label(tmp_path / "label.nii.gz")[0], VOXELS)

    def test_compressed_twice(self, tmp_path):
        (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(gzip.compress(PLAIN)))
        with raises("unsupported"):
            read_image(tmp_path / "scan.nii.gz")

    def test_several_gzip_members_and_padding_are_legal(self, tmp_path):
        packed = gzip.compress(PLAIN[:300]) + gzip.compress(PLAIN[300:]) + bytes(512)
        (tmp_path / "scan.nii.gz").write_bytes(packed)
        np.testing.assert_array_equal(read_image(tmp_path / "scan.nii.gz")[0][0], VOXELS)


class TestClaims:
    @pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param([(70, "<2h", 2, 8)], id="a smaller type"),
            pytest.param([(42, "<h", 3)], id="half of it"),
            pytest.param([(40, "<h", 2)], id="the first slice"),
        ],
    )
    def test_more_than_the_header_says(self, file, name, changes):
        for read in (read_image, read_label):
            with pytest.raises(InputError, match=rf"{name}: cannot be read: it holds more"):
                read(file(changes, name=name))

    @pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
    @pytest.mark.parametrize("changes", [[(70, "<2h", 16, 32)], [(42, "<h", 60)], [(108, "<f", 368)]])
    def test_less_than_the_header_says(self, file, name, changes):
        with pytest.raises(InputError, match="cannot be read; it is damaged, truncated"):
            read_image(file(changes, name=name))

    @pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
    @pytest.mark.parametrize("sides", [(30000, 30000, 30000), (2000, 1500, 1000)])
    def test_no_memory_is_taken_for_claims(self, file, name, sides):
        path = file([(42, "<3h", *sides)], name=name)
        for read in (read_image, read_label, read_grid):
            tracemalloc.start()
            with raises("damaged"):
                read(path)
            assert tracemalloc.get_traced_memory()[1] < 2e6
            tracemalloc.stop()

    @pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
    @pytest.mark.parametrize("offset", [0, -352, 348, 351, 352.5, float("inf"), float("nan"), 3e38])
    def test_voxels_start_behind_the_header(self, file, name, offset):
        for read in (read_image, read_grid):
            with pytest.raises(InputError, match=rf"{name}: cannot be read"):
                read(file([(108, "<f", offset)], name=name))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            pytest.param([(344, "<4s", b"ni1\0")], "header of a pair of files", id="a pair"),
            pytest.param([(344, "<4s", bytes(4))], "no NIfTI signature", id="Analyze"),
            pytest.param([(40, "<h", 0)], "usable shape", id="no dimension"),
            pytest.param([(40, "<h", 8)], "usable shape", id="eight dimensions"),
            pytest.param([(42, "<h", 0)], "usable shape", id="an empty side"),
            pytest.param([(42, "<h", -6)], "usable shape", id="a negative side"),
            pytest.param([(112, "<2f", 2, float("nan"))], "intercept nan", id="no intercept"),
            pytest.param([(123, "<B", 5)], "spatial unit has the code 5", id="an unknown unit"),
            pytest.param([(280, "<f", 9e4)], r"voxel spacing of 9e\+04", id="an impossible spacing"),
        ],
    )
    def test_a_header_that_makes_no_sense(self, file, changes, said):
        for read in (read_image, read_grid):
            with pytest.raises(InputError, match=said):
                read(file(changes))


class TestPlace:
    @pytest.mark.parametrize(("unit", "factor", "name"), [(1, 1000, "metres"), (3, 0.001, "micrometres")])
    def test_other_units_are_converted_and_said(self, file, tmp_path, unit, factor, name):
        scan = file([(123, "<B", unit | 8)])
        grid = read_grid(scan)
        np.testing.assert_allclose(grid.spacing, np.array([1, 1, 1.5]) * factor)
        assert grid.assumptions == (f"is in {name}, which were converted to mm",)
        np.testing.assert_allclose(SimpleITK.ReadImage(str(scan)).GetSpacing(), grid.spacing)
        write_label(tmp_path / "label.nii", VOXELS, like=scan)
        assert nibabel.load(tmp_path / "label.nii").header["xyzt_units"] == unit | 8
        assert read_grid(tmp_path / "label.nii").distance(grid) == 0
        write_label(tmp_path / "label.mha", VOXELS, like=scan)
        assert read_grid(tmp_path / "label.mha").distance(grid) < 1e-3 * factor

    @pytest.mark.parametrize("unit", [0, 2])
    def test_no_unit_is_mm(self, file, unit):
        grid = read_grid(file([(123, "<B", unit)]))
        assert (grid.spacing, grid.assumptions) == ((1, 1, 1.5), ())

    def test_without_a_place_the_spacing_counts_and_that_is_said(self, file):
        grid = read_grid(file([(252, "<2h", 0, 0)]))
        assert grid.spacing == (1, 1, 1.5)
        assert "qform_code and sform_code are 0" in grid.assumptions[0]

    @pytest.mark.parametrize("code", [0, 1])
    @pytest.mark.parametrize("step", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_spacing_that_is_needed_must_be_positive(self, file, code, step):
        with raises("damaged"):
            read_grid(file([(252, "<2h", code, 0), (80, "<f", step)]))

    def test_a_spacing_that_is_not_needed_may_be_missing(self, file):
        assert read_grid(file([(80, "<f", 0)])).spacing == (1, 1, 1.5)

    @pytest.mark.parametrize("sform", [(0, 0, 0, 0), (float("nan"), 0, 0, 0)])
    def test_of_an_unusable_sform_the_qform_is_the_remedy(self, file, sform):
        changes = [(280, "<4f", *sform)]
        with raises("damaged"):
            read_grid(file(changes))
        grid = read_grid(file([*changes, (252, "<h", 1)]))
        assert grid.spacing == (1, 1, 1.5)
        assert "so its qform was used" in grid.assumptions[0]

    def test_rounding_is_no_shear(self, file):
        assert read_grid(file([(284, "<f", 1e-3)])).assumptions == ()


class TestWriting:
    def test_byte_order_and_extensions_are_kept(self, tmp_path, file):
        header = nibabel.Nifti1Header(endianness=">")
        header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"seen by two readers"))
        scan = file(content=nibabel.Nifti1Image(VOXELS.astype(">f4"), AFFINE, header).to_bytes())
        write_label(tmp_path / "label.nii.gz", VOXELS, like=scan)
        label = nibabel.load(tmp_path / "label.nii.gz")
        assert label.header.endianness == ">"
        assert label.header.extensions[0].get_content().startswith(b"seen by two readers")
        np.testing.assert_array_equal(read_label(tmp_path / "label.nii.gz")[0], VOXELS)

    def test_nifti_2_stays_nifti_2(self, tmp_path, file):
        scan = file(content=nibabel.Nifti2Image(VOXELS, AFFINE).to_bytes())
        write_map(tmp_path / "map.nii.gz", VOXELS / 7, like=scan)
        assert isinstance(nibabel.load(tmp_path / "map.nii.gz"), nibabel.Nifti2Image)
        np.testing.assert_array_equal(read_image(tmp_path / "map.nii.gz")[0][0], (VOXELS / 7).astype(np.float32))
