from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from labelled_case import CaseInMemory
from torch import Tensor
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice, soft_cross_entropy_dice
from segmend.functional.soft_labels import one_hot, sharpen
from segmend.methods import DivideMix, Step
from segmend.methods.noisy import divide_mix

EARLY, LAST = Step(9, 100), Step(99, 100)
EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
FIRST, SECOND = DivideMix.values


def divide_mix_of(first: float = 1.0, second: float = -0.5, **arguments) -> DivideMix:
    method = DivideMix(ImageAsLogits(), **arguments)
    with torch.no_grad():
        method.network.gain.fill_(first)
        method.peer.gain.fill_(second)
    return method


def batch(of_first: list[int], of_second: list[int], *quality: Quality) -> Batch:
    """Samples whose labels the networks call clean with these probabilities, in percent."""
    random, count = torch.Generator().manual_seed(0), len(of_first)
    image = torch.randn(count, 2, 4, 4, generator=random)
    label = torch.randint(0, 2, (count, 4, 4), generator=random)
    values = {name: torch.tensor(percent) / 100 for name, percent in ((FIRST, of_first), (SECOND, of_second))}
    return Batch(image, label, quality or (NOISY,) * count, tuple(map(str, range(count))), values=values)


@pytest.fixture
def plainly(monkeypatch):
    """Views without noise, each mixed with nothing but itself."""
    monkeypatch.setattr(divide_mix, "clipped_gaussian", lambda image, sd: image)
    monkeypatch.setattr(divide_mix, "beta_shares", lambda image, alpha: torch.ones(len(image)))


@pytest.mark.usefixtures("plainly")
class TestTargets:
    def expected(self, given: Batch, network: int, probability: float) -> Tensor:
        own, other = (given.image * gain for gain in ((1.0, -0.5), (-0.5, 1.0))[network])
        p, q = own.softmax(1), other.softmax(1)
        target = probability * one_hot(given.label, 2) + (1 - probability) * p if probability > 0.5 else (p + q) / 2
        return sharpen(target, 0.5)

    def test_of_clean_samples_are_label_and_own_guess(self):
        given = batch([60], [80])
        # Each network goes by what the other one trusts.
        losses = [
            soft_cross_entropy_dice(gain * given.image, self.expected(given, network, probability))
            for network, gain, probability in ((0, 1.0, 0.8), (1, -0.5, 0.6))
        ]
        terms = divide_mix_of().loss(given, LAST)
        assert set(terms) == {"clean"}
        assert_close(terms["clean"], sum(losses))

    def test_of_the_others_are_what_both_guess(self):
        given = batch([50], [0])
        losses = [
            ((gain * given.image).softmax(1) - self.expected(given, network, 0.0)).square().mean()
            for network, gain in ((0, 1.0), (1, -0.5))
        ]
        terms = divide_mix_of(weight=7.0).loss(given, LAST)
        assert set(terms) == {"other"}
        assert_close(terms["other"], 7 * sum(losses))

    def test_of_fully_trusted_labels_are_the_labels(self):
        given = batch([100, 100], [100, 100])
        expected = cross_entropy_dice(given.image, given.label) + cross_entropy_dice(-0.5 * given.image, given.label)
        assert_close(divide_mix_of().loss(given, LAST)["clean"], expected)

    def test_networks_may_trust_different_samples(self):
        given = batch([90, 10, 10], [10, 90, 10])
        terms = divide_mix_of().loss(given, LAST)
        # The first network learns from the label of the second sample, the second one from that of the first.
        losses = []
        for row, gain in ((1, 1.0), (0, -0.5)):
            logits, label = gain * given.image[[row]], given.label[[row]]
            target = sharpen(0.9 * one_hot(label, 2) + 0.1 * logits.softmax(1), 0.5)
            losses.append(soft_cross_entropy_dice(logits, target))
        assert_close(terms["clean"], sum(losses))
        assert terms["other"] > 0

    def test_get_no_gradient(self):
        method = divide_mix_of(temperature=1.0)
        given = batch([0], [0])
        method.loss(given, LAST)["other"].backward()
        assert method.network.gain.grad
        p, q = (given.image * gain for gain in (1.0, -0.5))
        gain = torch.tensor(1.0, requires_grad=True)
        target = (p.softmax(1) + q.softmax(1)) / 2
        (25 * ((gain * given.image).softmax(1) - target).square().mean()).backward()
        assert_close(method.network.gain.grad, gain.grad)

    def test_unknown_voxels_and_samples_take_no_part(self):
        given = batch([90, 10, 90], [90, 10, 90], NOISY, EXPERT, NONE)
        label = given.label.clone()
        label[:2, 2:], label[2] = IGNORE, IGNORE
        image = given.image.clone().requires_grad_()
        terms = divide_mix_of().loss(replace(given, image=image, label=label), LAST)
        (gradient,) = torch.autograd.grad(terms["clean"] + terms["other"], image)
        assert torch.equal(gradient.any(1), label != IGNORE)
        values = {name: of_samples[:2] for name, of_samples in given.values.items()}
        known = Batch(given.image[:2, :, :2], label[:2, :2], (NOISY, EXPERT), ("0", "1"), values=values)
        assert_close(terms, divide_mix_of().loss(known, LAST))
        assert divide_mix_of().loss(batch([0], [0], NONE), LAST) == {}


