from __future__ import annotations

import torch

from segmend.methods.components.peers import reinitialised_copy
from segmend.networks import UNet, VNet


def test_starts_elsewhere_and_shares_nothing():
    torch.manual_seed(0)
    network = VNet(1, 2, 3, width=2)
    before = [each.clone() for each in network.parameters()]
    peer = reinitialised_copy(network)
    for mine, theirs, old in zip(network.parameters(), peer.parameters(), before, strict=True):
        assert torch.equal(mine, old)
        assert mine.data_ptr() != theirs.data_ptr()
        assert theirs.ndim < 2 or not torch.equal(mine, theirs)


def test_follows_torchs_seed():
    network = UNet(1, 2, 2, width=2, stages=2)
    peers = []
    for _ in range(2):
        torch.manual_seed(3)
        peers.append(reinitialised_copy(network))
    first, second = peers
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_forgets_the_statistics_of_the_first():
    network = UNet(1, 2, 2, width=2, stages=2)
    network(10 + torch.randn(2, 1, 8, 8))
    means = [buffer for name, buffer in reinitialised_copy(network).named_buffers() if name.endswith("running_mean")]
    assert means
    assert not any(mean.any() for mean in means)
