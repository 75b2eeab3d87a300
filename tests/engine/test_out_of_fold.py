"""Conclusions from out-of-fold predictions; tests/commands/test_train_folds.py has the rest."""

from __future__ import annotations

import pandas as pd
import pytest

from segmend.engine.out_of_fold import choose_largest


def test_the_largest_component_is_kept_only_where_the_mean_dice_rises():
    rows = [("a", "left", 0.8), ("a", "right", 0.8), ("b", "left", 0.6), ("b", "right", 0.6), ("a", "third", 1.0)]
    table = pd.DataFrame(rows, columns=["case", "label", "dice"])
    chosen = choose_largest(table, {"left": {"a": 0.75, "b": 0.7}, "right": {"a": 0.9, "b": 0.4}, "third": {"a": 1.0}})
    assert {label: entry["applied"] for label, entry in chosen.items()} == {
        "left": True,
        "right": False,
        "third": False,
    }
    assert chosen["left"]["dice"] == pytest.approx(0.7)
    assert chosen["left"]["dice_of_largest_component"] == pytest.approx(0.725)
