from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from segmend.methods.components.projections import Projections
from segmend.networks import UNet


@pytest.mark.parametrize("dimensions", [2, 3])
def test_have_unit_length_on_a_grid_of_cells(dimensions):
    torch.manual_seed(0)
    network = UNet(1, 2, dimensions, width=4, stages=3)
    made = Projections(network, ["encoder.2", "decoder.stages.0"], width=8)
    features = [torch.randn(2, 16, *[4] * dimensions), torch.randn(2, 4, *[16] * dimensions)]
    for cells in (1, 2):
        found = made(features, cells)
        assert [each.shape for each in found] == [(2, cells**dimensions, 8)] * 2
        assert_close([each.norm(dim=2) for each in found], [torch.ones(2, cells**dimensions)] * 2)


def test_cells_are_means():
    made = Projections(UNet(1, 2, 2, width=4, stages=3), ["decoder.stages.0"], width=8)
    feature = torch.randn(1, 4, 4, 6)
    means = feature.view(1, 4, 2, 2, 2, 3).mean((3, 5))
    assert_close(made([feature], 2), made([means], 2))


def test_more_cells_than_voxels_repeat_them():
    made = Projections(UNet(1, 2, 2, width=4, stages=3), ["decoder.stages.0"], width=8)
    (found,) = made([torch.randn(1, 4, 1, 1)], 3)
    assert_close(found, found[:, :1].expand(1, 9, 8))
