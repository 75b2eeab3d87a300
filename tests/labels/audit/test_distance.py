from __future__ import annotations

import math

import numpy as np
import pytest

from segmend.labels.audit.distance import contact_area, surface_area


@pytest.mark.parametrize(("shape", "true"), [((41, 41, 41), 4 * math.pi * 15**2), ((41, 41), 2 * math.pi * 15)])
def test_area_of_a_ball(shape, true, ball):
    mask = ball(shape, (20,) * len(shape), 15)
    assert surface_area(mask, (1,) * len(shape)) == pytest.approx(true, rel=0.04)
    assert surface_area(mask, (2,) * len(shape)) == pytest.approx(true * 2 ** (len(shape) - 1), rel=0.04)


def test_contact_by_hand():
    first, second = np.zeros((2, 4, 3, 2), dtype=bool)
    first[0, :, :], second[1, 0:2, :] = True, True
    assert contact_area(first, second, (1, 1, 1)) == 4
    assert contact_area(second, first, (5, 2, 3)) == 4 * 2 * 3
