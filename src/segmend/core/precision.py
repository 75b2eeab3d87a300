"""Number formats of training and prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Precision = Literal["auto", "32", "bf16"]
"""bf16 computes convolutions in bfloat16 and all losses in float32; auto uses it where the hardware supports it."""


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


def float32_small_convs_on_cpu(device: torch.device) -> AbstractContextManager[object]:
    """Inside it, convolutions with a kernel larger than the image compute in float32 on a CPU, whatever autocast says.

    For these, the bfloat16 weight gradients of oneDNN (as of torch 2.13, on CPUs with AVX512-BF16) are wrong or not
    written at all. They are the deepest layers of small patches, so this costs almost nothing.
    """
    return _SmallImagesInFloat32() if device.type == "cpu" else nullcontext()


def best_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class _SmallImagesInFloat32(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _CONVOLUTIONS or not torch.is_autocast_enabled("cpu") or not _exceeds(*args[:2]):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            return func(*[arg.float() if isinstance(arg, Tensor) else arg for arg in args], **kwargs)


_CONVOLUTIONS = (torch.conv2d, torch.conv3d, torch.conv_transpose2d, torch.conv_transpose3d)


def _exceeds(image: Tensor, kernel: Tensor) -> bool:
    dimensions = kernel.ndim - 2
    return any(side < extent for side, extent in zip(image.shape[-dimensions:], kernel.shape[2:], strict=True))
