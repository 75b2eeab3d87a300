from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close
from written_networks import Logistic

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.geometry import Flip, Zoom
from segmend.functional.views import Views
from segmend.methods import MLBSeg, Step
from segmend.methods.components.ema import follow_students
from segmend.methods.mixed import mlb_seg
from segmend.networks import UNet

EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
MIDDLE = Step(50, 100)
PLAIN: dict[str, Any] = {"zoomed_in": 0, "zoomed_out": 0, "flipped": 0, "mean_teacher": False}
"""MLB alone: neither pseudo label enhancement nor mean teacher."""


def batch(quality: tuple[Quality, ...], image: Tensor, label: Tensor) -> Batch:
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


def rows_of_voxels(x: list[float], y: list[int], clean_x: list[float], clean_y: list[int]) -> Batch:
    """One noisy and one expert sample of one axis, padded to the same length by unknown voxels."""
    voxels = max(len(x), len(clean_x))
    image, label = torch.zeros(2, 1, voxels), torch.full((2, voxels), IGNORE)
    for row, (values, labels) in enumerate(((x, y), (clean_x, clean_y))):
        image[row, 0, : len(values)] = torch.tensor(values)
        label[row, : len(labels)] = torch.tensor(labels)
    return batch((NOISY, EXPERT), image, label)


def scans(*quality: Quality, shape: tuple[int, ...] = (8, 8), classes: int = 2) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 1, *shape, generator=random)
    return batch(quality, image, torch.randint(0, classes, (len(quality), *shape), generator=random))


def method(dimensions: int = 2, classes: int = 2, **arguments: Any) -> MLBSeg:
    torch.manual_seed(0)
    return MLBSeg(UNet(1, classes, dimensions, width=2, stages=2), **arguments)


def maps(weighted: MLBSeg, data: Batch) -> tuple[Tensor, Tensor, Tensor]:
    found = weighted.weight_maps(data, MIDDLE)
    assert found is not None
    return found


