from __future__ import annotations

import itertools
import runpy
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from segmend.core.masks import IGNORE

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "weights.py"))
WeightedSlice, draw_weights = SCRIPT["WeightedSlice"], SCRIPT["draw_weights"]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **options: (figures.append(self), save(self, *args, **options))
    )
    return figures


def weighted(title: str = "case", scale: float = 1e-5, shape: tuple[int, int] = (12, 10)) -> WeightedSlice:
    """A slice with every class, unknown voxels, and weights 1 and 3 in the same two rows."""
    label = np.zeros(shape, dtype=np.uint8)
    label[:3], label[3:5], label[-1] = 1, 2, IGNORE
    weight = np.zeros(shape, dtype=np.float32)
    weight[:2] = scale
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    return WeightedSlice(title, image, label, np.minimum(label, 1), weight, 3 * weight)


def test_shows_the_image_both_labels_and_both_weights(tmp_path, drawn):
    sample = weighted()
    draw_weights(tmp_path / "x.png", [sample])
    axes = drawn[0].axes
    assert [cell.get_title() for cell in axes[:5]] == [
        "image", "given label", "pseudo label", "weight of given label", "weight of pseudo label",
    ]  # fmt: skip
    assert [len(cell.images) for cell in axes[:5]] == [1, 3, 3, 1, 1]
    for cell in axes[:3]:
        np.testing.assert_array_equal(cell.images[0].get_array(), sample.image)


def test_objects_are_coloured_unknown_voxels_are_grey_and_the_background_is_left_open(tmp_path, drawn):
    sample = weighted()
    draw_weights(tmp_path / "x.png", [sample])
    _, objects, unknown = drawn[0].axes[1].images
    colours = objects.to_rgba(objects.get_array())
    label = sample.given_label
    assert not np.array_equal(colours[0, 0], colours[3, 0])
    np.testing.assert_array_equal(colours[..., 3] > 0, (label == 1) | (label == 2))
    np.testing.assert_array_equal(~unknown.get_array().mask, label == IGNORE)


def test_both_maps_have_one_scale_in_multiples_of_their_mean(tmp_path, drawn):
    draw_weights(tmp_path / "x.png", [weighted(), weighted(scale=7.0)])
    cells = drawn[0].axes
    for given, pseudo in (cells[3:5], cells[8:10]):
        assert given.images[0].norm is pseudo.images[0].norm
        # A sixth of the voxels of either map has the weight 1 or 3, so that the mean is a third.
        np.testing.assert_allclose(given.images[0].get_array()[:3, 0], [3, 3, 0], rtol=1e-5)
        np.testing.assert_allclose(pseudo.images[0].get_array()[:3, 0], [9, 9, 0], rtol=1e-5)
        assert given.images[0].norm.vmin == 0
        assert given.images[0].norm.vmax == pytest.approx(9)


def test_slices_without_any_weight_are_dark(tmp_path, drawn):
    draw_weights(tmp_path / "x.png", [weighted(scale=0.0)])
    for cell in drawn[0].axes[3:5]:
        assert not cell.images[0].get_array().any()
        assert cell.images[0].norm.vmax == 1


def test_nothing_overlaps_and_names_are_shown_as_they_are(tmp_path, drawn):
    draw_weights(tmp_path / "x.png", [weighted("case_{$1"), weighted("b", shape=(8, 16)), weighted("c")])
    figure = drawn[0]
    panels = [cell for cell in figure.axes if cell.get_title() or len(cell.images) in (1, 3)]
    assert [cell.get_ylabel() for cell in panels[::5]] == ["case_{$1", "b", "c"]
    boxes = [cell.get_tightbbox() for cell in figure.axes]
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_same_slices_give_the_same_picture(tmp_path):
    for name in ("a.png", "b.png"):
        draw_weights(tmp_path / name, [weighted()])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert imread(tmp_path / "a.png").shape[2] == 4
