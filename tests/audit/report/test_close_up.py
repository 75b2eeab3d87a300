from __future__ import annotations

import io
import json
from base64 import b64decode
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from segmend.audit.report.close_up import BUDGET, CloseUp, Scene, close_up
from segmend.data.image import Grid

ORIENTATIONS = [
    np.diag([1.0, 2.0, 3.0, 1.0]),
    np.diag([-1.0, -2.0, 3.0, 1.0]),
    np.array([[0.0, 0, 1, 0], [2, 0, 0, 0], [0, -3, 0, 0], [0, 0, 0, 1]]),
    np.array([[0.0, -1, 0, 5], [0, 0, 2, 5], [3, 0, 0, 5], [0, 0, 0, 1]]),
]


def volume(picture: str, shown: CloseUp) -> np.ndarray:
    """``[x, y, z]`` of a picture of slices side by side, cut out one by one."""
    pixels = np.asarray(Image.open(io.BytesIO(b64decode(picture))).convert("L"))
    x, y, z = shown.shape
    slices = []
    for number in range(z):
        row, column = divmod(number, shown.columns)
        slices.append(pixels[row * y : (row + 1) * y, column * x : (column + 1) * x].T)
    return np.stack(slices, axis=-1)


def place_of(matrix: list[list[float]], voxel: tuple[int, ...]) -> list[float]:
    return [row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3] for row in matrix]


@pytest.fixture
def scan():
    rng = np.random.default_rng(0)
    return rng.normal(50, 20, (14, 12, 10)).astype(np.float32), rng.random((4, 14, 12, 10)) < 0.3


@pytest.mark.parametrize("affine", ORIENTATIONS)
def test_every_voxel_keeps_its_place_in_the_patient_and_in_the_file(scan, affine):
    image, masks = scan
    place = np.zeros(image.shape, dtype=bool)
    place[3, 4, 5] = True
    shown = close_up(Scene.upright(image, [place, *masks[1:]], place, Grid(image.shape, affine)))
    assert volume(shown.masks, shown)[shown.at] & 16
    assert place_of(shown.to_file, shown.at) == [3, 4, 5]
    ras = (affine @ [3, 4, 5, 1])[:3]
    np.testing.assert_allclose(place_of(shown.to_ras, shown.at), ras)
    np.testing.assert_allclose(shown.voxel_at(ras), shown.at, atol=1e-9)
    one_further = np.subtract(place_of(shown.to_ras, (1, 1, 1)), place_of(shown.to_ras, (0, 0, 0)))
    assert one_further[0] < 0 < -one_further[1]  # to the left, to the back
    assert one_further[2] < 0  # to the feet
    np.testing.assert_allclose(np.abs(one_further), shown.spacing)


def test_pictures_hold_what_the_scan_holds(scan):
    image, masks = scan
    scene = Scene(image, masks, masks[0], Grid(image.shape, np.eye(4)), np.eye(4))
    shown = close_up(scene)
    flags = volume(shown.masks, shown)
    for bit, mask in enumerate(masks):
        np.testing.assert_array_equal(flags >> (4 + bit) & 1, mask)
    assert not (flags & 15).any()
    low, high = shown.range
    seen = low + volume(shown.image, shown) / 255 * (high - low)
    assert np.sqrt(np.mean((seen - image.clip(low, high)) ** 2)) < 6  # of a standard deviation of 20
    assert (low, high) == pytest.approx(np.percentile(image, (0.2, 99.8)))
    assert low < shown.window[0] < shown.window[1] < high


def test_the_slices_that_hold_most_of_the_place_come_first(scan):
    image, masks = scan
    place = np.zeros(image.shape, dtype=bool)
    place[2:9, 3, 4] = place[5, 3:8, 4] = place[5, 3, 4:9] = True
    scene = Scene(image, masks, place, Grid(image.shape, np.eye(4)), np.eye(4))
    assert close_up(scene).at == (5, 3, 4)


def test_a_picture_has_one_slice_as_it_is_stored():
    image = np.arange(300 * 40, dtype=np.float32).reshape(300, 40)
    place = np.zeros(image.shape, dtype=bool)
    place[100, 7] = True
    shown = close_up(Scene.upright(image, [place], place, Grid(image.shape, np.diag([0.5, 0.25, 1, 1]))))
    assert shown.planar
    assert shown.shape == (300, 40, 1)
    assert shown.spacing == (0.5, 0.25, 1)
    assert shown.at == (100, 7, 0)
    np.testing.assert_array_equal(np.argwhere(volume(shown.masks, shown)), [[100, 7, 0]])


def test_noise_stays_within_the_budget():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(110, 100, 50)).astype(np.float32)
    masks = rng.random((4, *image.shape)) < 0.5
    scene = Scene(image, masks, np.ones_like(masks[0]), Grid(image.shape, np.eye(4)), np.eye(4))
    shown = close_up(scene)
    assert len(json.dumps(asdict(shown))) == shown.bytes <= BUDGET
    assert shown.shape != image.shape
    assert close_up(scene, budget=10_000).bytes <= 10_000


def test_what_is_left_out_is_averaged():
    image = np.zeros((160, 160, 160), np.float32)
    image[::2] = 100  # stripes that are too fine to be shown
    place = np.ones(image.shape, dtype=bool)
    shown = close_up(Scene(image, [place], place, Grid(image.shape, np.eye(4)), np.eye(4)))
    assert shown.shape[0] < 100
    low, high = shown.range
    seen = low + volume(shown.image, shown)[5:-5] / 255 * (high - low)
    assert 20 < seen.min() < seen.max() < 80


@pytest.mark.parametrize("value", [0.0, -1000.0, 1e6])
def test_an_even_scan_is_shown(value):
    image = np.full((8, 8, 8), value, np.float32)
    place = np.ones(image.shape, dtype=bool)
    shown = close_up(Scene(image, [], place, Grid(image.shape, np.eye(4)), np.eye(4)))
    assert shown.range[0] == value < shown.range[1]
    json.dumps(asdict(shown), allow_nan=False)
