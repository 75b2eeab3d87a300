from __future__ import annotations

import numpy as np
import pytest

from segmend.audit.external.layout import Layout, all_layouts
from segmend.audit.external.orientation import OrientationSearch
from segmend.data.image import Grid

SHAPE = (16, 16, 16)
RAS, LPS = np.diag([1.0, 1, 1, 1]), np.diag([-1.0, -1, 1, 1])
USUAL = Layout.reversed_axes("stored", 3)
REORIENTED = Layout.reversed_axes("RAS", 3)


def organ(seed, ball, centre=(5, 5.5, 11.5)):
    return ball(SHAPE, tuple(np.array(centre) + np.random.default_rng(seed).uniform(-1, 1, 3)), 3.5).astype(np.uint8)


def placement(pairs, declared=None, names=("background", "organ")):
    """What is found for predictions along the axes of arrays, labels and affines."""
    search = OrientationSearch(names, list(all_layouts(3)))
    for number, (predicted, label, affine) in enumerate(pairs):
        search.add(search.compare(str(number), np.ascontiguousarray(predicted), label, Grid(SHAPE, affine)))
    return search.placement(declared, "Somebody says")


@pytest.mark.parametrize("axes", [(2, 1, 0), (0, 1, 2), (1, 2, 0)])
@pytest.mark.parametrize("flip", [(), (0,), (1, 2)])
def test_any_order_and_direction_is_found(ball, axes, flip):
    labels = [organ(seed, ball) for seed in range(4)]
    found = placement([(np.flip(label.transpose(axes), flip), label, RAS) for label in labels])
    assert not found.uncertain
    assert "mean Dice to the labels 1.00 over 4 cases" in found.remarks[0]
    assert "the next best is" in found.remarks[0]
    for label in labels:
        array = np.flip(label.transpose(axes), flip)
        np.testing.assert_array_equal(found.layout.place(array, Grid(SHAPE, RAS)), label)


def test_scans_in_two_orientations_show_that_a_reader_reorients(ball):
    labels = [organ(seed, ball) for seed in range(6)]
    pairs = [(label.T, label, RAS) for label in labels[:4]] + [
        (np.flip(label, (0, 1)).T, label, LPS) for label in labels[4:]
    ]
    found = placement(pairs)
    assert found.layout == REORIENTED
    assert not found.uncertain


def test_an_organ_that_looks_like_its_mirror_image_leaves_doubts(ball):
    labels = [ball(SHAPE, (7.5, 7.5, 9), 4).astype(np.uint8) for _ in range(4)]
    found = placement([(label.T, label, RAS) for label in labels])
    assert found.layout == USUAL
    assert found.uncertain == set("0123")
    assert "the labels do not show it" in found.remarks[0]
    assert "No change is proposed" in found.remarks[0]
    assert not placement([(label.T, label, RAS) for label in labels], USUAL).uncertain


def test_one_case_is_not_enough(ball):
    label = organ(0, ball)
    assert placement([(label.T, label, RAS)]).uncertain == {"0"}


def test_bad_labels_do_not_hide_the_order(ball):
    labels = [organ(seed, ball) for seed in range(8)]
    pairs = [(label.T, label, RAS) for label in labels[:6]]
    pairs += [(label.T, np.roll(label, 8, 0), RAS) for label in labels[6:]]
    found = placement(pairs)
    assert found.layout == USUAL
    assert found.uncertain <= {"6", "7"}


@pytest.mark.parametrize("declared", [USUAL, REORIENTED])
def test_a_declared_order_is_believed_while_it_fits(ball, declared):
    labels = [organ(seed, ball) for seed in range(4)]
    found = placement([(label.T, label, RAS) for label in labels], declared)
    assert found.layout == declared
    assert not found.uncertain


def test_a_wrong_declaration_is_kept_but_nothing_is_proposed(ball):
    labels = [organ(seed, ball) for seed in range(4)]
    found = placement([(np.flip(label, 0).T, label, RAS) for label in labels], USUAL)
    assert found.layout == USUAL
    assert found.uncertain == set("0123")
    assert "they fit the labels far better as (z, y, -x)" in found.remarks[0]


def test_a_single_mirrored_case_is_left_alone(ball):
    labels = [organ(seed, ball) for seed in range(5)]
    pairs = [(label.T, label, RAS) for label in labels[:4]] + [(np.flip(labels[4], 0).T, labels[4], RAS)]
    found = placement(pairs, USUAL)
    assert found.uncertain == {"4"}
    assert any("In case '4'" in remark for remark in found.remarks)


def test_classes_in_another_order_are_named(ball):
    names = ("background", "liver", "kidney")
    labels = [organ(seed, ball) + 2 * ball(SHAPE, (12, 11, 6), 2.5).astype(np.uint8) for seed in range(4)]
    swapped = [np.array([0, 2, 1], np.uint8)[label] for label in labels]
    found = placement([(array.T, label, RAS) for array, label in zip(swapped, labels, strict=True)], USUAL, names)
    assert found.uncertain == set("0123")
    assert any("number 1 seems to be 'kidney', number 2 seems to be 'liver'" in remark for remark in found.remarks)


def test_a_background_in_the_wrong_place_is_named(ball):
    labels = [organ(seed, ball) for seed in range(4)]
    found = placement([(1 - label.T, label, RAS) for label in labels], USUAL)
    assert any("number 0 seems to be 'organ'" in remark for remark in found.remarks)
    assert found.uncertain == set("0123")


def test_empty_labels_say_nothing(ball):
    empty = np.zeros(SHAPE, np.uint8)
    labels = [organ(seed, ball) for seed in range(3)]
    found = placement([(empty, empty, RAS)] + [(label.T, label, RAS) for label in labels])
    assert found.layout == USUAL
    assert not found.uncertain
