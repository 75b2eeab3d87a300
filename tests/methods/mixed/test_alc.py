from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods import ALC, Step
from segmend.methods.components import ema
from segmend.methods.components.ema import follow_students
from segmend.methods.mixed.alc import Refined
from segmend.networks import Network, UNet, VNet

EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
FIRST, MIDDLE, LAST = Step(0, 100), Step(50, 100), Step(100, 100)


class Scripted(Network):
    """Each channel of the image is the logit of one class in one pass; the next pass takes the next ones."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.classes, self.passes = classes, 0

    def forward(self, image: Tensor) -> Tensor:
        each = image.split(self.classes, dim=1)
        self.passes += 1
        return self.gain * each[(self.passes - 1) % len(each)]


def scan(*passes: list[list[float]]) -> Tensor:
    """The image ``[1, passes * C, voxels]`` of probabilities: for each pass one list a voxel."""
    return torch.cat([torch.tensor(probabilities).log().T for probabilities in passes]).unsqueeze(0)


def refined(image: Tensor, passes: int, **arguments: Any) -> Refined:
    return ALC(Scripted(), passes=passes, noise=0.0, **arguments).refine(image)


class TestRefinement:
    def test_by_hand(self):
        # One voxel, two passes: the mean is (.7, .3) and each class is 0.2 away from it.
        result = refined(scan([[0.9, 0.1]], [[0.5, 0.5]]), 2)
        assert result.label.tolist() == [[0]]
        assert_close(result.mean, torch.tensor([[[0.7], [0.3]]]))
        assert_close(result.uncertainty, torch.tensor([0.04]))

    def test_can_overrule_the_mean(self):
        # The mean is (.507, .493), the fusion (.369, .631), because the first pass lies furthest off.
        image = scan([[0.98, 0.02]], [[0.27, 0.73]], [[0.27, 0.73]])
        assert refined(image, 3).label.item() == 1
        assert refined(image, 3, refinement=False).label.item() == 0

    def test_without_it_nothing_but_the_label_changes(self):
        image = scan([[0.98, 0.02]], [[0.27, 0.73]], [[0.27, 0.73]])
        fused, plain = refined(image, 3), refined(image, 3, refinement=False)
        assert_close(fused.mean, plain.mean)
        assert_close(fused.uncertainty, plain.uncertainty)

    def test_equal_passes_are_certain(self):
        one = [[0.2, 0.8], [0.9, 0.1]]
        result = refined(scan(one, one, one), 3)
        assert result.label.tolist() == [[1, 0]]
        assert_close(result.mean, torch.tensor(one).T.unsqueeze(0))
        assert_close(result.uncertainty, torch.zeros(1))

    def test_uncertainty_is_a_mean_over_voxels(self):
        image = scan([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], [[0.5, 0.5], [0.6, 0.4], [0.6, 0.4]])
        assert_close(refined(image, 2).uncertainty, torch.tensor([0.04 / 3]))

    @pytest.mark.parametrize(("objects", "share"), [([0.9, 0.9, 0.1, 0.1], 0.5), ([0.1] * 4, 0.25)])
    def test_uncertainty_may_be_divided_by_the_share_of_the_object(self, objects, share):
        # Where there is no object, it counts as one voxel.
        image = scan(*[[[1 - p - change, p + change] for p in objects] for change in (0.0, 0.08)])
        assert_close(refined(image, 2).uncertainty, torch.tensor([0.0016]))
        assert_close(refined(image, 2, normalise_uncertainty=True).uncertainty, torch.tensor([0.0016 / share]))

    def test_samples_do_not_mix(self):
        images = [scan([[0.9, 0.1]], [[0.5, 0.5]]), scan([[0.3, 0.7]], [[0.1, 0.9]]), scan([[0.5, 0.5]], [[0.6, 0.4]])]
        together, alone = refined(torch.cat(images), 2), [refined(image, 2) for image in images]
        for name in Refined._fields:
            assert_close(getattr(together, name), torch.cat([getattr(each, name) for each in alone]))

    def test_three_classes(self):
        method = ALC(Scripted(classes=3), passes=2, noise=0.0)
        result = method.refine(scan([[0.6, 0.3, 0.1]], [[0.2, 0.3, 0.5]]))
        assert result.mean.shape == (1, 3, 1)
        assert_close(result.uncertainty, torch.tensor([0.08 / 3]))

    def test_asks_the_teacher(self):
        method, image = ALC(Scripted(), passes=4, noise=0.0), scan([[0.9, 0.1]])
        with torch.no_grad():
            method.network.gain.zero_()
        assert_close(method.refine(image).mean, torch.tensor([[[0.9], [0.1]]]))
        assert (method.network.passes, method.teacher.network.passes) == (0, 4)

    def test_passes_have_noise(self):
        method, image = ALC(Scripted()), torch.randn(2, 2, 5)
        assert (method.refine(image).uncertainty > 0).all()
        method.noise = 0.0
        assert not method.refine(image).uncertainty.any()

    def test_passes_have_dropout(self):
        torch.manual_seed(0)
        method, image = ALC(VNet(1, 2, 2, width=4), noise=0.0), torch.randn(2, 1, 32, 32)
        assert (method.refine(image).uncertainty > 0).all()


COUNT = 8
IMAGE = torch.randn(COUNT + 1, 2, 5, generator=torch.Generator().manual_seed(0))  # one expert sample, then noisy ones
LABEL = torch.randint(0, 2, (COUNT + 1, 5), generator=torch.Generator().manual_seed(1))
TEACHER = Refined(
    torch.randint(0, 2, (COUNT, 5), generator=torch.Generator().manual_seed(2)),
    torch.randn(COUNT, 2, 5, generator=torch.Generator().manual_seed(3)).softmax(1),
    torch.tensor([3.0, 0.0, 6.0, 1.0, 7.0, 2.0, 5.0, 4.0]),
)
CERTAIN, OTHERS = [2, 4, 6, 1], [3, 5, 7, 8]  # rows of the batch, whose order does not matter


@pytest.fixture
def terms(monkeypatch):
    """Values of the loss terms, with what the teacher says written down above."""

    def compute(step: Step = LAST, **arguments: Any) -> dict[str, float]:
        monkeypatch.setattr(ALC, "refine", lambda *_: TEACHER)
        batch = Batch(IMAGE, LABEL, (EXPERT, *[NOISY] * COUNT), tuple(map(str, range(COUNT + 1))))
        return {name: term.item() for name, term in ALC(Scripted(), **arguments).loss(batch, step).items()}

    return compute


def supervised(rows: list[int], label: Tensor) -> float:
    return cross_entropy_dice(IMAGE[rows], label[rows]).item()


REFINED = torch.cat([LABEL[:1], TEACHER.label])


class TestTerms:
    def test_the_most_certain_half_learns_refined_labels_the_others_the_given_ones(self, terms):
        every = terms()
        assert set(every) == {"expert", "selected", "noisy", "consistency"}
        assert every["expert"] == pytest.approx(supervised([0], LABEL))
        assert every["selected"] == pytest.approx(3 * supervised(CERTAIN, REFINED))
        assert every["noisy"] == pytest.approx(2 * supervised(OTHERS, LABEL))
        assert every["consistency"] == pytest.approx((IMAGE[1:].softmax(1) - TEACHER.mean).square().mean().item())

    def test_at_the_start_all_but_the_expert_term_are_small(self, terms):
        first, last = terms(FIRST), terms()
        assert first.pop("expert") == last.pop("expert")
        assert first == pytest.approx({name: 0.006738 * value for name, value in last.items()}, rel=1e-4)

    @pytest.mark.parametrize(
        ("k", "selected"), [(0.0, 0), (0.05, 0), (0.25, 2), (0.3, 2), (0.5, 4), (0.7, 6), (0.99, 8), (1.0, 8)]
    )
    def test_k_is_a_share(self, terms, k, selected):
        order = (1 + TEACHER.uncertainty.argsort()).tolist()
        every = terms(k=k)
        for name, rows, label, weight in [
            ("selected", order[:selected], REFINED, 3),
            ("noisy", order[selected:], LABEL, 2),
        ]:
            assert (name in every) is bool(rows)
            assert not rows or every[name] == pytest.approx(weight * supervised(rows, label))

    def test_of_twenty_samples_ten_are_selected(self, monkeypatch):
        uncertainty = torch.arange(20.0)
        teacher = Refined(torch.zeros(20, 5, dtype=torch.long), torch.full((20, 2, 5), 0.5), uncertainty)
        monkeypatch.setattr(ALC, "refine", lambda *_: teacher)
        image = torch.randn(20, 2, 5, requires_grad=True)
        batch = Batch(image, torch.ones(20, 5, dtype=torch.long), (NOISY,) * 20, tuple(map(str, range(20))))
        (gradient,) = torch.autograd.grad(ALC(Scripted()).loss(batch, LAST)["selected"], image)
        assert gradient.flatten(1).any(1).tolist() == [True] * 10 + [False] * 10

    def test_two_equal_networks_are_consistent(self):
        method = ALC(UNet(1, 2, 2, width=2, stages=2), noise=0.0).eval()
        assert method.loss(samples(NOISY, NOISY), LAST)["consistency"].item() == pytest.approx(0, abs=1e-12)


class TestSwitches:
    @pytest.mark.parametrize(
        ("arguments", "changed"),
        [
            ({"alpha": 1.5}, {"selected": 1.5 * supervised(CERTAIN, REFINED)}),
            ({"beta": 0.5}, {"noisy": 0.5 * supervised(OTHERS, LABEL)}),
            ({"noisy_target": "refined"}, {"noisy": 2 * supervised(OTHERS, REFINED)}),
            ({"selection": False}, {"selected": 3 * supervised([*CERTAIN, *OTHERS], REFINED), "noisy": None}),
            ({"selection": False, "k": 0.1}, {"selected": 3 * supervised([*CERTAIN, *OTHERS], REFINED), "noisy": None}),
        ],
        ids=str,
    )
    def test_each_changes_what_it_says_and_nothing_else(self, terms, arguments, changed):
        expected = terms() | changed
        assert terms(**arguments) == pytest.approx(
            {name: value for name, value in expected.items() if value is not None}
        )

    @pytest.mark.parametrize("length", [0.5, 0.8, 1.0])
    def test_ramp(self, terms, length):
        full, half = terms(), terms(MIDDLE, ramp_length=length)
        assert half.pop("expert") == full.pop("expert")
        ramp = sigmoid_ramp(0.5, length)
        assert half == pytest.approx({name: ramp * value for name, value in full.items()})

    def test_decay(self):
        method = ALC(Scripted(), decay=0.75)
        with torch.no_grad():
            method.network.gain.fill_(5.0)
        follow_students(method, 50)
        assert method.teacher.network.gain.item() == pytest.approx(2)

    def test_a_batch_is_the_papers(self):
        assert ALC.needs == Composition(expert=4, noisy=20)


def samples(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 1, 16, 16, generator=random)
    label = torch.randint(0, 2, (len(quality), 16, 16), generator=random)
    for row, each in enumerate(quality):
        image[row] *= 1 + row  # each is passed with its own uncertainty
        label[row] = IGNORE if each is NONE else label[row]
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


@pytest.fixture
def even_noise(monkeypatch):
    """In place of noise, every second pass sees a brighter image, whatever its place in the batch."""
    turns = itertools.cycle([1.0, 1.5])
    monkeypatch.setattr(ema, "clipped_gaussian", lambda image, _sd: next(turns) * image)


class TestSamples:
    @pytest.fixture
    def method(self) -> ALC:
        torch.manual_seed(0)
        return ALC(UNet(1, 2, 2, width=2, stages=2), passes=2)

    @pytest.mark.parametrize(
        ("quality", "expected"),
        [
            ((EXPERT, EXPERT), {"expert"}),
            ((EXPERT, NONE), {"expert"}),
            ((NOISY, NOISY), {"selected", "noisy", "consistency"}),
            ((EXPERT, NOISY), {"expert", "noisy", "consistency"}),  # half of one is none
        ],
    )
    def test_any_may_be_absent(self, method, quality, expected):
        loss = method.loss(samples(*quality), LAST)
        assert set(loss) == expected
        sum(loss.values()).backward()

    def test_the_teacher_passes_the_noisy_ones_before_the_student_passes_all(self, method):
        passed = []
        for name, network in [("teacher", method.teacher.network), ("student", method.network)]:
            network.register_forward_hook(
                lambda _module, inputs, _output, name=name: passed.append((name, len(inputs[0])))
            )
        method.loss(samples(EXPERT, NOISY, NONE, NOISY, NOISY), LAST)
        assert passed == [("teacher", 3)] * 2 + [("student", 5)]

    def test_their_order_does_not_matter(self, method, even_noise):
        given, order = samples(EXPERT, NOISY, NOISY, NOISY, NOISY), [0, 3, 1, 4, 2]
        turned = Batch(given.image[order], given.label[order], given.quality, given.cases)
        assert_close(method.loss(turned, LAST), method.loss(given, LAST))

    def test_the_teacher_builds_no_graph(self, method):
        data = samples(EXPERT, NOISY, NOISY)
        sum(method.loss(data, LAST).values()).backward()
        assert all(parameter.grad is None for parameter in method.teacher.parameters())
        assert not any(each.requires_grad for each in method.refine(data.image.requires_grad_()))

    def test_a_label_of_nothing_teaches_nothing(self, method):
        given = samples(NOISY, NOISY)
        given.label.fill_(IGNORE)
        loss = method.loss(given, LAST)
        assert loss["noisy"].item() == 0
        assert loss["selected"].item() > 0


class TestChunks:
    BATCH = samples(EXPERT, *[NOISY] * 7)

    def method(self, **arguments: Any) -> ALC:
        torch.manual_seed(0)
        return ALC(UNet(1, 2, 2, width=2, stages=2), passes=2, noise=0.0, **arguments)

    @pytest.mark.parametrize("chunk", [1, 3, 8, 100])
    def test_without_batch_statistics_nothing_changes(self, even_noise, chunk):
        results = []
        for method in (self.method().eval(), self.method(chunk=chunk).eval()):
            terms = method.loss(self.BATCH, LAST)
            sum(terms.values()).backward()
            results.append((terms, [parameter.grad for parameter in method.network.parameters()]))
        assert_close(results[1], results[0])

    def test_no_more_samples_pass_at_a_time(self):
        method, passed = self.method(chunk=3), []
        for network in (method.teacher.network, method.network):
            network.register_forward_pre_hook(lambda _module, inputs: passed.append(len(inputs[0])))
        loss = sum(method.loss(self.BATCH, LAST).values())
        assert passed == [3, 3, 2, 2, 2, 2, 3, 3, 2]
        loss.backward()
        assert sorted(passed[9:]) == [2, 3, 3]

    def test_dropout_is_the_same_in_the_second_pass(self):
        torch.manual_seed(0)
        method = ALC(VNet(1, 2, 2, width=2), passes=1, chunk=2)
        given = samples(EXPERT, EXPERT)
        torch.manual_seed(1)
        method.loss(given, LAST)["expert"].backward()
        torch.manual_seed(1)
        expected = torch.autograd.grad(
            cross_entropy_dice(method.network(given.image), given.label), list(method.network.parameters())
        )
        assert_close([parameter.grad for parameter in method.network.parameters()], list(expected))


def test_the_printed_uncertainty_is_not_used():
    """Equation 7 as printed is ((m - 1) mean)^2 / m, which does not see whether passes agree."""
    agreeing, apart = scan([[0.7, 0.3]], [[0.7, 0.3]]), scan([[0.9, 0.1]], [[0.5, 0.5]])
    printed = [((2 - 1) * refined(image, 2).mean).square() / 2 for image in (agreeing, apart)]
    assert_close(printed[0], printed[1])
    assert_close(printed[1].flatten(), torch.tensor([0.245, 0.045]))
    assert refined(agreeing, 2).uncertainty < 1e-12 < refined(apart, 2).uncertainty
    assert math.isclose(refined(apart, 2).uncertainty.item(), 0.04, rel_tol=1e-5)
