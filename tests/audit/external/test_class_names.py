from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from refusals import raises

from segmend.audit.external.class_names import name_of, require_name, to_indices


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["kidney_left", "liver"], "kidney_left"),
        (["Kidney Left", "liver"], "Kidney Left"),
        (["kidney-left", "kidney_left"], "kidney_left"),
        (["Kidney-left", "KIDNEY LEFT"], None),  # which of them is meant is open
        (["kidney", "liver"], None),
    ],
)
def test_names_may_differ_in_capitals_and_separators(names, expected):
    assert name_of("kidney_left", names) == expected


def test_a_name_that_is_missing_is_asked_for():
    with raises("unknown-name", Path("dataset.json"), match="no class 'spleen'.*Did you mean spleens"):
        require_name(Path("dataset.json"), "spleen", ["spleens", "liver"])


def test_values_become_indices():
    values = np.array([[0, 7], [300, 7]])
    assert to_indices(Path("a"), values, {0: 0, 7: 2, 300: 1}).tolist() == [[0, 2], [1, 2]]


@pytest.mark.parametrize("value", [-1, 6, 70000])
def test_a_value_without_a_class_is_named(value):
    with raises("invalid-value", Path("a.nii.gz"), match=str(value)):
        to_indices(Path("a.nii.gz"), np.array([0, 7, value]), {0: 0, 7: 2})
