from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from segmend.core.batch import Composition
from segmend.data.image import Grid
from segmend.data.preprocess import Normalisation, Preprocessing
from segmend.engine import segmenter as module
from segmend.engine.run import Task
from segmend.engine.segmenter import Segmenter
from segmend.methods import Method
from segmend.networks import Network

OBLIQUE = np.array([[0, 0, 1.5, 3], [-1, 0.1, 0, 2], [0.1, 1, 0, 1], [0, 0, 0, 1.0]])
"""Axes run posterior, superior and right."""


class Scaled(Network):
    """Logits 0 and g * image, where g is 1 plus the slope times the place along the first axis of the window."""

    def __init__(self, in_channels, classes, dimensions=3):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.slope, self.seen, self.dtypes = 0.0, [], []

    def forward(self, image):
        self.seen.append((tuple(image.shape), image.is_contiguous(memory_format=module.CHANNELS_LAST[image.ndim])))
        self.dtypes.append(torch.nn.functional.linear(self.scale.view(1, 1), self.scale.view(1, 1)).dtype)
        place = torch.arange(image.shape[2]).view(-1, *[1] * (image.ndim - 3))
        gain = self.scale * (1 + self.slope * place)
        return torch.cat([torch.zeros_like(image[:, :1]), gain * image[:, :1]], 1)


class Plain(Method):
    kind = "supervised"
    needs = Composition(any_labelled=1)

    def loss(self, batch, step):
        return {}


def segmenter_of(patch=(4, 4, 4), spacing=(None, None, None), dimensions=3, slope=0.0, **options):
    preprocessing = Preprocessing(spacing, (Normalisation(mean=2, sd=1),))
    task = Task(("MR",), {"background": 0, "organ": 1}, dimensions, patch, preprocessing, "")
    method = Plain(Scaled(1, 2)).eval()
    method.network.slope = slope
    return Segmenter(method, task, **{"precision": "32", **options})


@pytest.fixture
def scan():
    """Values 1 to 3 without one, and an empty border; the network calls everything above 2 organ."""
    image = np.random.default_rng(0).uniform(1, 3, (1, 9, 7, 8)).astype(np.float32)
    image[:, :2], image[:, :, :, 7] = 0, 0
    return image, Grid(image.shape[1:], OBLIQUE)


class TestClasses:
    def test_land_on_the_grid_of_the_scan(self, scan):
        image, grid = scan
        np.testing.assert_array_equal(segmenter_of().classes(image, grid), image[0] > 2)

    def test_with_resampling_the_object_stays_in_place(self):
        index = np.moveaxis(np.indices((20, 22, 18)), 0, -1)
        image = np.ones((1, 20, 22, 18), dtype=np.float32)
        image[0, ((index - (12, 9, 8)) ** 2).sum(-1) < 25] = 3
        found = segmenter_of(spacing=(0.9, 1.6, 1.3)).classes(image, Grid(image.shape[1:], OBLIQUE))
        assert found.shape == image.shape[1:]
        overlap = 2 * (found[image[0] == 3]).sum() / (found.sum() + (image == 3).sum())
        assert overlap > 0.9

    def test_are_those_of_the_largest_probability(self, scan):
        image, grid = scan
        segmenter = segmenter_of(spacing=(0.7, 1.2, 1.0))
        maps = np.stack(list(segmenter.probabilities(image, grid)))
        np.testing.assert_array_equal(segmenter.classes(image, grid), maps.argmax(0))

    def test_the_largest_component_alone(self):
        image = np.ones((1, 12, 12, 12), dtype=np.float32)
        image[0, 1:6, 1:6, 1:6], image[0, 8:11, 8:11, 8:11] = 3, 3
        grid = Grid((12, 12, 12), np.eye(4))
        for spacing in ((None, None, None), (0.5, 1.0, 1.0)):
            assert segmenter_of(spacing=spacing).classes(image, grid)[9, 9, 9] == 1
            found = segmenter_of(spacing=spacing, largest=True).classes(image, grid)
            assert found[9, 9, 9] == 0
            assert found[3, 3, 3] == 1

    def test_smaller_than_the_window(self):
        image = np.array([[[[3.0]], [[1.0]], [[2.5]]]], dtype=np.float32)
        segmenter = segmenter_of(patch=(8, 8, 8))
        np.testing.assert_array_equal(segmenter.classes(image, Grid((3, 1, 1), np.eye(4))).ravel(), [1, 0, 1])
        assert segmenter.method.network.seen == [((1, 1, 8, 8, 8), True)]


