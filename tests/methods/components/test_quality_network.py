from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.methods.components.quality_network import QualityNetwork
from segmend.networks import VNet

GRIDS = {2: (16, 12), 3: (8, 4, 16)}


def sample(dimensions: int, classes: int = 3, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(count, 2, *GRIDS[dimensions], generator=random)
    return image, torch.randint(0, classes, (count, *GRIDS[dimensions]), generator=random)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_gives_one_score_a_sample_on_any_grid(dimensions):
    network = QualityNetwork(2, 3, dimensions, width=2)
    scores = network(*sample(dimensions))
    assert scores.shape == (3,)
    assert (scores >= 0).all()
    assert scores.unique().numel() == 3


def test_has_the_layers_of_vgg16():
    convolutions = [module for module in QualityNetwork(1, 2, 2, width=64).modules() if isinstance(module, nn.Conv2d)]
    channels = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert [layer.out_channels for layer in convolutions] == channels
    assert [layer.in_channels for layer in convolutions] == [2, *channels[:-1]]


def test_the_score_is_the_mean_of_all_features():
    network, (image, label) = QualityNetwork(2, 3, 2, width=2).eval(), sample(2)
    objects = torch.stack([(label == 1).float(), (label == 2).float()], dim=1)
    assert_close(network(image, label), network.trunk(torch.cat([image, objects], dim=1)).mean((1, 2, 3)))


def test_unknown_labels_are_seen_as_no_object():
    network, (image, label) = QualityNetwork(2, 3, 2, width=2).eval(), sample(2)
    unknown = label.masked_fill(label == 0, IGNORE)
    assert_close(network(image, unknown), network(image, label))


def test_fits_the_network_beside_it():
    judge = QualityNetwork.matching(VNet(2, 3, 3, width=2), width=2)
    assert judge(*sample(3)).shape == (3,)


def test_scores_are_float32():
    with torch.autocast("cpu", torch.bfloat16):
        assert QualityNetwork(2, 3, 2, width=2)(*sample(2)).dtype == torch.float32
