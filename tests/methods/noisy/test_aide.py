from __future__ import annotations

from itertools import product

import pytest
import torch
from labelled_case import CaseInMemory
from torch import Tensor
from torch.testing import assert_close
from written_networks import ChannelsAsLogits

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import dice_cross_entropy_by_sample
from segmend.methods import AIDE, Step
from segmend.networks import UNet

EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
FIRST, LAST = Step(0, 100), Step(99, 100)

P = (0.9, 0.2, 0.8, 0.3)  # by the first network, whose losses are small for the samples 0 and 2
Q = (0.4, 0.7, 0.1, 0.6)  # by the second, whose losses are small for 1 and 3


def aide(**arguments) -> AIDE:
    method = AIDE(ChannelsAsLogits(), **arguments)
    method.peer.group = 1
    return method


def flat(*probabilities: float, side: int = 6) -> Tensor:
    """Logits of samples ``[B, 2, side, side]`` that are the same everywhere."""
    p = torch.tensor(probabilities)
    return torch.stack([1 - p, p], dim=1).log().view(-1, 2, 1, 1).expand(-1, -1, side, side)


def batch(image: Tensor, first: Tensor, second: Tensor | None = None, quality: Quality = NOISY) -> Batch:
    layers = {"first": first, "second": first if second is None else second}
    count = len(image)
    return Batch(image, torch.full_like(first, IGNORE), (quality,) * count, tuple(map(str, range(count))), layers)


def objects(count: int = 4, side: int = 6) -> Tensor:
    return torch.ones(count, side, side, dtype=torch.int64)


FLAT = batch(torch.cat([flat(*P), flat(*Q)], dim=1), objects())


def loss_of(probabilities: list[float], label: int) -> list[float]:
    """What flat samples cost whose label is the same everywhere."""
    return dice_cross_entropy_by_sample(flat(*probabilities), label * objects(len(probabilities))).tolist()


def pulled(method: AIDE, data: Batch, term: str, step: Step = LAST) -> list[list[int]]:
    """The samples at which a term pulls at each network."""
    image = data.image.clone().requires_grad_()
    terms = method.loss(Batch(image, data.label, data.quality, data.cases, data.layers), step)
    (gradient,) = torch.autograd.grad(terms[term], image)
    return [half.flatten(1).any(1).nonzero().flatten().tolist() for half in gradient.chunk(2, dim=1)]


