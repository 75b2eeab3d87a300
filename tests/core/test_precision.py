from __future__ import annotations

import pytest
import torch
from torch import nn

from segmend.core.precision import autocast, best_device, resolved, trustworthy_gradients

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_what_is_asked_for_is_taken(precision, device):
    assert resolved(precision, device) == precision


@pytest.mark.parametrize(
    ("capabilities", "chosen"),
    [({}, "32"), ({"avx512_bf16": False}, "32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")],
)
def test_auto_on_a_cpu(monkeypatch, capabilities, chosen):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolved("auto", CPU) == chosen


@pytest.mark.parametrize(("supported", "chosen"), [(True, "bf16"), (False, "32")])
def test_auto_on_a_gpu_does_not_count_emulation(monkeypatch, supported, chosen):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or supported
    )
    assert resolved("auto", GPU) == chosen


@pytest.mark.parametrize(("precision", "dtype"), [("32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast(precision, dtype):
    layer = torch.nn.Conv2d(1, 1, 1)
    with autocast(precision, CPU):
        assert layer(torch.ones(1, 1, 2, 2)).dtype == dtype
    assert layer(torch.ones(1, 1, 2, 2)).dtype == torch.float32


@pytest.mark.parametrize(("present", "device"), [(True, GPU), (False, CPU)])
def test_best_device(monkeypatch, present, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present)
    assert best_device() == device


class TestTrustworthyGradients:
    """Where the CPU has no bfloat16 of its own, nothing is wrong without it; the formats tell that it works."""

    @pytest.mark.parametrize(
        ("layer", "sides", "dtype"),
        [
            (nn.Conv3d(16, 16, 3, padding=1), (2, 4, 4), torch.float32),
            (nn.Conv3d(16, 16, 3, padding=1), (4, 4, 2), torch.float32),
            (nn.Conv3d(16, 16, 3, padding=1), (3, 3, 3), torch.bfloat16),
            (nn.Conv3d(16, 16, 5, padding=2), (4, 8, 8), torch.float32),
            (nn.Conv2d(16, 16, 3, padding=1), (2, 4), torch.float32),
            (nn.Conv2d(16, 16, 3, padding=1), (8, 3), torch.bfloat16),
            (nn.ConvTranspose3d(16, 16, 2, stride=2), (1, 4, 4), torch.float32),
            (nn.ConvTranspose3d(16, 16, 2, stride=2), (2, 4, 4), torch.bfloat16),
        ],
    )
    def test_only_what_is_smaller_than_its_kernel_is_computed_in_float32(self, layer, sides, dtype):
        with autocast("bf16", CPU), trustworthy_gradients(CPU):
            assert layer(torch.randn(2, 16, *sides)).dtype == dtype

    @pytest.mark.parametrize("sides", [(2, 4, 4), (2, 8, 5), (1, 1, 1), (3, 3, 2), (6, 6, 6)])
    def test_they_are_those_of_float32_whatever_memory_held_before(self, sides):
        torch.manual_seed(0)
        layer, image = nn.Conv3d(16, 16, 3, padding=1), torch.randn(2, 16, *sides)

        def gradient(precision):
            for size in (10**2, 10**3, 10**4, 16 * 16 * 27):
                torch.full((size,), float("nan"))
            layer.zero_grad()
            with autocast(precision, CPU), trustworthy_gradients(CPU):
                output = layer(image.bfloat16().float())
            output.float().square().sum().backward()
            return layer.weight.grad.clone()

        exact = gradient("32")
        for _ in range(5):
            assert float((gradient("bf16") - exact).norm() / exact.norm()) < 0.02

    def test_without_autocast_nothing_changes(self):
        layer, image = nn.Conv3d(2, 2, 3, padding=1).double(), torch.randn(1, 2, 2, 2, 2).double()
        expected = layer(image)
        with trustworthy_gradients(CPU):
            assert torch.equal(layer(image), expected)

    def test_a_gpu_is_left_alone(self):
        with autocast("bf16", CPU), trustworthy_gradients(GPU):
            assert nn.Conv3d(2, 2, 3, padding=1)(torch.randn(1, 2, 2, 2, 2)).dtype == torch.bfloat16
