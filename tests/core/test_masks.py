from __future__ import annotations

import numpy as np

from segmend.core.masks import bounding_box


def test_bounding_box_with_and_without_margin() -> None:
    mask = np.zeros((10, 8, 6), dtype=bool)
    mask[3, 1, 5] = mask[6, 4, 2] = True
    assert bounding_box(mask) == (slice(3, 7), slice(1, 5), slice(2, 6))
    assert bounding_box(mask, margin=2) == (slice(1, 9), slice(0, 7), slice(0, 6))
