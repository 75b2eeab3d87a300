from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from segmend.data.image import Grid
from segmend.demo.overlays import View, axial_axis, draw_overlays, most_different_slice, slice_of

ORIENTATIONS = [
    np.diag([1.0, 2.0, 3.0, 1.0]),
    np.diag([-1.0, -2.0, 3.0, 1.0]),
    np.array([[0.0, 0, 1, 0], [2, 0, 0, 0], [0, -3, 0, 0], [0, 0, 0, 1]]),
    np.array([[0.0, -1, 0, 5], [0, 0, 2, 5], [3, 0, 0, 5], [0, 0, 0, 1]]),
    np.array([[0.0, -1, 0, 5], [-2, 0, 0, 5], [0.2, 0, -3, 5], [0, 0, 0, 1]]),
]
"""One millimetre from right to left, two from front to back, three along the patient, stored in five ways."""


def body(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, Grid]:
    """A scan with a bright right anterior corner, the label of the same, and their grid."""
    steps = np.abs(affine[:3, :3]).argmax(0)  # anatomical axis of each array axis
    sides = np.array([8, 6, 4])[steps]
    points = np.moveaxis(np.indices(sides), 0, -1) @ affine[:3, :3].T
    middle = points.reshape(-1, 3).mean(0)
    corner = (points - middle)[..., 0] > 2
    corner &= (points - middle)[..., 1] > 2
    label = corner & ((points - middle)[..., 2] > 3)
    return corner.astype(np.float32), label.astype(np.uint8), Grid(tuple(sides), affine)


@pytest.mark.parametrize("affine", ORIENTATIONS)
def test_the_right_of_the_patient_is_at_the_left_and_the_front_on_top(affine):
    image, label, grid = body(affine)
    position = most_different_slice(label, [np.zeros_like(label)], grid)
    assert grid.shape[axial_axis(grid)] == 4
    assert position == (3 if affine[2, axial_axis(grid)] > 0 else 0)
    view = slice_of("title", image, {"truth": label}, grid, position)
    assert view.image.shape == (6, 8)
    assert view.image[0, 0] == 1
    assert view.image[0, -1] == view.image[-1, 0] == view.image[-1, -1] == 0
    np.testing.assert_array_equal(view.labels["truth"], view.image)
    np.testing.assert_allclose(view.pixel, (2, 1), atol=0.03)
    assert view.sides == ("R", "L", "A", "P")


def test_a_picture_is_seen_as_it_is_stored():
    image = np.arange(6, dtype=np.float32).reshape(3, 2)  # x, y
    grid = Grid((3, 2), np.diag([0.5, 0.25, 1.0, 1.0]))
    view = slice_of("title", image, {"truth": image.astype(np.uint8)}, grid, 0)
    assert view.image.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert view.pixel == (0.25, 0.5)
    assert view.sides == ("", "", "", "")
    assert most_different_slice(image.astype(int), [image.astype(int)], grid) == 0


def test_the_slice_where_all_together_are_most_wrong():
    grid = Grid((3, 4, 5), np.eye(4))
    truth = np.zeros(grid.shape, dtype=np.uint8)
    truth[:2, :2, 1] = 1
    truth[:, :, 2] = 2
    assert most_different_slice(truth, [truth, truth], grid) == 2
    first, second = truth.copy(), truth.copy()
    truth[0, 0, 3:] = first[0, 0, 3:] = second[0, 0, 3:] = 1
    first[0, :2, 4] = 2
    assert most_different_slice(truth, [first, second], grid) == 4
    second[:2, 0, 3] = second[0, 0, 4] = 3
    first[0, 1, 3] = first[1, 1, 3] = 1
    assert most_different_slice(truth, [first, second], grid) == 3


def test_slices_without_an_object_are_shown_only_if_there_is_no_other():
    grid = Grid((3, 4, 5), np.eye(4))
    truth, other = np.zeros((2, *grid.shape), dtype=np.uint8)
    other[:, :, 4] = 1
    assert most_different_slice(truth, [other], grid) == 4
    truth[0, 0, 1] = truth[:2, 0, 2] = other[:2, 0, 2] = 1
    assert most_different_slice(truth, [other], grid) == 1


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **options: (figures.append(self), save(self, *args, **options))
    )
    return figures


