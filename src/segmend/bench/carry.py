"""The state of a plan's runs as small files, to be carried between machines that are available for short periods.

python -m segmend.bench.carry pack OUT STATE     runs of OUT -> pieces in STATE
python -m segmend.bench.carry unpack STATE OUT   and back
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segmend.core.errors import InputError
from segmend.core.folders import atomic_folder, locked_folder

PIECE_BYTES = 15 * 2**20
"""Largest size of a piece; many channels out of closed machines take no more than 16 MiB a file."""

_INDEX = "state.json"


def pack(out: Path, state: Path, piece_bytes: int = PIECE_BYTES) -> list[Path]:
    """Write what runs need to be continued, and the results of finished ones, as pieces of one archive.

    Of finished runs, checkpoints and predictions are left out: their scores stay.

    Args:
        out: the folder of ``segmend bench``.
        state: the folder to write; must be free.
        piece_bytes: largest size of a piece.

    Returns:
        The pieces in order.
    """
    with atomic_folder(state) as folder:
        pieces = _Pieces(folder, piece_bytes)
        with tarfile.open(fileobj=pieces, mode="w|") as archive:
            for file in _wanted(out):
                archive.add(file, str(file.relative_to(out)))
        pieces.close()
        (folder / _INDEX).write_text(json.dumps({"pieces": pieces.digests}), encoding="utf-8")
    return [state / name for name in pieces.digests]


def unpack(state: Path, out: Path) -> None:
    """Restore what ``pack`` wrote. Files of the same name in ``out`` are replaced.

    Raises:
        InputError: a piece is missing or damaged.
    """
    try:
        digests = json.loads((state / _INDEX).read_text(encoding="utf-8"))["pieces"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            state, f"holds no packed state ({error})", "give the folder that 'pack' wrote", code="missing-file"
        ) from error
    for name, digest in digests.items():
        piece = state / name
        if not piece.is_file() or _digest(piece.read_bytes()) != digest:
            raise InputError(piece, "is missing or damaged", "carry all pieces over again", code="damaged")
    with locked_folder(out), tarfile.open(fileobj=_Joined([state / name for name in digests]), mode="r|") as archive:
        archive.extractall(out, filter="data")


def _wanted(out: Path) -> Iterator[Path]:
    for run in sorted((out / "runs").iterdir()) if (out / "runs").is_dir() else ():
        done = (run / "result.json").is_file()
        for file in sorted(run.rglob("*")):
            inside = file.relative_to(run).parts
            unneeded = "tensorboard" in inside or (done and ("checkpoints" in inside or inside[0] == "predictions"))
            if file.is_file() and not unneeded and not file.name.startswith("."):
                yield file


class _Pieces(io.RawIOBase):
    """A stream to write to that is cut into numbered files."""

    def __init__(self, folder: Path, piece_bytes: int) -> None:
        self.folder, self.piece_bytes = folder, piece_bytes
        self.digests: dict[str, str] = {}
        self._buffer = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._buffer += data
        while len(self._buffer) >= self.piece_bytes:
            self._cut(self.piece_bytes)
        return len(data)

    def close(self) -> None:
        if self._buffer and not self.closed:
            self._cut(len(self._buffer))
        super().close()

    def _cut(self, length: int) -> None:
        piece, self._buffer = bytes(self._buffer[:length]), self._buffer[length:]
        name = f"piece_{len(self.digests):04d}"
        (self.folder / name).write_bytes(piece)
        self.digests[name] = _digest(piece)


class _Joined(io.RawIOBase):
    """Files read one after the other."""

    def __init__(self, files: list[Path]) -> None:
        self._files = iter(files)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while size < 0 or len(self._rest) < size:
            file = next(self._files, None)
            if file is None:
                break
            self._rest += file.read_bytes()
        taken, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return taken


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def main() -> None:
    """Packs or unpacks, as the arguments say."""
    verb, source, target = sys.argv[1:]
    if verb == "pack":
        pack(Path(source), Path(target))
    else:
        unpack(Path(source), Path(target))


if __name__ == "__main__":
    main()
