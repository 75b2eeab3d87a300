from __future__ import annotations

import bz2
import gzip
import zlib

import numpy as np
import pytest
from refusals import raises

from segmend.core.errors import InputError
from segmend.data.image import read_grid, read_image, read_label

VOXELS = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)  # z, y, x
RAW = VOXELS.tobytes()
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = {}\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1.5\nDimSize = 6 5 4\n"
    "{}ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
)
NRRD = (
    "NRRD0004\n# a comment\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 6 5 4\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1.5)\nkinds: domain domain domain\nendian: little\nencoding: {}\n"
    "space origin: (0,0,0)\n{}\n"
)


def meta(payload=RAW, compressed=False, more="", **changes):
    """A MetaImage file; ``changes`` replace the values of fields."""
    size = f"\nCompressedDataSize = {len(payload)}" if compressed else ""
    lines = META.format(f"{compressed}{size}", more).splitlines()
    for key, value in changes.items():
        lines = [f"{key} = {value}" if line.startswith(f"{key} ") else line for line in lines]
    return "\n".join(lines).encode() + b"\n" + payload


def nrrd(payload=RAW, encoding="raw", more=""):
    return NRRD.format(encoding, more).encode() + payload


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / ("scan.nrrd" if content.startswith(b"NRRD") else "scan.mha")
        path.write_bytes(content)
        return path

    return write


WHOLE = [
    meta(),
    meta(zlib.compress(RAW), True),
    meta(VOXELS.astype(">u2").tobytes(), BinaryDataByteOrderMSB=True, ElementType="MET_USHORT"),
    nrrd(),
    nrrd(gzip.compress(RAW), "gzip"),
    nrrd(gzip.compress(RAW), "gz", "key:=value: with a colon\n"),
    nrrd(" ".join(map(str, VOXELS.ravel())).encode() + b"\n", "ascii"),
    nrrd(RAW.hex().encode(), "hex"),
]


@pytest.mark.parametrize("content", WHOLE)
def test_whole_files_are_read(file, content):
    path = file(content)
    np.testing.assert_array_equal(read_image(path)[0][0], VOXELS.transpose())
    assert read_label(path)[0].dtype.isnative
    np.testing.assert_array_equal(read_label(path)[0], VOXELS.transpose())
    np.testing.assert_allclose(read_grid(path).spacing, (1, 1, 1.5))


@pytest.mark.parametrize(
    "content",
    [
        meta(RAW + b"x"),
        meta(RAW * 2),
        meta(DimSize="3 5 4"),
        meta(VOXELS.astype("<u2").tobytes()),
        meta(zlib.compress(RAW) + b"tail", True),
        meta(zlib.compress(RAW * 2), True),
        nrrd(RAW + b"x"),
        nrrd(gzip.compress(RAW * 2), "gzip"),
        nrrd(gzip.compress(RAW) + b"tail", "gzip"),
        nrrd(" ".join(["1"] * 121).encode(), "ascii"),
    ],
)
def test_more_than_the_header_says(file, content):
    with pytest.raises(InputError, match="cannot be read: it holds more than the "):
        read_image(file(content))


@pytest.mark.parametrize(
    "content",
    [
        meta(RAW[:-1]),
        meta(DimSize="6 5 40"),
        meta(ElementType="MET_DOUBLE"),
        meta(zlib.compress(RAW[:60]), True),
        meta(zlib.compress(RAW)[:-5], True),
        nrrd(RAW[:-1]),
        nrrd(gzip.compress(RAW)[:-5], "gzip"),
        nrrd(b"1 2 3", "text"),
    ],
)
def test_less_than_the_header_says(file, content):
    with pytest.raises(InputError, match="cannot be read; it is damaged, truncated"):
        read_image(file(content))


