"""What U-Net and UNet++ have in common."""

from __future__ import annotations

import pytest
import torch

from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import UNet, UNetPlusPlus

PATCHES = {2: (16, 24), 3: (8, 16, 8)}


@pytest.fixture(params=[UNet, UNetPlusPlus])
def cls(request):
    return request.param


@pytest.mark.parametrize("dimensions", PATCHES)
def test_gives_logits_on_the_grid_of_the_image(cls, dimensions):
    network = cls(3, 4, dimensions, width=2, stages=4)
    logits = network(torch.randn(2, 3, *PATCHES[dimensions]))
    assert logits.shape == (2, 4, *PATCHES[dimensions])
    assert (logits < 0).any()


@pytest.mark.parametrize("dimensions", PATCHES)
def test_names_its_last_decoder_features_from_coarse_to_fine(cls, dimensions):
    network = cls(1, 2, dimensions, width=2, stages=4)
    with FeatureTaps(network, network.decoder_scales).recording() as outputs:
        network(torch.randn(2, 1, *PATCHES[dimensions]))
    grids = [[side // by for side in PATCHES[dimensions]] for by in (4, 2, 1)]
    assert [list(output.shape) for output in outputs] == [
        [2, w, *grid] for w, grid in zip((8, 4, 2), grids, strict=True)
    ]


@pytest.mark.parametrize(("stages", "scales"), [(1, 0), (2, 1), (3, 2), (5, 3)])
def test_has_as_many_scales_as_it_has_stages(cls, stages, scales):
    network = cls(1, 2, 2, width=2, stages=stages)
    assert len(network.decoder_scales) == scales
    assert network.encoder_stages
    assert {*network.decoder_scales, *network.encoder_stages} <= set(dict(network.named_modules()))
    assert network(torch.randn(1, 1, 32, 32)).shape == (1, 2, 32, 32)
