from __future__ import annotations

import numpy as np
import pytest

from segmend.core.masks import bounding_box, box_above


def test_bounding_box_with_and_without_margin() -> None:
    mask = np.zeros((10, 8, 6), dtype=bool)
    mask[3, 1, 5] = mask[6, 4, 2] = True
    assert bounding_box(mask) == (slice(3, 7), slice(1, 5), slice(2, 6))
    assert bounding_box(mask, margin=2) == (slice(1, 9), slice(0, 7), slice(0, 6))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_box_of_what_is_not_negligible(dtype: type) -> None:
    values = np.full((5, 6), 1e-4, dtype)
    assert box_above(values, 0.01) is None
    values[1, 2] = values[3, 4] = 0.02
    assert box_above(values, 0.01) == (slice(1, 4), slice(2, 5))
    assert box_above(values, 0.0) == (slice(0, 5), slice(0, 6))
