"""The sliding window against a slow loop over single windows."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segmend.core.errors import InputError
from segmend.inference import flip_averaged, predict_classes, predict_probabilities, predict_slices, sliding_window
from segmend.inference.slabs import SlabSums

OPTIONS = {"patch": (4, 3), "stride": (2, 3)}


def placed(image):
    """Three classes that depend on the intensity and on the place in the window, so that overlaps matter."""
    place = torch.linspace(-1, 1, image[0, 0].numel()).view(image.shape[2:])
    logits = torch.stack([image[:, 0] * 2, place.expand_as(image[:, 0]), image[:, -1].square() - place], dim=1)
    return logits.softmax(1)


def slow(image, predict, patch, stride, weighting):
    """Pads the scan, visits one window at a time, sums everything, divides at the end."""
    shape = image.shape[1:]
    missing = [max(p - n, 0) for p, n in zip(patch, shape, strict=True)]
    padded = np.pad(image.numpy(), [(0, 0), *[(m // 2, math.ceil(m / 2)) for m in missing]])
    starts = [
        sorted({min(s * k, n - p) for k in range(math.ceil((n - p) / s) + 1)})
        for n, p, s in zip(padded.shape[1:], patch, stride, strict=True)
    ]
    weight = np.ones(patch)
    if weighting == "gaussian":
        for voxel in np.ndindex(*patch):
            square = sum(((v - (p - 1) / 2) / (p / 8)) ** 2 for v, p in zip(voxel, patch, strict=True))
            weight[voxel] = math.exp(-square / 2)
    total, visits = 0, np.zeros(padded.shape[1:])
    for corner in itertools.product(*starts):
        window = (slice(None), *[slice(c, c + p) for c, p in zip(corner, patch, strict=True)])
        predicted = predict(torch.from_numpy(padded[window])[None])[0].numpy()
        here = np.zeros((len(predicted), *padded.shape[1:]))
        here[window] = predicted * weight
        total = total + here
        visits[window[1:]] += weight
    inside = (slice(None), *[slice(m // 2, m // 2 + n) for m, n in zip(missing, shape, strict=True)])
    return (total / visits)[inside]


def scan(*shape, channels=2, seed=0):
    return torch.randn(channels, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("weighting", ["uniform", "gaussian"])
@pytest.mark.parametrize(
    ("shape", "patch", "stride"),
    [
        ((11, 9), (4, 4), (3, 2)),
        ((9, 8, 14), (4, 4, 6), (2, 3, 1)),
        ((9, 8, 3), (4, 4, 6), (2, 3, 1)),
        ((3, 2, 5), (6, 5, 8), (1, 1, 1)),
        ((6, 6, 6), (6, 6, 6), (6, 6, 6)),
        ((13, 4), (4, 4), (4, 4)),
    ],
)
def test_equals_the_slow_loop(shape, patch, stride, weighting):
    expected = slow(scan(*shape), placed, patch, stride, weighting)
    options = {"patch": patch, "stride": stride, "weighting": weighting}
    probabilities = predict_probabilities(scan(*shape), placed, **options)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)
    classes = predict_classes(scan(*shape), placed, **options)
    assert classes.dtype == np.uint8
    assert np.array_equal(classes, probabilities.argmax(0))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(2, 3), st.integers(1, 7), st.sampled_from(["uniform", "gaussian"]), st.data())
def test_equals_the_slow_loop_for_any_shape(axes, batch, weighting, data):
    shape, patch = (data.draw(st.tuples(*[st.integers(1, high)] * axes)) for high in (12, 7))
    stride = tuple(data.draw(st.integers(max(1, side // 2), side)) for side in patch)
    options = {"patch": patch, "stride": stride, "weighting": weighting}
    expected = slow(scan(*shape), placed, **options)
    np.testing.assert_allclose(
        predict_probabilities(scan(*shape), placed, batch=batch, **options), expected, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("weighting", ["uniform", "gaussian"])
@pytest.mark.parametrize("shape", [(17, 12, 9), (5, 12, 3)])
def test_a_function_of_single_voxels_comes_out_as_it_is(shape, weighting):
    image = scan(*shape, channels=3)
    probabilities = predict_probabilities(
        image, lambda windows: windows.softmax(1), patch=(8, 6, 4), stride=(3, 6, 1), weighting=weighting
    )
    np.testing.assert_allclose(probabilities, image.softmax(0).numpy(), rtol=2e-6)


@pytest.mark.parametrize("batch", [1, 2, 5, 1000])
def test_the_batch_size_changes_nothing(batch):
    expected = predict_probabilities(scan(11, 10), placed, batch=3, **OPTIONS)
    assert np.array_equal(predict_probabilities(scan(11, 10), placed, batch=batch, **OPTIONS), expected)


def test_batches_are_full_but_for_the_last():
    sizes = []

    def counting(windows):
        sizes.append(len(windows))
        return placed(windows)

    predict_classes(scan(10, 9), counting, batch=5, **OPTIONS)  # 4 x 3 windows
    assert sizes == [5, 5, 2]


def test_slabs_tile_the_scan_in_order():
    slabs = list(sliding_window(scan(7, 21), placed, **OPTIONS))
    assert [slab.where[0] for slab in slabs] == [slice(0, 7)] * len(slabs)
    edges = [0, *(slab.where[1].stop for slab in slabs)]
    assert [slab.where[1].start for slab in slabs] == edges[:-1]
    assert edges[-1] == 21
    joined = torch.cat([slab.probabilities for slab in slabs], dim=2).numpy()
    assert np.array_equal(joined, predict_probabilities(scan(7, 21), placed, **OPTIONS))


def test_a_slab_is_given_out_before_the_scan_is_through():
    calls = []

    def counting(windows):
        calls.append(len(windows))
        return placed(windows)

    slabs = sliding_window(scan(4, 300), counting, batch=2, **OPTIONS)
    assert not calls
    next(slabs)
    assert len(calls) == 1


@pytest.mark.parametrize("long_axis", [0, 1, 2])
def test_memory_does_not_grow_with_the_scan(monkeypatch, long_axis):
    alive, add = [], SlabSums.add

    def watched(self, corner, probabilities):
        add(self, corner, probabilities)
        alive.append(sum(sums.numel() for _, sums in self.alive))

    monkeypatch.setattr(SlabSums, "add", watched)
    classes, shape = 50, [6, 6, 6]
    shape[long_axis] = 240
    probabilities = torch.rand(1, classes, 4, 4, 4).softmax(1)
    slabs = sliding_window(
        scan(*shape),
        lambda windows: probabilities.expand(len(windows), -1, -1, -1, -1),
        patch=(4,) * 3,
        stride=(2,) * 3,
    )
    largest = max(slab.probabilities.numel() for slab in slabs)
    assert max(alive) == classes * 4 * 6 * 6
    assert largest == classes * 2 * 6 * 6


def test_probabilities_fill_a_memory_map(tmp_path):
    expected = predict_probabilities(scan(11, 10), placed, **OPTIONS)
    mapped = np.memmap(tmp_path / "p", np.float32, "w+", shape=(3, 11, 10))
    assert predict_probabilities(scan(11, 10), placed, out=mapped, **OPTIONS) is mapped
    assert np.array_equal(np.fromfile(tmp_path / "p", np.float32).reshape(3, 11, 10), expected)


def test_an_array_of_another_shape_is_refused_before_work_starts():
    with pytest.raises(InputError, match=r"out: has shape \(3, 10, 11\). Give an array \[C, 11, 10\]"):
        predict_probabilities(scan(11, 10), pytest.fail, out=np.empty((3, 10, 11), np.float32), **OPTIONS)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_predictor_of_images_segments_volumes_slice_by_slice(batch):
    volume = scan(9, 8, 5)
    predicted = predict_probabilities(
        volume, predict_slices(placed), patch=(4, 3, 1), stride=(2, 3, 1), batch=batch, weighting="gaussian"
    )
    for z in range(5):
        expected = slow(volume[..., z], placed, (4, 3), (2, 3), "gaussian")
        np.testing.assert_allclose(predicted[..., z], expected, rtol=1e-5)


def test_slices_smaller_than_the_window_are_padded():
    volume = scan(3, 8, 4)
    predicted = predict_probabilities(volume, predict_slices(placed), patch=(6, 5, 1), stride=(3, 2, 1))
    np.testing.assert_allclose(predicted[..., 2], slow(volume[..., 2], placed, (6, 5), (3, 2), "uniform"), rtol=1e-5)


def test_flips_within_windows_make_the_result_mirror_with_the_scan():
    options = {"patch": (4, 3), "stride": (4, 3)}  # the windows of an 8 x 9 scan are their own mirror image
    image, predict = scan(8, 9), flip_averaged(placed, (0, 1))
    mirrored = predict_probabilities(image.flip(1, 2), predict, **options)
    np.testing.assert_allclose(mirrored[:, ::-1, ::-1], predict_probabilities(image, predict, **options), rtol=1e-5)


def test_only_the_predictor_runs_in_inference_mode():
    modes = []

    def watched(windows):
        modes.append(torch.is_inference_mode_enabled())
        return placed(windows)

    for _, probabilities in sliding_window(scan(11, 10), watched, **OPTIONS):
        assert not torch.is_inference_mode_enabled()
        probabilities.mul_(2)  # an inference tensor would refuse
    assert all(modes)


def test_windows_and_slabs_are_on_the_device():
    devices = []

    def watched(windows):
        devices.append(windows.device.type)
        return windows.softmax(1)

    slabs = list(sliding_window(scan(11, 10), watched, device="meta", **OPTIONS))
    assert set(devices) == {"meta"}
    assert {slab.probabilities.device.type for slab in slabs} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_gives():
    def predict(windows):
        return windows.softmax(1)

    on_gpu = predict_probabilities(scan(11, 10), predict, device="cuda", **OPTIONS)
    np.testing.assert_allclose(on_gpu, predict_probabilities(scan(11, 10), predict, **OPTIONS), rtol=1e-5)


def test_the_scan_is_left_alone():
    image = scan(3, 10)
    given = image.clone()
    predict_classes(image, lambda windows: windows.mul_(0).softmax(1), **OPTIONS)
    assert torch.equal(image, given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": (4, 3, 2)}, r"patch: is \(4, 3, 2\) for a scan of 2 axes. Give one number for each axis."),
        ({"stride": (2,)}, r"stride: is \(2,\) for a scan of 2 axes."),
        ({"stride": (5, 3)}, r"stride: is \(5, 3\) for windows of \(4, 3\). Give 1 up to the window's side"),
        ({"stride": (2, 0)}, r"stride: is \(2, 0\)"),
        ({"batch": 0}, "batch: is 0. Give 1 or more."),
        ({"weighting": "gausian"}, "weighting: is 'gausian'. Did you mean gaussian?"),
    ],
)
def test_what_cannot_work_is_refused_before_work_starts(change, message):
    with pytest.raises(InputError, match=message):
        sliding_window(scan(8, 9), pytest.fail, **{**OPTIONS, **change})
