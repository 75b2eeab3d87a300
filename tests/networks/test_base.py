from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from written_networks import Pointwise

from segmend.networks import Network, all_networks


def test_pass_k_of_item_b_is_row_k_times_b_plus_b():
    network = Pointwise(1, 2, dropout_rate=0.5).eval()
    image = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    passes = network.stochastic_passes(image, 4).view(4, 3, 2, 2, 2)
    assert_close(passes, network(image).expand(4, 3, 2, 2, 2))


def test_passes_differ_by_dropout():
    torch.manual_seed(0)
    passes = Pointwise(8, 2, dropout_rate=0.5).stochastic_passes(torch.ones(1, 8, 4, 4), 5)
    assert len({tuple(each.flatten().tolist()) for each in passes}) == 5


def test_names_no_features_of_its_own():
    assert Pointwise(1, 2).decoder_scales == ()


def test_records_its_arguments():
    assert Pointwise(1, 2, dropout_rate=0.1).arguments == {
        "in_channels": 1,
        "classes": 2,
        "dimensions": 2,
        "dropout_rate": 0.1,
    }


def test_must_say_how_it_maps():
    with pytest.raises(TypeError, match="abstract"):
        Network()


def test_all_are_listed_in_alphabetical_order():
    names = list(all_networks())
    assert names == sorted(names)
    assert {"VNet", "UNet", "DynUNet", "SegResNet", "BasicUNetPlusPlus"} <= set(names)
    assert not {"Network", "Configured"} & set(names)
    for name, cls in all_networks().items():
        assert cls.__name__ == name
        assert issubclass(cls, Network)
