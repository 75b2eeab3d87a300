from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from refusals import raises

from segmend.data.image import Grid, read_grid
from segmend.data.imports.masks import combine, read_mask

LINE = Grid((6, 1), np.eye(4))


def mask(*voxels):
    array = np.zeros((6, 1), bool)
    array[list(voxels)] = True
    return array


def test_the_smaller_structure_wins_in_either_order():
    organ, vessel = mask(0, 1, 2, 3), mask(3, 4)
    for masks in ([(1, organ), (2, vessel)], [(2, vessel), (1, organ)]):
        combined = combine(masks, LINE)
        assert combined.label.ravel().tolist() == [1, 1, 1, 2, 2, 0]
        assert combined.overlapping == 1


def test_of_equally_large_structures_the_first_wins():
    combined = combine([(1, mask(0, 1)), (2, mask(1, 2))], LINE)
    assert combined.label.ravel().tolist() == [1, 1, 2, 0, 0, 0]


def test_a_voxel_of_three_masks_counts_once():
    combined = combine([(1, mask(0, 1, 2)), (2, mask(2, 3)), (3, mask(2))], LINE)
    assert combined.label.ravel().tolist() == [1, 1, 3, 2, 0, 0]
    assert combined.overlapping == 1


@given(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=5))
def test_every_voxel_has_the_smallest_of_its_structures(sets):
    masks = [(index, mask(*voxels)) for index, voxels in enumerate(sets, start=1)]
    label = combine(masks, LINE).label.ravel()
    for voxel in range(6):
        having = [(len(voxels), index) for index, voxels in enumerate(sets, start=1) if voxel in voxels]
        assert label[voxel] == (min(having)[1] if having else 0)


def test_masks_of_any_one_value(tmp_path, write_scan):
    path = write_scan(tmp_path / "a.nii.gz", np.full((2, 2, 2), 255, np.uint8))
    assert read_mask(path, read_grid(path)).all()


def test_a_label_map_is_no_mask(tmp_path, write_scan):
    path = write_scan(tmp_path / "a.nii.gz", np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
    with raises("invalid-value", path):
        read_mask(path, read_grid(path))
