from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import ResUNet

PATCHES = {2: (16, 24), 3: (8, 16, 8)}


def test_has_the_parameters_of_the_papers_network():
    with torch.device("meta"):
        paper, ours = ResUNet(1, 1, 2), ResUNet(1, 2, 2)
    count = sum(parameter.numel() for parameter in paper.parameters())
    assert count == 1_004_085
    # A second class: two more 3x3 convolutions of 32 channels, and a head of 4 x 2 in place of 2 x 1.
    assert sum(parameter.numel() for parameter in ours.parameters()) == count + 2 * (9 * 32 + 1) + (4 * 2 + 2) - (2 + 1)


def test_has_the_papers_layers():
    with torch.device("meta"):
        network = ResUNet(1, 1, 2)
    layers = [
        (name.split(".")[0], layer.kernel_size[0], layer.stride[0], layer.in_channels, layer.out_channels)
        for name, layer in network.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    expected = [("first", 3, 1, 1, 16)]
    for stage, joint, width, count in ((1, 32, 32, 1), (2, 64, 64, 2), (3, 128, 128, 2)):
        expected += [(f"down{stage}", 2, 2, joint // 2, joint), *[(f"res{stage}", 3, 1, width, width)] * count]
    for stage, below, joint, width, count in ((4, 128, 64, 128, 3), (5, 128, 32, 64, 2), (6, 64, 16, 32, 1)):
        expected += [(f"up{stage}", 2, 2, below, joint), *[(f"res{stage}", 3, 1, width, width)] * count]
    assert layers == [*expected, ("head", 3, 1, 32, 2), ("head", 1, 1, 2, 1)]


def test_blocks_add_what_they_are_given_and_skips_are_concatenated():
    torch.manual_seed(0)
    network = ResUNet(1, 2, 2, width=2).eval()
    image = torch.randn(2, 1, 16, 16)

    def block(module, x):
        return x + module.blocks(x)

    first = network.first(image)
    res1 = block(network.res1, network.down1(first))
    res2 = block(network.res2, network.down2(res1))
    res3 = block(network.res3, network.down3(res2))
    res4 = block(network.res4, torch.cat([network.up4(res3), res2], dim=1))
    res5 = block(network.res5, torch.cat([network.up5(res4), res1], dim=1))
    res6 = block(network.res6, torch.cat([network.up6(res5), first], dim=1))
    assert_close(network(image), network.head(res6))


@pytest.mark.parametrize("dimensions", PATCHES)
def test_gives_logits_on_the_grid_of_the_image(dimensions):
    logits = ResUNet(3, 4, dimensions, width=2)(torch.randn(2, 3, *PATCHES[dimensions]))
    assert logits.shape == (2, 4, *PATCHES[dimensions])
    assert (logits < 0).any()


@pytest.mark.parametrize("dimensions", PATCHES)
def test_its_last_block_has_the_features_of_every_voxel(dimensions):
    network = ResUNet(1, 2, dimensions, width=2)
    with FeatureTaps(network, network.decoder_scales).recording() as outputs:
        network(torch.randn(2, 1, *PATCHES[dimensions]))
    grids = [[side // by for side in PATCHES[dimensions]] for by in (4, 2, 1)]
    assert [list(each.shape) for each in outputs] == [[2, w, *grid] for w, grid in zip((16, 8, 4), grids, strict=True)]
