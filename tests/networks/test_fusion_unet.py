from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.core.errors import InputError
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import FusionUNet

PATCHES = {2: (16, 24), 3: (8, 16, 8)}


def test_has_the_parameters_of_aides_network():
    with torch.device("meta"):
        network = FusionUNet(6, 2, 2)
    assert sum(parameter.numel() for parameter in network.parameters()) == 26_675_074


@pytest.mark.parametrize("dimensions", PATCHES)
def test_gives_logits_on_the_grid_of_the_image(dimensions):
    network = FusionUNet(4, 3, dimensions, width=2, stages=4)
    logits = network(torch.randn(2, 4, *PATCHES[dimensions]))
    assert logits.shape == (2, 3, *PATCHES[dimensions])
    assert (logits < 0).any()


def test_channels_must_be_in_two_equal_groups():
    with pytest.raises(InputError, match="there are 3"):
        FusionUNet(3, 2, 2)


def test_two_stages_step_by_step():
    torch.manual_seed(0)
    network = FusionUNet(4, 2, 2, width=2, stages=2).eval()
    image = torch.randn(2, 4, 8, 8)
    second = network.second_encoder[0](image[:, 2:])
    fused = torch.cat([network.encoder[0](image[:, :2]), second], dim=1)
    below = torch.cat(
        [network.encoder[1](F.max_pool2d(fused, 2)), network.second_encoder[1](F.max_pool2d(second, 2))], dim=1
    )
    assert_close(network(image), network.decoder([fused, below]))


def test_the_first_encoder_sees_both_modalities_the_second_its_own():
    torch.manual_seed(0)
    network = FusionUNet(2, 2, 2, width=2, stages=3).eval()
    image = torch.randn(1, 2, 16, 16)
    changed = {channel: image.clone() for channel in (0, 1)}
    for channel in (0, 1):
        changed[channel][:, channel] += torch.randn(16, 16)
    names = ("encoder.0", "encoder.2", "second_encoder.0", "second_encoder.2")
    taps = FeatureTaps(network, names)

    def features(of: torch.Tensor) -> list[torch.Tensor]:
        with taps.recording() as outputs:
            network(of)
        return outputs

    usual = features(image)
    follows = {
        channel: [not torch.equal(*pair) for pair in zip(features(changed[channel]), usual, strict=True)]
        for channel in (0, 1)
    }
    assert follows == {0: [True, True, False, False], 1: [False, True, True, True]}


@pytest.mark.parametrize("stages", [1, 2, 5])
def test_names_its_parts(stages):
    network = FusionUNet(2, 2, 2, width=2, stages=stages)
    FeatureTaps(network, (*network.encoder_stages, *network.decoder_scales))
    assert len(network.decoder_scales) == min(3, stages - 1)
    assert network(torch.randn(1, 2, 32, 32)).shape == (1, 2, 32, 32)
