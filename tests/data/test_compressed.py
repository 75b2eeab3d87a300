from __future__ import annotations

import multiprocessing
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import raises

from segmend.data.compressed import CompressedArray, write_compressed

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "a label": RANDOM.integers(0, 3, (40, 35, 20)).astype(np.uint8),
    "a 2D label": RANDOM.integers(0, 255, (150, 9)).astype(np.uint8),
    "a scan of few grey values": (RANDOM.integers(-50, 50, (2, 40, 35, 20)) / 7).astype(np.float32),
    "a scan of many values": RANDOM.normal(size=(1, 70, 60, 50)).astype(np.float32),
    "a picture": RANDOM.normal(size=(3, 20, 300)).astype(np.float32),
    "one voxel": np.full((1, 1, 1, 1), -7, np.float32),
    "zeros of both signs and no number": np.array([[[0.0, -0.0, np.nan, np.inf]]], np.float32),
}


@pytest.fixture(params=ARRAYS)
def stored(request, tmp_path):
    array = ARRAYS[request.param]
    write_compressed(tmp_path / "a.b2nd", array)
    return array, CompressedArray(tmp_path / "a.b2nd")


def bits(array):
    return np.ascontiguousarray(array).view(np.uint8)


def test_every_bit_comes_back(stored):
    array, found = stored
    assert (found.shape, found.ndim, found.dtype) == (array.shape, array.ndim, array.dtype)
    np.testing.assert_array_equal(bits(np.asarray(found)), bits(array))
    assert np.asarray(found, np.float64).dtype == np.float64


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.data())
@pytest.mark.parametrize("name", ["a label", "a scan of few grey values", "a picture"])
def test_a_part_is_that_of_the_whole(tmp_path_factory, name, data):
    array = ARRAYS[name]
    file = tmp_path_factory.getbasetemp() / f"{name}.b2nd"
    if not file.exists():
        write_compressed(file, array)
    ends = [sorted(data.draw(st.tuples(*[st.integers(0, side)] * 2))) for side in array.shape]
    part = tuple(slice(*each) for each in ends)
    np.testing.assert_array_equal(CompressedArray(file)[part], array[part])


def test_grey_values_take_far_less_than_floats(tmp_path):
    scan = np.round(RANDOM.normal(0, 20, (1, 128, 128, 64))).astype(np.float32) / 37
    write_compressed(tmp_path / "a.b2nd", scan)
    assert (tmp_path / "a.b2nd").stat().st_size < scan.nbytes / 4


def _sum(array):
    return float(np.asarray(array).sum())


def test_goes_to_another_process_by_its_name(stored):
    array, found = stored
    assert len(pickle.dumps(found)) < 1000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_equal(pool.apply(_sum, (found,)), float(array.sum()))


def test_a_file_put_into_the_place_of_another_is_read(tmp_path):
    file = tmp_path / "a.b2nd"
    for value in (1, 2):
        write_compressed(tmp_path / "new", np.full((4, 4), value, np.uint8))
        (tmp_path / "new").replace(file)
        assert np.asarray(CompressedArray(file)).tolist() == [[value] * 4] * 4


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: b"x" * len(content)])
def test_a_damaged_file_is_named(tmp_path, damage):
    file = tmp_path / "a.b2nd"
    write_compressed(file, ARRAYS["a scan of many values"])
    file.write_bytes(damage(file.read_bytes()))
    with raises("damaged", file):
        CompressedArray(file)


def test_damage_in_the_middle_is_an_error_and_no_image(tmp_path):
    file = tmp_path / "a.b2nd"
    write_compressed(file, ARRAYS["a scan of many values"])
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = b"\x07" * 4000
    file.write_bytes(bytes(content))
    with raises("damaged", file):
        np.asarray(CompressedArray(file))


def test_there_is_no_view_of_it(stored):
    with pytest.raises(ValueError, match="only be copied"):
        np.array(stored[1], copy=False)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        CompressedArray(tmp_path / "a.b2nd")
