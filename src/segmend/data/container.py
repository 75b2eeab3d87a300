"""The real type of a file, whatever its name, and why it cannot be read."""

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from segmend.core.errors import InputError

FIRST_BYTES = 1024
"""Bytes by which a file is recognised; every header of fixed length fits."""

GZIP, NIFTI, PNG, TIFF, NRRD, META = "gzip", "NIfTI", "PNG", "TIFF", "NRRD", "MetaImage"

DEFLATE_RATIO = 1032
"""Maximum compression ratio of deflate, as used by gzip, zlib and PNG."""

_ROOM = 2**16
_CHUNK = 2**20
_MAGIC = {
    b"\x1f\x8b": GZIP,
    b"\x89PNG\r\n\x1a\n": PNG,
    b"II*\0": TIFF,
    b"MM\0*": TIFF,
    b"II+\0": TIFF,
    b"MM\0+": TIFF,
    b"NRRD000": NRRD,
    b"ObjectType": META,
    b"\xff\xd8\xff": "JPEG",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "RIFF (WebP)",
    b"%PDF": "PDF",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"7z\xbc\xaf\x27\x1c": "7-zip",
    b"Rar!": "RAR",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"\x93NUMPY": "NumPy",
    b"# vtk": "VTK",
    b"{": "JSON",
}
_NIFTI_SIZES = {size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}
_WEB = (b"<!doctype", b"<html", b"<?xml", b"<error", b"<head")


def kind_of(first: bytes) -> str | None:
    """The type of a file by its first bytes; None if it is not recognised."""
    for magic, kind in _MAGIC.items():
        if first.startswith(magic):
            return kind
    if first[:4] in _NIFTI_SIZES:
        return NIFTI
    if first[128:132] == b"DICM":
        return "DICOM"
    if first[257:262] == b"ustar":
        return "tar"
    return "HTML or XML" if first.lstrip()[:16].lower().startswith(_WEB) else None


def require_kind(path: Path, first: bytes, *allowed: str, named: str) -> str | None:
    """Check that a file is not recognised as another type than its name says.

    Args:
        path: the file.
        first: its first bytes, or those of what it holds compressed.
        allowed: kinds that are read under this name.
        named: its ending.

    Returns:
        The kind, or None if it is not recognised.

    Raises:
        InputError: it is empty, a pointer of a version control system, or of another kind.
    """
    if not first:
        raise unreadable(path, "it is empty")
    if first.startswith(b"version https://git-lfs"):
        raise InputError(
            path, "is a Git LFS pointer, not the file itself", "fetch the file with 'git lfs pull'", code="missing-file"
        )
    if b"/annex/objects/" in first[:200]:
        raise InputError(
            path,
            "is a git-annex pointer, not the file itself",
            "fetch the file with 'git annex get'",
            code="missing-file",
        )
    kind = kind_of(first)
    if kind is not None and kind not in allowed:
        article = "an" if kind in ("HTML or XML", "NRRD", "xz", "RAR", "HDF5") else "a"
        remedy = "download it again" if kind == "HTML or XML" else f"convert it to {named}, or give it its own name"
        raise InputError(path, f"is {article} {kind} file named {named}", remedy, code="mismatch")
    if kind is None and not first.strip(b"\0"):
        raise unreadable(path, "it begins with zeros only, as an interrupted copy does")
    return kind


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, and explain errors inside the block.

    Raises:
        InputError: it does not exist, is no plain file, may not be read, or any error of a reader.
    """
    with explained(path):
        _require_file(path)
        with path.open("rb") as file:
            yield file


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Explain every error while a file is read; readers raise many kinds of errors on damaged bytes.

    Raises:
        InputError: instead of any other exception.
    """
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(
            path, "may not be read by you (permission denied)", "ask for the right to read it", code="unreadable"
        ) from error
    except MemoryError as error:
        raise InputError(
            path, "cannot be read: it takes more memory than there is", "crop or resample it", code="too-large"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(
                path, f"cannot be read ({error.strerror})", "check the disk and the name", code="unreadable"
            ) from error
        raise unreadable(path) from error


def unreadable(path: Path, detail: str = "") -> InputError:
    """The error for damaged files, with what is known of the damage."""
    problem = "cannot be read; it is damaged, truncated or of another format" + (f" ({detail})" if detail else "")
    return InputError(path, problem, "copy or export it again", code="damaged")


def contradicts(path: Path, detail: str) -> InputError:
    """The error for a file that is not what its own header says."""
    return InputError(path, f"cannot be read: {detail}", "copy or export it again", code="damaged")


def require_possible(path: Path, claimed: int, held: int, ratio: int = DEFLATE_RATIO) -> None:
    """Check, before any memory is allocated, that a compressed file can hold what its header claims.

    Args:
        path: the file.
        claimed: bytes according to the header.
        held: bytes of the compressed file.
        ratio: the largest that its compression allows.

    Raises:
        InputError: it cannot.
    """
    if claimed > ratio * held + _ROOM:
        raise contradicts(path, f"its header claims {claimed} bytes of voxels, too many for {held} compressed bytes")


def require_room(path: Path, needed: int) -> None:
    """Check that there is enough memory for a file.

    Raises:
        InputError: it needs more bytes than are free.
    """
    free = psutil.virtual_memory().available
    if needed > free:
        raise InputError(
            path,
            f"cannot be read: it takes {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free",
            "crop or resample it, or use a machine with more memory",
            code="too-large",
        )


def require_length(path: Path, claimed: int, held: int) -> None:
    """Check that a file holds exactly the bytes of voxels that its header describes.

    Raises:
        InputError: it holds fewer or more.
    """
    if held < claimed:
        raise unreadable(path, f"its header describes {claimed} bytes, but it holds {held}")
    if held > claimed:
        raise contradicts(path, f"it holds more than the {claimed} bytes that its header describes")


def require_deflated(path: Path, stream: IO[bytes], held: int, claimed: int, window: int = zlib.MAX_WBITS) -> None:
    """Check that deflated data are complete and of the claimed length, without keeping them.

    Args:
        path: the file, for messages.
        stream: positioned at the first compressed byte.
        held: number of compressed bytes, which must be all used.
        claimed: bytes expected.
        window: ``wbits`` of ``zlib.decompressobj``; 16 more for gzip.

    Raises:
        InputError: they are not.
        zlib.error: they are damaged.
    """
    require_possible(path, claimed, held)
    inflate, found, left, pending = zlib.decompressobj(window), 0, held, b""
    while not inflate.eof and found <= claimed:
        if not pending and left:
            pending = stream.read(min(_CHUNK, left))
            left -= len(pending)
        piece = inflate.decompress(pending, _CHUNK)
        starved = not pending
        pending = inflate.unconsumed_tail
        found += len(piece)
        if starved and not piece:
            raise unreadable(path)
    require_length(path, claimed, found + len(inflate.unused_data) + left * inflate.eof)


def _require_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not path.is_symlink():
            raise InputError(path, "does not exist", "check the name and the folder", code="missing-file") from None
        target = str(path.readlink())
        remedy = "fetch the file with 'git annex get'" if "annex/objects" in target else "restore the file or the link"
        raise InputError(
            path, f"is a link to a file that does not exist ({target})", remedy, code="missing-file"
        ) from None
    if stat.S_ISDIR(mode):
        raise InputError(path, "is a folder, not a file", "give a file", code="unreadable")
    if not stat.S_ISREG(mode):
        raise InputError(
            path, "is not a regular file, but a pipe or device", "copy its contents to a file", code="unreadable"
        )
