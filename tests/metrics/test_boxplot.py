from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from segmend.metrics import Score, Status, draw_boxplot, to_table


def results(seed: int, labels: tuple[str, ...] = ("liver", "a $b$ c$"), cases: int = 7):
    rng = np.random.default_rng(seed)
    scores = []
    for case in range(cases):
        for label in labels:
            hd95 = None if case == 0 else float(rng.gamma(2))
            metrics = (*rng.uniform(0.5, 1, 2), hd95, *rng.gamma(1, size=3), rng.uniform(), 0.1, 1.0, 1.0)
            scores.append(Score(f"case {case}", label, *metrics, Status.OK))
    return to_table(scores)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **options: (figures.append(self), save(self, *args, **options))
    )
    return figures


def test_every_defined_value_is_a_point_over_its_label(tmp_path, drawn):
    tables = {"ours": results(0), "theirs": results(1)}
    draw_boxplot(tmp_path / "boxes.png", tables, "mm")
    assert [file.name for file in tmp_path.iterdir()] == ["boxes.png"]
    (figure,) = drawn
    for axes, metric in zip(figure.axes, ("dice", "nsd", "hd95", "assd"), strict=True):
        clouds = iter(axes.collections)
        for table in tables.values():
            side = -0.2 if table is tables["ours"] else 0.2
            for position, label in enumerate(("liver", "a $b$ c$")):
                points = np.ma.filled(next(clouds).get_offsets(), np.nan)
                np.testing.assert_allclose(points[:, 1], table.loc[table["label"] == label, metric])
                assert np.nanmax(np.abs(points[:, 0] - position - side)) < 0.2
                assert len(set(points[1:, 0])) == 6
        assert next(clouds, None) is None
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["liver", "a $b$ c$"]


def test_titles_tell_units_and_undefined_values(tmp_path, drawn):
    draw_boxplot(tmp_path / "boxes.png", {"ours": results(0), "theirs": results(1)}, "mm")
    titles = [axes.get_title() for axes in drawn[0].axes]
    assert titles == ["Dice", "NSD", "HD95 (mm), 4 undefined", "ASSD (mm)"]
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["ours", "theirs"]


def test_results_differ_in_colour_and_a_single_one_needs_no_legend(tmp_path, drawn):
    draw_boxplot(tmp_path / "two.png", {"ours": results(0), "theirs": results(1)}, "mm")
    draw_boxplot(tmp_path / "one.png", {"ours": results(0)}, "mm")
    assert len({patch.get_facecolor() for patch in drawn[0].axes[0].patches}) == 2
    assert not drawn[1].legends


def test_same_results_give_the_same_picture(tmp_path):
    for name in ("a.png", "b.png"):
        draw_boxplot(tmp_path / name, {"ours": results(0)}, "voxel")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("labels", [("1",), tuple(f"structure {i}" for i in range(16))])
def test_one_label_or_many(tmp_path, labels):
    draw_boxplot(tmp_path / "boxes.png", {"ours": results(0, labels, cases=2)}, "mm")
    height, width, _ = imread(tmp_path / "boxes.png").shape
    assert max(height, width) <= 6000


def test_label_that_is_undefined_everywhere(tmp_path, drawn):
    table = results(0, ("1", "2")).assign(assd=lambda t: t["assd"].where(t["label"] == "1"))
    draw_boxplot(tmp_path / "boxes.png", {"ours": table}, "mm")
    assert drawn[0].axes[3].get_title() == "ASSD (mm), 7 undefined"


def test_more_results_than_colours_are_told_apart_by_their_hatches(tmp_path, drawn):
    tables = {f"row {number}": results(number, ("liver",)) for number in range(14)}
    draw_boxplot(tmp_path / "many.png", tables, "mm")
    patches = drawn[0].legends[0].get_patches()
    assert len({(patch.get_facecolor(), patch.get_hatch()) for patch in patches}) == 14
    boxes = drawn[0].axes[0].patches
    assert [box.get_hatch() or "" for box in boxes] == [patch.get_hatch() or "" for patch in patches]
