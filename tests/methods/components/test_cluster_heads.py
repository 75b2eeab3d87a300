from __future__ import annotations

import pytest
import torch
from refusals import raises
from torch.testing import assert_close

from segmend.methods.components.cluster_heads import ClusterHeads
from segmend.networks import UNet

NAMES = ("decoder.stages.1", "decoder.stages.0")


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(0)
    return UNet(1, 2, 2, width=4, stages=3)


def test_give_distributions_on_the_grid_of_each_feature(network):
    heads = ClusterHeads(network, NAMES, clusters=5, heads=3)
    coarse, fine = heads([torch.randn(2, 8, 4, 6), torch.randn(2, 4, 8, 12)])
    assert coarse.shape == (2, 3, 5, 4, 6)
    assert fine.shape == (2, 3, 5, 8, 12)
    assert_close(coarse.sum(2), torch.ones(2, 3, 4, 6))


def test_each_head_has_weights_of_its_own(network):
    heads = ClusterHeads(network, NAMES, clusters=5, heads=3)
    (of_heads, _) = heads([torch.randn(1, 8, 4, 4), torch.randn(1, 4, 8, 8)])
    assert not torch.isclose(of_heads[:, 0], of_heads[:, 1]).all()


def test_compute_in_full_precision_under_autocast(network):
    heads = ClusterHeads(network, NAMES, clusters=5, heads=3)
    features = [torch.randn(1, 8, 4, 4).bfloat16(), torch.randn(1, 4, 8, 8).bfloat16()]
    expected = heads([feature.float() for feature in features])
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(heads(features), expected)


def test_an_unknown_feature_is_an_error(network):
    with raises("unknown-name", "decoder feature 'decoder.stages.7'"):
        ClusterHeads(network, ("decoder.stages.7",), clusters=5, heads=3)
