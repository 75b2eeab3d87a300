"""MetaImage and NRRD files, which SimpleITK reads once their header has been verified.

SimpleITK allocates whatever memory a header claims, follows it to other files, and ignores left-over data; so the
header is read here first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from segmend.core.errors import InputError
from segmend.core.grid import Grid, checked_grid
from segmend.data.container import (
    FIRST_BYTES,
    META,
    NRRD,
    contradicts,
    explained,
    opened,
    require_deflated,
    require_kind,
    require_length,
    require_possible,
    unreadable,
)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_HEADER_BYTES = 2**20
_TEXT_BYTES = 2**26
_PIECE_VALUES = 2**23
_META_TYPES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_LONG", "MET_ULONG", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}
_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4
    ),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
}
_NRRD_ENCODINGS = {"raw": "raw", "hex": "hex"} | dict.fromkeys(("gzip", "gz"), "gzip")
_NRRD_ENCODINGS |= dict.fromkeys(("txt", "text", "ascii"), "text")
_LINE_BYTES = 2**16
_MM = {"": 1.0, "?": 1.0, "mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001, "µm": 0.001, "micron": 0.001}

SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # errors come as exceptions; the rest is noise on the terminal


@dataclass(frozen=True)
class _Claims:
    """What a header says about the voxels behind it."""

    values: int
    item_bytes: int
    encoding: str
    start: int
    unit: str = ""


def read_grid(path: Path) -> Grid:
    """Read the header and compare it with the size of the file.

    Raises:
        InputError: the file is missing, is of another format or cannot hold what its header claims.
    """
    unit = _require_true_header(path, thorough=False).unit
    with explained(path):
        reader = SimpleITK.ImageFileReader()
        reader.SetImageIO(_image_io(path))
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        return _grid(path, reader, unit)


def read(path: Path) -> tuple[Grid, int, np.dtype[Any], Iterator[tuple[slice, NDArray[Any]]]]:
    """Read a file as ``array_of`` does, in pieces, so that no copy of the whole is made.

    Returns:
        The grid, the number of channels, the type in the file, and its pieces as from ``planes_of``; use each piece
        before taking the next one.

    Raises:
        InputError: as ``read_grid``; the file is damaged, or holds more or less than its header says.
    """
    unit = _require_true_header(path, thorough=True).unit
    with explained(path):
        image = SimpleITK.ReadImage(str(path), imageIO=_image_io(path))
        grid = _grid(path, image, unit)
        return grid, image.GetNumberOfComponentsPerPixel(), _view(image).dtype, _pieces(image)


def array_of(image: SimpleITK.Image) -> NDArray[Any]:
    """The values of an image, ``[channels, *spatial]``."""
    return np.array(_view(image))


def planes_of(array: NDArray[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Parts of an array ``[channels, *spatial]``: the range along its last axis, and the part."""
    planes = max(1, _PIECE_VALUES // max(1, array[..., 0].size))
    for first in range(0, array.shape[-1], planes):
        where = slice(first, min(first + planes, array.shape[-1]))
        yield where, array[..., where]


def _pieces(image: SimpleITK.Image) -> Iterator[tuple[slice, NDArray[Any]]]:
    yield from planes_of(_view(image))  # the image must live as long as this runs


def _view(image: SimpleITK.Image) -> NDArray[Any]:
    """The memory of an image, which it alone keeps alive, as ``[channels, *spatial]``."""
    array = SimpleITK.GetArrayViewFromImage(image)
    if image.GetNumberOfComponentsPerPixel() == 1:
        array = array[..., None]
    return np.transpose(array)


def image_like(array: NDArray[Any], grid: Grid) -> SimpleITK.Image:
    """An image of ``[*spatial]`` that lies on a grid."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(np.transpose(array)))
    lps = LPS_TO_RAS @ grid.affine
    n = grid.dimensions
    image.SetSpacing(grid.spacing)
    image.SetOrigin(lps[:n, 3].tolist())
    image.SetDirection((lps[:n, :n] / grid.spacing).ravel().tolist())
    return image


def _image_io(path: Path) -> str:
    return "NrrdImageIO" if path.name.lower().endswith(".nrrd") else "MetaImageIO"


def _grid(path: Path, header: Any, unit: str) -> Grid:  # an image or a reader: same methods
    size = tuple(header.GetSize())
    n = len(size)
    if n not in (2, 3):
        return checked_grid(path, size, np.eye(4))
    lps = np.eye(4)
    lps[:n, :n] = np.reshape(header.GetDirection(), (n, n)) * header.GetSpacing()
    lps[:n, 3] = header.GetOrigin()
    affine, assumptions = LPS_TO_RAS @ lps, ()
    if unit.lower() not in _MM:
        raise contradicts(path, f"its spacing is in '{unit[:40]}', a unit that is not known")
    if _MM[unit.lower()] != 1:
        affine = np.diag([*[_MM[unit.lower()]] * n, *[1.0] * (4 - n)]) @ affine
        return checked_grid(path, size, affine, (f"is in {unit}, which was converted to mm",))
    return checked_grid(path, size, affine, assumptions)


def _require_true_header(path: Path, *, thorough: bool) -> _Claims:
    nrrd = path.name.lower().endswith(".nrrd")
    parse: Callable[[Path, bytes], _Claims] = _nrrd_claims if nrrd else _meta_claims
    with opened(path) as file:
        start = file.read(_HEADER_BYTES)
        require_kind(path, start[:FIRST_BYTES], NRRD if nrrd else META, named=".nrrd" if nrrd else ".mha")
        claims = parse(path, start)
        held, claimed = path.stat().st_size - claims.start, claims.values * claims.item_bytes
        file.seek(claims.start)
        if claims.encoding == "raw":
            require_length(path, claimed, held)
        elif claims.encoding in ("text", "hex"):
            _require_text(path, file, claims, held)
        elif thorough:
            require_deflated(path, file, held, claimed, 31 if claims.encoding == "gzip" else 15)
        else:
            require_possible(path, claimed, held)
        return claims


def _require_text(path: Path, file: IO[bytes], claims: _Claims, held: int) -> None:
    if held > _TEXT_BYTES:
        raise InputError(
            path, "holds more voxels as text than are read", "save it with compression", code="unsupported"
        )
    tokens = file.read().split()
    if claims.encoding == "hex":
        require_length(path, 2 * claims.values * claims.item_bytes, sum(map(len, tokens)))
    else:
        require_length(path, claims.values, len(tokens))


def _meta_claims(path: Path, start: bytes) -> _Claims:
    """The entries of ``key = value`` lines; the last one is ``ElementDataFile``."""
    fields: dict[str, str] = {}
    end = 0
    while "ElementDataFile" not in fields:
        line, newline, _ = start[end : end + _LINE_BYTES].partition(b"\n")
        key, sign, value = line.decode("latin-1").partition("=")
        key = key.strip()
        if not newline or not sign or not key or ":" in key or key in fields:
            raise unreadable(path, "its header is not a list of 'key = value' lines that ends with ElementDataFile")
        fields[key] = value.strip()
        end += len(line) + 1
    if fields["ElementDataFile"].lower() != "local":
        raise _detached(path, fields["ElementDataFile"])
    if fields.get("HeaderSize", "0") != "0":
        raise contradicts(path, "its voxels do not follow its header (HeaderSize)")
    if fields.get("ElementType") not in _META_TYPES:
        raise contradicts(path, f"its ElementType is {fields.get('ElementType', 'missing')[:40]}")
    sides = _whole_numbers(path, fields.get("DimSize", ""), fields.get("NDims", ""))
    channels = _whole_numbers(path, fields.get("ElementNumberOfChannels", "1"), "1")
    binary, compressed = (_is_true(fields.get(key, "")) for key in ("BinaryData", "CompressedData"))
    encoding = "zlib" if compressed else "raw" if binary else "text"
    if compressed:
        # SimpleITK relies on this number, and returns noise where it is missing or wrong.
        size = _whole_numbers(path, fields.get("CompressedDataSize", ""), "1")[0]
        require_length(path, size, path.stat().st_size - end)
    values = math.prod(sides) * channels[0]
    return _Claims(values, _META_TYPES[fields["ElementType"]], encoding, end, fields.get("DistanceUnits", ""))


def _nrrd_claims(path: Path, start: bytes) -> _Claims:
    fields, end = _nrrd_fields(path, start)
    if "datafile" in fields:
        raise _detached(path, fields["datafile"])
    if any(fields.get(key, "0") != "0" for key in ("lineskip", "byteskip")):
        raise contradicts(path, "its voxels do not follow its header (line skip or byte skip)")
    kind, encoding = fields.get("type", "").lower(), fields.get("encoding", "").lower()
    if kind not in _NRRD_TYPES:
        raise contradicts(path, f"its type is '{kind[:40]}'")
    if encoding not in _NRRD_ENCODINGS:
        raise InputError(
            path,
            f"has the encoding '{encoding[:40]}', which is not read",
            "save it with encoding gzip",
            code="unsupported",
        )
    sides = _whole_numbers(path, fields.get("sizes", ""), fields.get("dimension", ""))
    unit = _nrrd_unit(path, fields)
    return _Claims(math.prod(sides), _NRRD_TYPES[kind], _NRRD_ENCODINGS[encoding], end, unit)


def _nrrd_fields(path: Path, start: bytes) -> tuple[dict[str, str], int]:
    """``field: value`` lines up to the first empty one, without comments and key/value pairs; and where they end."""
    if not start.startswith(b"NRRD"):
        raise unreadable(path)
    fields: dict[str, str] = {}
    end = start.find(b"\n") + 1
    while b"\n" in start[end : end + _LINE_BYTES]:
        line = start[end : end + _LINE_BYTES].partition(b"\n")[0]
        end += len(line) + 1
        text = line.decode("latin-1").strip()
        if not text:
            return fields, end
        key, sign, value = text.partition(":")
        if text.startswith("#") or value.startswith("="):
            continue
        key = key.lower().replace(" ", "")
        if not sign or key in fields:
            raise unreadable(path, "its header is not a list of 'field: value' lines")
        fields[key] = value.strip()
    raise unreadable(path, "its header does not end")


def _nrrd_unit(path: Path, fields: dict[str, str]) -> str:
    units = set(fields.get("spaceunits", fields.get("units", "")).replace('"', " ").split()) - {"???", "none"}
    if len(units) > 1:
        raise contradicts(path, f"its axes have different units ({', '.join(sorted(units))[:80]})")
    return units.pop() if units else ""


def _whole_numbers(path: Path, text: str, count: str) -> list[int]:
    numbers = text.split()
    if not count.isdecimal() or not all(number.isdecimal() and len(number) < 20 for number in numbers):
        raise InputError(
            path, "has a header without a usable shape and affine", "export the file again", code="damaged"
        )
    if len(count) > 2 or len(numbers) != int(count) or not all(int(number) for number in numbers):
        raise InputError(
            path, "has a header without a usable shape and affine", "export the file again", code="damaged"
        )
    return [int(number) for number in numbers]


def _is_true(value: str) -> bool:
    return value[:1] in ("T", "t", "1")


def _detached(path: Path, other: str) -> InputError:
    return InputError(
        path,
        f"keeps its voxels in another file ({other[:80]}), which is not read",
        "save header and voxels as one file",
        code="unsupported",
    )
