from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from segmend.engine.curves import draw_curves

ROWS = {
    "step": [1, 10, 15, 20],
    "expert": [0.9, 0.5, None, 0.25],
    "clean": [0.0, 0.25, None, 0.25],
    "loss": [0.9, 0.75, None, 0.5],
    "learning_rate": [0.01, 0.005, None, 0.0],
    "val_dice": [None, None, 0.5, 0.75],
}


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draws a log and gives the figure that was saved."""

    def drawn(columns):
        figures = []
        save = Figure.savefig
        monkeypatch.setattr(
            Figure, "savefig", lambda self, *a, **options: figures.append(self) or save(self, *a, **options)
        )
        pd.DataFrame({name: ROWS[name] for name in columns}).dropna(how="all", subset=columns[1:]).to_csv(
            tmp_path / "log.csv", index=False
        )
        draw_curves(tmp_path / "log.csv", tmp_path / "curves.png", "PLIL, run")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "log.csv"]
        height, width = imread(tmp_path / "curves.png").shape[:2]
        assert min(height, width) > 300
        return figures[0]

    return drawn


def test_all_terms_and_their_sum(draw):
    (axes,) = draw(["step", "expert", "clean", "loss", "learning_rate"]).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["expert", "clean", "loss"]
    raw = axes.lines[0]
    assert list(raw.get_xdata()) == [1, 10, 20]
    assert list(raw.get_ydata()) == [0.9, 0.5, 0.25]
    assert list(axes.lines[1].get_ydata()) == [0.9, 0.5, 0.25]  # too few rows to average over
    assert axes.get_title() == "PLIL, run"
    assert axes.get_ylim()[0] == 0


def test_the_thick_line_averages_over_a_twentieth_of_the_rows(draw, monkeypatch):
    monkeypatch.setitem(ROWS, "step", list(range(80)))
    monkeypatch.setitem(ROWS, "expert", [0.2, 0.6] * 40)
    (axes,) = draw(["step", "expert"]).axes
    assert list(axes.lines[0].get_ydata()) == [0.2, 0.6] * 40
    assert axes.lines[1].get_ydata()[10:-10] == pytest.approx(0.4)


def test_a_single_term_is_the_loss(draw):
    (axes,) = draw(["step", "expert", "loss", "learning_rate"]).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["expert"]


def test_validation_has_axes_of_its_own(draw):
    losses, validation = draw(list(ROWS)).axes
    (line,) = validation.lines
    assert list(line.get_xdata()) == [15, 20]
    assert list(line.get_ydata()) == [0.5, 0.75]
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["expert", "clean", "loss"]