def view(title: str, **labels: np.ndarray) -> View:
    image = np.random.default_rng(0).random((12, 10), dtype=np.float32)
    return View(title, image, labels, (3.0, 1.0), ("R", "L", "A", "P"))


def mask(rows: slice, columns: slice, value: int = 1) -> np.ndarray:
    label = np.zeros((12, 10), dtype=np.uint8)
    label[rows, columns] = value
    return label


COLOURS = {"truth": "#00ff00", "noisy": "#ff00ff"}


def lines(axes) -> list[tuple[str, list[np.ndarray]]]:
    """Colour and polygons of each drawn outline, without the dark edges."""
    found = [(to_hex(c.get_edgecolor()[0]), c.get_paths()[0].to_polygons(closed_only=False)) for c in axes.collections]
    return [(colour, polygons) for colour, polygons in found if colour != "#000000"]


def test_outlines_run_around_the_objects_and_close_at_the_border(tmp_path, drawn):
    truth, noisy = mask(slice(2, 5), slice(3, 9)), mask(slice(0, 12), slice(0, 2))
    draw_overlays(tmp_path / "x.png", [[view("one", truth=truth, noisy=noisy)]], COLOURS)
    (colour, (around,)), (other, (border,)) = lines(drawn[0].axes[0])
    assert (colour, other) == ("#00ff00", "#ff00ff")
    np.testing.assert_allclose([around.min(0), around.max(0)], [[2.5, 1.5], [8.5, 4.5]])
    np.testing.assert_allclose([border.min(0), border.max(0)], [[-0.5, -0.5], [1.5, 11.5]])
    for outline in (around, border):
        np.testing.assert_array_equal(outline[0], outline[-1])
    assert drawn[0].axes[0].get_xlim() == (-0.5, 9.5)
    assert drawn[0].axes[0].get_ylim() == (11.5, -0.5)


def test_every_class_has_an_outline_and_none_without_a_voxel(tmp_path, drawn):
    two = mask(slice(0, 3), slice(0, 3)) + mask(slice(3, 6), slice(0, 3), value=2)
    draw_overlays(tmp_path / "x.png", [[view("two", truth=two, noisy=0 * two), view("none", truth=0 * two)]], COLOURS)
    assert len(lines(drawn[0].axes[0])) == 2
    assert lines(drawn[0].axes[1]) == []


def test_pixels_keep_their_shape_and_rows_may_be_short(tmp_path, drawn):
    whole = mask(slice(0, 12), slice(0, 10))
    draw_overlays(tmp_path / "x.png", [[view("a", truth=whole)] * 3, [view("b", truth=whole)]], COLOURS)
    axes = drawn[0].axes
    assert [len(cell.images) for cell in axes] == [1, 1, 1, 1, 0, 0]
    assert axes[0].get_aspect() == 3
    box = axes[0].get_position().transformed(drawn[0].transSubfigure).bounds
    assert box[3] / box[2] == pytest.approx(3.6, rel=0.05)


def test_nothing_overlaps_and_all_is_said(tmp_path, drawn):
    truth = mask(slice(2, 5), slice(3, 9))
    rows = [[view(f"phantom_00{i}: dilate, Dice 0.{i}", truth=truth) for i in range(3)]] * 2
    draw_overlays(tmp_path / "x.png", rows, COLOURS)
    figure = drawn[0]
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["truth", "noisy"]
    boxes = [legend.get_window_extent(), *[axes.title.get_window_extent() for axes in figure.axes]]
    boxes += [axes.get_window_extent() for axes in figure.axes]
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
    letters = [text.get_text() for text in figure.axes[0].texts]
    assert letters == ["R", "L", "A", "P"]


def test_names_are_shown_as_they_are(tmp_path, drawn):
    truth = mask(slice(2, 5), slice(3, 9))
    draw_overlays(tmp_path / "x.png", [[view("$x_{$", **{"a $b": truth})]], {"a $b": "red"})
    assert drawn[0].axes[0].get_title() == "$x_{$"
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_same_slices_give_the_same_picture_even_if_they_are_flat(tmp_path):
    flat = View("flat", np.zeros((5, 5), np.float32), {}, (1.0, 1.0), ("", "", "", ""))
    for name in ("a.png", "b.png"):
        draw_overlays(tmp_path / name, [[flat]], COLOURS)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert imread(tmp_path / "a.png").shape[2] == 4
