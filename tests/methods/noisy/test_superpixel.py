from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from labelled_case import CaseInMemory, take
from paired_networks import paired
from refusals import raises
from torch import Tensor
from torch.testing import assert_close
from written_networks import ChannelsAsLogits

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.consistency import joint_loss
from segmend.methods import JoCoR, Step, Superpixel

NOISY, NONE = Quality.NOISY, Quality.NONE
FIRST, SWITCH, LAST = Step(0, 100), Step(50, 100), Step(99, 100)


def superpixel(**arguments) -> Superpixel:
    return paired(Superpixel, **arguments)


def logits(first: list[float], second: list[float] | None = None) -> Tensor:
    """``[4, voxels]`` of which the networks make these probabilities of the object."""
    p, q = torch.tensor(first), torch.tensor(second or first)
    return torch.stack([1 - p, p, 1 - q, q]).log()


def batch(image: Tensor, label: list[int], regions: list[int], quality: Quality = NOISY) -> Batch:
    layers, maps = {"refined": torch.tensor([label])}, {"superpixels": torch.tensor([regions])}
    return Batch(image.unsqueeze(0), torch.zeros(1, len(label), dtype=torch.long), (quality,), ("case",), layers, maps)


def pulled(method: Superpixel, data: Batch, step: Step = FIRST) -> list[int]:
    """The voxels at which the loss pulls."""
    image = data.image.clone().requires_grad_()
    terms = method.loss(replace(data, image=image), step)
    (gradient,) = torch.autograd.grad(sum(terms.values()), image)
    return gradient.abs().sum((0, 1)).nonzero()[:, 0].tolist()


# Three superpixels, whose means are 0.2, 0.675 and 0.5. The sure voxel of 0.65 lies in the first of them.
P = [0.05, 0.05, 0.05, 0.65, 0.45, 0.9, 0.48, 0.52]
REGIONS = [1, 1, 1, 1, 2, 2, 700, 700]


class TestLoss:
    def test_is_that_of_voxels_over_the_chosen_ones(self):
        label, q = [0, 0, 0, 0, 1, 1, 0, 1], [0.1] * 8
        terms = superpixel(noise_rate=0.0).loss(batch(logits(P, q), label, REGIONS), FIRST)
        image = logits(P, q).unsqueeze(0)
        supervised, agreement = joint_loss(*image.chunk(2, 1), torch.tensor([label]), 0.65)
        assert_close(terms, {"supervised": supervised.mean(), "agreement": agreement.mean()})

    def test_superpixels_and_not_voxels_are_believed(self):
        method, label = superpixel(noise_rate=[0.0, 0.2]), [0, 0, 0, 1, 1, 1, 1, 1]
        assert pulled(method, batch(logits(P), label, REGIONS)) == [0, 1, 2, 4, 5, 6, 7]
        assert pulled(method, batch(logits(P), label, list(range(8)))) == [0, 1, 2, 3, 5, 6, 7]

    def test_labels_are_the_refined_ones(self):
        data = batch(logits(P), [1] * 8, REGIONS)
        anything = replace(data, label=torch.full_like(data.label, 7))
        assert_close(superpixel().loss(anything, FIRST), superpixel().loss(data, FIRST))

    def test_superpixels_of_single_voxels_make_it_jocor(self):
        torch.manual_seed(0)
        image, label = 2 * torch.randn(4, 60), torch.randint(0, 2, (60,)).tolist()
        data = batch(image, label, list(range(60)))
        jocor = JoCoR(ChannelsAsLogits(), scope="class", noise_rate=[0.1, 0.3], ramp_length=0.0)
        jocor.peer.group = 1
        expected = jocor.loss(replace(data, label=data.layers["refined"]), FIRST)
        assert_close(superpixel(noise_rate=[0.1, 0.3]).loss(data, FIRST), expected)

    def test_what_lies_outside_a_warped_scan_is_a_region_of_its_own(self):
        method, label = superpixel(noise_rate=[0.0, 0.2]), [0, 0, 0, 1, 1, 1, 1, 1]
        inside, outside = ([first, *REGIONS[1:]] for first in (0, -1))
        assert pulled(method, batch(logits(P), label, outside)) == pulled(method, batch(logits(P), label, inside))

    def test_unknown_voxels_and_unlabelled_samples_are_left_out(self):
        label = [0, 0, IGNORE, IGNORE, 1, 1, 0, IGNORE]
        assert pulled(superpixel(noise_rate=0.0), batch(logits(P), label, REGIONS)) == [0, 1, 4, 5, 6]
        assert superpixel().loss(batch(logits(P), label, REGIONS, NONE), FIRST) == {}

    @pytest.mark.parametrize(
        ("rate", "cap", "before", "after"),
        [
            (0.5, 0.9, 10, 11),  # 0.5 correct, then 0.55
            (0.2, 0.9, 16, 18),  # 0.8 correct, then 0.88
            (0.2, 0.82, 16, 16),  # 0.82 of 20 are 16
            (0.2, 0.5, 16, 16),  # never less than before
        ],
    )
    def test_more_labels_are_believed_once_they_are_refined(self, rate, cap, before, after):
        method = superpixel(noise_rate=rate, cap=cap)
        data = batch(logits(torch.linspace(0.1, 0.9, 20).tolist()), [1] * 20, list(range(20)))
        for step, count in [(FIRST, before), (Step(49, 100), before), (SWITCH, after), (LAST, after)]:
            assert pulled(method, data, step) == list(range(20 - count, 20))

    def test_the_share_falls_over_the_ramp(self):
        data = batch(logits(torch.linspace(0.1, 0.9, 20).tolist()), [1] * 20, list(range(20)))
        method = superpixel(noise_rate=0.4, ramp_length=0.2)
        counts = [len(pulled(method, data, Step(index, 100))) for index in (0, 10, 20, 40)]
        assert counts == [20, 16, 12, 12]

    def test_rates_must_be_usable(self):
        with raises("mismatch", "method.noise_rate"):
            superpixel(noise_rate=[0.1, 0.2, 0.3])


