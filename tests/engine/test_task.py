from __future__ import annotations

from dataclasses import replace

import pytest

from segmend.core.documents import DamagedError
from segmend.data.preprocess import Normalisation, Preprocessing
from segmend.engine.task import Task, check_task

PREPROCESSING = Preprocessing((1.0, 1.0, None), (Normalisation(),))
TASK = Task(("MR",), {"background": 0, "x": 1}, 3, (8, 8, 8), PREPROCESSING, "digest")


def test_interpolation_is_kept_and_absent_from_runs_of_the_time_before_splines():
    cubic = replace(TASK, preprocessing=replace(PREPROCESSING, interpolation="cubic"))
    assert "interpolation" not in TASK.to_json()
    for task in (TASK, cubic):
        assert Task.from_json(check_task(task.to_json())) == task


def test_an_unknown_interpolation_is_damage():
    with pytest.raises(DamagedError, match="interpolation"):
        check_task({**TASK.to_json(), "interpolation": "nearest"})
