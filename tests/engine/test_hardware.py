from __future__ import annotations

from collections import namedtuple

import psutil
import pytest
import torch

from segmend.core.errors import InputError
from segmend.engine.hardware import Hardware, check_memory
from segmend.networks import VNet
from segmend.networks.fitting import training_bytes


@pytest.fixture(autouse=True)
def cpu_only(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


class TestHardware:
    @pytest.mark.parametrize(
        ("name", "value", "least"), [("devices", 0, 1), ("nodes", 0, 1), ("nodes", -1, 1), ("workers", -1, 0)]
    )
    def test_counts(self, name, value, least):
        with pytest.raises(InputError, match=rf"--{name}: is {value}\. Give {least} or more"):
            Hardware(**{name: value})

    def test_more_gpus_than_there_are(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        Hardware(devices=2)
        with pytest.raises(InputError, match="--devices: is 3, but there are 2"):
            Hardware(devices=3)


class TestMemory:
    def test_a_step_that_cannot_fit_is_refused(self, monkeypatch):
        memory = namedtuple("memory", "available")
        network, hardware = VNet(1, 2, width=2), Hardware(precision="32")
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(2**40))
        check_memory(network, 1, (160, 160, 160), 4, hardware)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(2**30))
        message = (
            r"--patch 160 160 160: with 4 samples a batch needs about \d+ GiB, but 1 GiB are free\. Take a smaller"
        )
        with pytest.raises(InputError, match=message):
            check_memory(network, 1, (160, 160, 160), 4, hardware)

    def test_bf16_needs_half_of_it(self, monkeypatch):
        memory = namedtuple("memory", "available")
        network, patch = VNet(1, 2, width=2), (32, 32, 32)
        available = 3 * training_bytes(network, 1, patch, 2, bytes_per_value=1)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(available))
        check_memory(network, 1, patch, 2, Hardware(precision="bf16"))
        with pytest.raises(InputError, match="--patch 32 32 32"):
            check_memory(network, 1, patch, 2, Hardware(precision="32"))
