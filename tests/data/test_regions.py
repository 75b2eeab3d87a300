"""Overlapping regions, as nnU-Net's dataset.json has them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.support.refusals import raises

from segmend.data.folder import DataFolder
from segmend.data.regions import has_regions, read_regions

TUMOUR = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
CHEST = {"background": 0, "lung": [1, 3, 5, 7], "heart": [2, 3, 6, 7], "clavicle": [4, 5, 6, 7]}


def test_nested_regions_have_a_class_for_each_combination():
    found = read_regions(Path("dataset.json"), TUMOUR)
    assert found.labels == {"background": 0, "whole only": 1, "whole + core": 2, "whole + core + enhancing": 3}
    assert found.regions == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert found.values == {0: 0, 1: 1, 2: 2, 3: 3}
    assert found.ignore is None


def test_overlapping_regions_have_a_class_for_each_combination():
    found = read_regions(Path("dataset.json"), CHEST, [1, 2, 4])
    assert list(found.labels) == [
        *("background", "lung only", "heart only", "lung + heart", "clavicle only"),
        *("lung + clavicle", "heart + clavicle", "lung + heart + clavicle"),
    ]
    assert found.regions == {"lung": (1, 3, 5, 7), "heart": (2, 3, 6, 7), "clavicle": (4, 5, 6, 7)}


def test_values_that_no_region_distinguishes_are_one_class():
    found = read_regions(Path("dataset.json"), {"background": 0, "organ": [4, 9], "vessel": 7}, [9, 7])
    assert found.labels == {"background": 0, "organ": 9, "vessel": 7}
    assert found.values == {0: 0, 4: 1, 9: 1, 7: 2}
    assert found.regions == {"organ": (1,), "vessel": (2,)}
    assert read_regions(Path("dataset.json"), {"background": 0, "organ": [4, 9], "vessel": 7}).labels["organ"] == 4


def test_a_value_may_be_ignored():
    found = read_regions(Path("dataset.json"), TUMOUR | {"ignore": 4})
    assert found.ignore == 4
    assert 4 not in found.values


@pytest.mark.parametrize(
    ("labels", "order", "code", "words"),
    [
        (TUMOUR | {"core": []}, None, "missing-value", "the region 'core' has no value"),
        (TUMOUR | {"core": [2, "3"]}, None, "invalid-value", "'core' has the value '3'"),
        (TUMOUR | {"core": [2, 70000]}, None, "invalid-value", "'core' has the value 70000"),
        (TUMOUR | {"core": [3]}, None, "duplicate", "'core' and 'enhancing' have the same values [3]"),
        (TUMOUR | {"Whole": 4}, None, "duplicate", "'whole' and 'Whole' differ in capitals"),
        (TUMOUR | {"ignore": 3}, None, "duplicate", "has the value 3, which is to be ignored"),
        (TUMOUR | {"ignore": [3, 4]}, None, "invalid-value", "'ignore' has the values [3, 4]"),
        (TUMOUR | {"background": 4}, None, "missing-value", "has no label for the value 0"),
        (TUMOUR | {"background": [0, 4]}, None, "invalid-value", "'background' has the values [0, 4]"),
        (TUMOUR | {"whole only": [4, 5]}, None, "duplicate", "has a region 'whole only'"),
        (TUMOUR, [1, 2], "mismatch", "there are 3 regions"),
        (TUMOUR, [1, 2, 2], "mismatch", "there are 3 regions"),
        (TUMOUR, [1, 2, 5], "unknown-name", "has the value 5, which no region has"),
        (TUMOUR, "1 2 3", "mismatch", "there are 3 regions"),
    ],
)
def test_refuses(labels, order, code, words):
    with raises(code, "dataset.json", re.escape(words)):
        read_regions(Path("dataset.json"), labels, order)


def test_a_folder_of_regions(make_folder):
    root = make_folder(cases=("a", "b"))
    description = json.loads((root / "dataset.json").read_text())
    labels = {"background": 0, "all": [1, 2, 3], "inner": [2, 3]}
    (root / "dataset.json").write_text(json.dumps(description | {"labels": labels}))
    folder = DataFolder.open(root)
    assert folder.objects == {"all": (1, 2), "inner": (2,)}
    values = np.array([0, 1, 2, 3, 9])
    assert folder.to_indices(values).tolist() == [0, 1, 2, 2, 255]
    assert folder.to_values(np.array([0, 1, 2])).tolist() == [0, 1, 2]


def test_without_lists_there_are_no_regions(make_folder):
    assert not has_regions({"background": 0, "organ": 1})
    assert not has_regions({"0": "background", "1": ["organ"]})
    folder = DataFolder.open(make_folder(cases=("a",)))
    assert folder.objects == {name: (index,) for index, name in enumerate(folder.labels) if index}
