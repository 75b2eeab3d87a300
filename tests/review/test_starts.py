from __future__ import annotations

import numpy as np

from segmend.core.masks import IGNORE
from segmend.review.starts import first_slices


def labels():
    given = np.zeros((4, 4, 10), np.uint8)
    given[0:2, 0:2, 3] = 1
    given[0:3, 0:2, 4] = 1
    return given


def test_where_the_proposal_adds_or_removes_most():
    given = labels()
    proposed = given.copy()
    proposed[0:2, 0:2, 3] = 0
    proposed[0:3, 0:3, 8] = 1
    assert first_slices(given, proposed, {"organ": 1}, 2) == {"organ": 8}
    assert first_slices(proposed, given, {"organ": 1}, 2) == {"organ": 8}


def test_across_another_axis():
    given = labels()
    proposed = given.copy()
    proposed[3, :, :] = 1
    assert first_slices(given, proposed, {"organ": 1}, 0) == {"organ": 3}


def test_of_two_classes_that_were_mixed_up_both_start_there():
    given = labels()
    proposed = given.copy()
    proposed[0:3, 0:2, 4] = 2
    assert first_slices(given, proposed, {"organ": 1, "other": 2}, 2) == {"organ": 4, "other": 4}


def test_without_a_change_where_the_object_is_largest_or_in_the_middle():
    given = labels()
    assert first_slices(given, given, {"organ": 1, "absent": 7}, 2) == {"organ": 4, "absent": 5}


def test_what_is_ignored_is_no_change():
    given = labels()
    given[..., 9] = IGNORE
    proposed = np.where(given == IGNORE, np.uint8(1), given)
    assert first_slices(given, proposed, {"organ": 1}, 2) == {"organ": 4}
