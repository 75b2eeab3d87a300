from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.networks import Network, VNet

PATCHES = {2: (32, 32), 3: (32, 16, 16)}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def outputs(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """What every direct sub-module gives, and what it is given under its name and '.in'."""
    seen: dict[str, Tensor] = {}

    def hook(name):
        def keep(_module, inputs, output):
            seen[name], seen[f"{name}.in"] = output, inputs[0]

        return keep

    handles = [module.register_forward_hook(hook(name)) for name, module in network.named_children()]
    network(image)
    for handle in handles:
        handle.remove()
    return seen


class TestArchitecture:
    def test_has_the_parameters_of_the_papers_network(self):
        with torch.device("meta"):
            assert parameters(VNet(1, 2, 3)) == 9_448_866

    def test_has_the_papers_layers(self):
        with torch.device("meta"):
            network = VNet(1, 2, 3)
        layers: list[tuple[str, str, int, int]] = []
        for name, layer in network.named_modules():
            if isinstance(layer, (nn.Conv3d, nn.ConvTranspose3d)):
                kind = {(3, 1): "conv", (2, 2): "joint", (1, 1): "head"}[layer.kernel_size[0], layer.stride[0]]
                layers.append((name.split(".")[0], kind, layer.in_channels, layer.out_channels))
        expected = [("x1", "conv", 1, 16)]
        for stage, convolutions, width in (("x2", 2, 32), ("x3", 3, 64), ("x4", 3, 128), ("x5", 3, 256)):
            expected += [(stage, "joint", width // 2, width), *[(stage, "conv", width, width)] * convolutions]
        for joint, stage, convolutions, width in (
            ("up5", "x6", 3, 128),
            ("up6", "x7", 3, 64),
            ("up7", "x8", 2, 32),
            ("up8", "x9", 1, 16),
        ):
            expected += [(joint, "joint", 2 * width, width), *[(stage, "conv", width, width)] * convolutions]
        assert layers == [*expected, ("head", "head", 16, 2)]

    def test_adds_the_encoders_features(self):
        seen = outputs(VNet(1, 2, 2, width=2), torch.randn(2, 1, 32, 32))
        for stage, joint, skip in (("x6", "up5", "x4"), ("x7", "up6", "x3"), ("x8", "up7", "x2"), ("x9", "up8", "x1")):
            assert_close(seen[f"{stage}.in"], seen[joint] + seen[skip])

    def test_drops_channels_of_the_bottom_and_of_the_last_stage(self):
        torch.manual_seed(0)
        seen = outputs(VNet(1, 2, 2, width=8), torch.randn(4, 1, 32, 32))
        bottom, dropped = seen["x5"].flatten(2), seen["up5.in"].flatten(2)
        assert_close(dropped[dropped != 0], 2 * bottom[dropped != 0])
        # Of the last stage, half of the channels are zero; the convolution before leaves hardly any dead.
        dead = (seen["head.in"].flatten(2) == 0).all(2).float().mean().item()
        assert dead == pytest.approx(0.5, abs=0.25)
        assert dead > 0

    @pytest.mark.parametrize("dimensions", PATCHES)
    def test_gives_logits_on_the_grid_of_the_image(self, dimensions):
        network = VNet(3, 4, dimensions, width=2)
        logits = network(torch.randn(2, 3, *PATCHES[dimensions]))
        assert logits.shape == (2, 4, *PATCHES[dimensions])
        assert (logits < 0).any()

    def test_dropout_is_the_only_randomness(self):
        image = torch.randn(2, 1, 32, 32)
        network = VNet(1, 2, 2, width=4)
        assert not torch.equal(network(image), network(image))
        assert torch.equal(network.eval()(image), network(image))
        without = VNet(1, 2, 2, width=4, dropout_rate=0.0)
        assert torch.equal(without(image), without(image))


class TestStochasticPasses:
    """The encoder runs once; everything else must be as if the batch had been repeated."""

    @pytest.mark.parametrize("dimensions", PATCHES)
    def test_equal_the_repeated_batch_in_eval_mode(self, dimensions):
        network = VNet(1, 2, dimensions, width=2)
        image = torch.randn(2, 1, *PATCHES[dimensions])
        network(image)  # running statistics that are not those of the start
        network.eval()
        passes = network.stochastic_passes(image, 3)
        assert passes.shape == (6, 2, *PATCHES[dimensions])
        assert_close(passes, Network.stochastic_passes(network, image, 3))
        assert_close(passes, network(image).repeat(3, *[1] * (dimensions + 1)))

    @pytest.mark.parametrize("dimensions", PATCHES)
    def test_equal_the_repeated_batch_in_training_without_dropout(self, dimensions):
        network = VNet(1, 2, dimensions, width=2, dropout_rate=0.0)
        generic = copy.deepcopy(network)
        image = torch.randn(2, 1, *PATCHES[dimensions])
        passes, expected = network.stochastic_passes(image, 3), Network.stochastic_passes(generic, image, 3)
        assert_close(passes, expected, atol=1e-3, rtol=1e-3)
        theirs = dict(generic.named_modules())
        for name, layer in network.named_modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                other = theirs[name]
                assert layer.num_batches_tracked == other.num_batches_tracked == 1
                assert_close(layer.running_mean, other.running_mean, atol=1e-4, rtol=1e-3)
                # Running variances are unbiased, with n / (n - 1); the encoder sees a third of the values.
                scale = 1.0
                if name.split(".")[0] in ("x1", "x2", "x3", "x4", "x5"):
                    stage = int(name[1]) - 1
                    n = image.numel() // 2 ** (stage * dimensions)
                    scale = (n / (n - 1)) / (3 * n / (3 * n - 1))
                mine, other_variance = (network.running_var - 0.9 for network in (layer, other))
                assert_close(mine, other_variance * scale, atol=1e-4, rtol=1e-3)

    def test_differ_from_each_other_by_dropout(self):
        torch.manual_seed(0)
        network = VNet(1, 2, 2, width=4)
        passes = network.stochastic_passes(torch.randn(2, 1, 32, 32), 4).view(4, 2, 2, 32, 32)
        for one in range(4):
            for other in range(one):
                assert not torch.allclose(passes[one], passes[other], atol=1e-3)

    def test_keep_the_order_of_the_batch(self):
        network = VNet(1, 2, 2, width=4).eval()
        image = torch.stack([torch.full((1, 32, 32), float(item)) for item in range(3)])
        passes = network.stochastic_passes(image, 2)
        for item in range(3):
            assert_close(passes[item], passes[3 + item])
            assert_close(passes[item : item + 1], network(image[item : item + 1]))
