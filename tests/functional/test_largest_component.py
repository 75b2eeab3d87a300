"""Only the largest component of each class is kept."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from segmend.core.masks import IGNORE
from segmend.functional.largest_component import largest_component


def test_by_hand_in_2d():
    label = np.array(
        [
            [1, 1, 0, 2, 0],
            [0, 0, 1, 2, 2],
            [2, 0, 1, 1, 0],
            [2, 0, 0, 0, 1],
        ],
        dtype=np.uint8,
    )
    expected = [
        [0, 0, 0, 2, 0],
        [0, 0, 1, 2, 2],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]
    given = label.copy()
    kept = largest_component(label)
    assert kept.tolist() == expected
    assert kept.dtype == np.uint8
    assert np.array_equal(label, given)


def test_edges_and_corners_do_not_connect_in_3d():
    label = np.zeros((3, 3, 3), np.uint8)
    label[0, 0, :2] = 1
    label[1, 1, 0] = 1  # touches an edge only
    assert np.argwhere(largest_component(label)).tolist() == [[0, 0, 0], [0, 0, 1]]


def test_of_equal_components_the_first_stays():
    assert largest_component(np.array([[3, 0, 3], [0, 0, 0]], np.uint8)).tolist() == [[3, 0, 0], [0, 0, 0]]


def test_touching_classes_are_told_apart():
    label = np.array([[1, 2, 1, 1]], np.uint8)
    assert largest_component(label).tolist() == [[0, 2, 1, 1]]


def test_empty_label_and_ignored_voxels_stay():
    label = np.zeros((4, 4), np.uint8)
    assert not largest_component(label).any()
    label[0, 0] = label[3, 3] = IGNORE
    assert np.array_equal(largest_component(label), label)


def test_equals_a_labelling_class_by_class():
    label = np.random.default_rng(0).integers(0, 4, (9, 10, 11)).astype(np.uint8)
    expected = np.zeros_like(label)
    for index in (1, 2, 3):
        components, count = ndimage.label(label == index)
        sizes = ndimage.sum_labels(label == index, components, range(1, count + 1))
        expected[components == 1 + np.argmax(sizes)] = index
    assert np.array_equal(largest_component(label), expected)
