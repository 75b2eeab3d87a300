from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.networks import UNet
from segmend.parts.feature_taps import FeatureTaps

PATCHES = {2: (16, 24), 3: (8, 16, 8)}


def test_has_the_parameters_of_aides_network():
    with torch.device("meta"):
        network = UNet(3, 2, 2, width=64)
    assert sum(parameter.numel() for parameter in network.parameters()) == 34_527_106


@pytest.mark.parametrize("dimensions", PATCHES)
def test_gives_logits_on_the_grid_of_the_image(dimensions):
    network = UNet(3, 4, dimensions, width=2, stages=4)
    logits = network(torch.randn(2, 3, *PATCHES[dimensions]))
    assert logits.shape == (2, 4, *PATCHES[dimensions])
    assert (logits < 0).any()


@pytest.mark.parametrize("dimensions", PATCHES)
def test_names_its_last_decoder_features_from_coarse_to_fine(dimensions):
    network = UNet(1, 2, dimensions, width=2, stages=4)
    with FeatureTaps(network, network.decoder_scales).recording() as outputs:
        network(torch.randn(2, 1, *PATCHES[dimensions]))
    grids = [[side // by for side in PATCHES[dimensions]] for by in (4, 2, 1)]
    assert [list(output.shape) for output in outputs] == [
        [2, w, *grid] for w, grid in zip((8, 4, 2), grids, strict=True)
    ]


@pytest.mark.parametrize(("stages", "scales"), [(1, 0), (2, 1), (3, 2), (5, 3)])
def test_has_as_many_scales_as_it_has_stages(stages, scales):
    network = UNet(1, 2, 2, width=2, stages=stages)
    assert len(network.decoder_scales) == scales
    assert network(torch.randn(1, 1, 32, 32)).shape == (1, 2, 32, 32)


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