def revise(method: Superpixel, cases: list[CaseInMemory], step: Step) -> set[tuple[str, str]]:
    with torch.no_grad():
        return take(method.eval().revise(cases, step), cases)


class TestWhen:
    @pytest.mark.parametrize(
        ("refine_at", "total", "expected"),
        [(0.5, 100, [0, 50]), (0.3, 120, [0, 36]), (1.0, 100, [0]), (0.001, 9, [0, 1])],
    )
    def test_at_the_start_and_once_more(self, refine_at, total, expected):
        method = superpixel(refine_at=refine_at)
        assert [index for index in range(total) if method.revises(Step(index, total))] == expected


class TestSuperpixels:
    @pytest.mark.parametrize("shape", [(24, 20), (12, 10, 8)])
    def test_are_made_of_the_image_before_the_first_step(self, shape):
        image = torch.zeros(4, *shape)
        image[:, : shape[0] // 2] = 1
        case = CaseInMemory("a", image, torch.zeros(shape, dtype=torch.uint8))
        unlabelled = CaseInMemory("b", image, torch.full(shape, IGNORE, dtype=torch.uint8), NONE)
        changed = revise(superpixel(size=40), [case, unlabelled], FIRST)
        assert changed == {("a", "superpixels")}
        regions = case.map("superpixels")
        first, second = regions.split(shape[0] // 2)
        assert len(regions.unique()) > 5
        assert not set(first.unique().tolist()) & set(second.unique().tolist())

    def test_of_slices_are_their_own(self):
        image = torch.zeros(4, 20, 20, 2)
        image[:, :10, :, 0] = image[:, :, :10, 1] = 1
        case = CaseInMemory("a", image, torch.zeros(20, 20, 2, dtype=torch.uint8), sliced=True)
        method = superpixel(size=40)
        revise(method, [case], FIRST)
        for index in range(2):
            alone = CaseInMemory("b", image[..., index], case.given[..., index])
            revise(method, [alone], FIRST)
            assert torch.equal(case.map("superpixels")[..., index], alone.map("superpixels"))


def ready(name: str, p: list[float], given: list[int], regions: list[int], **arguments) -> CaseInMemory:
    """A case that has its superpixels."""
    maps = {"superpixels": torch.tensor(regions)}
    return CaseInMemory(name, logits(p), torch.tensor(given, dtype=torch.uint8), maps=maps, **arguments)


class TestRefinement:
    # Means 0.2 and 0.8 of the object in the first case, 0.4 and 0.9 in the second.
    P_OF, REGIONS_OF = ([0.1, 0.3, 0.8, 0.8], [0.4, 0.4, 0.9, 0.9]), ([1, 1, 300, 300], [1, 1, 2, 2])

    def refined(self, given: tuple[list[int], list[int]], **arguments) -> list[list[int]]:
        cases = [ready(str(i), self.P_OF[i], given[i], self.REGIONS_OF[i]) for i in range(2)]
        assert revise(superpixel(**arguments), cases, SWITCH) == {("0", "refined"), ("1", "refined")}
        return [case.layers["refined"].tolist() for case in cases]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"noise_rate": 0.0}, [[1, 1, 0, 0], [1, 1, 0, 0]]),
            ({"noise_rate": 0.5}, [[0, 0, 0, 0], [1, 1, 1, 1]]),  # of each label, the worse half of all cases
            ({"noise_rate": [0.5, 0.0]}, [[1, 1, 0, 0], [1, 1, 1, 1]]),
            ({"noise_rate": [0.0, 0.5]}, [[0, 0, 0, 0], [1, 1, 0, 0]]),
            ({"noise_rate": 0.99}, [[0, 0, 0, 0], [1, 1, 1, 1]]),  # two superpixels of each label would be more
            ({"noise_rate": 0.8, "correction": 0.7}, [[0, 0, 0, 0], [1, 1, 1, 1]]),
            ({"noise_rate": 0.8, "correction": 0.5}, [[1, 1, 0, 0], [1, 1, 0, 0]]),
        ],
        ids=str,
    )
    def test_by_hand(self, arguments, expected):
        assert self.refined(([1, 1, 0, 0], [1, 1, 0, 0]), **arguments) == expected

    def test_labels_on_their_side_of_one_half_stay(self):
        assert self.refined(([0, 0, 1, 1], [0, 0, 1, 1]), noise_rate=0.99) == [[0, 0, 1, 1], [0, 0, 1, 1]]

    def test_unknown_voxels_stay_unknown(self):
        given = ([1, IGNORE, 0, 0], [0, 0, IGNORE, 1])
        assert self.refined(given, noise_rate=[0.0, 0.5]) == [[0, IGNORE, 0, 0], [0, 0, IGNORE, 1]]

    def test_unlabelled_cases_are_not_refined(self):
        cases = [ready("a", self.P_OF[0], [1, 1, 0, 0], self.REGIONS_OF[0])]
        cases.append(ready("b", self.P_OF[1], [IGNORE] * 4, self.REGIONS_OF[1], quality=NONE))
        assert revise(superpixel(), cases, SWITCH) == {("a", "refined")}

    def test_is_by_the_mean_of_both_networks(self):
        case = ready("a", [0.5], [1], [1])
        case.image = logits([0.4], [0.8])
        revise(superpixel(noise_rate=0.99), [case], SWITCH)
        assert case.layers["refined"].tolist() == [1]

    def test_equal_numbers_in_two_slices_are_two_superpixels(self):
        p = torch.tensor([[0.1, 0.8], [0.1, 0.8]])  # [voxels, slices]
        image = torch.stack([1 - p, p, 1 - p, p]).log()
        maps = {"superpixels": torch.ones(2, 2, dtype=torch.int32)}
        case = CaseInMemory("a", image, torch.ones(2, 2, dtype=torch.uint8), sliced=True, maps=maps)
        revise(superpixel(noise_rate=0.5), [case], SWITCH)
        assert case.layers["refined"].tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(("prediction", "expected"), [("first", 0.3), ("second", 0.7), ("mean", 0.5)])
def test_prediction(prediction, expected):
    probabilities = superpixel(prediction=prediction).predict(logits([0.3], [0.7]).unsqueeze(0))
    assert probabilities[0, 1].item() == pytest.approx(expected)
