from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close
from written_networks import Logistic

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.methods import Reweighting, Step
from segmend.networks import Network, UNet

EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
MIDDLE = Step(50, 100)


class Biases(Network):
    """Does not look at the image: each voxel has logits of its own."""

    def __init__(self, in_channels: int = 1, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.zeros(1, classes, 4, 4))

    def forward(self, image: Tensor) -> Tensor:
        return self.maps.expand(len(image), -1, -1, -1)


def batch(quality: tuple[Quality, ...], image: Tensor, label: Tensor) -> Batch:
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def scans(*quality: Quality, shape: tuple[int, ...] = (8, 8), classes: int = 2) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 1, *shape, generator=random)
    return batch(quality, image, torch.randint(0, classes, (len(quality), *shape), generator=random))


class TestWeights:
    @pytest.mark.parametrize(("labels", "expected"), [([1, 0], [1.0, 0.0]), ([1, 1], [0.5, 0.5]), ([0, 0], [0.0, 0.0])])
    def test_of_the_one_parameter_network(self, labels, expected):
        method = Reweighting(Logistic())
        weights = method.weigh(torch.ones(1, 1, 2), torch.tensor([labels]), torch.ones(1, 1, 1), torch.tensor([[1]]))
        assert_close(weights, torch.tensor([expected]))

    def test_are_in_proportion_to_the_product_of_the_slopes(self):
        x, y = torch.tensor([1.0, 2.0, -1.0, 0.5]), torch.tensor([1, 0, 0, IGNORE])
        clean_x, clean_y = torch.tensor([3.0, -1.0]), torch.tensor([0, 1])
        slopes, clean = ((0.4 * x).sigmoid() - y) * x, (((0.4 * clean_x).sigmoid() - clean_y) * clean_x).mean()
        raw = (slopes * clean).clamp(min=0)
        raw[3] = 0
        method = Reweighting(Logistic(theta=0.4))
        weights = method.weigh(x.view(1, 1, -1), y.view(1, -1), clean_x.view(1, 1, -1), clean_y.view(1, -1))
        assert_close(weights, (raw / raw.sum()).view(1, -1))

    def test_only_a_wrong_voxel_has_none_if_voxels_are_learnt_apart(self):
        truth = torch.randint(0, 2, (1, 4, 4), generator=torch.Generator().manual_seed(0))
        noisy = truth.clone()
        noisy[0, 2, 1] = 1 - noisy[0, 2, 1]
        image = torch.zeros(1, 1, 4, 4)
        weights = Reweighting(Biases()).weigh(image, noisy, image, truth)
        assert_close(weights, (noisy == truth) / 15)

    def test_are_shared_by_the_whole_batch(self):
        given = scans(EXPERT, NOISY, NOISY, classes=3)
        method = Reweighting(UNet(1, 3, 2, width=2, stages=2))
        weights = method.weigh(given.image[1:], given.label[1:], given.image[:1], given.label[:1])
        assert weights.shape == (2, 8, 8)
        assert (weights >= 0).all()
        assert_close(weights.sum().item(), 1.0)


class TestLoss:
    def test_is_the_weighted_sum_of_noisy_voxels(self):
        torch.manual_seed(0)
        given = scans(EXPERT, NOISY, EXPERT, NOISY)
        method = Reweighting(UNet(1, 2, 2, width=2, stages=2))
        weights = method.weigh(given.image[[1, 3]], given.label[[1, 3]], given.image[[0, 2]], given.label[[0, 2]])
        terms = method.loss(given, MIDDLE)
        assert set(terms) == {"noisy"}
        logits = method.network(given.image[[1, 3]])
        expected = (weights * F.cross_entropy(logits, given.label[[1, 3]], reduction="none")).sum()
        assert_close(terms["noisy"], expected)
        # The weights themselves have no gradient.
        gradients = [torch.autograd.grad(loss, list(method.parameters())) for loss in (terms["noisy"], expected)]
        assert_close(*gradients)

    def test_trains_on_expert_samples_too_if_asked(self):
        torch.manual_seed(0)
        given = scans(EXPERT, NOISY)
        method = Reweighting(UNet(1, 2, 2, width=2, stages=2), clean_weight=0.5)
        terms = method.loss(given, MIDDLE)
        assert set(terms) == {"noisy", "expert"}
        assert_close(terms["expert"], 0.5 * F.cross_entropy(method.network(given.image[:1]), given.label[:1]))

    def test_passes_noisy_samples_once_in_the_network(self):
        method = Reweighting(UNet(1, 2, 2, width=2, stages=2))
        method.loss(scans(EXPERT, NOISY, NONE), MIDDLE)
        counts = [value for name, value in method.state_dict().items() if name.endswith("num_batches_tracked")]
        assert counts
        assert all(count == 1 for count in counts)

    def test_nothing_is_learnt_from_noisy_samples_without_expert_ones(self):
        method = Reweighting(UNet(1, 2, 2, width=2, stages=2))
        terms = method.loss(scans(NOISY, NONE), MIDDLE)
        assert terms["noisy"] == 0
        terms["noisy"].backward()
        assert not any(parameter.grad.any() for parameter in method.parameters())

    def test_needs_no_noisy_samples_to_learn_from_expert_ones(self):
        method = Reweighting(UNet(1, 2, 2, width=2, stages=2), clean_weight=1.0)
        assert set(method.loss(scans(EXPERT, NONE), MIDDLE)) == {"expert"}

    def test_works_on_volumes(self):
        method = Reweighting(UNet(1, 3, 3, width=2, stages=2))
        terms = method.loss(scans(EXPERT, NOISY, shape=(8, 4, 4), classes=3), MIDDLE)
        assert terms["noisy"] > 0
