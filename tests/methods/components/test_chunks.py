from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from segmend.core.precision import trustworthy_gradients
from segmend.methods.components.chunks import chunks_of, pass_in_chunks
from segmend.networks import Network, UNet, VNet


def image(count: int = 5, dimensions: int = 2, side: int = 16) -> torch.Tensor:
    return torch.randn(count, 1, *[side] * dimensions, generator=torch.Generator().manual_seed(0))


def gradients(network: nn.Module, logits: torch.Tensor) -> list[torch.Tensor]:
    """Of a loss that takes the batch as a whole."""
    network.zero_grad()
    (logits.softmax(1).square().sum() / logits.softmax(1)[:, 1].sum()).backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


@pytest.fixture(params=[2, 3])
def dimensions(request) -> int:
    return request.param


@pytest.fixture
def network(dimensions) -> UNet:
    torch.manual_seed(0)
    return UNet(1, 2, dimensions, width=2, stages=2)


@pytest.mark.parametrize(
    ("size", "lengths"), [(None, [9]), (1, [1] * 9), (2, [2, 2, 2, 2, 1]), (4, [3, 3, 3]), (9, [9]), (10, [9])]
)
def test_chunks_are_as_few_and_as_equal_as_can_be(size, lengths):
    chunks = chunks_of(image(9), size)
    assert [len(chunk) for chunk in chunks] == lengths
    assert torch.equal(torch.cat(list(chunks)), image(9))


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_without_batch_statistics_it_is_one_pass(network, dimensions, size):
    network.eval()
    given = image(dimensions=dimensions)
    expected, logits = network(given), pass_in_chunks(network, given, size)
    assert_close(logits, expected)
    assert_close(gradients(network, logits), gradients(network, expected))


def test_all_at_once_is_one_pass(network, dimensions):
    given = image(dimensions=dimensions)
    assert torch.equal(pass_in_chunks(network, given, None), network(given))


def test_batch_norm_sees_the_chunk(network, dimensions):
    given = image(4, dimensions=dimensions)
    logits, apart = pass_in_chunks(network, given, 2), torch.cat([network(chunk) for chunk in given.split(2)])
    assert_close(logits, apart)
    assert not torch.allclose(logits, network(given), atol=1e-3)
    assert_close(gradients(network, logits), gradients(network, apart))


def test_backward_repeats_the_dropout():
    given = image(4)
    network, results = VNet(1, 2, 2, width=2), []
    for chunks in (lambda: pass_in_chunks(network, given, 2), lambda: torch.cat([network(x) for x in given.split(2)])):
        torch.manual_seed(3)
        results.append(gradients(network, chunks()))
    assert_close(results[0], results[1])


class Counting(Network):
    """Remembers how many samples it passed at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.passed: list[int] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.passed.append(len(image))
        return (self.weight * image).exp()


def test_activations_are_not_kept():
    network, given = Counting(), image()
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        network(given)
        assert sum(tensor.numel() for tensor in kept) > given.numel()
        kept.clear()
        logits = pass_in_chunks(network, given, 2)
        assert sum(tensor.numel() for tensor in kept) <= given.numel()  # the image itself
    assert network.passed == [5, 2, 2, 1]
    logits.sum().backward()
    assert sorted(network.passed[4:]) == [1, 2, 2]


def test_without_gradient_it_passes_once():
    network = Counting()
    with torch.no_grad():
        logits = pass_in_chunks(network, image(), 2)
    assert network.passed == [2, 2, 1]
    assert not logits.requires_grad


@pytest.mark.parametrize("as_the_learner", [True, False])
def test_bfloat16_on_small_images(as_the_learner):
    network, given = VNet(1, 2, 2, width=2), image(4)
    with torch.autocast("cpu", torch.bfloat16):
        if as_the_learner:
            with trustworthy_gradients(given.device):
                logits = pass_in_chunks(network, given, 2)
        else:
            logits = pass_in_chunks(network, given, 2)
    assert all(gradient.isfinite().all() for gradient in gradients(network, logits.float()))
