from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from segmend.methods import Method, TwoNetworks, all_methods
from segmend.networks import UNet


class Both(TwoNetworks):
    kind = "noisy"

    def loss(self, batch, step):
        return {}


@pytest.mark.parametrize(("prediction", "shares"), [("first", (1, 0)), ("second", (0, 1)), ("mean", (0.5, 0.5))])
def test_either_predicts_or_both(prediction, shares):
    method = Both(UNet(1, 3, 2, width=2, stages=2), prediction=prediction).eval()
    image = torch.randn(2, 1, 8, 8)
    first, second = (network(image).softmax(1) for network in method.networks)
    assert_close(method.predict(image), shares[0] * first + shares[1] * second)
    with torch.autocast("cpu", torch.bfloat16):
        assert method.predict(image).dtype == torch.float32


def test_the_second_starts_elsewhere_and_is_saved():
    method = Both(UNet(1, 2, 2, width=2, stages=2), prediction="first")
    assert method.networks == (method.network, method.peer)
    image = torch.randn(1, 1, 8, 8)
    assert not torch.allclose(method.network(image), method.peer(image), atol=1e-3)
    assert {name.split(".")[0] for name in method.state_dict()} == {"network", "peer"}


def test_the_base_is_no_method_of_the_list():
    assert issubclass(TwoNetworks, Method)
    assert TwoNetworks not in all_methods().values()
