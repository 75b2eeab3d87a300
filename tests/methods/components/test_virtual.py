from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.weighting import agreement
from segmend.methods.components.virtual import logits_jvp, loss_gradient, virtual_logits
from segmend.networks import Network, UNet, UNetPlusPlus, VNet

SHAPES = {2: (8, 8), 3: (8, 4, 4)}


def samples(network: Network, dimensions: int, classes: int, count: int = 2) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(count)
    dtype = next(network.parameters()).dtype
    image = torch.randn(count, 1, *SHAPES[dimensions], generator=random, dtype=dtype)
    return image, torch.randint(0, classes, (count, *SHAPES[dimensions]), generator=random)


def double_backward(network: Network, noisy: tuple[Tensor, Tensor], clean: tuple[Tensor, Tensor]) -> Tensor:
    """-dV/d epsilon through a descent step of rate 1 that is really taken, for every voxel."""
    parameters = {name: each.detach().clone().requires_grad_() for name, each in network.named_parameters()}
    buffers = {name: each.clone() for name, each in network.named_buffers()}

    def losses(at: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, (at, copy.deepcopy(buffers)), (image,))
        return F.cross_entropy(logits, label, ignore_index=IGNORE, reduction="none")

    epsilon = torch.zeros(noisy[1].shape, dtype=noisy[0].dtype, requires_grad=True)
    inner = (epsilon * losses(parameters, *noisy)).sum()
    steps = torch.autograd.grad(inner, list(parameters.values()), create_graph=True)
    moved = {name: each - step for (name, each), step in zip(parameters.items(), steps, strict=True)}
    outer = losses(moved, *clean).sum() / (clean[1] != IGNORE).sum()
    return -torch.autograd.grad(outer, epsilon)[0]


@pytest.mark.parametrize("dimensions", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_meta_gradient_is_that_of_double_backward_with_batch_norm(dimensions, training):
    torch.manual_seed(0)
    network = UNet(1, 3, dimensions, width=2, stages=2).double()
    network(samples(network, dimensions, 3)[0])  # running statistics that are not those of the start
    network.train(training)
    noisy, clean = samples(network, dimensions, 3, 2), samples(network, dimensions, 3, 3)
    noisy[1][0, 0], clean[1][1, 0] = IGNORE, IGNORE
    direction = loss_gradient(network, *clean)
    logits, drift = logits_jvp(network, noisy[0], direction)
    expected = double_backward(network, noisy, clean)
    assert expected.abs().max() > 1e-3
    # The clean loss is computed in float32, as all losses are; all that follows is in float64.
    assert_close(agreement(logits, drift, noisy[1]), expected, rtol=1e-5, atol=1e-7)
    replica = copy.deepcopy(network)
    F.cross_entropy(replica(clean[0]), clean[1], ignore_index=IGNORE).backward()
    exact = {name: each.grad for name, each in replica.named_parameters()}
    logits, drift = logits_jvp(network, noisy[0], exact)
    assert_close(agreement(logits, drift, noisy[1]), expected, rtol=1e-10, atol=1e-14)


def test_gradient_is_that_of_the_mean_over_labelled_voxels():
    torch.manual_seed(0)
    network = UNet(1, 2, 2, width=2, stages=2)
    image, label = samples(network, 2, 2)
    label[0] = IGNORE
    gradient = loss_gradient(network, image, label)
    F.cross_entropy(network(image), label, ignore_index=IGNORE).backward()
    for name, parameter in network.named_parameters():
        assert_close(gradient[name], parameter.grad)
    nothing = loss_gradient(network, image, torch.full_like(label, IGNORE))
    assert not any(each.any() for each in nothing.values())


@pytest.mark.parametrize("network", [UNet, UNetPlusPlus, VNet])
def test_passes_leave_no_trace(network):
    torch.manual_seed(0)
    built = network(1, 2, 2, width=2)
    image = torch.randn(2, 1, 32, 32, requires_grad=True)
    label = torch.randint(0, 2, (2, 32, 32))
    before = copy.deepcopy(built.state_dict())
    direction = loss_gradient(built, image, label)
    outputs = [virtual_logits(built, image), *logits_jvp(built, image, direction), *direction.values()]
    assert not any(output.requires_grad for output in outputs)
    assert all(parameter.grad is None for parameter in built.parameters())
    assert all(module.training for module in built.modules())
    for name, value in built.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_logits_are_those_of_the_network_in_the_mode_that_it_is_in():
    torch.manual_seed(0)
    network = UNet(1, 2, 2, width=2, stages=2)
    image, label = samples(network, 2, 2)
    direction = loss_gradient(network, image, label)
    for training in (True, False):
        network.train(training)
        expected = copy.deepcopy(network)(image)
        assert_close(virtual_logits(network, image), expected)
        assert_close(logits_jvp(network, image, direction)[0], expected)


def test_nothing_is_dropped_in_virtual_passes_only():
    torch.manual_seed(0)
    network, thinned = VNet(1, 2, 2, width=2, dropout_rate=0.0), VNet(1, 2, 2, width=2, dropout_rate=0.5)
    thinned.load_state_dict(network.state_dict())
    image = torch.randn(2, 1, 32, 32)
    expected = virtual_logits(network, image)
    assert_close(virtual_logits(thinned, image), expected)
    assert not torch.allclose(thinned(image), thinned(image))
    thinned.eval()
    virtual_logits(thinned, image)
    assert not any(module.training for module in thinned.modules())


def test_dropout_is_on_again_after_an_error():
    network = VNet(1, 2, 2, width=2)
    with pytest.raises(RuntimeError):
        virtual_logits(network, torch.randn(2, 5, 32, 32))
    assert all(module.training for module in network.modules() if isinstance(module, nn.Dropout2d))


def test_are_in_full_precision_under_autocast():
    torch.manual_seed(0)
    network = UNet(1, 2, 2, width=2, stages=2)
    image, label = samples(network, 2, 2)
    direction = loss_gradient(network, image, label)
    expected = logits_jvp(network, image, direction)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(image).dtype == torch.bfloat16
        again = loss_gradient(network, image, label)
        actual = logits_jvp(network, image, again)
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)
