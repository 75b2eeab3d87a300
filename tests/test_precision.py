from __future__ import annotations

import pytest
import torch

from segmend.precision import autocast, best_device, resolved

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
