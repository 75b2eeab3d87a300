from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from segmend.functional.perturbations import (
    beta_shares,
    clipped_gaussian,
    fast_gradient_sign,
    mixed,
    mixed_targets,
    strong_intensities,
)


@pytest.mark.parametrize("sd", [0.1, 0.5])
def test_noise_is_a_normal_distribution_clipped_at_twice_its_deviation(sd):
    torch.manual_seed(0)
    noise = clipped_gaussian(torch.zeros(1, 1, 400, 500), sd) / sd
    assert noise.abs().max().item() == pytest.approx(2)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.9594, abs=0.01)  # sqrt(erf(sqrt 2) - 4 phi(2) + 8 (1 - Phi(2)))
    assert (noise.abs() > 1.9999).float().mean().item() == pytest.approx(0.0455, abs=0.003)


def test_noise_is_added_to_the_image():
    image = torch.randn(2, 3, 4, 5)
    torch.manual_seed(3)
    noisy = clipped_gaussian(image)
    torch.manual_seed(3)
    assert_close(noisy - image, clipped_gaussian(torch.zeros_like(image)))
    assert torch.equal(clipped_gaussian(image, 0.0), image)


def test_noise_keeps_the_type_of_the_image():
    assert clipped_gaussian(torch.zeros(1, 1, 4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


PARTNERS, SHARES = torch.tensor([1, 2, 0]), torch.tensor([0.25, 1.0, 0.0])


class TestBetaShares:
    def test_have_the_mean_and_variance_of_the_distribution(self):
        torch.manual_seed(0)
        for alpha in (0.4, 4.0):
            shares = beta_shares(torch.empty(20_000), alpha)
            assert shares.mean().item() == pytest.approx(0.5, abs=0.01)
            assert shares.var().item() == pytest.approx(0.25 / (2 * alpha + 1), rel=0.03)

    def test_are_one_for_each_sample_and_come_from_torchs_seed(self):
        torch.manual_seed(3)
        first = beta_shares(torch.empty(4, 2, 5), 1.0)
        torch.manual_seed(3)
        assert torch.equal(beta_shares(torch.empty(4), 1.0), first)
        assert first.shape == (4,)
        assert first.unique().numel() == 4

    @pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
    def test_exist_for_alpha_above_0_only(self, alpha):
        with pytest.raises(ValueError, match="alpha must be above 0"):
            beta_shares(torch.empty(4), alpha)


class TestMixed:
    def test_by_hand(self):
        values = torch.tensor([[[4.0, 0.0]], [[8.0, 4.0]], [[0.0, 2.0]]])
        assert mixed(values, PARTNERS, SHARES).tolist() == [[[7, 3]], [[8, 4]], [[4, 0]]]

    @pytest.mark.parametrize("shape", [(3, 1, 4, 5), (3, 2, 2, 4, 5)])
    def test_with_oneself_changes_nothing(self, shape):
        values = torch.randn(shape)
        assert_close(mixed(values, torch.arange(3), torch.rand(3)), values)


class TestMixedTargets:
    # Three samples of three voxels; the last voxel of the second sample is unknown.
    TARGETS = torch.tensor([[[1, 0, 1.0], [0, 1, 0]], [[0, 0.5, 0], [1, 0.5, 0]], [[1, 1, 1], [0, 0, 0]]])

    def test_by_hand(self):
        expected = [
            [[0.25, 0.375, 0], [0.75, 0.625, 0]],
            [[0, 0.5, 0], [1, 0.5, 0]],
            [[1, 0, 1], [0, 1, 0]],
        ]
        assert mixed_targets(self.TARGETS, PARTNERS, SHARES).tolist() == expected

    def test_sum_to_one_where_both_are_known(self):
        total = mixed_targets(self.TARGETS, PARTNERS, torch.rand(3)).sum(1)
        assert_close(total, torch.tensor([[1.0, 1, 0], [1, 1, 0], [1, 1, 1]]))


class TestFastGradientSign:
    def test_by_hand(self):
        image = torch.tensor([[[0.4, 0.0, 1.0, 0.5]]])
        gradient = torch.tensor([[[-0.7, -3.0, 1e-9, 0.0]]])
        assert_close(fast_gradient_sign(image, gradient, 0.03), torch.tensor([[[0.37, 0.0, 1.0, 0.5]]]))

    def test_each_sample_and_channel_keeps_its_own_range(self):
        image = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
        changed = fast_gradient_sign(image, torch.ones_like(image), 10.0)
        assert_close(changed, image.amax((2, 3), keepdim=True).expand_as(image))


class TestStrongIntensities:
    def test_contrast_and_brightness_change_in_four_of_five_samples(self):
        torch.manual_seed(0)
        image = torch.tensor([0.0, 1.0]).view(1, 1, 2, 1).expand(4000, 1, 2, 40)  # of two values; rows are constant
        middle = strong_intensities(image[:, :, :1])[:, 0, 0, 0]  # of one value, which no blur changes
        changed = middle != 0
        assert changed.float().mean().item() == pytest.approx(0.8, abs=0.03)
        assert middle[changed].abs().max().item() == pytest.approx(0.5, abs=0.01)
        assert middle[changed].mean().item() == pytest.approx(0, abs=0.03)
        ones = strong_intensities(torch.ones(4000, 1, 2, 2), change=0.2)[:, 0, 0, 0]
        assert 0.6 <= ones.min() < 0.65  # 1 - .2 - .2
        assert 1.35 < ones.max() <= 1.4 + 1e-5

    def test_half_of_the_samples_are_blurred(self):
        torch.manual_seed(0)
        point = torch.zeros(2000, 1, 9, 9)
        point[:, :, 4, 4] = 1
        view = strong_intensities(point, change=0.0)
        narrower = view[:, 0, 4, 4] < 0.99
        assert (view[~narrower] - point[~narrower]).abs().max() < 0.02
        # From a standard deviation of about .35 voxels on: the share of 0.1..2 above that, of one half.
        assert narrower.float().mean().item() == pytest.approx(0.5 * (2 - 0.32) / 1.9, abs=0.04)
        assert (view[:, 0, 4, 4] > 0).all()

    @pytest.mark.parametrize("shape", [(2, 3, 5, 6), (2, 3, 4, 5, 6)])
    def test_channels_change_by_amounts_of_their_own(self, shape):
        torch.manual_seed(0)
        image = torch.ones(shape)
        view = strong_intensities(image)
        assert view.shape == shape
        assert torch.equal(image, torch.ones(shape))
        per_channel = view.flatten(2)
        assert (per_channel - per_channel[..., :1]).abs().max() < 1e-5
        assert len(per_channel[..., 0].unique()) > 3
