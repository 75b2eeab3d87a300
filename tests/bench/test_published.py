from __future__ import annotations

import math

import pytest

from segmend.bench.published import published_numbers, published_value


def test_holds_the_numbers_of_all_five_papers():
    assert set(published_numbers()["paper"]) == {"PLIL", "MLB-Seg", "AIDE", "DeepSelfCleansing", "ALC"}


@pytest.mark.parametrize(
    ("settings", "method", "metric", "value", "sd"),
    [
        (("4HQ+76LQ",), "PLIL (ours)", "Dice % up", 84.91, 3.32),
        (("6HQ+74LQ",), "MTCL", "95HD voxel down", 12.47, 10.06),
        (("4HQ+76LQ", "4HQ+0LQ"), "H-Sup", "Dice % up", 77.84, 8.29),
    ],
)
def test_finds_a_number(settings, method, metric, value, sd):
    assert published_value("PLIL", "T1", settings, method, metric) == (value, sd)


def test_what_was_not_published_is_not_a_number():
    assert all(map(math.isnan, published_value("PLIL", "T1", ("4HQ+76LQ",), "ALC", "Dice % up")))
