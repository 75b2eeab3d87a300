from __future__ import annotations

import copy

import pytest
import torch
from refusals import raises
from torch import nn

from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import SegResNet, VNet


class Doubling(nn.Module):
    """Three stages, each of which doubles its input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Twice(), nn.Sequential(Twice(), Twice())

    def forward(self, x):
        return self.second(self.first(x))


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


class TestRecording:
    def test_comes_in_the_order_of_the_names(self):
        network = Doubling()
        with FeatureTaps(network, ["second.0", "first", "second"]).recording() as outputs:
            network(torch.ones(1))
        assert [output.item() for output in outputs] == [4, 2, 8]

    def test_holds_the_last_pass(self):
        network = Doubling()
        with FeatureTaps(network, ["first"]).recording() as outputs:
            network(torch.ones(1))
            network(torch.full((1,), 5.0))
        assert outputs[0].item() == 10

    def test_leads_no_gradient_away(self):
        network = Doubling()
        image = torch.ones(1, requires_grad=True)
        with FeatureTaps(network, ["first"]).recording() as outputs:
            result = network(image)
        assert not outputs[0].requires_grad
        result.backward()
        assert image.grad.item() == 8

    def test_attached_outputs_lead_back_into_the_network(self):
        network = Doubling()
        image = torch.ones(1, requires_grad=True)
        with FeatureTaps(network, ["first", "second.0"]).recording(attached=True) as outputs:
            network(image)
        (outputs[0] + outputs[1]).backward()
        assert image.grad.item() == 2 + 4

    def test_ends_with_its_block(self):
        network = Doubling()
        taps = FeatureTaps(network, ["first"])
        with taps.recording() as outputs:
            network(torch.ones(1))
        network(torch.full((1,), 7.0))
        assert outputs[0].item() == 2
        assert not network.first._forward_hooks
        with taps.recording() as later:
            network(torch.full((1,), 3.0))
        assert (outputs[0].item(), later[0].item()) == (2, 6)

    def test_ends_with_an_error_too(self):
        network = Doubling()
        with pytest.raises(RuntimeError, match="in between"), FeatureTaps(network, ["first", "second"]).recording():
            raise RuntimeError("in between")
        assert not network.first._forward_hooks
        assert not network.second._forward_hooks

    def test_of_a_copy_records_the_copy(self):
        network = Doubling()
        taps = FeatureTaps(network, ["first"])
        other, of_other = copy.deepcopy((network, taps))
        with taps.recording() as outputs, of_other.recording() as copied:
            network(torch.ones(1))
            other(torch.full((1,), 5.0))
        assert (outputs[0].item(), copied[0].item()) == (2, 10)

    @pytest.mark.parametrize(("dimensions", "patch"), [(2, (32, 48)), (3, (16, 32, 16))])
    def test_the_vnets_scales(self, dimensions, patch):
        network = VNet(1, 2, dimensions, width=2)
        with FeatureTaps(network, network.decoder_scales).recording() as outputs:
            network(torch.randn(2, 1, *patch))
        quarter, half = ([side // by for side in patch] for by in (4, 2))
        assert [list(output.shape) for output in outputs] == [[2, 8, *quarter], [2, 4, *half], [2, 2, *patch]]


class TestNames:
    def test_a_wrong_one_brings_the_nearest(self):
        with raises("unknown-name", "decoder feature 'heads'") as error:
            FeatureTaps(VNet(1, 2, 2, width=2), ["x7", "heads"])
        assert error.value.remedy == "did you mean head?"

    def test_none_brings_the_sub_modules(self):
        network = SegResNet(1, 2, 2, init_filters=8)
        assert network.decoder_scales == ()
        with raises("missing-value", "network SegResNet") as error:
            FeatureTaps(network, network.decoder_scales)
        assert "'features' argument" in error.value.remedy
        assert "net.up_layers" in error.value.remedy
        assert "net.up_layers.0" not in error.value.remedy


class TestReplaced:
    def test_outputs_stand_in_place_of_what_would_be_computed(self):
        network = Doubling()
        with FeatureTaps(network, ["first"]).replaced([torch.full((1,), 5.0)]):
            assert network(torch.ones(1)).item() == 20
        assert network(torch.ones(1)).item() == 8

    def test_gradients_flow_into_them(self):
        network, given = Doubling(), torch.ones(1, requires_grad=True)
        with FeatureTaps(network, ["first"]).replaced([given]):
            network(torch.ones(1)).backward()
        assert given.grad.item() == 4

    def test_later_stages_do_not_see_earlier_ones(self):
        network = Doubling()
        with FeatureTaps(network, ["first", "second.0"]).replaced([torch.full((1,), 5.0), torch.full((1,), 7.0)]):
            assert network(torch.ones(1)).item() == 14

    def test_nothing_of_the_encoder_is_computed(self):
        torch.manual_seed(0)
        network = VNet(1, 2, 2, width=2)
        taps, image = FeatureTaps(network, network.encoder_stages), torch.randn(2, 1, 16, 16)
        network.eval()
        with taps.recording() as features:
            expected = network(image)
        network.x1.train()
        with taps.replaced(features):
            assert torch.equal(network(torch.zeros_like(image)), expected)
        assert int(network.x1[1].num_batches_tracked) == 0

    def test_a_compiled_network_sees_them_too(self):
        network = Doubling()
        network.compile(backend="eager")
        assert network(torch.ones(1)).item() == 8
        with FeatureTaps(network, ["first"]).replaced([torch.full((1,), 5.0)]):
            assert network(torch.ones(1)).item() == 20
        assert network(torch.ones(1)).item() == 8

    def test_ends_with_an_error_too(self):
        network = Doubling()
        taps = FeatureTaps(network, ["first"])
        with pytest.raises(RuntimeError, match="in between"), taps.replaced([torch.ones(1)]):
            raise RuntimeError("in between")
        assert "forward" not in vars(network.first)

    def test_each_name_needs_one(self):
        with pytest.raises(ValueError, match="zip"), FeatureTaps(Doubling(), ["first"]).replaced([]):
            pass


class TestConstant:
    def test_no_gradient_flows_into_or_through_the_stage(self):
        network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
        expected = network(torch.ones(1, 2))
        with FeatureTaps(network, ["1"]).constant():
            found = network(torch.ones(1, 2))
        assert torch.equal(found, expected)
        found.sum().backward()
        assert [stage.weight.grad is None for stage in network] == [True, True, False]

    def test_afterwards_it_flows_again(self):
        network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        with FeatureTaps(network, ["0"]).constant():
            pass
        network(torch.ones(1, 2)).sum().backward()
        assert network[0].weight.grad is not None
