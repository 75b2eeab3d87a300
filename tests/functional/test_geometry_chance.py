from __future__ import annotations

import pytest
import torch

from segmend.functional.geometry import random_turn


@pytest.mark.parametrize("dimensions", [2, 3])
def test_turns_in_the_first_plane_and_mirrors_along_the_first_axis(dimensions):
    torch.manual_seed(0)
    matrices = random_turn(400, dimensions, 60.0).matrix()
    assert matrices.shape == (400, dimensions, dimensions)
    # R(-angle) F: the sign of the determinant is negative if mirrored, the second column is that of the turn.
    mirrored = torch.linalg.det(matrices) < 0
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.1)
    degrees = torch.atan2(matrices[:, 0, 1], matrices[:, 1, 1]).rad2deg()
    assert degrees.abs().max() <= 60
    assert degrees.min() < -50
    assert degrees.max() > 50
    assert degrees.mean().item() == pytest.approx(0, abs=6)
    if dimensions == 3:
        assert (matrices[:, 2] == torch.tensor([0.0, 0.0, 1.0])).all()


def test_follows_torchs_seed():
    torch.manual_seed(1)
    first = random_turn(3, 2, 30.0).matrix()
    torch.manual_seed(1)
    assert torch.equal(random_turn(3, 2, 30.0).matrix(), first)


def test_without_an_angle_it_only_mirrors():
    assert (random_turn(20, 2, 0.0).matrix().abs() == torch.eye(2)).all()
