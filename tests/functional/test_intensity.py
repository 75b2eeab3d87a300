from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from segmend.functional.intensity import blur, change_gamma, lower_resolution

SHAPES = [(9, 12), (9, 12, 7)]


def images(*shape):
    """Two samples of two channels."""
    return torch.randn(2, 2, *shape, generator=torch.Generator().manual_seed(3))


def each(value, neutral):
    """An amount for the second channel of the first sample alone."""
    amounts = torch.full((2, 2), float(neutral), dtype=torch.float64)
    amounts[0, 1] = value
    return amounts


def check_only_that_changed(changed, given):
    assert changed.shape == given.shape
    assert changed.dtype == given.dtype
    for item, channel in ((0, 0), (1, 0), (1, 1)):
        assert torch.equal(changed[item, channel], given[item, channel])
    assert not torch.equal(changed[0, 1], given[0, 1])


@pytest.mark.parametrize("shape", SHAPES)
class TestAll:
    """What holds for every change."""

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("change", ["gamma", "blur", "low_resolution"])
    def test_only_the_channels_that_are_meant_change(self, shape, change, dtype):
        given = images(*shape).to(dtype)
        copy, axes = given.clone(), range(len(shape))
        changed = {
            "gamma": lambda: change_gamma(given, each(0.7, 1), torch.zeros(2, 2, dtype=torch.bool)),
            "blur": lambda: blur(given, each(1.2, 0), axes),
            "low_resolution": lambda: lower_resolution(given, each(1.7, 1), axes),
        }[change]()
        check_only_that_changed(changed, given)
        assert torch.equal(given, copy)


class TestGamma:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("inverted", [False, True])
    def test_by_hand(self, shape, inverted):
        given = images(*shape).double()
        changed = change_gamma(given, each(1.6, 1), torch.tensor([[False, inverted]] * 2))[0, 1].numpy()
        x = given[0, 1].numpy() * (-1 if inverted else 1)
        powered = ((x - x.min()) / (x.max() - x.min())) ** 1.6
        expected = (powered - powered.mean()) / powered.std() * x.std() + x.mean()
        np.testing.assert_allclose(changed, expected * (-1 if inverted else 1), rtol=1e-10)

    def test_keeps_order_mean_and_deviation(self):
        given = images(20, 20)
        changed = change_gamma(given, torch.full((2, 2), 0.7), torch.tensor([[True, False]] * 2))
        torch.testing.assert_close(changed.mean((2, 3)), given.mean((2, 3)), atol=1e-5, rtol=0)
        torch.testing.assert_close(changed.std((2, 3)), given.std((2, 3)))
        assert torch.equal(changed.flatten(2).argsort(), given.flatten(2).argsort())

    def test_inversion_moves_the_other_end(self):
        given = torch.linspace(0, 1, 101).view(1, 1, 101)
        plain, inverted = (
            change_gamma(given, torch.full((1, 1), 1.5), torch.full((1, 1), chosen)) for chosen in (False, True)
        )
        torch.testing.assert_close(inverted - 0.5, -(plain.flip(2) - 0.5), atol=1e-5, rtol=0)
        assert (inverted - plain).abs().max() > 0.05

    def test_a_single_value_stays(self):
        given = torch.full((1, 1, 4, 4), 3.0)
        assert torch.equal(change_gamma(given, torch.full((1, 1), 0.5), torch.zeros(1, 1, dtype=torch.bool)), given)


class TestBlur:
    @pytest.mark.parametrize("shape", [*SHAPES, (3, 2, 1)])
    @pytest.mark.parametrize("sigma", [0.4, 1.0, 2.3])
    def test_is_that_of_scipy(self, shape, sigma):
        given = images(*shape).double()
        changed = blur(given, each(sigma, 0), range(len(shape)))[0, 1]
        np.testing.assert_allclose(
            changed.numpy(), ndimage.gaussian_filter(given[0, 1].numpy(), sigma, mode="nearest"), atol=1e-12
        )

    def test_along_some_axes_alone(self):
        given = images(9, 12, 7).double()
        changed = blur(given, each(1.5, 0), (0, 1))[0, 1]
        expected = ndimage.gaussian_filter(given[0, 1].numpy(), (1.5, 1.5, 0), mode="nearest")
        np.testing.assert_allclose(changed.numpy(), expected, atol=1e-12)


class TestLowerResolution:
    @pytest.mark.parametrize("factor", [1.3, 2.0, 3.7, 100.0])
    @pytest.mark.parametrize(("shape", "mode"), [((9, 12), "bilinear"), ((9, 12, 7), "trilinear")])
    def test_is_sampling_and_interpolation_of_torch(self, shape, mode, factor):
        given = images(*shape).double()
        changed = lower_resolution(given, each(factor, 1), range(len(shape)))[0, 1]
        sides = [max(round(side / factor), 1) for side in shape]
        small = F.interpolate(given[:1, 1:], sides, mode="nearest-exact")
        torch.testing.assert_close(changed, F.interpolate(small, shape, mode=mode, align_corners=False)[0, 0])

    def test_along_some_axes_alone(self):
        given = images(9, 12, 7).double()
        changed = lower_resolution(given, each(2.0, 1), (0, 1))
        for each_slice in range(7):
            alone = lower_resolution(given[..., each_slice], each(2.0, 1), (0, 1))
            torch.testing.assert_close(changed[..., each_slice], alone)
