from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from refusals import raises

from segmend.core.errors import InputError
from segmend.data.image import read_grid, read_image, read_label

LABEL = (np.arange(12, dtype=np.uint8) % 3).reshape(3, 4)  # y, x
ROWS = b"".join(b"\0" + bytes(row) for row in LABEL)
COLOURS = [0, 0, 0, 255, 0, 0, 0, 255, 0]


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, rows, *, interlaced=0, depth=8, colour=0):
    head = struct.pack(">2I5B", width, height, depth, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*content) for content in chunks)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.png"


def paletted(colours):
    picture = Image.fromarray(LABEL, mode="P")
    picture.putpalette(colours)
    return picture


def test_interlaced_pictures_are_read(path):
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    parts = [LABEL[row::down, column::right] for column, row, right, down in passes]
    rows = b"".join(b"\0" + bytes(row) for part in parts if part.size for row in part)
    path.write_bytes(png(4, 3, rows, interlaced=1))
    np.testing.assert_array_equal(read_label(path)[0], LABEL.T)


class TestPalettes:
    def test_the_indices_are_the_label_and_the_colours_the_image(self, path):
        paletted(COLOURS).save(path)
        np.testing.assert_array_equal(read_label(path)[0], LABEL.T)
        np.testing.assert_array_equal(read_image(path)[0], np.array(COLOURS).reshape(3, 3)[LABEL].T)

    def test_a_transparent_background_does_not_change_the_label(self, path):
        paletted(COLOURS).save(path, transparency=0)
        np.testing.assert_array_equal(read_label(path)[0], LABEL.T)

    def test_greys_that_are_the_indices(self, path):
        paletted([0, 0, 0, 1, 1, 1, 2, 2, 2]).save(path)
        np.testing.assert_array_equal(read_label(path)[0], LABEL.T)

    def test_greys_that_might_be_meant_instead(self, path):
        paletted([0, 0, 0, 128, 128, 128, 255, 255, 255]).save(path)
        with raises("unsupported"):
            read_label(path)


class TestTransparency:
    @pytest.mark.parametrize(("mode", "channels"), [("LA", 1), ("RGBA", 3)])
    def test_a_constant_alpha_channel_is_left_out(self, path, mode, channels):
        Image.fromarray(LABEL * 100).convert(mode).save(path)
        np.testing.assert_array_equal(read_image(path)[0], np.stack([LABEL.T * 100] * channels))

    @pytest.mark.parametrize("channels", [1, 3])
    def test_another_alpha_channel_is_refused(self, path, channels):
        Image.fromarray(np.dstack([LABEL * 100] * channels + [LABEL])).save(path)
        with raises("unsupported"):
            read_image(path)

    def test_a_transparent_grey_is_refused(self, path):
        Image.fromarray(LABEL).save(path, transparency=0)
        with raises("unsupported"):
            read_label(path)


class TestClaims:
    def test_a_made_file_is_read(self, path):
        path.write_bytes(png(4, 3, ROWS))
        np.testing.assert_array_equal(read_label(path)[0], LABEL.T)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            pytest.param(png(4, 2, ROWS), "it holds more than the 10 bytes", id="fewer rows"),
            pytest.param(png(4, 5, ROWS), "describes 25 bytes, but it holds 15", id="more rows"),
            pytest.param(png(4, 3, ROWS) + b"tail", "goes on behind the end", id="a tail"),
            pytest.param(png(4, 3, ROWS)[:-6], "damaged, truncated", id="no end"),
            pytest.param(png(0, 3, ROWS), "damaged, truncated", id="no columns"),
            pytest.param(png(4, 3, ROWS, depth=3), "damaged, truncated", id="an unknown depth"),
        ],
    )
    def test_pixels_must_be_as_many_as_claimed(self, path, content, said):
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            read_image(path)

    def test_no_memory_is_taken_for_claims(self, path):
        path.write_bytes(png(60000, 60000, ROWS))
        for read in (read_image, read_label, read_grid):
            with pytest.raises(InputError, match="claims 3600060000 bytes of voxels, too many for"):
                read(path)

    def test_animations_and_turned_pictures_are_refused(self, path):
        picture = Image.fromarray(LABEL)
        picture.save(path, save_all=True, append_images=[Image.fromarray(LABEL[::-1])])
        with raises("unsupported"):
            read_grid(path)
        exif = Image.Exif()
        exif[274] = 6
        picture.save(path, exif=exif)
        with pytest.raises(InputError, match=r"is to be turned to be seen \(orientation 6\)"):
            read_grid(path)
