"""Class maps and single maps on another grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segmend.inference import resample_argmax, resample_map


def softmax_maps(seed, classes, shape):
    logits = np.random.default_rng(seed).normal(size=(classes, *shape))
    return torch.from_numpy(logits).softmax(0).float().numpy()


@pytest.mark.parametrize("shape", [(5, 7), (4, 6, 3)])
def test_an_equal_shape_changes_nothing(shape):
    probabilities = softmax_maps(0, 4, shape)
    assert np.array_equal(resample_map(probabilities[1], shape), probabilities[1])
    assert np.array_equal(resample_argmax(probabilities, shape), probabilities.argmax(0))


def test_an_equal_shape_gives_an_array_of_its_own():
    values = np.ones((2, 2), np.float32)
    resample_map(values, (2, 2))[:] = 7
    resample_argmax(values[None], (2, 2))
    assert np.array_equal(values, np.ones((2, 2)))


def test_map_by_hand():
    # new centres at -0.25, 0.25, 0.75, 1.25 of the old voxels; beyond the centres the border value goes on
    assert resample_map(np.array([[0, 4]], np.float32), (1, 4)).tolist() == [[0, 1, 3, 4]]
    assert resample_map(np.array([[0, 4, 8, 12]], np.float32), (1, 2)).tolist() == [[2, 10]]


def test_argmax_by_hand():
    # the classes cross halfway between the two voxels
    probabilities = np.array([[[0.9, 0.1]], [[0.1, 0.9]]], np.float32)
    assert resample_argmax(probabilities, (1, 8)).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    probabilities = np.array([[[0.6, 0.1]], [[0.4, 0.9]]], np.float32)  # they cross at 1/5
    assert resample_argmax(probabilities, (1, 8)).tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]]


def test_a_class_between_two_others_is_not_invented():
    # labels 0 and 2 side by side: interpolated labels would pass through 1
    probabilities = np.zeros((3, 1, 2), np.float32)
    probabilities[0, 0, 0] = probabilities[2, 0, 1] = 1
    assert set(resample_argmax(probabilities, (1, 9)).ravel().tolist()) == {0, 2}


def test_of_equal_classes_the_first_wins():
    assert not resample_argmax(np.full((3, 2, 2), 1 / 3, np.float32), (5, 5)).any()


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 99), st.integers(2, 6), st.lists(st.integers(2, 9), min_size=2, max_size=3), st.data())
def test_argmax_equals_that_of_all_maps_interpolated_together(seed, classes, shape, data):
    target = data.draw(st.lists(st.integers(1, 12), min_size=len(shape), max_size=len(shape)))
    probabilities = softmax_maps(seed, classes, shape)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    together = torch.nn.functional.interpolate(torch.tensor(probabilities)[None], target, mode=mode)[0].numpy()
    assert np.array_equal(resample_argmax(probabilities, target), together.argmax(0))


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(2, 9), st.integers(1, 30))
def test_a_rising_map_stays_rising_and_within_its_range(side, target):
    rising = np.linspace(-1, 2, side, dtype=np.float32)[:, None].repeat(3, 1)
    resampled = resample_map(rising, (target, 3))
    assert (np.diff(resampled, axis=0) >= 0).all()
    assert resampled.min() >= -1
    assert resampled.max() <= 2


def test_reads_a_read_only_memory_map(tmp_path):
    probabilities = softmax_maps(3, 5, (4, 5, 6))
    np.save(tmp_path / "p.npy", probabilities)
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    assert np.array_equal(resample_argmax(mapped, (8, 5, 3)), resample_argmax(probabilities, (8, 5, 3)))