class TestProbabilities:
    @pytest.mark.parametrize("spacing", [(None, None, None), (0.7, 1.2, 1.0)])
    def test_sum_to_1_and_are_background_outside(self, scan, spacing):
        image, grid = scan
        background, organ = segmenter_of(spacing=spacing).probabilities(image, grid)
        np.testing.assert_allclose(background + organ, 1, atol=1e-6)
        assert (organ[image[0] == 0] == 0).all()
        assert (organ[image[0] > 0] > 0).all()

    def test_by_hand(self, scan):
        image, grid = scan
        _, organ = segmenter_of().probabilities(image, grid)
        np.testing.assert_allclose(organ, np.where(image[0] > 0, 1 / (1 + np.exp(2 - image[0])), 0), atol=1e-6)

    def test_large_ones_go_through_a_file(self, scan, monkeypatch):
        image, grid = scan
        segmenter = segmenter_of(spacing=(0.7, 1.2, 1.0))
        expected = list(segmenter.probabilities(image, grid)), segmenter.classes(image, grid)
        files = []
        memmap = np.memmap
        monkeypatch.setattr(
            np, "memmap", lambda path, *rest, **options: files.append(path) or memmap(path, *rest, **options)
        )
        monkeypatch.setattr(module, "_IN_MEMORY_BYTES", 0)
        found = list(segmenter.probabilities(image, grid)), segmenter.classes(image, grid)
        assert len(files) == 2
        assert not any(file.exists() for file in files)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


class TestWindows:
    @pytest.mark.parametrize(
        ("options", "windows"),
        [
            ({}, 3 * 3 * 3),  # 8 voxels, windows of 4, every 2
            ({"overlap": 0.0}, 2 * 2 * 2),
            ({"overlap": 0.75}, 5 * 5 * 5),
            ({"overlap": 0.99}, 5 * 5 * 5),  # at least one voxel further
            ({"stride": (4, 2, 1)}, 2 * 3 * 5),
            ({"stride": (100, 4, 4)}, 2 * 2 * 2),  # at most a window further
            ({"flips": True, "overlap": 0.0}, 8 * 8),
        ],
    )
    def test_number(self, options, windows):
        segmenter = segmenter_of(**options)
        segmenter.prepared_classes(np.ones((1, 8, 8, 8), dtype=np.float32))
        shapes, layouts = zip(*segmenter.method.network.seen, strict=True)
        assert sum(shape[0] for shape in shapes) == windows
        assert {shape[1:] for shape in shapes} == {(1, 4, 4, 4)}
        assert all(layouts)

    @pytest.mark.parametrize(("batch", "sizes"), [(None, {1}), (3, {3, 2}), (8, {8})])
    def test_batch(self, batch, sizes):
        segmenter = segmenter_of(overlap=0.0, batch=batch)
        segmenter.prepared_classes(np.ones((1, 8, 8, 8), dtype=np.float32))
        assert {shape[0] for shape, _ in segmenter.method.network.seen} == sizes

    def test_slices_of_a_volume(self, scan):
        image, grid = scan
        segmenter = segmenter_of(patch=(4, 4), dimensions=2)
        np.testing.assert_array_equal(segmenter.classes(image, grid), image[0] > 2)
        assert {shape[1:] for shape, _ in segmenter.method.network.seen} == {(1, 4, 4)}

    def test_a_picture(self):
        image = np.random.default_rng(0).uniform(1, 3, (1, 9, 7)).astype(np.float32)
        segmenter = segmenter_of(patch=(4, 4), spacing=(None, None), dimensions=2)
        np.testing.assert_array_equal(segmenter.classes(image, Grid((9, 7), np.eye(4))), image[0] > 2)

    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_flips_take_out_what_depends_on_the_side(self, dimensions):
        patch = (4, 4, 4)[:dimensions]
        image = np.full((1, 4, 4, 4), 3.0, dtype=np.float32)
        grid = Grid((4, 4, 4), np.eye(4))
        one_sided, two_sided = (
            list(segmenter_of(patch=patch, dimensions=dimensions, slope=1.0, flips=flips).probabilities(image, grid))[1]
            for flips in (False, True)
        )
        assert (np.diff(one_sided, axis=0) > 0).all()
        np.testing.assert_allclose(two_sided, two_sided[::-1], atol=1e-6)
        np.testing.assert_allclose(two_sided, (one_sided + one_sided[::-1]) / 2, atol=1e-6)

    def test_weighting(self):
        """Windows disagree where they overlap; the Gaussian trusts the one whose middle is nearer."""
        image = np.full((1, 6, 4, 4), 3.0, dtype=np.float32)
        maps = {
            weighting: list(
                segmenter_of(slope=1.0, stride=(2, 4, 4), weighting=weighting).probabilities(
                    image, Grid((6, 4, 4), np.eye(4))
                )
            )[1][:, 0, 0]
            for weighting in ("uniform", "gaussian")
        }
        inside = 1 / (1 + np.exp(-np.arange(1, 5)))
        assert maps["uniform"][2] == pytest.approx((inside[2] + inside[0]) / 2, abs=1e-6)
        assert maps["gaussian"][2] > maps["uniform"][2] + 0.05


