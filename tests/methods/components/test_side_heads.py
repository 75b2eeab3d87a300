from __future__ import annotations

import copy

import pytest
import torch
from refusals import raises
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.methods.components.feature_taps import FeatureTaps
from segmend.methods.components.side_heads import SideHeads
from segmend.networks import SegResNet, UNet, VNet


@pytest.mark.parametrize(("dimensions", "patch"), [(2, (32, 16)), (3, (16, 16, 32))])
@pytest.mark.parametrize("cls", [UNet, VNet])
def test_one_head_for_each_scale(cls, dimensions, patch):
    network = cls(3, 4, dimensions, width=2)
    names = network.decoder_scales[:-1]
    heads = SideHeads(network, names)
    with FeatureTaps(network, names).recording(attached=True) as features:
        network(torch.randn(2, 3, *patch))
    logits = heads(features, patch)
    assert [each.shape for each in logits] == [(2, 4, *patch)] * 2
    assert [head.in_channels for head in heads.heads] == [feature.shape[1] for feature in features]


def test_is_a_convolution_and_then_linear_upsampling():
    heads = SideHeads(VNet(1, 2, 2, width=2), ["x8"])
    feature = torch.randn(2, 4, 3, 5)
    (logits,) = heads([feature], (6, 10))
    weight, bias = heads.heads[0].weight.view(2, 4), heads.heads[0].bias
    coarse = torch.einsum("kl,blxy->bkxy", weight, feature) + bias.view(1, 2, 1, 1)
    assert_close(logits, F.interpolate(coarse, size=(6, 10), mode="bilinear", align_corners=False))


def test_gives_float32():
    heads = SideHeads(VNet(1, 2, 2, width=2), ["x8"])
    with torch.autocast("cpu", torch.bfloat16):
        (logits,) = heads([torch.randn(2, 4, 3, 5)], (6, 10))
    assert logits.dtype == torch.float32


def test_leaves_the_network_as_it_was():
    network = VNet(1, 2, 2, width=2)
    before = copy.deepcopy(network.state_dict())
    SideHeads(network, ["x6", "x7"])
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.x6._forward_hooks


def test_takes_any_network_whose_features_are_named():
    network = SegResNet(1, 2, 2, init_filters=8)
    heads = SideHeads(network, ["net.up_layers.0"])
    assert heads.heads[0].in_channels == 32


@pytest.mark.parametrize(("names", "code"), [((), "missing-value"), (("x11",), "unknown-name")])
def test_wrong_names_are_refused(names, code):
    with raises(code):
        SideHeads(VNet(1, 2, 2, width=2), names)
