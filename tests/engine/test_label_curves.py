from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from segmend.engine.label_curves import draw_label_curves

ROWS = [
    (0, 0, "a", "noisy", "new", 0, 0, 1.0, 0.5),
    (0, 0, "b", "noisy", "new", 0, 0, 1.0, 0.95),
    (0, 0, "c", "expert", "new", 0, 0, 1.0, 0.2),
    (0, 0, "d", "none", "new", 0, 0, None, None),
    (40, 1, "a", "noisy", "new", 30, 30, 0.8, 0.7),
    (40, 1, "b", "noisy", "new", 10, 10, 0.9, 0.85),
    (40, 1, "c", "expert", "new", 0, 0, 1.0, 0.2),
    (40, 1, "d", "none", "new", 100, 100, None, None),
]
COLUMNS = ["step", "revision", "case", "quality", "layer"]
COLUMNS += ["changed", "changed_from_given", "dice_to_given", "dice_to_truth"]


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draws a table and gives the axes of the figure that was saved."""

    def drawn(rows):
        figures, save = [], Figure.savefig
        monkeypatch.setattr(
            Figure, "savefig", lambda self, *a, **options: figures.append(self) or save(self, *a, **options)
        )
        rows.to_csv(tmp_path / "labels.csv", index=False)
        draw_label_curves(tmp_path / "labels.csv", tmp_path / "labels.png", "AIDE, run")
        assert min(imread(tmp_path / "labels.png").shape[:2]) > 300
        return figures[0].axes

    return drawn


def curves(axes):
    return {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axes.lines}


def test_changes_and_quality(draw):
    changes, quality = draw(pd.DataFrame(ROWS, columns=COLUMNS))
    assert curves(changes) == {
        "new: since the revision before": [(40, 35)],
        "new: since the given labels": [(0, 0), (40, pytest.approx(40 / 3))],
    }
    assert curves(quality) == {
        "new: all (2)": [(0, pytest.approx(0.725)), (40, pytest.approx(0.775))],
        "new: good from the start (1)": [(0, 0.95), (40, 0.85)],
    }
    assert changes.get_title() == "AIDE, run"
    assert quality.get_xlabel() == "step"


def test_without_the_truth_quality_is_not_drawn(draw):
    (changes,) = draw(pd.DataFrame(ROWS, columns=COLUMNS).assign(dice_to_truth=None))
    assert changes.get_xlabel() == "step"


def test_layers_have_colours_of_their_own(draw):
    rows = pd.DataFrame(ROWS, columns=COLUMNS)
    for axes in draw(pd.concat([rows, rows.assign(layer="other", changed=7)])):
        by_layer = [
            {line.get_color() for line in axes.lines if line.get_label().startswith(it)} for it in ("new", "other")
        ]
        assert by_layer == [{"C0"}, {"C1"}]