class TestViews:
    def test_differ_by_noise_and_are_mixed_but_remain_mostly_what_they_are(self, monkeypatch):
        monkeypatch.setattr(divide_mix, "beta_shares", lambda image, alpha: torch.full((len(image),), 0.25))
        monkeypatch.setattr(torch, "randperm", lambda count: torch.arange(count).roll(1))
        method, given = divide_mix_of(noise=0.01), batch([90, 10], [90, 10])
        torch.manual_seed(0)
        method.loss(given, LAST)
        views, blended = method.network.inputs
        assert views.shape == (4, 2, 4, 4)
        assert not torch.equal(views[:2], views[2:])
        assert_close(views, given.image.repeat(2, 1, 1, 1), atol=0.021, rtol=0)
        assert_close(blended, 0.75 * views + 0.25 * views.roll(1, 0))
        assert torch.equal(method.peer.inputs[0], views)

    def test_are_mixed_by_alpha(self, monkeypatch):
        asked = []
        monkeypatch.setattr(
            divide_mix, "beta_shares", lambda image, alpha: asked.append(alpha) or torch.ones(len(image))
        )
        divide_mix_of(alpha=0.3).loss(batch([0], [0]), LAST)
        assert asked == [0.3, 0.3]


class TestSchedule:
    def test_all_labels_are_believed_in_the_warm_up(self):
        given = batch([0, 0], [0, 0], NOISY, NONE)
        expected = sum(cross_entropy_dice(gain * given.image[:1], given.label[:1]) for gain in (1.0, -0.5))
        terms = divide_mix_of(warm_up=0.1).loss(given, EARLY)
        assert set(terms) == {"warm_up"}
        assert_close(terms["warm_up"], expected)
        assert set(divide_mix_of(warm_up=0.09).loss(given, EARLY)) == {"other"}

    @pytest.mark.parametrize(("index", "share"), [(20, 0), (30, 0.5), (40, 1), (99, 1)])
    @pytest.mark.usefixtures("plainly")
    def test_other_samples_count_more_and_more(self, index, share):
        method, given = divide_mix_of(warm_up=0.2, ramp_length=0.2), batch([0, 100], [0, 100])
        terms, full = method.loss(given, Step(index, 100)), method.loss(given, LAST)
        assert_close(terms["other"], share * full["other"])
        assert_close(terms["clean"], full["clean"])

    def test_cases_are_divided_after_the_warm_up_and_in_every_interval(self):
        method = divide_mix_of(warm_up=0.2, interval=0.3)
        assert [index for index in range(200) if method.revises(Step(index, 200))] == [40, 100, 160]


def case(name: str, size: int, predicted: int, **further) -> CaseInMemory:
    """A square label of one size, where the image shows another to the first network, and its inverse to the second."""
    label, shown = (torch.zeros(12, 12, dtype=torch.uint8) for _ in range(2))
    label[:size, :size], shown[:size, :predicted] = 1, 1
    image = torch.stack([0.5 - shown.float(), shown - 0.5])
    return CaseInMemory(name, image, label, **further)


class TestDivision:
    GOOD, BAD = (9, 10, 11, 9, 10, 11, 10), (1, 2, 1, 2, 1, 2, 1)
    CASES = tuple(case(f"case_{number}", 10, predicted) for number, predicted in enumerate((*GOOD, *BAD)))

    def probabilities(self, revisions, name: str) -> dict[str, list[float]]:
        return {each.case: each.values[name] for each in revisions if name in each.values}

    def test_labels_that_fit_are_trusted(self):
        revisions = list(divide_mix_of(1.0, 1.0).revise(self.CASES, LAST))
        for name in (FIRST, SECOND):
            found = self.probabilities(revisions, name)
            assert all(found[f"case_{number}"] == [1.0] for number in range(7))
            assert all(found[f"case_{number}"] == [0.0] for number in range(7, 14))
        assert not any(each.labels or each.maps for each in revisions)

    def test_each_network_judges_by_itself(self):
        revisions = list(divide_mix_of(1.0, -1.0).revise(self.CASES, LAST))
        assert self.probabilities(revisions, FIRST)["case_0"] == [1.0]
        assert self.probabilities(revisions, SECOND)["case_0"] != self.probabilities(revisions, FIRST)["case_0"]

    def test_probabilities_are_whole_percentages(self, monkeypatch):
        monkeypatch.setattr(divide_mix, "low_loss_chances", lambda losses: torch.linspace(0, 1, len(losses)))
        found = self.probabilities(divide_mix_of().revise(self.CASES[:4], LAST), FIRST)
        assert [value for (value,) in found.values()] == pytest.approx([0, 0.33, 0.67, 1], abs=1e-6)

    def test_unlabelled_cases_are_left_alone(self):
        others = [case("none", 10, 1, quality=NONE), case("expert", 10, 1, quality=EXPERT)]
        revised = {each.case for each in divide_mix_of(1.0, 1.0).revise([*self.CASES, *others], LAST)}
        assert revised == {each.name for each in self.CASES} | {"expert"}

    def test_slices_are_judged_one_by_one(self):
        label, image = (torch.stack([getattr(each, name) for each in self.CASES], -1) for name in ("given", "image"))
        scan = CaseInMemory("scan", image, label, sliced=True)
        revisions = list(divide_mix_of(1.0, 1.0).revise([scan], LAST))
        assert len(revisions) == 2
        assert all(value == [1.0] * 7 + [0.0] * 7 for revision in revisions for value in revision.values.values())

    def test_a_few_cases_are_all_trusted(self):
        revisions = list(divide_mix_of(1.0, 1.0).revise(self.CASES[5:9], LAST))
        assert set(map(tuple, self.probabilities(revisions, FIRST).values())) == {(1.0,)}


def test_both_networks_predict_unless_one_is_asked_for():
    image = torch.randn(1, 2, 3, 3)
    p, q = image.softmax(1), (-0.5 * image).softmax(1)
    assert_close(divide_mix_of().predict(image), (p + q) / 2)
    assert_close(divide_mix_of(prediction="second").predict(image), q)
