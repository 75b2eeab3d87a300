from __future__ import annotations

import shutil
from collections import namedtuple

import psutil
import pytest
import torch
from refusals import raises

from segmend.engine import hardware
from segmend.engine.hardware import Hardware, check_memory, unused_gpu
from segmend.networks import VNet
from segmend.networks.fitting import training_bytes

pytestmark = pytest.mark.usefixtures("cpu_only")


class TestHardware:
    @pytest.mark.parametrize(
        ("name", "value", "least"), [("devices", 0, 1), ("nodes", 0, 1), ("nodes", -1, 1), ("workers", -1, 0)]
    )
    def test_counts(self, name, value, least):
        with raises("invalid-value", name, match=f"{value}. Give {least} or more"):
            Hardware(**{name: value})

    def test_more_gpus_than_there_are(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        Hardware(devices=2)
        with raises("environment", "devices", match="3, but there are 2"):
            Hardware(devices=3)


class TestMemory:
    def test_a_step_that_cannot_fit_is_refused(self, monkeypatch):
        memory = namedtuple("memory", "available")
        network, settings = VNet(1, 2, width=2), Hardware(precision="32")
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(2**40))
        check_memory(network, 1, (160, 160, 160), 4, settings)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(2**30))
        message = r"patch: 160 160 160 with 4 samples a batch needs about \d+ GiB, but 1 GiB are free\. Take a smaller"
        with raises("too-large", "patch", match=message):
            check_memory(network, 1, (160, 160, 160), 4, settings)

    def test_bf16_needs_half_of_it(self, monkeypatch):
        memory = namedtuple("memory", "available")
        network, patch = VNet(1, 2, width=2), (32, 32, 32)
        available = 3 * training_bytes(network, 1, patch, 2, bytes_per_value=1)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(available))
        check_memory(network, 1, patch, 2, Hardware(precision="bf16"))
        with raises("too-large", "patch"):
            check_memory(network, 1, patch, 2, Hardware(precision="32"))


class TestUnusedGpu:
    @pytest.fixture
    def driver(self, monkeypatch, tmp_path):
        """A machine with a GPU, as the driver describes it, and no nvidia-smi."""
        file = tmp_path / "0000:01:00.0" / "information"
        file.parent.mkdir()
        file.write_text("Model: \t\t NVIDIA H200\nIRQ: 12\n")
        monkeypatch.setattr(hardware, "_DRIVER", tmp_path)
        monkeypatch.setattr(shutil, "which", lambda name: None)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return file

    @pytest.fixture
    def smi(self, monkeypatch, tmp_path):
        """Writes an nvidia-smi of these lines; the driver describes nothing."""

        def write(*lines: str) -> None:
            program = tmp_path / "nvidia-smi"
            program.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
            program.chmod(0o755)
            monkeypatch.setattr(hardware, "_DRIVER", tmp_path / "none")
            monkeypatch.setattr(shutil, "which", lambda name: str(program))

        return write

    def test_a_build_of_pytorch_for_cpus(self, monkeypatch, driver):
        monkeypatch.setattr(torch.version, "cuda", None)
        found = unused_gpu()
        assert found.startswith("computing on the CPU, though this machine has a GPU (NVIDIA H200); PyTorch")
        assert "is a build for CPUs" in found

    def test_a_driver_that_pytorch_cannot_use(self, monkeypatch, driver):
        monkeypatch.setattr(torch.version, "cuda", "12.8")
        assert "finds no usable driver for CUDA 12.8" in unused_gpu()

    def test_gpus_that_the_environment_hides(self, monkeypatch, driver):
        monkeypatch.setattr(torch.version, "cuda", "12.8")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert unused_gpu().endswith("CUDA_VISIBLE_DEVICES is ''")

    def test_the_tool_of_the_driver_is_asked_elsewhere(self, smi):
        smi("echo 'GPU 0: NVIDIA RTX 4090 (UUID: GPU-1)'")
        assert "(GPU 0: NVIDIA RTX 4090)" in unused_gpu()

    def test_a_tool_that_fails(self, smi):
        smi("echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver'", "exit 9")
        assert unused_gpu() is None

    def test_a_tool_that_cannot_be_run(self, monkeypatch, tmp_path):
        monkeypatch.setattr(hardware, "_DRIVER", tmp_path)
        monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / "missing"))
        assert unused_gpu() is None

    def test_a_machine_without_one(self, monkeypatch, tmp_path):
        monkeypatch.setattr(hardware, "_DRIVER", tmp_path)
        monkeypatch.setattr(shutil, "which", lambda name: None)
        assert unused_gpu() is None

    def test_a_gpu_that_is_used(self, monkeypatch, driver):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert unused_gpu() is None
