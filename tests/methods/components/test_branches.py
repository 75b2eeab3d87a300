from __future__ import annotations

import copy
import inspect

import pytest
import torch
from refusals import raises
from torch.testing import assert_close

from segmend.methods.components.branches import second_decoder
from segmend.networks import Network, SegResNet, UNet, VNet, all_networks


def vnet() -> VNet:
    return VNet(1, 2, 2, width=2)


@pytest.fixture(params=[vnet, lambda: UNet(1, 2, 2, width=2, stages=3)], ids=["VNet", "UNet"])
def network(request) -> Network:
    torch.manual_seed(0)
    return request.param()


def below(name: str, stages: tuple[str, ...]) -> bool:
    return any(name == stage or name.startswith(f"{stage}.") for stage in stages)


class TestSharing:
    def test_the_encoder_and_nothing_else(self, network):
        theirs = dict(second_decoder(network, network.encoder_stages).named_parameters())
        for name, mine in network.named_parameters():
            shared = below(name, network.encoder_stages)
            assert (theirs[name] is mine) is shared, name
            assert shared or mine.ndim < 2 or not torch.equal(theirs[name], mine), name

    def test_batch_statistics_too(self, network):
        theirs = dict(second_decoder(network, network.encoder_stages).named_buffers())
        for name, mine in network.named_buffers():
            assert (theirs[name] is mine) is below(name, network.encoder_stages), name

    def test_leaves_the_network_as_it_was(self, network):
        before = copy.deepcopy(network.state_dict())
        second_decoder(network, network.encoder_stages)
        assert_close(network.state_dict(), before)

    def test_both_train_what_is_shared(self, network):
        branch = second_decoder(network, network.encoder_stages)
        branch(torch.randn(2, 1, 16, 16)).square().sum().backward()
        for name, mine in network.named_parameters():
            assert (mine.grad is not None) is below(name, network.encoder_stages), name

    def test_lasts_in_a_copy(self, network):
        first, second = copy.deepcopy((network, second_decoder(network, network.encoder_stages)))
        stage = network.encoder_stages[0]
        assert first.get_submodule(stage) is second.get_submodule(stage)
        assert first.get_submodule(stage) is not network.get_submodule(stage)

    def test_may_be_less_than_the_encoder(self):
        network = vnet()
        branch = second_decoder(network, ["x1", "x2.0"])
        assert branch.x1 is network.x1
        assert branch.x2[0] is network.x2[0]
        assert branch.x2[1] is not network.x2[1]


class TestNames:
    @pytest.mark.parametrize("cls", [cls for cls in all_networks().values() if cls.encoder_stages])
    def test_the_encoders_of_all_networks_exist(self, cls):
        narrow = {"width": 2} if "width" in inspect.signature(cls).parameters else {"widths": [2] * 5}
        network = cls(2, 2, 2, **narrow)
        second_decoder(network, network.encoder_stages)

    def test_a_network_may_name_none(self):
        network = SegResNet(1, 2, 2, init_filters=8)
        with raises("missing-value", match=r"'shared' argument.*net.down_layers"):
            second_decoder(network, network.encoder_stages)
        second_decoder(network, ["net.convInit", "net.down_layers"])

    def test_a_wrong_one_brings_the_nearest(self):
        with raises("unknown-name", "encoder stage 'x99'", match="Did you mean x9"):
            second_decoder(vnet(), ["x1", "x99"])