class TestWeights:
    @pytest.mark.parametrize("weighting", ["joint", "separate"])
    def test_the_example_worked_by_hand(self, weighting):
        # At theta = 0 the pseudo label is background, against the clean label; so is the second given one.
        given, pseudo, label = maps(
            MLBSeg(Logistic(), weighting=weighting, **PLAIN), rows_of_voxels([1.0, 1.0], [1, 0], [1.0], [1])
        )
        assert_close(given, torch.tensor([[1.0, 0.0]]))
        assert_close(pseudo, torch.zeros(1, 2))
        assert label.tolist() == [[0, 0]]

    @pytest.mark.parametrize("weighting", ["joint", "separate"])
    def test_are_zero_if_no_label_helps(self, weighting):
        bootstrapped = MLBSeg(Logistic(), weighting=weighting, **PLAIN)
        given = rows_of_voxels([1.0, 1.0], [0, 0], [1.0], [1])
        assert not any(each.any() for each in maps(bootstrapped, given)[:2])
        terms = bootstrapped.loss(given, MIDDLE)
        assert terms["given"] == terms["pseudo"] == 0

    @pytest.mark.parametrize("weighting", ["joint", "separate"])
    def test_are_in_proportion_to_the_product_of_the_slopes(self, weighting):
        x, y = torch.tensor([1.0, 2.0, -1.0, 0.5, -3.0]), torch.tensor([1, 0, 0, IGNORE, 1])
        clean_x, clean_y = torch.tensor([3.0, -1.0]), torch.tensor([0, 1])
        p, own = (0.4 * x).sigmoid(), torch.tensor([1, 1, 0, 1, 0])
        clean = (((0.4 * clean_x).sigmoid() - clean_y) * clean_x).mean()
        raw_given = ((p - y) * x * clean).clamp(min=0) * (y != IGNORE)
        raw_pseudo = ((p - own) * x * clean).clamp(min=0)
        total = raw_given.sum() + raw_pseudo.sum()
        sums = (total, total) if weighting == "joint" else (raw_given.sum(), raw_pseudo.sum().clamp(min=1e-30))
        data = rows_of_voxels(x.tolist(), y.tolist(), clean_x.tolist(), clean_y.tolist())
        given, pseudo, label = maps(MLBSeg(Logistic(theta=0.4), weighting=weighting, **PLAIN), data)
        assert (raw_given > 0).any()
        assert_close(given[0], raw_given / sums[0])
        assert_close(pseudo[0], raw_pseudo / sums[1])
        assert torch.equal(label[0], own)

    def test_of_both_labels_compete_or_do_not(self):
        # The clean loss grows with theta, and so do the losses of given background and of pseudo background.
        data = rows_of_voxels([1.0, -1.0, 2.0, -2.0], [0, 0, 0, 0], [1.0, -2.0], [0, 1])
        joint = maps(MLBSeg(Logistic(theta=-0.3), **PLAIN), data)
        separate = maps(MLBSeg(Logistic(theta=-0.3), weighting="separate", **PLAIN), data)
        assert_close((joint.given.sum() + joint.pseudo.sum()).item(), 1.0)
        assert 0 < joint.given.sum() < 1
        assert_close(separate.given.sum().item(), 1.0)
        assert_close(separate.pseudo.sum().item(), 1.0)
        for one, other in zip(joint[:2], separate[:2], strict=True):
            assert_close(one / one.sum(), other)

    def test_fixed_ones_are_a_share_for_each_label(self):
        data = rows_of_voxels([1.0, 2.0, -1.0, -2.0], [1, 0, 0, IGNORE], [1.0], [1])
        given, pseudo, label = maps(MLBSeg(Logistic(theta=1.0), weighting="fixed", given_share=0.6, **PLAIN), data)
        assert_close(given, torch.tensor([[0.2, 0.2, 0.2, 0.0]]))
        assert_close(pseudo, torch.full((1, 4), 0.1))
        assert label.tolist() == [[1, 1, 0, 0]]

    def test_are_fixed_without_expert_samples(self):
        weighted, fixed = method(), method(weighting="fixed")
        for noisy in (scans(NOISY), scans(NOISY, NONE)):
            torch.manual_seed(0)
            actual = maps(weighted, noisy)
            torch.manual_seed(0)
            assert_close(actual, maps(fixed, noisy))

    def test_there_are_none_without_noisy_samples(self):
        assert method().weight_maps(scans(EXPERT, NONE), MIDDLE) is None

    @pytest.mark.parametrize("dimensions", [2, 3])
    @pytest.mark.parametrize("weighting", ["joint", "separate", "fixed"])
    def test_are_shared_by_all_views_and_shown_for_the_first(self, dimensions, weighting, monkeypatch):
        shape = (8, 8, 4)[:dimensions]
        weighted, data = method(dimensions, classes=3, weighting=weighting), scans(NOISY, EXPERT, NOISY, shape=shape)
        labels, weights = spied(weighted, data, monkeypatch)
        torch.manual_seed(3)
        given, pseudo, pseudo_label = maps(weighted, data)
        assert given.shape == pseudo.shape == pseudo_label.shape == (2, *shape)
        for shown, everywhere in zip((given, pseudo), weights, strict=True):
            assert everywhere.shape == (10, *shape)
            assert (everywhere >= 0).all()
            assert_close(shown, everywhere[:2], atol=1e-6, rtol=1e-4)
            assert 0 < shown.sum() < everywhere.sum()
        assert torch.equal(pseudo_label, labels[1][:2])
        total = weights[0].sum() + weights[1].sum()
        assert_close(total.item(), 2.0 if weighting == "separate" else 1.0)

    def test_leave_no_trace(self):
        weighted = method()
        before = copy.deepcopy(weighted.state_dict())
        maps(weighted, scans(EXPERT, NOISY))
        assert all(torch.equal(value, before[name]) for name, value in weighted.state_dict().items())
        assert all(parameter.grad is None for parameter in weighted.parameters())


def spied(weighted: MLBSeg, data: Batch, monkeypatch) -> tuple[list[Tensor], list[Tensor]]:
    """Labels of all views of noisy samples and their weights, given then pseudo, as the loss of seed 3 uses them."""
    labels: list[Tensor] = []

    def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
        labels.append(label)
        return torch.ones_like(label, dtype=torch.float32) * logits.sum()

    weights: list[Tensor] = []
    weigh = weighted._weigh

    def remembered(*arguments: Any) -> mlb_seg.WeightMaps:
        found = weigh(*arguments)
        weights.extend(found[:2])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(mlb_seg, "cross_entropy", cross_entropy)
        patch.setattr(weighted, "_weigh", remembered)
        torch.manual_seed(3)
        weighted.loss(data, MIDDLE)
    return labels[:2], weights


