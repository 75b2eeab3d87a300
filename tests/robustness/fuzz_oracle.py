"""What a damaged file still says, by readers of its own: neither segmend nor the libraries that segmend reads with."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

_NIFTI_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_MHA_TYPES = {"MET_UCHAR": "u1", "MET_CHAR": "i1", "MET_USHORT": "u2", "MET_SHORT": "i2", "MET_FLOAT": "f4"}
_MHA_DEFAULTS = {
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "0 0 0",
    "ElementSpacing": "1 1 1",
}
_PLACE = ("TransformMatrix", "Offset", "ElementSpacing")
_NEAR = 0.05
"""Millimetres, and parts of the turning, that no one needs to hear of."""
Scan = tuple[NDArray, tuple[tuple[int, ...], NDArray]]
COLUMNS = ("case", "split", "quality", "domain", "annotator")


def scan(path: Path) -> Scan | None:
    """Voxels, and what the header says of their place; None if the file contradicts itself."""
    try:
        if path.name.endswith(".nii.gz"):
            return _nifti(gzip.decompress(path.read_bytes()))
        if path.name.endswith(".mha"):
            return _mha(path.read_bytes())
        return _png(path.read_bytes())
    except (OSError, EOFError, ValueError, TypeError, KeyError, OverflowError, SyntaxError, struct.error, zlib.error):
        return None


def _nifti(raw: bytes) -> Scan | None:
    size, dim = struct.unpack("<i", raw[:4])[0], struct.unpack("<8h", raw[40:56])
    kind, bits = struct.unpack("<2h", raw[70:74])
    offset, slope, intercept = struct.unpack("<3f", raw[108:120])
    shape, number = dim[1 : 1 + dim[0]], np.dtype(_NIFTI_TYPES[kind])
    fits = size == 348 and raw[344:348] == b"n+1\0" and 1 <= dim[0] <= 7 and min(shape) > 0 and offset >= 352
    if not fits or bits != 8 * number.itemsize or len(raw) != offset + math.prod(shape) * number.itemsize:
        return None
    if raw[123] & 7 != 2:  # xyzt_units says something else than millimetres
        return None
    voxels = np.frombuffer(raw, number, offset=int(offset)).reshape(shape, order="F").astype(float)
    scaled = voxels * slope + intercept if slope not in (0, 1) or intercept else voxels
    qform, sform = struct.unpack("<2h", raw[252:256])
    if sform <= 0 and qform <= 0:
        return None
    place = raw[280:328] if sform > 0 else raw[76:92] + raw[256:280]
    numbers = np.array(struct.unpack(f"<{len(place) // 4}f", place), dtype=float)
    return (scaled, (shape, numbers)) if np.isfinite(numbers).all() else None


def _mha(raw: bytes) -> Scan | None:
    """What the format says: a field that is not there has its default, others than these mean nothing."""
    head, _, rest = raw.partition(b"ElementDataFile = LOCAL\n")
    lines = head.decode("latin-1").replace("\0", " ").splitlines()
    fields = _MHA_DEFAULTS | dict(re.split(r"\s*=\s*", line, maxsplit=1) for line in lines if "=" in line)
    shape, number = [int(side) for side in fields["DimSize"].split()], np.dtype(_MHA_TYPES[fields["ElementType"]])
    voxels = zlib.decompress(rest) if fields["CompressedData"] == "True" else rest
    if len(shape) != int(fields["NDims"]) or len(voxels) != math.prod(shape) * number.itemsize:
        return None
    numbers = np.array([float(part) for name in _PLACE for part in fields[name].split()])
    return np.frombuffer(voxels, number).reshape(shape[::-1]).T.astype(float), (tuple(shape), numbers)


def _png(raw: bytes) -> Scan | None:
    with Image.open(io.BytesIO(raw)) as checked:
        checked.verify()
    with Image.open(io.BytesIO(raw)) as picture:
        array = np.asarray(picture)
    return (array.astype(float), (array.shape, np.zeros(1))) if array.ndim == 2 and b"IEND" in raw else None


def scan_must_be_reported(before: Path, after: Path, partner: Path, label: bool) -> bool:
    """Whether someone who looks closely sees that a scan or label is not what it was, or cannot be used."""
    old, new, other = scan(before), scan(after), scan(partner)
    assert old is not None
    assert other is not None
    if new is None:
        return True
    unlike = new[1][0] != other[1][0] or not np.allclose(new[1][1], other[1][1], rtol=0, atol=_NEAR)
    if np.array_equal(old[0], new[0]) and not unlike:
        return False
    return unlike or not np.isfinite(new[0]).all() or (label and not set(np.unique(new[0])) <= {0.0, 1.0})


def description_must_be_reported(after: Path) -> bool:
    """Whether a dataset.json cannot mean anything, or nothing that the folder bears out."""
    try:
        content = json.loads(after.read_text(encoding="utf-8-sig"))
        channels, labels, ending = content["channel_names"], content["labels"], content["file_ending"]
        texts = [*channels.values(), *labels]
        fits = list(channels) == ["0"] and sorted(map(repr, labels.values())) == ["0", "1"]
        return not (fits and ending in (".nii.gz", ".png", ".mha") and all(t and isinstance(t, str) for t in texts))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return True


def table_must_be_reported(after: Path, cases: Sequence[str]) -> bool:
    """Whether a cases.csv has lines, columns or words that mean nothing, however kindly one reads."""
    raw = after.read_bytes()
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        first = text.lstrip().splitlines()[:1]
        separator = ";" if first and ";" in first[0] and "," not in first[0] else ","
        rows = list(csv.reader(text.splitlines(), delimiter=separator, strict=True))
    except (ValueError, csv.Error):
        return True
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    head, *lines = rows or [[]]
    if not set(head) <= {*COLUMNS, ""} or "case" not in head or any(head.count(name) > 1 for name in COLUMNS):
        return True
    cells = [dict(zip(head, line, strict=False)) for line in lines]
    names = [line["case"] for line in cells]
    return (
        any(len(line) > len(head) for line in lines)
        or any(line.get("") for line in cells)
        or not set(names) <= set(cases)
        or len(set(names)) < len(names)
        or any(line.get("split", "").lower() not in ("", "train", "val", "test") for line in cells)
        or any(line.get("quality", "").lower() not in ("", "expert", "noisy", "none") for line in cells)
    )


def own_file_must_be_reported(after: Path) -> bool:
    """Whether a file of a run, an audit or probabilities cannot be read at all; a changed number cannot be known."""
    try:
        if after.suffix == ".json":
            return not isinstance(json.loads(after.read_text(encoding="utf-8")), dict)
        if after.suffix == ".yaml":
            return not isinstance(yaml.safe_load(after.read_text(encoding="utf-8")), dict)
        if after.suffix in (".ckpt", ".npz"):
            return zipfile.ZipFile(after).testzip() is not None
        after.read_text(encoding="utf-8")
    except (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, RecursionError):
        return True
    except (yaml.YAMLError, zipfile.BadZipFile, zlib.error, struct.error):
        return True
    return False
