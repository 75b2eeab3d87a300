from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from segmend.methods.components.peers import peer_of, predict_by
from segmend.networks import UNet, VNet


def test_starts_elsewhere_and_shares_nothing():
    torch.manual_seed(0)
    network = VNet(1, 2, 3, width=2)
    before = [each.clone() for each in network.parameters()]
    peer = peer_of(network)
    for mine, theirs, old in zip(network.parameters(), peer.parameters(), before, strict=True):
        assert torch.equal(mine, old)
        assert mine.data_ptr() != theirs.data_ptr()
        assert theirs.ndim < 2 or not torch.equal(mine, theirs)


def test_follows_torchs_seed():
    network = UNet(1, 2, 2, width=2, stages=2)
    peers = []
    for _ in range(2):
        torch.manual_seed(3)
        peers.append(peer_of(network))
    first, second = peers
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_forgets_the_statistics_of_the_first():
    network = UNet(1, 2, 2, width=2, stages=2)
    network(10 + torch.randn(2, 1, 8, 8))
    means = [buffer for name, buffer in peer_of(network).named_buffers() if name.endswith("running_mean")]
    assert means
    assert not any(mean.any() for mean in means)


@pytest.mark.parametrize(("predictor", "shares"), [("first", (1.0, 0.0)), ("second", (0.0, 1.0)), ("mean", (0.5, 0.5))])
def test_predict_by_one_or_both(predictor, shares):
    first = UNet(1, 3, 2, width=2, stages=2).eval()
    second, image = peer_of(first).eval(), torch.randn(2, 1, 8, 8)
    expected = shares[0] * first(image).softmax(1) + shares[1] * second(image).softmax(1)
    assert_close(predict_by(predictor, first, second, image), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert predict_by(predictor, first, second, image).dtype == torch.float32
