from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.networks import UNet
from segmend.networks.unet import UNetDecoder

PATCHES = {2: (16, 24), 3: (8, 16, 8)}


def test_has_the_parameters_of_aides_network():
    with torch.device("meta"):
        network = UNet(3, 2, 2, width=64)
    assert sum(parameter.numel() for parameter in network.parameters()) == 34_527_106


@pytest.mark.parametrize(("dimensions", "mode"), [(2, "bilinear"), (3, "trilinear")])
def test_two_stages_step_by_step(dimensions, mode):
    torch.manual_seed(0)
    network = UNet(1, 2, dimensions, width=2, stages=2).eval()
    image = torch.randn(2, 1, *[8] * dimensions)
    pool = {2: F.max_pool2d, 3: F.max_pool3d}[dimensions]
    skip = network.encoder[0](image)
    bottom = network.encoder[1](pool(skip, 2))
    wide = F.interpolate(bottom, size=image.shape[2:], mode=mode, align_corners=True)
    merged = network.decoder.stages[0](torch.cat([skip, network.decoder.upward[0](wide)], dim=1))
    assert_close(network(image), network.decoder.head(merged))


@pytest.mark.parametrize(("dimensions", "mode"), [(2, "bilinear"), (3, "trilinear")])
def test_three_resolutions_step_by_step(dimensions, mode):
    torch.manual_seed(0)
    decoder = UNetDecoder((3, 4, 5), 2, dimensions).eval()
    features = [torch.randn(2, width, *[side] * dimensions) for width, side in ((3, 8), (4, 4), (5, 2))]
    x = features[2]
    for stage in (1, 0):
        wide = F.interpolate(x, size=features[stage].shape[2:], mode=mode, align_corners=True)
        x = decoder.stages[stage](torch.cat([features[stage], decoder.upward[stage](wide)], dim=1))
    assert_close(decoder(features), decoder.head(x))
    assert len(features) == 3


@pytest.mark.parametrize(("resolutions", "stages"), [(1, ()), (2, (0,)), (3, (1, 0)), (6, (2, 1, 0))])
def test_names_its_last_stages_from_coarse_to_fine(resolutions, stages):
    decoder = UNetDecoder(range(2, 2 + resolutions), 2, 2)
    assert decoder.last_scales("net.decoder") == tuple(f"net.decoder.stages.{stage}" for stage in stages)
