from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
import torch
from monai.networks import nets
from torch.testing import assert_close

from segmend.core.config import described, rebuilt
from segmend.networks import (
    BasicUNetPlusPlus,
    DynUNet,
    MedNeXt,
    Network,
    SegResNet,
    SegResNetDS,
    all_networks,
)

ADAPTED = {name: cls for name, cls in all_networks().items() if cls.__module__ == "segmend.networks.monai"}
REQUIRED, NARROW = inspect.Parameter.empty, (4, 4, 8, 8, 16, 4)
TINY: dict[str, dict[str, Any]] = {
    "AttentionUnet": {"channels": (4, 8), "strides": (2,)},
    "BasicUNet": {"features": NARROW},
    "BasicUNetPlusPlus": {"features": NARROW},
    "DynUNet": {"kernel_size": (3,) * 3, "strides": (1, 2, 2), "upsample_kernel_size": (2, 2), "filters": (4, 8, 8)},
    "FlexibleUNet": {"backbone": "resnet10", "decoder_channels": (8, 8, 4, 4, 4)},
    "HighResNet": {"layer_params": [{"name": "conv_0", "n_features": 4, "kernel_size": 3}] * 3},
    "MedNeXt": {"init_filters": 4, "kernel_size": 3, "blocks_down": (1,) * 4, "blocks_up": (1,) * 4},
    "MonaiUNet": {"channels": (4, 8), "strides": (2,), "num_res_units": 1},
    "SegResNet": {"init_filters": 8, "blocks_down": (1, 1), "blocks_up": (1,)},
    "SegResNetDS": {"init_filters": 8, "blocks_down": (1, 1)},
    "UNETR": {"img_size": 32, "feature_size": 4, "hidden_size": 24, "mlp_dim": 24, "num_heads": 2},
}
TO_TRY = ["AttentionUnet", "BasicUNetPlusPlus", "DynUNet", "MonaiUNet", "SegResNet", "SegResNetDS"]


def own_arguments(cls: type[Network]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(cls).parameters
    return {name: parameter for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}


WITHOUT_REQUIRED = [
    name for name, cls in ADAPTED.items() if all(p.default is not REQUIRED for p in own_arguments(cls).values())
]


@pytest.mark.parametrize("dimensions", [2, 3])
class TestForward:
    @pytest.mark.parametrize("name", TO_TRY)
    def test_trains_on_the_grid_of_the_image(self, name, dimensions):
        network = ADAPTED[name](2, 3, dimensions, **TINY[name])
        logits = network(torch.randn(2, 2, *[32] * dimensions))
        assert logits.shape == (2, 3, *[32] * dimensions)
        logits.square().mean().backward()
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())

    @pytest.mark.parametrize("name", WITHOUT_REQUIRED)
    def test_with_monais_defaults(self, name, dimensions):
        network = ADAPTED[name](2, 3, dimensions).to("meta")
        logits = network(torch.empty(2, 2, *[64] * dimensions, device="meta"))
        assert logits.shape == (2, 3, *[64] * dimensions)

    def test_is_monais_network(self, dimensions):
        torch.manual_seed(0)
        network = SegResNet(1, 2, dimensions, **TINY["SegResNet"]).eval()
        torch.manual_seed(0)
        original = nets.SegResNet(spatial_dims=dimensions, in_channels=1, out_channels=2, **TINY["SegResNet"]).eval()
        image = torch.randn(1, 1, *[8] * dimensions)
        assert_close(network(image), original(image))


class TestDeepSupervision:
    """With several outputs the finest counts, wherever MONAI puts it."""

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize(
        ("network", "head"),
        [
            (DynUNet(1, 2, 2, kernel_size=(3,) * 4, strides=(1, 2, 2, 2), upsample_kernel_size=(2,) * 3,
                     filters=(4, 8, 8, 8), deep_supervision=True, deep_supr_num=2), "output_block"),
            (SegResNetDS(1, 2, 2, init_filters=8, dsdepth=3), "up_layers.2.head"),
            (BasicUNetPlusPlus(1, 2, 2, features=NARROW, deep_supervision=True), "final_conv_0_4"),
            (MedNeXt(1, 2, 2, init_filters=4, deep_supervision=True), "out_0"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Network) else "",
    )  # fmt: skip
    def test_the_finest_output_counts(self, network, head, training):
        kept = []
        handle = network.net.get_submodule(head).register_forward_hook(lambda *call: kept.append(call[-1]))
        logits = network.train(training)(torch.randn(2, 1, 32, 32))
        handle.remove()
        assert logits.shape == (2, 2, 32, 32)
        assert_close(logits, kept[-1])


class TestArguments:
    @pytest.mark.filterwarnings("ignore:.*dropout_prob:FutureWarning")  # MONAI lists what it has deprecated
    @pytest.mark.parametrize("dimensions", [2, 3])
    @pytest.mark.parametrize("name", ADAPTED)
    def test_survive_a_round_trip_through_json(self, name, dimensions):
        with torch.device("cpu" if name == "SwinUNETR" else "meta"):
            network = ADAPTED[name](1, 2, dimensions, **TINY.get(name, {}))
            description = described(network, ADAPTED)
            again = rebuilt(json.loads(json.dumps(description)), ADAPTED, Network, 1, 2, dimensions)
        assert type(again) is type(network)
        assert described(again, ADAPTED) == description
        shapes = {key: value.shape for key, value in network.state_dict().items()}
        assert {key: value.shape for key, value in again.state_dict().items()} == shapes

    @pytest.mark.parametrize("name", ADAPTED)
    def test_are_monais_own(self, name):
        original = inspect.signature(getattr(nets, {"MonaiUNet": "UNet", "MonaiVNet": "VNet"}.get(name, name)))
        leading = list(inspect.signature(ADAPTED[name]).parameters)[:3]
        assert leading == ["in_channels", "classes", "dimensions"]
        for argument, parameter in own_arguments(ADAPTED[name]).items():
            assert parameter.default == original.parameters[argument].default
        from_data = {"spatial_dims", "in_channels", "out_channels"}
        only_python = {"norm_layer"}
        assert set(original.parameters) - set(own_arguments(ADAPTED[name])) <= from_data | only_python

    def test_are_checked_by_name(self):
        with pytest.raises(TypeError, match="unexpected keyword argument 'widht'"):
            SegResNet(1, 2, 2, widht=8)

    def test_of_another_network_do_not_leak_in(self):
        assert SegResNet(1, 2, 2, init_filters=16).arguments["init_filters"] == 16
        assert SegResNet(1, 2, 2).arguments["init_filters"] == 8
        assert "init_filters" not in own_arguments(DynUNet)
