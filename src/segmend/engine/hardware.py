"""What a training computes on, and whether it is enough."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from segmend.core.errors import InputError
from segmend.core.precision import Precision, best_device, resolved
from segmend.engine.planner import Machine
from segmend.networks import Network
from segmend.networks.fitting import training_bytes

_DRIVER = Path("/proc/driver/nvidia/gpus")
"""Where the driver of NVIDIA describes each GPU under Linux."""

_PATIENCE = 10.0
"""Seconds that nvidia-smi has to answer; it hangs where a driver is broken."""

_ENOUGH_ON_CPU = 8 * 2**30
"""Bytes that a step on a CPU may take at most: larger patches would take too long."""


@dataclass(frozen=True)
class Hardware:
    """What to compute on; nothing here changes what is learned, up to rounding and the number of processes.

    Attributes:
        precision: number format of the network.
        devices: GPUs, or processes on a CPU.
        nodes: machines.
        workers: processes that load data for each device; None chooses.
        compile: compile the network first.
    """

    precision: Precision = "auto"
    devices: int | Literal["auto"] = "auto"
    nodes: int = 1
    workers: int | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        for name, count, least in (
            ("devices", self.devices, 1),
            ("nodes", self.nodes, 1),
            ("workers", self.workers, 0),
        ):
            if isinstance(count, int) and count < least:
                raise InputError(name, f"is {count}", f"give {least} or more", code="invalid-value")
        present = torch.cuda.device_count()
        if present and isinstance(self.devices, int) and self.devices > present:
            raise InputError(
                "devices",
                f"is {self.devices}, but there are {present}",
                "give at most as many as there are",
                code="environment",
            )

    @property
    def processes_on_a_node(self) -> int:
        """One for each device."""
        if self.devices != "auto":
            return self.devices
        return torch.cuda.device_count() if best_device().type == "cuda" else 1

    @property
    def processes(self) -> int:
        """Of all nodes together."""
        return self.nodes * self.processes_on_a_node


def unused_gpu() -> str | None:
    """Why a GPU of NVIDIA in this machine is not used, in words; None if one is used, or there is none.

    A CPU build of PyTorch, a driver too old for it, or CUDA_VISIBLE_DEVICES hide a GPU without any message, and a
    training then takes days instead of hours.
    """
    if best_device().type != "cpu" or not (names := _gpus_in_machine()):
        return None
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        reason = f"PyTorch {torch.__version__} is a build for CPUs: install one for CUDA (https://pytorch.org)"
    elif "CUDA_VISIBLE_DEVICES" in os.environ:
        reason = f"CUDA_VISIBLE_DEVICES is '{os.environ['CUDA_VISIBLE_DEVICES']}'"
    else:
        reason = f"PyTorch finds no usable driver for CUDA {torch.version.cuda}: see 'nvidia-smi'"
    return f"computing on the CPU, though this machine has a GPU ({names[0]}); {reason}"


def _gpus_in_machine() -> list[str]:
    """The GPUs of NVIDIA that the driver lists, whether or not PyTorch can use them."""
    listed = [_model(file) for file in sorted(_DRIVER.glob("*/information"))]
    program = shutil.which("nvidia-smi")
    if listed or program is None:
        return listed
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.split(" (UUID")[0] for line in done.stdout.splitlines() if line.startswith("GPU ")]


def _model(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("Model:")), "NVIDIA")


def machine_of(hardware: Hardware, memory: float | None = None, width: int | None = None) -> Machine:
    """What a plan may count on.

    Args:
        hardware: what to compute on.
        memory: GiB for a training step; by default nine tenths of a GPU's, or what is free on a CPU, but at most 8.
        width: channels of the network's first stage.
    """
    device = best_device()
    size = 2 if resolved(hardware.precision, device) == "bf16" else 4
    if device.type == "cuda":
        found, name = 0.9 * torch.cuda.mem_get_info()[1], torch.cuda.get_device_name(device)
    else:
        found, name = min(psutil.virtual_memory().available, _ENOUGH_ON_CPU), "CPU"
    narrow = device.type == "cpu" and memory is None
    reason = "as given" if width else "to be fast without a GPU" if narrow else "the usual width"
    room = int(memory * 2**30 if memory else found)
    width = width or (16 if narrow else 32)
    return Machine(name if memory is None else "as given", room, size, width, reason, gpu=device.type == "cuda")


def check_memory(network: Network, in_channels: int, patch: Sequence[int], batch: int, hardware: Hardware) -> int:
    """Make sure that a training step has a chance to fit into memory.

    Returns:
        Bytes that a step of the network needs, estimated.

    Raises:
        InputError: it has none.
    """
    device = best_device()
    size = 2 if resolved(hardware.precision, device) == "bf16" else 4
    needed = training_bytes(network, in_channels, patch, batch, size)
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available
    if needed > free:
        raise InputError(
            "patch",
            f"{' '.join(map(str, patch))} with {batch} samples a batch needs about {needed / 2**30:.0f} GiB, "
            f"but {free / 2**30:.0f} GiB are free",
            "take a smaller patch, fewer samples or a smaller network",
            code="too-large",
        )
    return needed
