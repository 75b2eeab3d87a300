from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.geometry import Flip, QuarterTurn, Rotation, Zoom
from segmend.functional.views import Views, mean_over_warps, random_views

GRIDS = {2: (12, 16), 3: (8, 12, 10)}


def unwarped(count: int = 1, dimensions: int = 1) -> Flip:
    return Flip(torch.zeros(count, dimensions, dtype=torch.bool))


def mirrored(count: int = 1, dimensions: int = 1) -> Flip:
    return Flip(torch.ones(count, dimensions, dtype=torch.bool))


def zoomed(factor: float, dimensions: int = 2) -> Zoom:
    return Zoom(torch.tensor([[factor]]), dimensions)


def probabilities(*of_object: list[float]) -> Tensor:
    """One row of voxels per view, ``[V, 2, voxels]``."""
    p = torch.tensor(of_object)
    return torch.stack([1 - p, p], 1)


class TestFrame:
    def test_rows_are_ordered_view_by_view(self):
        x = torch.arange(6.0).view(2, 1, 3)
        seen = Views((unwarped(2), mirrored(2))).of(x)
        assert torch.equal(seen, torch.cat([x, x.flip(2)]))

    def test_the_mean_undoes_the_warps(self):
        views = Views((unwarped(), mirrored()))
        assert_close(views.mean(probabilities([0.1, 0.2, 0.9], [0.5, 0.4, 0.3])), probabilities([0.2, 0.3, 0.7]))

    def test_the_consensus_is_shown_in_every_view(self):
        views = Views((unwarped(), mirrored()))
        # Means 0.2, 0.6 and 0.7; the first view alone would call the second voxel background.
        label = views.consensus(probabilities([0.1, 0.4, 0.9], [0.5, 0.8, 0.3]))
        assert label.tolist() == [[0, 1, 1], [1, 1, 0]]

    def test_views_count_where_they_show_something(self):
        views = Views((unwarped(dimensions=2), zoomed(2.0)))
        flat = torch.tensor([0.8, 0.4]).view(2, 1, 1, 1).expand(2, 1, 8, 8)
        mean = views.mean(torch.cat([1 - flat, flat], 1))
        assert_close(mean.sum(1), torch.ones(1, 8, 8))
        # The enlarged view shows the inner half of either axis.
        expected = torch.full((8, 8), 0.8)
        expected[2:6, 2:6] = 0.6
        assert_close(mean[0, 1], expected)

    def test_there_is_no_consensus_outside_the_scan(self):
        views = Views((unwarped(dimensions=2), zoomed(0.5)))
        label = views.consensus(torch.tensor([0.2, 0.8]).view(1, 2, 1, 1).expand(2, 2, 8, 8))
        assert (label[0] == 1).all()
        inside = torch.zeros(8, 8, dtype=torch.bool)
        inside[2:6, 2:6] = True
        assert torch.equal(label[1] == IGNORE, ~inside)
        assert (label[1][inside] == 1).all()


