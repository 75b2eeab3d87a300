from __future__ import annotations

import pytest
from torch import nn

from segmend.methods.components.modes import evaluating


@pytest.fixture
def network() -> nn.Module:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    network[1][0].eval()  # frozen by whoever trains it
    return network


def modes(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()]


def test_evaluates_inside_and_restores_each_mode(network):
    before = modes(network)
    with evaluating(network):
        assert not any(modes(network))
    assert modes(network) == before == [True, True, True, False, True]


def test_restores_after_an_error(network):
    before = modes(network)
    with pytest.raises(ValueError, match="inside"), evaluating(network):
        raise ValueError("inside")
    assert modes(network) == before
