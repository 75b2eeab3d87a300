from __future__ import annotations

import math

import pytest
import torch

from segmend.engine import training_time
from segmend.engine.training_time import StepTime, multiply_adds, step_time
from segmend.networks import PlannedUNet, UNet, VNet
from segmend.networks.blocks import convolution

SMALL = {"kernels": (3, 3, 3), "strides": (1, 2, 2), "widths": (2, 4, 4)}


class TestMultiplyAdds:
    def test_of_a_convolution_by_hand(self):
        """8 x 6 voxels, 3 to 5 channels, 3 x 3 taps; once more for the gradient of the weights."""
        layer = convolution(3, 5, 3, 2)
        assert multiply_adds(layer, 3, (8, 6), 2) == 2 * (2 * 8 * 6 * 3 * 5 * 9)

    def test_grow_with_batch_and_patch(self):
        network = UNet(1, 2, 3, width=2, stages=2)
        once = multiply_adds(network, 1, (8, 8, 8), 1)
        assert multiply_adds(network, 1, (8, 8, 8), 3) == 3 * once
        assert multiply_adds(network, 1, (16, 8, 8), 1) == 2 * once

    def test_the_network_stays_as_it_was(self):
        network = UNet(1, 2, 2, width=2, stages=2).eval()
        multiply_adds(network, 1, (8, 8), 1)
        assert not network.training
        assert all(each.grad is None and each.device.type == "cpu" for each in network.parameters())


class TestStepTime:
    def test_is_work_by_rate(self):
        assert StepTime(6_000, 2_000.0).seconds == 3

    def test_networks_of_a_method_count(self, monkeypatch):
        monkeypatch.setattr(training_time, "_rate", lambda *_: 1e9)
        monkeypatch.setattr(training_time, "_MEASURED", {})
        network = PlannedUNet(1, 2, 2, **SMALL)
        one, two = (step_time(network, 1, (16, 16), 2, count, "32") for count in (1.0, 2.0))
        assert one.multiply_adds == multiply_adds(network, 1, (16, 16), 2)
        assert two.multiply_adds == 2 * one.multiply_adds

    def test_large_patches_are_timed_by_smaller_ones_that_the_network_takes(self, monkeypatch):
        crops = []
        monkeypatch.setattr(training_time, "_rate", lambda _n, _c, crop, *_: crops.append(crop) or 1e9)
        monkeypatch.setattr(training_time, "_MEASURED", {})
        step_time(VNet(1, 2, 3, width=2), 1, (128, 128, 96), 4, 1, "32")
        (crop,) = crops
        assert 4 * math.prod(crop) <= 2**17
        assert all(side % 16 == 0 for side in crop)

    @pytest.mark.parametrize("precision", ["32", "bf16"])
    def test_measuring_draws_nothing_and_is_done_once(self, monkeypatch, precision):
        monkeypatch.setattr(training_time, "_MEASURED", {})
        monkeypatch.setattr(training_time, "_SECONDS", 0.0)
        network = PlannedUNet(1, 2, 2, **SMALL)
        before, weights = torch.random.get_rng_state(), [each.clone() for each in network.parameters()]
        found = step_time(network, 1, (16, 16), 2, 1, precision)
        assert found.seconds > 0
        assert torch.equal(torch.random.get_rng_state(), before)
        assert all(torch.equal(*pair) for pair in zip(network.parameters(), weights, strict=True))
        assert step_time(network, 1, (16, 16), 2, 1, precision) == found
