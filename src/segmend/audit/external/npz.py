"""Arrays of other programs in ``.npz`` files, which may hold anything: read only if they are what they claim to be."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from segmend.core.errors import InputError

ARRAY = "probabilities"
"""Name of the array, as nnU-Net v2 gives it."""

_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    OverflowError,
    MemoryError,
    RecursionError,
    SyntaxError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # zipfile's own, of an encrypted entry for one
    struct.error,
    tokenize.TokenError,  # numpy parses the header as Python
    zipfile.BadZipFile,
    zlib.error,
)
_REMEDY = "export it again (nnU-Net v2 with --npz or --save_probabilities)"
_ENCRYPTED = 1


def npz_shape(path: Path) -> tuple[int, ...]:
    """The shape of the array, by its header; no voxel is read.

    Raises:
        InputError: the file is damaged or encrypted, or the array is missing, holds no numbers, or is not as large
            as it claims.
    """
    with _opened(path) as (shape, *_):
        return shape


def npz_maps(path: Path) -> Iterator[NDArray[Any]]:
    """The parts ``[*axes]`` of the array along its first axis, one after the other as they are stored.

    Only one of them is in memory, unless the array is in Fortran order.

    Raises:
        InputError: as ``npz_shape``.
    """
    with _opened(path) as (shape, fortran_order, dtype, entry):
        if fortran_order:
            yield from _read(entry, shape[::-1], dtype).T
        else:
            for _ in range(shape[0]):
                yield _read(entry, shape[1:], dtype)
        if entry.read(1):  # which also makes zipfile compare the checksum
            raise ValueError


def _read(entry: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The next array ``[*shape]`` of a stream."""
    content = bytearray(math.prod(shape) * dtype.itemsize)
    view = memoryview(content)
    filled = 0
    while filled < len(content):
        # Files in archives are typed as plain binary streams, which need not have this.
        read = entry.readinto(view[filled : filled + 2**24])  # type: ignore[attr-defined]
        if not read:
            raise EOFError
        filled += read
    array: NDArray[Any] = np.frombuffer(content, dtype)
    return array.reshape(shape)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[tuple[int, ...], bool, np.dtype[Any], IO[bytes]]]:
    """Shape, order, type and voxels of the array."""
    try:
        with zipfile.ZipFile(path) as archive:
            entry = _entry(path, archive)
            with archive.open(entry) as stream:
                shape, fortran_order, dtype = _header(stream)
                _check_type(path, shape, dtype)
                size = math.prod(shape) * dtype.itemsize
                if min(shape, default=0) < 1 or stream.tell() + size != entry.file_size:
                    problem = f"claims an array of {_text(shape)}, but does not hold {size} bytes of it"
                    raise InputError(path, problem, _REMEDY, code="damaged")
                yield shape, fortran_order, dtype, stream
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(path, "may not be read by you", "change its permissions", code="unreadable") from error
    except _DAMAGED as error:
        raise InputError(path, "is damaged, truncated or no .npz file", _REMEDY, code="damaged") from error


def _entry(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    names = archive.namelist()
    if f"{ARRAY}.npy" not in names:
        _refuse_names(path, [name.removesuffix(".npy") for name in names])
    entry = archive.getinfo(f"{ARRAY}.npy")
    if entry.flag_bits & _ENCRYPTED:
        raise InputError(path, "is encrypted", "save it without a password", code="unsupported")
    return entry


def _refuse_names(path: Path, names: list[str]) -> NoReturn:
    listed = ", ".join(f"'{name}'" for name in names[:5]) + (", ..." if len(names) > 5 else "")
    found = f"holds no array '{ARRAY}', but {listed or 'nothing'}"
    if "softmax" in names:
        problem = f"{found}: nnU-Net v1 wrote it, whose arrays are cropped"
        raise InputError(
            path, problem, "predict with nnU-Net v2, or give maps as files with a header", code="unsupported"
        )
    raise InputError(path, found, f"name the array '{ARRAY}'", code="unsupported")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran_order, dtype = read[version](stream)
    return shape, fortran_order, dtype


def _check_type(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        problem = f"has the shape {_text(shape)} and holds Python objects, which are not opened since they can run code"
        raise InputError(path, problem, "save plain numbers, such as float16", code="unsupported")
    if dtype.kind not in "fiub":
        raise InputError(
            path, f"holds no numbers, but values of the type {dtype}", "save float16 or float32", code="unsupported"
        )


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "no axis"
