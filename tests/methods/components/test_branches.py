from __future__ import annotations

import copy
import inspect

import pytest
import torch
from refusals import raises
from torch import nn
from torch.testing import assert_close

from segmend.methods.components.branches import differing_decoders, second_decoder, upsample_by
from segmend.methods.components.feature_taps import FeatureTaps
from segmend.networks import Network, PlannedUNet, SegResNet, UNet, VNet, all_networks


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


def kinds(network: Network) -> set[str]:
    """How it upsamples."""
    return {
        module.mode if isinstance(module, nn.Upsample) else "transposed"
        for module in network.modules()
        if isinstance(module, (nn.Upsample, nn.ConvTranspose2d, nn.ConvTranspose3d))
    }


class TestUpsampling:
    @pytest.mark.parametrize("mode", ["linear", "nearest"])
    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_of_a_vnet_becomes_interpolation_and_a_convolution(self, mode, dimensions):
        network, before = VNet(1, 2, dimensions, width=2), VNet(1, 2, dimensions, width=2)
        upsample_by(network, mode)
        named = {"linear": {2: "bilinear", 3: "trilinear"}[dimensions], "nearest": "nearest"}[mode]
        assert kinds(network) == {named}
        assert network.up5[0][1].kernel_size == (3,) * dimensions
        image = torch.randn(2, 1, *[16] * dimensions)
        assert network(image).shape == before(image).shape

    def test_of_a_unet_changes_its_mode_alone(self):
        torch.manual_seed(0)
        network = UNet(1, 2, 2, width=2, stages=3)
        before, image = copy.deepcopy(network), torch.randn(1, 1, 16, 16)
        upsample_by(network, "nearest")
        assert kinds(network) == {"nearest"}
        assert network.state_dict().keys() == before.state_dict().keys()
        assert not torch.allclose(network(image), before(image))
        upsample_by(network, "linear")
        assert_close(network(image), before(image))

    def test_along_each_axis_is_by_the_stride(self):
        arguments = {"kernels": (3, 3, 3), "strides": (1, (2, 2, 1), 2), "widths": (4, 4, 4)}
        network = PlannedUNet(1, 2, 3, **arguments)
        upsample_by(network, "linear")
        assert kinds(network) == {"trilinear"}
        assert network(torch.randn(1, 1, 8, 8, 4)).shape == (1, 2, 8, 8, 4)

    def test_that_is_no_multiplication_stays(self):
        network = VNet(1, 2, 2, width=2)
        network.up5[0] = nn.ConvTranspose2d(32, 16, 3, stride=2)
        upsample_by(network, "linear")
        assert isinstance(network.up5[0], nn.ConvTranspose2d)


class TestDifferingDecoders:
    def test_of_a_vnet_are_linear_and_nearest(self):
        network = vnet()
        decoders = differing_decoders(network, network.encoder_stages, 2)
        assert [kinds(each) for each in (network, *decoders)] == [{"transposed"}, {"bilinear"}, {"nearest"}]

    def test_of_a_unet_are_nearest_and_linear_with_another_start(self):
        network = UNet(1, 2, 2, width=2, stages=3)
        decoders = differing_decoders(network, network.encoder_stages, 2)
        assert [kinds(each) for each in (network, *decoders)] == [{"bilinear"}, {"nearest"}, {"bilinear"}]
        assert not torch.equal(decoders[1].decoder.head.weight, network.decoder.head.weight)

    def test_share_the_encoder_and_nothing_else(self, network):
        decoders = differing_decoders(network, network.encoder_stages, 2)
        names = [{id(each) for each in part.parameters()} for part in (network, *decoders)]
        encoder = {id(each) for name, each in network.named_parameters() if below(name, network.encoder_stages)}
        assert names[0] & names[1] == names[0] & names[2] == names[1] & names[2] == encoder

    def test_have_the_same_features(self, network):
        """A batch passes the encoder once for each decoder; nothing there is random."""
        (decoder,) = differing_decoders(network, network.encoder_stages, 1)
        found, image = [], torch.randn(2, 1, 16, 16)
        bottom = "x5" if isinstance(network, VNet) else "encoder.2"
        for part in (network, decoder):
            with FeatureTaps(part, [bottom]).recording() as features:
                part(image)
            found.append(features[0])
        assert torch.equal(*found)

    def test_there_may_be_one(self):
        network = vnet()
        assert len(differing_decoders(network, network.encoder_stages, 1)) == 1

    def test_wrong_names_are_refused(self):
        with raises("unknown-name", "encoder stage 'x99'"):
            differing_decoders(vnet(), ["x99"], 1)