@pytest.mark.parametrize("other", ["/etc/passwd", "LIST", "scan.raw", "slice%03d.raw 1 4 1"])
def test_voxels_in_other_files_are_not_read(file, other):
    for content in (meta(ElementDataFile=other), nrrd(more=f"data file: {other}\n"), nrrd(more=f"DataFile: {other}\n")):
        for read in (read_image, read_label, read_grid):
            with raises("unsupported"):
                read(file(content))


@pytest.mark.parametrize(
    "content",
    [
        meta().replace(b"NDims", b"ElementDataFile: /etc/passwd\nNDims"),
        meta(more="Comment = ElementDataFile = LOCAL\n", ElementDataFile="/etc/passwd"),
        meta(more="DimSize = 1 1 1\n"),
        meta(more="no sign\n"),
        meta(more="HeaderSize = 7\n"),
        meta(more="x" * 2**17 + "\n"),
        meta(zlib.compress(RAW), True, CompressedDataSize=7),
        meta(zlib.compress(RAW), True).replace(b"CompressedDataSize", b"OtherSize"),
        meta(ElementType="MET_OTHER"),
        meta(NDims="30000000000000000000000"),
        meta(DimSize="6 5 -4"),
        meta(DimSize="6 5 4 3"),
        meta(ElementSpacing="1 0 1"),
        nrrd(more="byte skip: -1\n"),
        nrrd(more="line skip: 3\n"),
        nrrd(more="sizes: 1 1 1\n"),
        nrrd(more="no sign\n"),
        nrrd(bz2.compress(RAW), "bzip2"),
        nrrd().replace(b"uint8", b"block"),
        nrrd().replace(b"(0,1,0)", b"(1,0,0)"),
        nrrd().replace(b"sizes: 6 5 4", b"sizes: 6 5 99999999999999999999"),
        nrrd()[:80],
    ],
)
def test_headers_that_are_not_believed(file, content):
    for read in (read_image, read_label, read_grid):
        with pytest.raises(InputError, match=r"scan\.(mha|nrrd): "):
            read(file(content))


@pytest.mark.parametrize(
    "content",
    [
        meta(zlib.compress(RAW), True, DimSize="30000 30000 30000"),
        nrrd(gzip.compress(RAW), "gzip").replace(b"6 5 4", b"30000 30000 30000"),
    ],
)
def test_no_memory_is_taken_for_claims(file, content):
    for read in (read_image, read_label, read_grid):
        with pytest.raises(InputError, match="claims 27000000000000 bytes of voxels, too many for"):
            read(file(content))


@pytest.mark.parametrize(
    ("content", "factor"),
    [
        (meta(more="DistanceUnits = mm\n"), 1),
        (meta(more="DistanceUnits = um\n"), 0.001),
        (nrrd(more='space units: "mm" "mm" "mm"\n'), 1),
        (nrrd(more='space units: "um" "um" "um"\n'), 0.001),
    ],
)
def test_other_units_are_converted_and_said(file, content, factor):
    grid = read_grid(file(content))
    np.testing.assert_allclose(grid.spacing, np.array([1, 1, 1.5]) * factor)
    assert grid.assumptions == (() if factor == 1 else ("is in um, which was converted to mm",))


def test_unknown_and_mixed_units_are_refused(file):
    with pytest.raises(InputError, match="its spacing is in 'furlong'"):
        read_grid(file(meta(more="DistanceUnits = furlong\n")))
    with raises("damaged"):
        read_grid(file(nrrd(more='space units: "mm" "mm" "um"\n')))


def test_several_channels_come_first(file):
    content = nrrd(np.stack([VOXELS, VOXELS + 1], -1).tobytes())
    for old, new in (
        (b"dimension: 3", b"dimension: 4"),
        (b"sizes: ", b"sizes: 2 "),
        (b"directions: ", b"directions: none "),
        (b"kinds: ", b"kinds: vector "),
    ):
        content = content.replace(old, new)
    image, grid = read_image(file(content))
    assert grid.shape == (6, 5, 4)
    np.testing.assert_array_equal(image, np.stack([VOXELS.T, VOXELS.T + 1]))
