from __future__ import annotations

import numpy as np
import pytest

from segmend.bench.resampling import resamples
from segmend.core.grid import Grid


def grid(shape, spacing):
    return Grid(shape, np.diag([*spacing, *[1.0] * (4 - len(spacing))]))


SAME_SPACING = [grid((20, 30, 10), (1, 1, 3)), grid((10, 24, 30), (3, 1, 1))]
MIXED = [*SAME_SPACING, grid((20, 30, 10), (1, 1, 4))]


@pytest.mark.parametrize(
    ("grids", "spacing", "expected"),
    [
        (MIXED, "native", False),
        (SAME_SPACING, "auto", False),
        (SAME_SPACING, None, False),
        (MIXED, "auto", True),
        (SAME_SPACING, [1, 1, 3], False),
        (SAME_SPACING, [1.0001, 1, 3], False),  # not a voxel more or less
        (SAME_SPACING, [1, 1, 2], True),
        (SAME_SPACING, [1, 1], False),  # within slices
        (MIXED, [1, 1], False),
        (SAME_SPACING, [2, 2], True),
        ([], "auto", False),
    ],
)
def test_only_another_number_of_voxels_counts(grids, spacing, expected):
    assert resamples(grids, spacing) is expected
