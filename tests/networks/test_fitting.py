from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from written_networks import Pointwise

from segmend.core.errors import InputError
from segmend.networks import Network, UNet, VNet
from segmend.networks.fitting import check_patch, choose_patch, nearest_patch, training_bytes

TYPICAL = {2: 256 * 256, 3: 112 * 112 * 80}


class Picky(Pointwise):
    """Takes patches of one size only."""

    def forward(self, image):
        if image.shape[2:] != (37, 37):
            raise ValueError("only 37 by 37")
        return super().forward(image)


class Small(Network):
    def __init__(self, in_channels: int, classes: int, dimensions: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, 2, 3, padding=1)
        self.body = nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2))
        self.head = nn.Conv2d(2, classes, 1)

    def forward(self, image):
        return self.head(self.body(self.first(image)))


class TestCheckPatch:
    @pytest.mark.parametrize("patch", [(32, 16), (16, 16, 48)])
    def test_a_fitting_patch_passes(self, patch):
        check_patch(VNet(1, 2, len(patch), width=2), 1, patch)

    def test_another_brings_the_nearest(self):
        with pytest.raises(InputError) as error:
            check_patch(VNet(1, 2, 3, width=2), 1, (100, 112, 70))
        assert str(error.value) == "patch: 100 112 70 does not fit VNet. The nearest that fits is `patch 96 112 64`."

    def test_or_advice_if_there_is_none(self):
        with pytest.raises(InputError, match=r"^patch: 36 36 does not fit Picky\. Try a larger patch"):
            check_patch(Picky(1, 2, 2), 1, (36, 36))

    def test_so_does_a_patch_of_the_wrong_number_of_sides(self):
        with pytest.raises(InputError, match="does not fit VNet"):
            check_patch(VNet(1, 2, 3, width=2), 1, (32, 32))

    def test_leaves_the_network_as_it_was(self):
        network = VNet(1, 2, 2, width=2).train()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        check_patch(network, 1, (32, 32))
        assert network.training
        for name, value in network.state_dict().items():
            assert value.device.type == "cpu"
            assert torch.equal(value, before[name]), name


class TestNearestPatch:
    @pytest.mark.parametrize(
        ("stages", "wanted", "expected"),
        [
            (5, (64, 48), (64, 48)),
            (5, (65, 70), (64, 64)),
            (5, (57, 73), (64, 80)),
            (5, (5, 100), (16, 96)),
            (2, (33, 21), (32, 20)),
            (1, (33, 21), (33, 21)),
        ],
    )
    def test_rounds_to_what_the_stages_need(self, stages, wanted, expected):
        assert nearest_patch(UNet(1, 2, 2, width=2, stages=stages), 1, wanted) == expected

    def test_may_not_exist(self):
        assert nearest_patch(Picky(1, 2, 2), 1, (36, 40)) is None
        assert nearest_patch(Picky(1, 2, 2), 1, (37, 37)) == (37, 37)


class TestChoosePatch:
    def test_takes_a_small_scan_whole(self):
        assert choose_patch(VNet(1, 2, 3, width=2), 1, (96, 64, 48)) == (96, 64, 48)

    def test_of_a_large_scan_is_what_the_left_atrium_papers_use(self):
        patch = choose_patch(VNet(1, 2, 3, width=2), 1, (160, 176, 80))
        assert patch == (112, 112, 80)

    def test_keeps_all_slices_of_a_thin_stack(self):
        patch = choose_patch(Pointwise(1, 2, 3), 1, (512, 448, 12))
        assert patch[2] == 12
        assert patch[0] == pytest.approx(math.sqrt(TYPICAL[3] / 12), rel=0.05)
        assert patch[0] == patch[1]

    @given(st.lists(st.integers(1, 700), min_size=2, max_size=3))
    def test_is_within_the_scan_and_what_a_gpu_carries(self, scan):
        patch = choose_patch(Pointwise(1, 2, len(scan)), 1, scan)
        assert all(1 <= side <= whole for side, whole in zip(patch, scan, strict=True))
        assert math.prod(patch) <= 1.01 * TYPICAL[len(scan)]
        if math.prod(scan) <= TYPICAL[len(scan)]:
            assert patch == tuple(scan)
        else:
            assert math.prod(side + 1 for side in patch) >= 0.85 * TYPICAL[len(scan)]
            cut = [side for side, whole in zip(patch, scan, strict=True) if side < whole]
            assert max(patch) - min(cut) <= 1

    def test_of_a_network_that_takes_none_asks_for_one(self):
        with pytest.raises(InputError) as error:
            choose_patch(Picky(1, 2, 2), 1, (40, 30))
        assert str(error.value) == "network Picky: accepts no patch near 40x30. Give one by `patch`."


class TestTrainingBytes:
    def test_by_hand(self):
        # Values of one item of 8 x 4: 2 * 32 convolved, 2 * 8 pooled, 2 * 32 upsampled, 3 * 32 logits.
        values = 64 + 16 + 64 + 96
        assert training_bytes(Small(1, 3), 1, (8, 4), batch=5, bytes_per_value=2) == values * 5 * 2

    def test_of_a_unet_by_hand(self):
        # In units of the patch: six layers of two channels, pooling to a quarter, six of four channels there,
        # four channels interpolated, three layers of two after that, six of two, and two logits.
        values = 6 * 2 + 2 / 4 + 6 * 4 / 4 + 4 + 3 * 2 + 6 * 2 + 2
        assert training_bytes(UNet(1, 2, 2, width=2, stages=2), 1, (8, 16), 3, 4) == values * 8 * 16 * 3 * 4

    def test_grows_with_batch_patch_and_precision(self):
        network = VNet(1, 2, 3, width=2)
        once = training_bytes(network, 1, (16, 16, 32), 1, 2)
        assert training_bytes(network, 1, (16, 16, 32), 4, 2) == 4 * once
        assert training_bytes(network, 1, (16, 32, 32), 1, 4) == 4 * once

    def test_leaves_the_network_as_it_was(self):
        network = Small(1, 3).eval()
        training_bytes(network, 1, (8, 4), 1, 4)
        assert not network.training
        assert not network.first._forward_hooks
        assert network.first.weight.device.type == "cpu"
