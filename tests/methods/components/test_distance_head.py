from __future__ import annotations

import copy

import pytest
import torch
from distance_networks import LOGITS, SEEN, Transparent, transparent_image
from refusals import raises
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.methods.components.distance_head import DistanceHead
from segmend.networks import SegResNet, UNet, VNet


def head() -> DistanceHead:
    made = DistanceHead(Transparent())
    Transparent.open(made)
    return made


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("cls", [UNet, VNet])
def test_gives_one_map_for_each_object(cls, dimensions):
    network = cls(2, 4, dimensions, width=2)
    image = torch.randn(2, 2, *[16] * dimensions)
    logits, distances = DistanceHead(network.eval())(image)
    assert_close(logits, network(image))
    assert distances.shape == (2, 3, *[16] * dimensions)
    assert distances.abs().max() < 1


def test_a_vnet_with_two_classes_has_as_many_parameters_as_with_two_one_channel_heads():
    network = VNet(1, 2, 3)
    before = sum(each.numel() for each in network.parameters())
    assert before == 9_448_866
    assert sum(each.numel() for each in DistanceHead(network).parameters()) == 16 + 1


def test_reads_the_named_feature():
    distances = DistanceHead(VNet(1, 2, 2, width=2), "x8")
    assert distances.head.heads[0].in_channels == 4


def test_maps_are_float32_in_bfloat16():
    with torch.autocast("cpu", torch.bfloat16):
        _, distances = DistanceHead(VNet(1, 2, 2, width=2))(torch.randn(2, 1, 16, 16))
    assert distances.dtype == torch.float32


def test_the_network_is_not_a_part_but_is_trained():
    network = VNet(1, 2, 2, width=2)
    made = DistanceHead(network)
    assert {name.split(".")[0] for name in made.state_dict()} == {"head"}
    _, distances = made(torch.randn(2, 1, 16, 16))
    distances.sum().backward()
    assert next(network.parameters()).grad.any()


def test_a_copy_follows_the_copied_network():
    network = UNet(1, 2, 2, width=2, stages=2)
    image = torch.randn(1, 1, 8, 8)
    copied, made = copy.deepcopy((network, DistanceHead(network)))
    with torch.no_grad():
        copied.decoder.head.bias.add_(1.0)
    assert_close(made(image)[0], network(image) + 1)


class TestLoss:
    def test_by_hand(self):
        # Against the map 1/3, 0, -1, -1 of voxels 2 to 5 of the label 0 0 0 1 1 1 1 0.
        label = torch.tensor([[[0, 0, 0, 1, 1, 1, 1, 0]]])
        distances = torch.zeros(1, 1, 1, 8)
        distances[0, 0, 0, 2:6] = torch.tensor(SEEN)
        target = torch.tensor([1, 2 / 3, 1 / 3, 0, -1, -1, 0, 1 / 3])
        assert_close(head().loss(distances, label), (distances - target).square().mean())
        assert (distances[..., 2:6] - target[2:6]).square().mean().item() == pytest.approx(0.528612, abs=1e-6)

    def test_of_the_map_itself_is_0(self):
        label = torch.tensor([[[0, 0, 0, 1, 1, 1, 1, 0]]])
        target = torch.tensor([1, 2 / 3, 1 / 3, 0, -1, -1, 0, 1 / 3]).view(1, 1, 1, 8)
        assert head().loss(target, label).item() == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("value", [0, 1, IGNORE], ids=["empty", "full", "unknown"])
    def test_is_finite_without_a_boundary(self, value):
        distances = torch.full((1, 1, 2, 2), 0.5, requires_grad=True)
        loss = head().loss(distances, torch.full((1, 2, 2), value))
        loss.backward()
        assert loss.item() == pytest.approx(0.0 if value == IGNORE else 0.25)
        assert distances.grad.isfinite().all()

    def test_voxels_without_a_label_do_not_count(self):
        label = torch.tensor([[[0, 1, IGNORE]]])
        distances = torch.tensor([[[[1.0, 0.0, 0.7]]]])
        # Without them the map would be 1, 0 too; the unknown voxel is outside, at distance 1.
        assert head().loss(distances, label).item() == pytest.approx(0, abs=1e-12)


def test_reads_what_the_network_gives():
    logits, distances = head()(transparent_image())
    assert_close(logits[0, 1, 0], torch.tensor(LOGITS))
    assert_close(distances[0, 0, 0], torch.tensor(SEEN))


def test_a_network_that_names_no_feature_is_refused():
    with raises("missing-value", "network SegResNet", match="decoder features"):
        DistanceHead(SegResNet(1, 2, 2, init_filters=8))
