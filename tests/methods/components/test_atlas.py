from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.methods.components.atlas import Atlas


def place_of(start: tuple[int, ...], crop: tuple[int, ...], scan: tuple[int, ...]) -> torch.Tensor:
    """``Batch.place`` of one upright crop; axes of the scan without one in the crop have a single voxel."""
    sides = (*crop, 1)[: len(scan)]
    centre = [(first + side / 2) / whole for first, side, whole in zip(start, sides, scan, strict=True)]
    place = torch.zeros(1, len(scan), len(crop) + 1)
    place[0, :, -1] = torch.tensor(centre)
    for axis in range(len(crop)):
        place[0, axis, axis] = 1 / scan[axis]
    return place


def test_nothing_counted_means_that_all_classes_are_equally_frequent():
    label = torch.tensor([[[0, 1], [2, IGNORE]]])
    assert_close(Atlas(3, 4).prior(label, None), torch.tensor([[[1 / 3, 1 / 3], [1 / 3, 0]]]))


def test_counts_by_cells():
    atlas = Atlas(2, 2)
    atlas.add(torch.tensor([[[0, 1], [1, IGNORE]]]), None)
    # With a missing third axis, the cells are those of its upper half: (x, y, 1) is number 4x + 2y + 1.
    expected = torch.zeros(8, 2).long()
    expected[1, 0], expected[3, 1], expected[5, 1] = 1, 1, 1
    assert torch.equal(atlas.counts, expected)


def test_a_crop_is_counted_where_it_lies():
    scan = torch.randint(0, 3, (1, 8, 6, 4), generator=torch.Generator().manual_seed(0))
    whole, parts, slices = Atlas(3, 4), Atlas(3, 4), Atlas(3, 4)
    whole.add(scan, None)
    for start in (0, 4):
        parts.add(scan[:, start : start + 4], place_of((start, 0, 0), (4, 6, 4), (8, 6, 4)))
    for z in range(4):
        slices.add(scan[..., z], place_of((0, 0, z), (8, 6), (8, 6, 4)))
    assert torch.equal(parts.counts, whole.counts)
    assert torch.equal(slices.counts, whole.counts)


def test_a_mirrored_crop_is_counted_where_it_was():
    scan = torch.randint(0, 3, (1, 8, 6, 4), generator=torch.Generator().manual_seed(0))
    whole, mirrored = Atlas(3, 4), Atlas(3, 4)
    whole.add(scan, None)
    place = place_of((0, 0, 0), (8, 6, 4), (8, 6, 4))
    place[0, 0, 0] *= -1
    mirrored.add(scan.flip(1), place)
    assert torch.equal(mirrored.counts, whole.counts)


def test_prior_is_high_where_the_class_was_seen():
    atlas = Atlas(2, 8)
    label = torch.zeros(1, 16, 16, 16, dtype=torch.long)
    label[:, 8:] = 1
    atlas.add(label.repeat(5, 1, 1, 1), None)
    assert_close(atlas.probabilities().sum(1), torch.ones(8**3))
    right, wrong = atlas.prior(label, None), atlas.prior(1 - label, None)
    assert right[0, 0].min() > 0.9
    assert right.mean() > 0.85
    assert_close(right + wrong, torch.ones_like(right))


@pytest.mark.parametrize("axes", [2, 3])
def test_voxels_outside_the_scan_are_counted_at_its_border(axes):
    atlas, sides = Atlas(2, 4), (4,) * axes
    atlas.add(torch.ones(1, *sides, dtype=torch.long), 10 * place_of((0,) * axes, sides, sides))
    assert atlas.counts[:, 1].sum() == 4**axes
