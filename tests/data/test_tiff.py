from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image
from refusals import raises

from segmend.core.errors import InputError
from segmend.data.image import read_grid, read_image, read_label

PICTURE = np.random.default_rng(0).integers(0, 255, (70, 50), dtype=np.uint8)  # y, x
LABEL = (np.arange(12, dtype=np.uint8) % 3).reshape(3, 4)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.tif"


@pytest.mark.parametrize("storage", [{"tile": (16, 16)}, {"bigtiff": True}, {"rowsperstrip": 7}, {"byteorder": ">"}])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_the_way_of_storage_does_not_matter(path, storage, dtype):
    tifffile.imwrite(path, PICTURE.astype(dtype), **storage)
    np.testing.assert_array_equal(read_label(path)[0], PICTURE.T)
    assert read_image(path)[0].shape == (1, 50, 70)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_pictures_are_read(path, compression):
    Image.fromarray(PICTURE).save(path, compression=compression)
    np.testing.assert_array_equal(read_label(path)[0], PICTURE.T)


@pytest.mark.parametrize("compression", [None, "group4"])
def test_one_bit_is_0_or_1(path, compression):
    Image.fromarray(PICTURE > 99).save(path, compression=compression)
    np.testing.assert_array_equal(read_label(path)[0], PICTURE.T > 99)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_are_channels(path, planar):
    colours = np.random.default_rng(0).integers(0, 9999, (3, 5, 4), dtype=np.uint16)  # colour, y, x
    array = colours if planar == "separate" else np.moveaxis(colours, 0, -1)
    tifffile.imwrite(path, array, photometric="rgb", planarconfig=planar)
    np.testing.assert_array_equal(read_image(path)[0], colours.transpose(0, 2, 1))


def test_the_indices_of_a_palette_are_the_label_and_its_colours_the_image(path):
    picture = Image.fromarray(LABEL, mode="P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(path)
    np.testing.assert_array_equal(read_label(path)[0], LABEL.T)
    assert read_image(path)[0].shape == (3, 4, 3)


@pytest.mark.parametrize(("mode", "channels"), [("LA", 1), ("RGBA", 3)])
def test_a_constant_alpha_channel_is_left_out(path, mode, channels):
    Image.fromarray(LABEL * 100).convert(mode).save(path)
    np.testing.assert_array_equal(read_image(path)[0], np.stack([LABEL.T * 100] * channels))


def test_another_alpha_channel_is_refused(path):
    Image.fromarray(np.dstack([LABEL * 100, LABEL])).save(path)
    with raises("unsupported"):
        read_image(path)


def test_colours_of_print_and_turned_pictures_are_refused(path):
    Image.fromarray(LABEL).convert("CMYK").save(path)
    with pytest.raises(InputError, match="holds CMYK colours"):
        read_image(path)
    exif = Image.Exif()
    exif[274] = 8
    Image.fromarray(LABEL).save(path, exif=exif)
    with pytest.raises(InputError, match=r"is to be turned to be seen \(orientation 8\)"):
        read_grid(path)


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("height", [35, 90, 60000])
def test_rows_must_be_as_many_as_claimed(path, compression, height):
    Image.fromarray(PICTURE).save(path, compression=compression)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags["ImageLength"].overwrite(height)
    with raises("damaged"):
        read_image(path)
