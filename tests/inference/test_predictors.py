"""Predictors made from predictors."""

from __future__ import annotations

import pytest
import torch

from segmend.core.errors import InputError
from segmend.inference.predictors import flip_averaged, predict_slices, tempered, zero_padded


def blurred(image):
    """Two classes from a filter that no flip leaves as it is."""
    kernel = torch.arange(3.0 ** (image.ndim - 2)).view(1, 1, *[3] * (image.ndim - 2))
    convolve = {4: torch.nn.functional.conv2d, 5: torch.nn.functional.conv3d}[image.ndim]
    object_map = torch.sigmoid(convolve(image, kernel, padding=1) / 10)
    return torch.cat([1 - object_map, object_map], dim=1)


def test_flips_equal_brute_force():
    image = torch.randn(2, 1, 4, 5, 6)
    expected = torch.zeros(2, 2, 4, 5, 6)
    for x in (False, True):
        for z in (False, True):
            view = image.clone()
            view = view.flip(2) if x else view
            view = view.flip(4) if z else view
            result = blurred(view)
            result = result.flip(4) if z else result
            expected += (result.flip(2) if x else result) / 4
    torch.testing.assert_close(flip_averaged(blurred, [0, 2])(image), expected)
    assert not torch.allclose(blurred(image), expected, atol=1e-3)


def test_flips_by_hand():
    # the predictor marks the first voxel along each axis: averaged, every corner gets a quarter
    def first_voxel(image):
        marked = torch.zeros_like(image)
        marked[:, :, 0, 0] = 1
        return marked

    averaged = flip_averaged(first_voxel, (0, 1))(torch.zeros(1, 1, 3, 3))
    assert averaged[0, 0].tolist() == [[0.25, 0, 0.25], [0, 0, 0], [0.25, 0, 0.25]]


def test_flips_of_a_predictor_that_does_not_care_change_nothing():
    image = torch.randn(3, 2, 4, 4)
    averaged = flip_averaged(lambda windows: windows.softmax(1), (0, 1))(image)
    assert torch.equal(averaged, image.softmax(1))


def test_flips_are_averaged_in_single_precision_and_leave_the_predictors_tensor_alone():
    kept = torch.full((1, 1, 2, 2), 0.3, dtype=torch.bfloat16)
    averaged = flip_averaged(lambda _: kept, (0,))(torch.zeros(1, 1, 2, 2))
    assert averaged.dtype == torch.float32
    assert torch.equal(averaged, kept.float())
    assert torch.equal(kept, torch.full((1, 1, 2, 2), 0.3, dtype=torch.bfloat16))


def test_no_axis_is_no_augmentation():
    image = torch.randn(1, 1, 3, 4)
    assert torch.equal(flip_averaged(blurred, ())(image), blurred(image))


@pytest.mark.parametrize("axes", [(-1,), (0, 0)])
def test_flips_refuse_axes_that_mean_something_else(axes):
    with pytest.raises(InputError, match="Name each spatial axis once, counted from 0"):
        flip_averaged(blurred, axes)


@pytest.mark.parametrize("thickness", [1, 3])
def test_slices_are_predicted_one_by_one(thickness):
    volumes = torch.randn(2, 1, 5, 4, thickness)
    predicted = predict_slices(blurred)(volumes)
    assert predicted.shape == (2, 2, 5, 4, thickness)
    for item in range(2):
        for z in range(thickness):
            torch.testing.assert_close(predicted[item, :, :, :, z], blurred(volumes[item : item + 1, :, :, :, z])[0])


def test_padding_by_hand():
    seen = []

    def sum_so_far(image):
        seen.append(image.clone())
        return image.cumsum(-1)

    image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    predicted = zero_padded(sum_so_far, (2, 6))(image)
    assert seen[0][0, 0].tolist() == [[0, 1, 2, 3, 0, 0], [0] * 6]  # 3 missing: 1 before, 2 behind
    assert predicted[0, 0].tolist() == [[1, 3, 6]]


def test_a_temperature_by_hand():
    certain = torch.tensor([0.8, 0.2, 0.0]).view(1, 3, 1, 1)
    found = tempered(lambda image: certain, 2.0)(torch.zeros(1, 1, 1, 1)).flatten()
    roots = torch.tensor([0.8, 0.2, 0.0]).sqrt()
    torch.testing.assert_close(found, roots / roots.sum(), atol=1e-5, rtol=0)
    torch.testing.assert_close(tempered(lambda image: certain, 1.0)(certain), certain, atol=1e-6, rtol=0)
