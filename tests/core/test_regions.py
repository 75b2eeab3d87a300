"""Objects that consist of several classes."""

import numpy as np
import pytest

from segmend.core.regions import (
    ClassSets,
    annotated_objects,
    completed,
    mask_of,
    objects_of,
    possible_classes,
    with_regions,
)


def test_without_regions_each_foreground_class_is_an_object():
    assert objects_of(["background", "liver", "spleen"], {}) == {"liver": (1,), "spleen": (2,)}


def test_regions_are_the_objects():
    regions = {"whole": (1, 2), "core": (2,)}
    assert objects_of(["background", "whole only", "whole + core"], regions) == regions


def test_a_mask_is_the_union_of_its_classes():
    label = np.array([0, 1, 2, 3, 255], np.uint8)
    assert mask_of(label, (1, 3)).tolist() == [False, True, False, True, False]
    assert mask_of(label, (2,)).tolist() == [False, False, True, False, False]


def test_what_is_not_annotated_may_be_background():
    objects = {"liver": (1,), "spleen": (2,), "kidney": (3,)}
    assert possible_classes(("liver",), objects, 4) == [(0, 2, 3), (1,), (0, 2, 3), (0, 2, 3)]
    assert possible_classes(tuple(objects), objects, 4) == [(0,), (1,), (2,), (3,)]


def test_without_the_core_a_voxel_of_the_tumour_may_belong_to_it():
    objects = {"whole": (1, 2), "core": (2,)}
    assert possible_classes(("whole",), objects, 3) == [(0,), (1, 2), (1, 2)]
    assert possible_classes(("core",), objects, 3) == [(0, 1), (0, 1), (2,)]


def test_sets_stand_in_the_labels_of_partly_annotated_cases():
    objects = {"liver": (1,), "spleen": (2,)}
    sets = ClassSets.of([None, ("liver",), ("spleen",), ("liver",)], objects, 3)
    assert sets.members == ((0, 2), (0, 1))
    label = np.array([0, 1, 2, 255], np.uint8)
    assert sets.encode(label, None) is label
    assert sets.encode(label, ("liver",)).tolist() == [256, 1, 256, 255]
    assert sets.encode(label, ("spleen",)).tolist() == [257, 257, 2, 255]


def test_a_label_is_completed_by_the_most_probable_possible_class():
    label = np.array([0, 0, 1, 0, 255], np.uint8)
    maps = np.array([[0.3, 0.2, 0.1, 0.1, 0], [0.6, 0.1, 0.2, 0.8, 0], [0.1, 0.7, 0.7, 0.1, 1]], np.float32)
    found = completed(label, maps, [(0, 2), (1,), (0, 2)])
    assert found.tolist() == [0, 2, 1, 0, 255]
    assert label.tolist() == [0, 0, 1, 0, 255]


def test_objects_that_were_annotated():
    objects = {"liver": (1,), "spleen": (2,)}
    assert annotated_objects(objects, None) == objects
    assert annotated_objects(objects, ("spleen",)) == {"spleen": (2,)}


REGIONS = {"whole": (1, 2), "core": (2,)}
OVERLAPPING = {"lung": (1, 3), "heart": (2, 3)}


@pytest.mark.parametrize(
    ("label", "masks", "expected"),
    [
        # The core grows within the whole, and does not where there is no whole.
        ([0, 1, 2, 1], {"core": [1, 1, 1, 0]}, [0, 2, 2, 1]),
        # The whole leaves a voxel of the core: no class is a core alone.
        ([1, 2, 0, 255], {"whole": [0, 0, 1, 1]}, [0, 2, 1, 255]),
        # Both together.
        ([2, 2, 0, 1], {"whole": [0, 1, 1, 1], "core": [0, 0, 1, 1]}, [0, 1, 2, 2]),
        ([0, 1, 2, 1], {}, [0, 1, 2, 1]),
    ],
)
def test_nested_regions_are_put_together(label, masks, expected):
    arrays = {name: np.array(mask, bool) for name, mask in masks.items()}
    assert with_regions(np.array(label, np.uint8), arrays, REGIONS).tolist() == expected


def test_overlapping_regions_are_put_together():
    label = np.array([0, 1, 2, 3], np.uint8)
    new = with_regions(label, {"heart": np.array([True, True, False, False])}, OVERLAPPING)
    assert new.tolist() == [2, 3, 0, 1]
    assert label.tolist() == [0, 1, 2, 3]
