"""Number formats of training and prediction."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["auto", "32", "bf16"]
"""bf16 computes convolutions in bfloat16 and all losses in float32; auto takes it where the hardware has it."""


def resolved(precision: Precision, device: torch.device) -> Literal["32", "bf16"]:
    """The precision that ``auto`` means on a device."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Inside it, networks compute in the given precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=resolved(precision, device) == "bf16")


def best_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