class TestDisagreement:
    def test_of_two_views_by_hand(self):
        views = Views((unwarped(), mirrored()))
        given = probabilities([0.1, 0.2, 0.9], [0.5, 0.2, 0.4])
        # Warped back, the second view is 0.4, 0.2, 0.5: differences 0.3, 0, 0.4, in both classes alike.
        assert_close(views.disagreement(given).item(), (0.09 + 0.16) / 3)

    def test_is_the_mean_over_all_pairs(self):
        views = Views((unwarped(), mirrored(), unwarped()))
        first, second, third = 0.2, 0.5, 0.9
        given = probabilities([first] * 4, [second] * 4, [third] * 4)
        pairs = [(first - second) ** 2, (first - third) ** 2, (second - third) ** 2]
        assert_close(views.disagreement(given).item(), sum(pairs) / 3)

    @pytest.mark.parametrize("dimensions", GRIDS)
    def test_is_zero_if_all_views_say_the_same_of_every_voxel(self, dimensions):
        torch.manual_seed(0)
        views = random_views(2, dimensions, 1, 2, 1)
        constant = torch.tensor([0.3, 0.7]).view(1, 2, *[1] * dimensions).expand(10, 2, *GRIDS[dimensions])
        assert_close(views.disagreement(constant).item(), 0.0)
        # A prediction that grows along the last axis of the scan, however a view shows that axis.
        side = GRIDS[dimensions][-1]
        offset = (torch.arange(side) - (side - 1) / 2) / side
        slopes = torch.cat([warp.matrix()[:, -1, -1] for warp in views.warps]).float()
        growing = (0.5 + 0.4 * slopes.view(-1, 1) * offset).view(10, 1, *[1] * (dimensions - 1), side)
        growing = torch.cat([growing, 1 - growing], 1).expand(10, 2, *GRIDS[dimensions])
        assert views.disagreement(growing).item() < 2e-5
        wrong = Views(tuple(warp.inverse() for warp in views.warps))
        assert wrong.disagreement(growing).item() > 2e-3

    def test_ignores_what_either_view_does_not_show(self):
        views = Views((zoomed(0.5), unwarped(dimensions=2)))
        given = torch.full((2, 2, 8, 8), 0.5)
        given[0, :, 0] = torch.tensor([0.0, 1.0]).view(2, 1)
        assert views.disagreement(given).item() == 0
        given[0, :, 3] = torch.tensor([0.0, 1.0]).view(2, 1)
        assert views.disagreement(given).item() > 0

    @pytest.mark.parametrize("detach", [False, True])
    def test_partners_have_a_gradient_unless_detached(self, detach):
        torch.manual_seed(0)
        views = random_views(1, 2, 1, 1, 1)
        given = torch.rand(4, 2, 8, 8).softmax(1).requires_grad_()
        views.disagreement(given, detach_partner=detach).backward()
        moved = given.grad.flatten(1).any(1).tolist()
        # The last view is the later one of all its pairs.
        assert moved == [True, True, True, not detach]

    def test_detaching_changes_no_value(self):
        torch.manual_seed(0)
        views, given = random_views(1, 2, 1, 1, 1), torch.rand(4, 2, 8, 8).softmax(1)
        assert_close(views.disagreement(given), views.disagreement(given, detach_partner=True))


class TestRandomViews:
    @pytest.mark.parametrize("dimensions", GRIDS)
    def test_start_with_the_batch_as_it_is(self, dimensions):
        x = torch.randn(2, 1, *GRIDS[dimensions])
        views = random_views(2, dimensions, 1, 2, 1)
        assert len(views.warps) == 5
        assert torch.equal(views.of(x)[:2], x)

    def test_zoom_each_sample_by_its_own_amount(self):
        torch.manual_seed(0)
        _, enlarged, shrunk, further = random_views(500, 2, 1, 2, 0).warps
        for warp, least, most in ((enlarged, 152 / 144, 204 / 144), (shrunk, 84 / 144, 136 / 144)):
            assert warp.factors.shape == (500, 1)
            assert least <= warp.factors.min() < least + 0.01
            assert most - 0.01 < warp.factors.max() <= most
        assert not torch.equal(shrunk.factors, further.factors)

    @pytest.mark.parametrize(("dimensions", "ways"), [(2, 3), (3, 7)])
    def test_flip_along_at_least_one_axis_in_every_way(self, dimensions, ways):
        torch.manual_seed(0)
        _, flip = random_views(700, dimensions, 0, 0, 1).warps
        kinds, counts = flip.axes.unique(dim=0, return_counts=True)
        assert len(kinds) == ways
        assert kinds.any(1).all()
        assert counts.min() > 0.6 * 700 / ways

    def test_inverses_bring_every_voxel_back_that_was_shown(self):
        torch.manual_seed(0)
        axes = torch.meshgrid(torch.linspace(0, 1, 12), torch.linspace(0, 1, 16), indexing="ij")
        x = torch.stack(axes).unsqueeze(1)
        for warp in random_views(2, 2, 1, 2, 1).warps:
            shown = warp.inverse()(warp(torch.ones_like(x))) > 0.999
            assert shown.float().mean() > 0.4
            assert_close(warp.inverse()(warp(x))[shown], x[shown], atol=0.04, rtol=0)

    def test_follow_torchs_seed(self):
        drawn = []
        for _ in range(2):
            torch.manual_seed(3)
            drawn.append(random_views(2, 3, 1, 1, 1).of(torch.arange(128.0).view(2, 1, 4, 4, 4)))
        assert torch.equal(*drawn)


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