class TestViews:
    @pytest.fixture(autouse=True)
    def _three(self, monkeypatch):
        """Each sample as it is, mirrored, and at half its size."""
        monkeypatch.setattr(mlb_seg, "random_views", lambda count, dimensions, *_numbers: self.views(count, dimensions))

    def views(self, count: int, dimensions: int) -> Views:
        still = torch.zeros(count, dimensions, dtype=torch.bool)
        return Views((Flip(still), Flip(~still), Zoom(torch.full((count, 1), 0.5), dimensions)))

    def test_are_given_their_labels_but_none_in_an_empty_margin(self, monkeypatch):
        data = scans(NOISY, EXPERT)
        data.label[0, 0, 0] = IGNORE
        labels, _ = spied(method(), data, monkeypatch)
        given, pseudo = labels
        assert torch.equal(given[0], data.label[0])
        assert torch.equal(given[1], data.label[0].flip(0, 1))
        inside = torch.zeros(8, 8, dtype=torch.bool)
        inside[2:6, 2:6] = True
        for label in (given, pseudo):
            assert (label[2][~inside] == IGNORE).all()
            assert (label[2][inside] != IGNORE).any()
        # The network has an opinion where no label was given.
        assert (pseudo[:2] != IGNORE).all()

    def test_pseudo_labels_are_those_of_the_mean_prediction(self):
        bootstrapped, data, views = method(), scans(NOISY, EXPERT), self.views(1, 2)
        logits = copy.deepcopy(bootstrapped.network)(views.of(data.image[:1]))
        expected = views.mean(logits.softmax(1)).argmax(1)
        assert torch.equal(maps(bootstrapped, data).pseudo_label, expected)
        assert not torch.equal(expected, logits[:1].argmax(1))


class TestSamples:
    def test_are_drawn_in_the_numbers_asked_for(self, monkeypatch):
        asked = []
        draw = mlb_seg.random_views
        monkeypatch.setattr(mlb_seg, "random_views", lambda *numbers: (asked.append(numbers), draw(*numbers))[1])
        method(zoomed_in=3, zoomed_out=0, flipped=2).loss(scans(EXPERT, NOISY, EXPERT), MIDDLE)
        assert asked == [(1, 2, 3, 0, 2), (2, 2, 3, 0, 2)]

    def test_order_of_samples_does_not_matter_without_them(self):
        alone = method(**PLAIN)
        data = scans(EXPERT, NOISY, NOISY, EXPERT)
        turned = batch(data.quality, data.image.flip(0), data.label.flip(0))
        turned = batch(data.quality[::-1], turned.image, turned.label)
        assert_close(copy.deepcopy(alone).loss(turned, MIDDLE), alone.loss(data, MIDDLE), atol=1e-5, rtol=1e-4)


