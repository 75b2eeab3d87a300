from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.methods.components.meta_labels import meta_labels

BATCH = Batch(torch.zeros(4, 1, 2, 2), torch.zeros(4, 2, 2).long(), (Quality.NONE,) * 4, ("b", "a", "b", "c"))


def test_cases_are_numbered():
    assert meta_labels(BATCH, "case", 3).tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize(("partitions", "expected"), [(2, [0, 0, 1, 1]), (4, [0, 1, 2, 3])])
def test_positions_are_in_equal_parts(partitions, expected):
    place = torch.zeros(4, 3, 3)
    place[:, 2, 2] = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert meta_labels(replace(BATCH, place=place), "position", partitions).tolist() == expected


@pytest.mark.parametrize("place", [None, torch.zeros(4, 2, 3)], ids=["unknown", "2D scans"])
def test_without_slices_each_sample_is_a_group(place):
    assert meta_labels(replace(BATCH, place=place), "position", 3).tolist() == [0, 1, 2, 3]