class TestFiltering:
    def test_each_network_trusts_what_the_other_finds_easy(self):
        assert pulled(aide(), FLAT, "supervised") == [[1, 3], [0, 2]]

    def test_and_follows_the_other_on_the_rest(self):
        assert pulled(aide(), FLAT, "consistency") == [[0, 2], [1, 3]]

    def test_at_first_every_label_counts(self):
        first, second = loss_of(P, 1), loss_of(Q, 1)
        expected = (sum(first) + sum(second)) / 2
        terms = aide().loss(FLAT, FIRST)
        assert terms["supervised"].item() == pytest.approx(expected, rel=1e-5)
        assert terms["consistency"] == 0

    def test_in_the_end_only_trusted_ones_do(self):
        first, second = loss_of(P, 1), loss_of(Q, 1)
        expected = (first[1] + first[3]) / 2 + (second[0] + second[2]) / 2
        assert aide().loss(FLAT, LAST)["supervised"].item() == pytest.approx(expected, rel=1e-5)

    def test_each_network_has_its_own_labels(self):
        data = batch(FLAT.image, objects(), 0 * objects())
        # Samples by loss: 0 and 2 are easy for the first; for the second, whose labels are empty, 2 and 0.
        first, second = loss_of(P, 1), loss_of(Q, 0)
        expected = (first[0] + first[2]) / 2 + (second[0] + second[2]) / 2
        assert aide().loss(data, LAST)["supervised"].item() == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize(
        ("epoch", "share"), [(0, 0.0), (5, 0.0625), (10, 0.25), (19, 0.9025), (20, 1.0), (99, 1.0)]
    )
    @pytest.mark.parametrize("steps", [100, 700, 12345])
    def test_the_change_takes_the_warm_up(self, epoch, share, steps):
        at = Step(-(-epoch * steps // 100), steps)  # the first step of the epoch
        method = aide(largest_angle=0.0)
        now, start, end = (method.loss(FLAT, step) for step in (at, FIRST, LAST))
        assert now["consistency"].item() == pytest.approx(share * end["consistency"].item(), abs=1e-6)
        between = (1 - share) * start["supervised"] + share * end["supervised"]
        rest = [loss_of(P, 1)[row] for row in (0, 2)] + [loss_of(Q, 1)[row] for row in (1, 3)]
        assert_close(start["supervised"] - end["supervised"], torch.tensor(sum(rest) / 2))
        assert_close(now["supervised"], between)

    def test_alpha_weighs_the_cross_entropy(self):
        data = batch(FLAT.image[:2], objects(2))
        expected = dice_cross_entropy_by_sample(flat(*P[:2]), objects(2), 0.25).sum()
        expected += dice_cross_entropy_by_sample(flat(*Q[:2]), objects(2), 0.25).sum()
        assert_close(aide(alpha=0.25).loss(data, FIRST)["supervised"], expected)

    def test_of_three_samples_one_is_trusted_and_one_alone_is(self):
        data = batch(FLAT.image[:3], objects(3))
        assert pulled(aide(), data, "supervised") == [[1], [0]]
        alone = batch(FLAT.image[:1], objects(1))
        assert pulled(aide(), alone, "supervised") == [[0], [0]]
        terms = aide().loss(alone, LAST)
        assert terms["consistency"] == 0
        assert terms["consistency"].requires_grad

    def test_samples_without_a_label_are_not_trusted(self):
        label = objects()
        label[2] = IGNORE
        assert pulled(aide(), batch(FLAT.image, label), "supervised") == [[1, 3], [0, 3]]
        assert aide().loss(batch(FLAT.image, label, quality=NONE), LAST) == {}


class TestPseudoLabels:
    @pytest.mark.parametrize(
        ("arguments", "target", "weight"),
        [
            ({}, lambda q: q, lambda q: 1.0),
            ({"consistency": 10.0}, lambda q: q, lambda q: 10.0),
            ({"temperature": 0.5}, lambda q: q**2 / (q**2 + (1 - q) ** 2), lambda q: 1.0),
            ({"weigh_by_confidence": True}, lambda q: q, lambda q: (2 * q - 1) ** 2),
        ],
        ids=["paper", "weight", "sharper", "confidence"],
    )
    def test_the_squared_difference_is_to_the_other_network(self, arguments, target, weight):
        pairs = [[(P[row], Q[row]) for row in (0, 2)], [(Q[row], P[row]) for row in (1, 3)]]
        expected = sum(weight(q) * (p - target(q)) ** 2 for rows in pairs for p, q in rows) / 2
        # Only mirrored, so that no corner is filled.
        loss = aide(largest_angle=0.0, **arguments).loss(FLAT, LAST)["consistency"]
        assert loss.item() == pytest.approx(expected, rel=1e-4)

    def test_are_means_over_copies(self, monkeypatch):
        passes = []
        method = aide(augmentations=3, largest_angle=0.0)
        method.network.register_forward_hook(lambda _module, inputs, _output: passes.append(inputs[0]))
        image = torch.randn(2, 4, 6, 6)
        pseudo = method.pseudo_label(method.network, image)
        assert_close(pseudo, image[:, :2].softmax(1), atol=1e-4, rtol=0)
        assert len(passes) == 3
        mirrored = {bool((copy[row] - image[row]).abs().max() > 1e-3) for copy in passes for row in (0, 1)}
        assert mirrored == {True, False}

    def test_copies_are_turned(self):
        torch.manual_seed(0)
        image = torch.randn(1, 4, 9, 9)
        turned = aide(augmentations=1, largest_angle=60.0).pseudo_label(ChannelsAsLogits(), image)
        assert not torch.allclose(turned, image[:, :2].softmax(1), atol=0.05)
        assert_close(turned.sum(1), torch.ones(1, 9, 9))

    def test_have_no_gradient_and_leave_no_trace_in_batch_norm(self):
        method = AIDE(UNet(1, 2, 2, width=2, stages=2))
        data = batch(torch.randn(4, 1, 8, 8), objects(side=8))
        assert not method.pseudo_label(method.peer, data.image).requires_grad
        method.loss(data, LAST)
        counts = {int(value) for name, value in method.state_dict().items() if name.endswith("num_batches_tracked")}
        assert counts == {1}
        assert method.network.training

    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_are_made_in_two_and_three_dimensions(self, dimensions):
        image = torch.randn(3, 4, *[7] * dimensions)
        pseudo = aide().pseudo_label(ChannelsAsLogits(), image)
        assert pseudo.shape == (3, 2, *[7] * dimensions)
        assert_close(pseudo.sum(1), torch.ones(3, *[7] * dimensions))


class TestWhenToCorrect:
    @pytest.mark.parametrize("steps", [1, 7])
    def test_after_each_epoch_of_the_warm_up_and_then_every_tenth(self, steps):
        method = aide()
        at = [index for index in range(100 * steps) if method.revises(Step(index, 100 * steps))]
        assert at == [epoch * steps for epoch in [*range(1, 21), *range(30, 100, 10)]]

    def test_arguments_are_epochs(self):
        method = aide(epochs=12, warm_up=2, correct_every=4)
        assert [index for index in range(48) if method.revises(Step(index, 48))] == [4, 8, 16, 32]

    def test_a_run_of_fewer_steps_than_epochs_misses_none(self):
        method = aide(epochs=100, warm_up=20, correct_every=25)
        assert [index for index in range(10) if method.revises(Step(index, 10))] == [1, 2, 3, 5, 8]

    def test_without_a_warm_up_filtering_starts_at_once(self):
        method = aide(warm_up=0, largest_angle=0.0)
        assert [index for index in range(100) if method.revises(Step(index, 100))] == list(range(10, 100, 10))
        assert_close(method.loss(FLAT, FIRST), aide(largest_angle=0.0).loss(FLAT, LAST))


def voxels(*values: int) -> Tensor:
    return torch.tensor([values], dtype=torch.uint8)


def scan(
    name: str, by_first: Tensor, by_second: Tensor, given: Tensor, quality: Quality = NOISY, **layers
) -> CaseInMemory:
    """A case that the two networks segment so."""
    logits = [20.0 * sign * (2 * label.float() - 1) for label in (by_first, by_second) for sign in (-1, 1)]
    return CaseInMemory(name, torch.stack(logits), given, quality, layers=layers)


FULL = voxels(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)


def filled(count: int) -> Tensor:
    """Dice with ``FULL`` rises with the count."""
    return voxels(*[1] * count, *[0] * (10 - count))


def revised(method: AIDE, cases: list[CaseInMemory]) -> dict[tuple[str, str], list[int]]:
    with torch.no_grad():
        revisions = list(method.eval().revise(cases, Step(10, 100)))
    found = {(layer, each.case): label for each in revisions for layer, label in each.labels.items()}
    assert all(label.dtype == torch.uint8 for label in found.values())
    return {key: label.flatten().tolist() for key, label in found.items()}


class TestWhatToCorrect:
    SIZES = (9, 4, 7, 3, 8, 6, 5, 10)

    def test_the_quarter_with_the_smallest_dice_gets_the_other_networks_label(self):
        sizes = dict(zip("abcdefgh", zip(self.SIZES, reversed(self.SIZES), strict=True), strict=True))
        cases = [scan(name, filled(one), filled(two), FULL) for name, (one, two) in sizes.items()]
        assert revised(aide(), cases) == {
            ("second", "d"): filled(3).flatten().tolist(),
            ("second", "b"): filled(4).flatten().tolist(),
            ("first", "e"): filled(3).flatten().tolist(),
            ("first", "g"): filled(4).flatten().tolist(),
        }

    def test_expert_labels_stay(self):
        kinds = dict(zip("abcdefgh", (EXPERT, NOISY, NOISY, EXPERT, NOISY, NOISY, NOISY, NOISY), strict=True))
        cases = [
            scan(name, filled(size), filled(size), FULL, quality)
            for (name, quality), size in zip(kinds.items(), self.SIZES, strict=True)
        ]
        assert {name for _, name in revised(aide(), cases)} == {"b", "g"}

    def test_a_network_is_compared_with_the_labels_that_it_learns_from(self):
        cases = [
            scan("a", filled(5), filled(5), FULL, first=filled(5), second=filled(9)),
            scan("b", filled(5), filled(5), FULL, first=filled(9), second=filled(5)),
        ]
        assert set(revised(aide(update_ratio=0.5), cases)) == {("second", "b"), ("first", "a")}

    @pytest.mark.parametrize(("ratio", "count"), [(0.0, 0), (0.24, 1), (0.25, 2), (1.0, 8)])
    def test_the_ratio_is_of_the_labelled_cases(self, ratio, count):
        cases = [scan(str(size), filled(size), filled(size), FULL) for size in self.SIZES]
        cases += [scan(f"none {row}", filled(1), filled(1), 0 * FULL + IGNORE, NONE) for row in range(8)]
        corrected = revised(aide(update_ratio=ratio), cases)
        assert len(corrected) == 2 * count
        assert not any("none" in name for _, name in corrected)

    @pytest.mark.parametrize("allowed", [False, True])
    def test_an_empty_segmentation_corrects_nothing_unless_it_may(self, allowed):
        cases = [scan("empty", filled(0), filled(0), FULL), scan("small", filled(2), filled(2), FULL)]
        method = aide(update_ratio=0.5, empty_corrections=allowed)
        assert {name for _, name in revised(method, cases)} == {"empty" if allowed else "small"}

    def test_a_label_without_the_object_gets_one(self):
        cases = [scan("forgotten", filled(4), filled(4), filled(0)), scan("poor", filled(2), filled(2), FULL)]
        assert {name for _, name in revised(aide(update_ratio=0.5), cases)} == {"forgotten"}

    def test_fragments_may_be_left_out(self):
        fragments, largest = voxels(1, 0, 1, 1, 1, 0, 1, 1, 0, 0), voxels(0, 0, 1, 1, 1, 0, 0, 0, 0, 0)
        for cleaned, expected in ((False, fragments), (True, largest)):
            corrected = revised(
                aide(update_ratio=1.0, largest_component=cleaned), [scan("a", fragments, fragments, FULL)]
            )
            assert corrected == dict.fromkeys(product(("second", "first"), "a"), expected.flatten().tolist())


class TestNetworks:
    def test_start_apart(self):
        method = AIDE(UNet(1, 2, 2, width=2, stages=2))
        image = torch.randn(2, 1, 8, 8)
        assert not torch.allclose(method.network(image), method.peer(image), atol=1e-3)

    @pytest.mark.parametrize(
        ("arguments", "p"), [({}, 0.6), ({"prediction": "first"}, 0.9), ({"prediction": "second"}, 0.3)]
    )
    def test_both_predict_unless_one_is_asked(self, arguments, p):
        image = torch.cat([flat(0.9), flat(0.3)], dim=1)
        assert_close(aide(**arguments).predict(image)[:, 1], torch.full((1, 6, 6), p))

    def test_say_what_they_need_of_a_run(self):
        assert AIDE.layers == ("first", "second")
        assert AIDE.needs_initial_labels
