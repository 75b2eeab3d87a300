from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.networks import UNetPlusPlus

PATCHES = {2: (16, 24), 3: (8, 16, 8)}


def test_has_the_parameters_of_mlb_segs_network():
    with torch.device("meta"):
        network = UNetPlusPlus(1, 1, 2, width=64)
    assert sum(parameter.numel() for parameter in network.parameters()) == 36_628_481


def test_default_scales_are_those_of_the_default_stages():
    with torch.device("meta"):
        network = UNetPlusPlus(1, 2, 2)
    assert network.decoder_scales == UNetPlusPlus.decoder_scales
    assert network.encoder_stages == UNetPlusPlus.encoder_stages


@pytest.mark.parametrize(("dimensions", "mode"), [(2, "bilinear"), (3, "trilinear")])
def test_three_stages_node_by_node(dimensions, mode):
    torch.manual_seed(0)
    network = UNetPlusPlus(1, 2, dimensions, width=2, stages=3).eval()
    image = torch.randn(2, 1, *[8] * dimensions)
    pool = {2: F.max_pool2d, 3: F.max_pool3d}[dimensions]

    def node(name, *inputs):
        return network.nodes[name](torch.cat(inputs, dim=1))

    def up(maps):
        return F.interpolate(maps, size=[2 * side for side in maps.shape[2:]], mode=mode, align_corners=True)

    x00 = node("x0_0", image)
    x10 = node("x1_0", pool(x00, 2))
    x20 = node("x2_0", pool(x10, 2))
    x01 = node("x0_1", x00, up(x10))
    x11 = node("x1_1", x10, up(x20))
    x02 = node("x0_2", x00, x01, up(x11))
    assert_close(network(image), network.head(x02))
