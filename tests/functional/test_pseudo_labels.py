from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from segmend.functional.geometry import Flip, QuarterTurn, Rotation
from segmend.functional.pseudo_labels import mean_over_warps, sharpen


def object_of(*probabilities: float) -> torch.Tensor:
    p = torch.tensor(probabilities)
    return torch.stack([1 - p, p]).unsqueeze(0)


class TestSharpen:
    @pytest.mark.parametrize(
        ("temperature", "expected"), [(1.0, 0.8), (0.5, 0.941176), (2.0, 0.666667)], ids=["same", "surer", "flatter"]
    )
    def test_by_hand(self, temperature, expected):
        assert_close(sharpen(object_of(0.8), temperature), object_of(expected), atol=1e-6, rtol=0)

    def test_three_classes(self):
        p = torch.tensor([0.5, 0.3, 0.2]).view(1, 3, 1)
        assert_close(sharpen(p, 0.5), p.square() / 0.38)

    def test_certainty_and_ignorance_stay(self):
        p = object_of(0.0, 1.0, 0.5)
        assert_close(sharpen(p, 0.1), p)


class TestMeanOverWarps:
    IMAGE = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    @staticmethod
    def pointwise(image: torch.Tensor) -> torch.Tensor:
        return torch.cat([-image, 2 * image], dim=1)

    def test_warps_that_lose_nothing_give_the_prediction_itself(self):
        warps = [Flip(torch.tensor([[True, False], [False, True]])), QuarterTurn(torch.tensor([1, 3]), 2)]
        mean = mean_over_warps(self.pointwise, self.IMAGE, warps)
        assert_close(mean, self.pointwise(self.IMAGE).softmax(1))

    def test_is_the_mean_of_probabilities(self):
        seen = []

        def changing(image: torch.Tensor) -> torch.Tensor:
            seen.append(image)
            return len(seen) * self.pointwise(image)

        same = Flip(torch.zeros(2, 2, dtype=torch.bool))
        once, twice = self.pointwise(self.IMAGE).softmax(1), (2 * self.pointwise(self.IMAGE)).softmax(1)
        assert_close(mean_over_warps(changing, self.IMAGE, [same, same]), (once + twice) / 2)

    def test_what_comes_from_outside_is_as_dark_as_the_scan_and_undecided(self):
        image = torch.stack([torch.full((1, 8, 8), 3.0), torch.full((1, 8, 8), 5.0)])
        image[:, :, 4, 4] = torch.tensor([[-1.0], [-2.0]])
        seen = []

        def network(copy: torch.Tensor) -> torch.Tensor:
            seen.append(copy)
            return torch.stack([torch.zeros(2, 8, 8), torch.full((2, 8, 8), 9.0)], dim=1)

        mean = mean_over_warps(network, image, [Rotation(torch.tensor([45.0, 45.0]), 2)])
        assert seen[0][:, 0, 0, 0].tolist() == pytest.approx([-1, -2])
        assert mean[:, 1, 0, 0].tolist() == pytest.approx([0.5, 0.5])
        assert (mean[:, 1, 3:5, 3:5] > 0.99).all()

    def test_undoes_a_turn_up_to_interpolation(self):
        axis = torch.linspace(-1, 1, 33)
        disc = 4 * torch.exp(-3 * ((axis[:, None] - 0.2) ** 2 + axis**2)).view(1, 1, 33, 33) - 2
        mean = mean_over_warps(self.pointwise, disc, [Rotation(torch.tensor([50.0]), 2)])
        middle = (..., slice(8, 25), slice(8, 25))
        assert_close(mean[middle], self.pointwise(disc).softmax(1)[middle], atol=0.01, rtol=0)