def test_any_function_may_be_mapped_over_a_scan(scan):
    image, grid = scan
    segmenter = segmenter_of(slope=1.0, stride=(2, 3, 4))
    placement = segmenter.task.preprocessing.place(image, grid)
    prepared = segmenter.task.preprocessing.image(image, grid, placement)
    maps = segmenter.maps(prepared, lambda window: torch.cat([window, segmenter.method.predict(window)], 1))
    assert maps.shape == (3, *prepared.shape[1:])
    np.testing.assert_allclose(maps[0], prepared[0], atol=1e-6)
    whole = list(segmenter.probabilities(image, grid))
    np.testing.assert_array_equal(placement.restore(maps[2]), whole[1])


@pytest.mark.parametrize(("precision", "dtype"), [("32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision(precision, dtype):
    segmenter = replace(segmenter_of(), precision=precision)
    segmenter.prepared_classes(np.ones((1, 4, 4, 4), dtype=np.float32))
    assert segmenter.method.network.dtypes == [dtype]


def test_a_temperature_calibrates_the_probabilities_and_keeps_the_classes(scan):
    image, grid = scan
    plain, calibrated = segmenter_of(overlap=0.0), segmenter_of(overlap=0.0, temperature=2.0)
    expected = 1 / (1 + np.exp(-(image[0] - 2) / 2))
    inside = np.s_[2:, :, :7]  # the empty border is cut off
    found = list(calibrated.probabilities(image, grid))[1]
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-5)
    np.testing.assert_array_equal(calibrated.classes(image, grid), plain.classes(image, grid))


def test_flips_along_chosen_axes_only():
    """The slope lies along the first axis of the window, so a flip along another one changes nothing."""
    grid = Grid((8, 8, 8), np.eye(4))
    image = np.random.default_rng(0).uniform(1, 3, (1, 8, 8, 8)).astype(np.float32)
    none, others, first = (
        list(segmenter_of((8, 8, 8), slope=1.0, flips=axes).probabilities(image, grid))[1]
        for axes in (False, (1, 2), (0,))
    )
    np.testing.assert_allclose(others, none, atol=1e-6)
    assert np.abs(first - none).max() > 0.01
