from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from segmend.audit.external.npz import npz_maps, npz_shape
from segmend.core.errors import InputError

ARRAY = np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float16)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npz"


def write(path, header=None, voxels=None, name="probabilities.npy", compression=zipfile.ZIP_DEFLATED):
    """An archive with an array whose header or voxels may be others'."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, ARRAY)
    content = stream.getvalue()
    start = len(content) - ARRAY.nbytes
    if header is not None:
        text = header.encode("latin1").ljust(117) + b"\n"
        content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content[start:]
        start = 10 + len(text)
    if voxels is not None:
        content = content[:start] + voxels
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, content)


def header(descr="<f2", order=False, shape=(2, 3, 4, 5)):
    return repr({"descr": descr, "fortran_order": order, "shape": shape})


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("array", [ARRAY, np.asfortranarray(ARRAY), ARRAY.transpose(0, 3, 2, 1), ARRAY.astype(">f4")])
def test_reads_what_numpy_writes(path, save, array):
    save(path, probabilities=array, more=np.arange(3))
    assert npz_shape(path) == array.shape
    np.testing.assert_array_equal(list(npz_maps(path)), array)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"header": "{'descr': ((((("}, "is damaged"),
        ({"header": "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3"}, "is damaged"),
        ({"header": header(shape=("a",))}, "is damaged"),
        ({"header": header(descr="<U4")}, "holds no numbers, but values of the type <U4"),
        ({"header": header(descr="<c8")}, "holds no numbers"),
        ({"header": header(descr="|O")}, "Python objects, which are not opened"),
        ({"header": header(shape=(2, 3, 4, 6))}, "claims an array of 2 x 3 x 4 x 6"),
        ({"header": header(shape=(2000, 3000, 4000, 5000))}, "claims an array of 2000 x 3000 x 4000 x 5000"),
        ({"header": header(shape=(2, -3, 4, 5))}, "is damaged|claims"),
        ({"header": header(shape=(0, 3, 4, 5))}, "claims an array of 0 x 3 x 4 x 5"),
        ({"voxels": ARRAY.tobytes()[:-2]}, "claims an array"),
        ({"voxels": ARRAY.tobytes() + b"more"}, "claims an array"),
        ({"name": "logits.npy"}, "holds no array 'probabilities', but 'logits'. Name the array"),
        ({"name": "softmax.npy"}, "'softmax': nnU-Net v1 wrote it, whose arrays are cropped"),
    ],
)
def test_what_it_is_not_is_named(path, damage, message):
    write(path, **damage)
    with pytest.raises(InputError, match=rf"a\.npz: .*({message})"):
        npz_shape(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"{}"])
def test_other_files(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: is damaged, truncated or no \.npz file"):
        npz_shape(path)


def test_a_truncated_or_changed_file(path):
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is damaged"):
        list(npz_maps(path))
    write(path, compression=zipfile.ZIP_STORED)
    whole = bytearray(path.read_bytes())
    whole[200] ^= 1  # a voxel, which the checksum covers
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError, match="is damaged"):
        list(npz_maps(path))


def test_an_encrypted_entry(path):
    write(path)
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"a\.npz: is encrypted"):
        npz_shape(path)
