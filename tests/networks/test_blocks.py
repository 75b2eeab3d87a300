from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from segmend.networks.blocks import channel_dropout, conv_blocks, convolution, doubling, halving, max_pool

GRIDS = {2: (8, 6), 3: (8, 6, 4)}


@pytest.mark.parametrize("dimensions", GRIDS)
class TestSizes:
    def image(self, dimensions: int, channels: int = 3) -> torch.Tensor:
        return torch.randn(2, channels, *GRIDS[dimensions])

    @pytest.mark.parametrize("kernel", [1, 3, 5])
    def test_a_convolution_keeps_the_grid(self, dimensions, kernel):
        layer = convolution(3, 5, kernel, dimensions)
        assert layer(self.image(dimensions)).shape == (2, 5, *GRIDS[dimensions])
        assert layer.weight.shape == (5, 3, *[kernel] * dimensions)

    def test_conv_blocks_keep_the_grid(self, dimensions):
        blocks = conv_blocks(3, 5, 3, dimensions)
        output = blocks(self.image(dimensions))
        assert output.shape == (2, 5, *GRIDS[dimensions])
        assert (output >= 0).all()
        kinds = [type(layer).__name__.rstrip("23d") for layer in blocks]
        assert kinds == ["Conv", "BatchNorm", "ReLU"] * 3
        assert [layer.in_channels for layer in blocks[::3]] == [3, 5, 5]

    def test_halving_halves_and_doubling_doubles(self, dimensions):
        half = [side // 2 for side in GRIDS[dimensions]]
        twice = [side * 2 for side in GRIDS[dimensions]]
        assert halving(3, 6, dimensions)(self.image(dimensions)).shape == (2, 6, *half)
        assert doubling(3, 2, dimensions)(self.image(dimensions)).shape == (2, 2, *twice)
        assert max_pool(dimensions)(self.image(dimensions)).shape == (2, 3, *half)

    def test_max_pooling_may_round_up(self, dimensions):
        odd = torch.arange(1.0, 6.0).view(1, 1, 5, *[1] * (dimensions - 1))
        assert max_pool(dimensions, round_up=True)(odd).flatten().tolist() == [2, 4, 5]

    def test_joints_see_two_voxels_along_each_axis(self, dimensions):
        for joint in (halving(3, 6, dimensions), doubling(3, 6, dimensions)):
            assert joint[0].weight.shape[2:] == (2,) * dimensions
            assert joint[0].stride == (2,) * dimensions

    def test_dropout_takes_whole_channels_of_single_items(self, dimensions):
        torch.manual_seed(0)
        image = torch.ones(20, 30, *GRIDS[dimensions])
        dropped = channel_dropout(0.25, dimensions)(image)
        assert torch.equal(dropped.flatten(2).amin(2), dropped.flatten(2).amax(2))
        kept = dropped.flatten(2)[:, :, 0]
        assert_close(kept.unique(), torch.tensor([0, 4 / 3]))
        assert (kept == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)
        assert len({tuple(item.tolist()) for item in kept}) == 20


def test_a_block_normalises_over_items_and_voxels():
    block = conv_blocks(1, 4, 1, 2)
    normalised = nn.Sequential(*block[:2])(5 + 3 * torch.randn(4, 1, 16, 16))
    assert_close(normalised.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    assert_close(normalised.var((0, 2, 3), correction=0), torch.ones(4), atol=1e-3, rtol=0)
