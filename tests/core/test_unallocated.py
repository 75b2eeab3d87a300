from __future__ import annotations

import psutil
import pytest
import torch
from torch import Tensor

from segmend.core.errors import InputError
from segmend.core.unallocated import build_unallocated
from segmend.methods import all_methods
from segmend.networks import SwinUNETR, UNet, VNet


def shapes(module):
    return {name: tuple(value.shape) for name, value in module.state_dict().items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("name", all_methods())
def test_methods_have_the_shapes_of_allocated_ones(name):
    method = all_methods()[name]
    before = torch.get_rng_state()
    trial = build_unallocated(lambda: method(VNet(1, 2, 2, width=1)))
    assert torch.equal(torch.get_rng_state(), before)
    assert shapes(trial) == shapes(method(VNet(1, 2, 2, width=1)))
    assert all(parameter.is_meta for parameter in trial.parameters())


def test_tables_that_a_constructor_computes_are_computed():
    trial = build_unallocated(lambda: SwinUNETR(1, 2, 2, feature_size=12))
    assert shapes(trial) == shapes(SwinUNETR(1, 2, 2, feature_size=12))


def test_a_network_larger_than_the_memory_is_refused_before_it_is_allocated():
    before = psutil.Process().memory_info().rss
    with pytest.raises(InputError, match=r"needs more than .* GiB, but .* GiB are free"):
        build_unallocated(lambda: UNet(1, 2, 3, width=2**16))
    assert psutil.Process().memory_info().rss - before < 2**28


def test_endless_networks_are_refused():
    def endless():
        while True:
            torch.empty(1)

    with pytest.raises(InputError, match="more than 100000 tensors"):
        build_unallocated(endless)
