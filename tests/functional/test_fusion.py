from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from segmend.functional.fusion import divergence_weighted_mean


def passes(*probabilities: list[float]) -> torch.Tensor:
    """One voxel of one sample: log-probabilities ``[passes, 1, C, 1]``."""
    return torch.tensor(probabilities).log().view(len(probabilities), 1, -1, 1)


def test_two_passes_by_hand():
    # Mean (.7, .3), divergences .153664 and .082283, weights .482162 and .517838.
    fused = divergence_weighted_mean(passes([0.9, 0.1], [0.5, 0.5]))
    assert_close(fused.flatten(), torch.tensor([0.692865, 0.307135]), atol=1e-6, rtol=0)


def test_three_passes_and_classes_by_hand():
    # Mean (.5, .3, .2); KL is .5 ln(.5/.8) + .3 ln(.3/.1) + .2 ln(.2/.1) = .233211, then .088015 and .025267.
    fused = divergence_weighted_mean(passes([0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.4, 0.4, 0.2]))
    assert_close(fused.flatten(), torch.tensor([0.483950, 0.311437, 0.204613]), atol=1e-6, rtol=0)


def test_it_can_overrule_the_mean():
    # The mean says the first class, .5067, but the one pass that is sure of it lies furthest off.
    predictions = passes([0.98, 0.02], [0.27, 0.73], [0.27, 0.73])
    assert predictions.exp().mean(0).argmax() == 0
    assert divergence_weighted_mean(predictions).argmax() == 1


def test_equal_passes_are_their_fusion():
    one = torch.randn(1, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).log_softmax(2)
    assert_close(divergence_weighted_mean(one.repeat(4, 1, 1, 1, 1)), one[0].exp())


def test_order_does_not_matter():
    three = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0)).log_softmax(2)
    for order in itertools.permutations(range(3)):
        assert_close(divergence_weighted_mean(three[list(order)]), divergence_weighted_mean(three))


def test_a_pass_without_any_doubt_is_survived():
    sure = torch.tensor([[300.0, -300.0], [-300.0, 300.0], [1.0, 0.0]]).view(3, 1, 2, 1).log_softmax(2)
    assert divergence_weighted_mean(sure).isfinite().all()


@pytest.mark.parametrize("shape", [(4, 2, 3, 5, 6), (4, 2, 3, 4, 5, 6)])
def test_voxels_and_samples_are_fused_alone(shape):
    log_probabilities = torch.randn(shape, generator=torch.Generator().manual_seed(0)).log_softmax(2)
    fused = divergence_weighted_mean(log_probabilities)
    assert fused.shape == shape[1:]
    part = (slice(None), slice(1, 2), slice(None), slice(2, 4))
    assert_close(divergence_weighted_mean(log_probabilities[part]), fused[part[1:]])


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4), count=st.integers(1, 5), spread=st.floats(0.1, 20))
def test_it_is_a_probability_between_those_of_the_passes(seed, classes, count, spread):
    random = torch.Generator().manual_seed(seed)
    log_probabilities = (spread * torch.randn(count, 2, classes, 3, generator=random)).log_softmax(2)
    fused = divergence_weighted_mean(log_probabilities)
    assert_close(fused.sum(1), torch.ones(2, 3))
    assert (fused <= log_probabilities.exp().amax(0) + 1e-6).all()
    assert (fused >= log_probabilities.exp().amin(0) - 1e-6).all()
