"""Objects that consist of several classes."""

import numpy as np

from segmend.core.regions import mask_of, objects_of


def test_without_regions_each_foreground_class_is_an_object():
    assert objects_of(["background", "liver", "spleen"], {}) == {"liver": (1,), "spleen": (2,)}


def test_regions_are_the_objects():
    regions = {"whole": (1, 2), "core": (2,)}
    assert objects_of(["background", "whole only", "whole + core"], regions) == regions


def test_a_mask_is_the_union_of_its_classes():
    label = np.array([0, 1, 2, 3, 255], np.uint8)
    assert mask_of(label, (1, 3)).tolist() == [False, True, False, True, False]
    assert mask_of(label, (2,)).tolist() == [False, False, True, False, False]
