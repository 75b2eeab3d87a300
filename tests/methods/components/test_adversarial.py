from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from written_networks import Logistic

from segmend.core.masks import IGNORE
from segmend.methods.components.adversarial import adversarial_images
from segmend.networks import Network, UNet


class TwoSlopes(Network):
    """Logits are the scalar image times a slope for each class."""

    def __init__(self, in_channels: int = 1, classes: int = 2, dimensions: int = 2, *, first: float, second: float):
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor([first, second]))

    def forward(self, image: Tensor) -> Tensor:
        return image * self.slopes.view(1, 2, *[1] * (image.ndim - 2))


def voxels(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, -1)


def test_by_hand():
    # Logits (-x, 2 x), label 1: at x = .4 the derivative of the loss is -.694426, so x decreases by epsilon.
    hard = adversarial_images(
        TwoSlopes(first=-1.0, second=2.0), voxels(0.4, 0.0, 1.0), torch.ones(1, 3, dtype=int), 0.03
    )
    assert_close(hard[0, 0, 0].item(), 0.37)


def test_intensities_stay_in_the_range_of_their_sample():
    image = torch.cat([voxels(0.0, 1.0, 0.5), voxels(-5.0, 9.0, 0.0)])
    label = torch.tensor([[1, 0, 0], [0, 0, 0]])  # towards lower values, then towards higher ones
    hard = adversarial_images(Logistic(theta=1.0), image, label, 0.1)
    assert_close(hard, torch.cat([voxels(0.0, 1.0, 0.6), voxels(-4.9, 9.0, 0.1)]))


def test_voxels_without_a_label_are_taken_for_what_the_network_predicts():
    network, image = Logistic(theta=1.0), voxels(-1.0, 2.0, 0.5)
    unknown = torch.full((1, 3), IGNORE)
    predicted = network(image).argmax(1)
    assert predicted.tolist() == [[0, 1, 1]]
    assert torch.equal(
        adversarial_images(network, image, unknown, 0.1), adversarial_images(network, image, predicted, 0.1)
    )


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(0)
    return UNet(1, 2, 2, width=2, stages=2)


@pytest.mark.parametrize("epsilon", [0.0, 0.03, 0.5])
def test_no_intensity_changes_by_more_than_epsilon(network, epsilon):
    image = torch.randn(2, 1, 8, 8)
    hard = adversarial_images(network, image, torch.randint(0, 2, (2, 8, 8)), epsilon)
    assert (hard - image).abs().max().item() == pytest.approx(epsilon, abs=1e-6)


def test_leaves_network_and_image_as_they_were(network):
    image = torch.randn(2, 1, 8, 8, requires_grad=True)
    before, copy = {key: value.clone() for key, value in network.state_dict().items()}, image.detach().clone()
    with torch.no_grad():
        hard = adversarial_images(network, image, torch.zeros(2, 8, 8, dtype=int), 0.1)
    assert not hard.requires_grad
    assert network.training
    assert torch.equal(image, copy)
    assert image.grad is None
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_sample_does_not_depend_on_the_others(network):
    network.eval()
    image, label = torch.randn(3, 1, 8, 8), torch.randint(0, 2, (3, 8, 8))
    together = adversarial_images(network, image, label, 0.1)
    assert_close(adversarial_images(network, image[1:2], label[1:2], 0.1), together[1:2])


def test_makes_the_loss_larger(network):
    network.eval()
    image, label = torch.randn(2, 1, 8, 8), torch.randint(0, 2, (2, 8, 8))
    loss = nn.CrossEntropyLoss()
    assert loss(network(adversarial_images(network, image, label, 0.02)), label) > loss(network(image), label)