class TestTerms:
    @pytest.mark.parametrize(
        ("arguments", "missing"),
        [
            ({}, set()),
            ({"weighting": "separate"}, set()),
            ({"weighting": "fixed"}, set()),
            ({"mean_teacher": False}, {"teacher"}),
            ({"zoomed_in": 0, "zoomed_out": 0, "flipped": 0}, {"views"}),
            ({"clean_weight": 0.0}, {"expert"}),
            (PLAIN, {"views", "teacher"}),
        ],
    )
    def test_each_switch_leaves_out_its_own(self, arguments, missing):
        terms = method(**arguments).loss(scans(EXPERT, EXPERT, NOISY), MIDDLE)
        assert set(terms) == {"given", "pseudo", "views", "teacher", "expert"} - missing
        assert all(term.isfinite() for term in terms.values())

    def test_are_the_weighted_sums_of_both_labels_losses(self):
        alone, data = method(**PLAIN), scans(NOISY, EXPERT)
        data.label[0, 0, 0] = IGNORE
        given, pseudo, pseudo_label = maps(alone, data)
        terms = alone.loss(data, MIDDLE)
        logits = alone.network(data.image[:1])
        expected = {
            "given": (given * F.cross_entropy(logits, data.label[:1], ignore_index=IGNORE, reduction="none")).sum(),
            "pseudo": (pseudo * F.cross_entropy(logits, pseudo_label, reduction="none")).sum(),
        }
        for name, value in expected.items():
            assert_close(terms[name], value)
            # Neither weights nor pseudo labels have a gradient.
            parameters = list(alone.network.parameters())
            actual, wanted = (torch.autograd.grad(loss, parameters, retain_graph=True) for loss in (terms[name], value))
            assert_close(actual, wanted)

    def test_of_expert_samples_by_hand(self):
        data = scans(EXPERT, EXPERT)
        data.label[1] = IGNORE
        alone = method(**PLAIN, clean_weight=0.5)
        terms = alone.loss(data, MIDDLE)
        assert set(terms) == {"expert"}
        assert_close(terms["expert"], 0.5 * F.cross_entropy(alone.network(data.image)[:1], data.label[:1]))

    def test_agreement_is_asked_of_both_groups(self):
        noisy, both = scans(NOISY, NOISY), scans(EXPERT, NOISY)
        for name, arguments in (("views", {"mean_teacher": False}), ("teacher", {**PLAIN, "mean_teacher": True})):
            torch.manual_seed(0)
            without = method(**arguments, noise=0.0, clean_weight=0.0).loss(both, MIDDLE)
            torch.manual_seed(0)
            half = method(**arguments, noise=0.0, clean_weight=0.5).loss(both, MIDDLE)
            torch.manual_seed(0)
            whole = method(**arguments, noise=0.0, clean_weight=1.0).loss(both, MIDDLE)
            assert_close(whole[name] - half[name], half[name] - without[name], atol=1e-7, rtol=1e-3)
            assert name in method(**arguments).loss(noisy, MIDDLE)
        assert whole["expert"] == 2 * half["expert"]

    def test_teacher_sees_all_views_with_noise_and_gets_no_gradient(self, monkeypatch):
        taught, data = method(noise=0.3), scans(EXPERT, NOISY)
        with torch.no_grad():
            for parameter in taught.teacher.network.parameters():
                parameter.add_(torch.randn_like(parameter))
        seen = []
        noised = mlb_seg.clipped_gaussian
        monkeypatch.setattr(
            mlb_seg, "clipped_gaussian", lambda image, sd: (seen.append((len(image), sd)), noised(image, sd))[1]
        )
        terms = taught.loss(data, MIDDLE)
        assert seen == [(5, 0.3), (5, 0.3)]
        terms["teacher"].backward()
        assert any(parameter.grad.any() for parameter in taught.network.parameters())
        assert all(parameter.grad is None for parameter in taught.teacher.parameters())

    def test_teachers_difference_by_hand(self):
        student, data = MLBSeg(Logistic(theta=1.0), **(PLAIN | {"mean_teacher": True}), noise=0.0), rows_of_voxels(
            [1.0, -2.0], [1, 0], [], []
        )  # fmt: skip
        data = batch((NOISY,), data.image[:1], data.label[:1])
        student.teacher.network.theta.data.fill_(0.5)
        x = torch.tensor([1.0, -2.0])
        assert_close(student.loss(data, MIDDLE)["teacher"], (x.sigmoid() - (x / 2).sigmoid()).square().mean())

    def test_partners_are_detached_if_asked(self):
        gradients = []
        for detach in (False, True):
            bootstrapped = method(detach_partner=detach, mean_teacher=False)
            torch.manual_seed(0)
            views = bootstrapped.loss(scans(EXPERT, NOISY), MIDDLE)["views"]
            gradients.append((views.item(), torch.autograd.grad(views, bootstrapped.network.decoder.head.weight)[0]))
        (value, both), (same, one) = gradients
        assert_close(value, same)
        assert not torch.allclose(both, one, rtol=0.05)

    def test_each_group_is_passed_once(self):
        bootstrapped = method()
        bootstrapped.loss(scans(EXPERT, NOISY, NONE), MIDDLE)
        for network in (bootstrapped.network, bootstrapped.teacher.network):
            counts = [each for name, each in network.state_dict().items() if name.endswith("num_batches_tracked")]
            assert counts
            assert all(count == 2 for count in counts)


class TestRun:
    @pytest.mark.parametrize("clean_weight", [0.0, 2.0])
    def test_starts_with_expert_samples_alone(self, clean_weight):
        bootstrapped, data = method(warm_up=0.3, clean_weight=clean_weight, mean_teacher=False), scans(EXPERT, NOISY)
        started = bootstrapped.loss(data, Step(29, 100))
        assert set(started) == {"expert", "views"}
        assert "given" in bootstrapped.loss(data, Step(30, 100))

    def test_warm_up_counts_expert_samples_fully(self):
        bootstrapped, data = method(warm_up=0.3, clean_weight=0.0, **PLAIN), scans(EXPERT, NOISY)
        expected = F.cross_entropy(copy.deepcopy(bootstrapped.network)(data.image[:1]), data.label[:1])
        assert_close(bootstrapped.loss(data, Step(0, 100))["expert"], expected)

    def test_has_no_warm_up_without_expert_samples(self):
        assert "given" in method(warm_up=0.3).loss(scans(NOISY), Step(0, 100))

    def test_has_no_teacher_to_follow_without_one(self):
        without = method(mean_teacher=False)
        follow_students(without, 0)
        assert without.teacher is None
        assert len(list(without.parameters())) == len(list(without.network.parameters()))
