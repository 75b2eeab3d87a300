from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from refusals import raises
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.ramps import sigmoid_ramp
from segmend.methods import PLIL, Step
from segmend.methods.components.ema import follow_students
from segmend.methods.mixed import plil
from segmend.networks import Network, SegResNet, VNet

EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
LAST, MIDDLE = Step(100, 100), Step(50, 100)


class Transparent(Network):
    """Reads everything off the image, so that a test can write down logits, features and their randomness.

    The channels of the image are: logits, what each further stochastic pass adds to them, one feature for
    each of three scales, and what each further pass adds to these.
    """

    decoder_scales = ("coarse", "middle", "fine")

    def __init__(self, in_channels: int = 10, classes: int = 2, dimensions: int = 1, *, pooled: bool = False) -> None:
        super().__init__()
        self.classes = classes
        self.gain = nn.Parameter(torch.ones(()))
        pool = [nn.Identity, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d][dimensions * pooled]
        self.coarse, self.middle, self.fine = pool(4), pool(2), nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        return self.stochastic_passes(image, 1)

    def stochastic_passes(self, image: Tensor, passes: int) -> Tensor:
        turn = torch.arange(passes).repeat_interleave(len(image)).view(-1, *[1] * (image.ndim - 1))
        parts = image.repeat(passes, *[1] * (image.ndim - 1)).split([self.classes, self.classes, 3, 3], dim=1)
        logits, logits_change, features, features_change = parts
        features = features + turn * features_change
        for channel, scale in enumerate((self.coarse, self.middle, self.fine)):
            scale(features[:, channel : channel + 1])
        return self.gain * (logits + turn * logits_change)


def scan(
    probabilities: list[list[float]] | list[float],
    features: list[list[float]] | list[float],
    logits_change: list[list[float]] | None = None,
    features_change: float = 0.0,
) -> Tensor:
    """An image ``[1, channels, voxels]`` for ``Transparent``: rows are voxels, then classes or scales."""
    p = torch.tensor(probabilities)
    p = torch.stack([1 - p, p], dim=1) if p.ndim == 1 else p
    f = torch.tensor(features)
    f = f.unsqueeze(1).expand(-1, 3) if f.ndim == 1 else f
    change = torch.zeros_like(p) if logits_change is None else torch.tensor(logits_change)
    return torch.cat([p.log(), change, f, torch.full_like(f, features_change)], dim=1).T.unsqueeze(0)


def isolated(image: Tensor, label: list[int], classes: int = 2, **arguments: Any) -> list[bool]:
    method = PLIL(Transparent(classes=classes), **({"passes": 2} | arguments))
    return method.isolate(image, torch.tensor([label])).squeeze(0).tolist()


def batch(image: Tensor, label: Tensor, *quality: Quality) -> Batch:
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


class TestIsolation:
    def test_the_example_worked_by_hand(self):
        # Nothing is trusted, so all voxels predicted as a class make its prototype: 4.4 and 0.470588.
        image = scan([0.1, 0.2, 0.9, 0.6], [0.0, 1.0, 4.0, 5.0])
        assert isolated(image, [0, 1, 1, 0]) == [True, False, True, False]
        assert isolated(image, [0, 1, 1, 0], voting=False) == [True, False, True, False]

    def test_only_trusted_voxels_make_the_prototypes(self):
        image = scan([0.001, 0.001, 0.999, 0.999, 0.6], [0.0, 3.0, 4.0, 4.0, 100.0])
        # Trusted prototypes are 1.5 and 4; with the last voxel the object's would be 26.2.
        assert isolated(image, [0, 1, 1, 1, 1]) == [True, True, True, True, True]
        assert isolated(image, [0, 1, 1, 1, 1], threshold=1.01) == [True, False, False, False, True]

    @pytest.mark.parametrize(("probability", "trusted"), [(0.9880, True), (0.9860, False)])
    def test_trust_begins_at_a_probability_of_0_98701(self, probability, trusted):
        image = scan([0.001, 0.001, 0.999, 0.999, probability], [0.0, 0.0, 4.0, 4.0, 100.0])
        # With the last voxel, the object's prototype is about 36 and the background is nearer to 4.
        assert isolated(image, [0, 0, 1, 1, 1])[2] is not trusted

    def test_a_class_without_trusted_voxels_falls_back_to_all_predicted_ones(self):
        image = scan([0.001, 0.001, 0.3, 0.6, 0.6, 0.6], [0.0, 0.0, 50.0, 8.0, 10.0, 12.0])
        # The object's prototype is 10; the background keeps its trusted one, 0, and not 12.96 with the third voxel.
        assert isolated(image, [0, 0, 0, 1, 1, 1]) == [True, True, False, True, True, True]
        assert isolated(image, [1, 1, 1, 0, 0, 0]) == [False, False, True, False, False, False]

    def test_a_single_voxel_is_not_enough_trust(self):
        image = scan([0.001, 0.001, 0.999, 0.6, 0.6], [0.0, 0.0, 4.0, 20.0, 20.0])
        # 0.999 is less than one voxel: the prototype is that of all three, 12.7, so 4 is nearer to the background.
        assert isolated(image, [0, 0, 1, 1, 1]) == [True, True, False, True, True]

    def test_a_sample_with_fewer_than_two_classes_is_noisy_throughout(self):
        without = scan([0.001, 0.001, 0.001, 0.9], [0.0, 0.0, 4.0, 4.0])
        sound = scan([0.001, 0.001, 0.999, 0.999], [0.0, 0.0, 4.0, 4.0])
        label = torch.tensor([[0, 0, 1, 1]] * 3)
        clean = PLIL(Transparent(), passes=2).isolate(torch.cat([sound, without, sound]), label)
        assert clean.all(1).tolist() == [True, False, True]
        assert not clean[1].any()

    def test_a_label_without_the_object_is_clean_near_the_background(self):
        image = scan([0.001, 0.001, 0.999, 0.999], [0.0, 1.0, 3.0, 4.0])
        assert isolated(image, [0, 0, 0, 0]) == [True, True, False, False]

    def test_ties_and_unknown_voxels_are_noisy(self):
        flat = scan([0.001, 0.001, 0.999, 0.999], [2.0, 2.0, 2.0, 2.0])
        assert isolated(flat, [0, 1, 0, 1]) == [False] * 4
        image = scan([0.001, 0.001, 0.999, 0.999], [0.0, 0.0, 4.0, 4.0])
        assert isolated(image, [0, IGNORE, 1, IGNORE]) == [True, False, True, False]

    def test_three_classes_compete(self):
        one_of = {0: [0.998, 0.001, 0.001], 1: [0.001, 0.998, 0.001], 2: [0.001, 0.001, 0.998]}
        image = scan([one_of[cls] for cls in (0, 0, 1, 1, 2, 2)], [0.0, 0.0, 4.0, 4.0, 10.0, 10.0])
        assert isolated(image, [0, 0, 1, 1, 2, 2], classes=3) == [True] * 6
        assert isolated(image, [1, 2, 2, 0, 0, 1], classes=3) == [False] * 6

    def test_of_three_classes_one_that_is_missing_is_never_clean_and_never_competes(self):
        one_of = {0: [0.998, 0.001, 0.001], 2: [0.001, 0.001, 0.998]}
        # A prototype of the missing class would be 0 and so the nearest to all of these.
        image = scan([one_of[cls] for cls in (0, 0, 2, 2)], [1.0, 1.0, 4.0, 4.0])
        assert isolated(image, [0, 0, 2, 2], classes=3) == [True] * 4
        assert isolated(image, [1, 1, 1, 1], classes=3) == [False] * 4

    def test_two_of_three_scales_decide(self):
        apart, turned = [0.0, 0.0, 4.0, 4.0], [0.0, 4.0, 0.0, 4.0]
        for scales, clean in [
            ((apart, turned, apart), True),
            ((apart, turned, turned), False),
            ((turned, apart, turned), False),
            ((turned, apart, apart), True),
        ]:
            image = scan([0.001, 0.001, 0.999, 0.999], torch.tensor(scales).T.tolist())
            # In the turned scale both prototypes lie at 2, so that it says noisy everywhere.
            assert isolated(image, [0, 0, 1, 1]) == [clean] * 4

    def test_without_voting_the_last_scale_but_one_decides(self):
        apart, turned = [0.0, 0.0, 4.0, 4.0], [0.0, 4.0, 0.0, 4.0]
        for scales, clean in [((turned, apart, turned), True), ((apart, turned, apart), False)]:
            image = scan([0.001, 0.001, 0.999, 0.999], torch.tensor(scales).T.tolist())
            assert isolated(image, [0, 0, 1, 1], voting=False) == [clean] * 4

    def test_named_features_replace_the_networks_own(self):
        apart, turned = [0.0, 0.0, 4.0, 4.0], [0.0, 4.0, 0.0, 4.0]
        image = scan([0.001, 0.001, 0.999, 0.999], torch.tensor([turned, turned, apart]).T.tolist())
        assert isolated(image, [0, 0, 1, 1], features=("fine",)) == [True] * 4
        assert isolated(image, [0, 0, 1, 1], features=("fine",), voting=False) == [True] * 4
        assert isolated(image, [0, 0, 1, 1], features=("coarse",)) == [False] * 4

    def test_the_prediction_is_the_mean_of_the_passes(self):
        # The last voxel's object logit falls from pass to pass: sure alone, unsure on average.
        steady, falling = [0.0, 0.0], [0.0, -6.0]
        change = [steady, steady, steady, steady, falling]
        image = scan([0.001, 0.001, 0.999, 0.999, 0.999], [0.0, 0.0, 4.0, 4.0, 100.0], change)
        assert isolated(image, [0, 0, 1, 1, 1], passes=1) == [True, True, False, False, True]
        assert isolated(image, [0, 0, 1, 1, 1], passes=3) == [True] * 5

    def test_features_are_means_of_the_passes(self):
        image = scan([0.001, 0.001, 0.999, 0.999], [0.0, 0.0, 4.0, 4.0])
        image[0, -3:, 1] = 4.0  # passes 0, 1, 2 put the second voxel at 0, 4, 8
        assert isolated(image, [0, 0, 1, 1], passes=1)[1] is True
        assert isolated(image, [0, 0, 1, 1], passes=3)[1] is False

    def test_asks_the_teacher(self):
        method = PLIL(Transparent(), passes=2)
        image, label = scan([0.001, 0.001, 0.999, 0.999], [0.0, 0.0, 4.0, 4.0]), torch.tensor([[0, 0, 1, 1]])
        with torch.no_grad():
            method.network.gain.fill_(0.0)  # the student is at a loss
        assert method.isolate(image, label).all()
        with torch.no_grad():
            method.teacher.network.gain.fill_(0.0)
        assert not method.isolate(image, label).any()


class TestSpread:
    """The public code's uncertainty, with the behaviour that comes with it."""

    # Two sure voxels of each class, and a doubtful one whose feature shows which prototype it went into.
    def image(self, object_probability: float, change: list[float]) -> Tensor:
        probabilities = [0.001, 0.001, 0.999, 0.999, object_probability]
        return scan(probabilities, [0.0, 0.0, 4.0, 4.0, 100.0], [[0.0, 0.0]] * 4 + [change])

    @pytest.mark.parametrize(
        ("object_probability", "change", "joins"),
        [
            (0.6, [0.0, 0.0], "object"),
            (0.4, [0.0, 0.0], "background"),
            (0.6, [5.0, 5.0], "background"),  # no channel is sure
            (0.6, [0.0, 5.0], "background"),  # the winner is not sure, so the other class takes it
            (0.4, [5.0, 0.0], "object"),
            (0.6, [5.0, 0.0], "object"),
        ],
    )
    def test_where_doubtful_voxels_go(self, object_probability, change, joins):
        clean = isolated(self.image(object_probability, change), [0, 0, 1, 1, 1], uncertainty="spread")
        # In the object's prototype, 20 or more, it makes 4 look like background. In the background's, 16 or
        # more, it makes 0 look like the object.
        assert clean[:4] == ([True, True, False, False] if joins == "object" else [False, False, True, True])

    def test_the_threshold_is_that_of_the_spread(self):
        # sigmoid(z / 2) goes from 0.5505 to about 0.69 in the second pass: a spread of 0.1.
        image = self.image(0.6, [0.0, 0.0])
        p, later = torch.sigmoid(torch.tensor(math.log(0.6) / 2)).item(), 2 * math.log(0.6 / 0.4)
        spread = abs(torch.sigmoid(torch.tensor(math.log(0.6) + later) / 2).item() - p) / math.sqrt(2)
        image[0, 3, 4] = later
        below = isolated(image, [0, 0, 1, 1, 1], uncertainty="spread", threshold=spread + 0.01)
        above = isolated(image, [0, 0, 1, 1, 1], uncertainty="spread", threshold=spread - 0.01)
        assert (below[2], above[2]) == (False, True)

    def test_the_entropy_would_have_left_doubtful_voxels_out(self):
        assert isolated(self.image(0.6, [5.0, 5.0]), [0, 0, 1, 1, 1], uncertainty="entropy")[:4] == [True] * 4


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dimensions", [2, 3])
def test_isolation_is_what_the_paper_says_voxel_by_voxel(dimensions, seed):
    """Against the plain computation: features upsampled first, one item, class and scale after the other."""
    random = torch.Generator().manual_seed(seed)
    classes, size = 3, [8] * dimensions
    network = Transparent(classes=classes, dimensions=dimensions, pooled=True)
    image = torch.randn(2, 2 * classes + 6, *size, generator=random)
    image[:, :classes] *= 6
    image[1, 2] = -50.0  # the third class is missing from the second item
    label = torch.randint(0, classes, (2, *size), generator=random)
    clean = PLIL(network, passes=3).isolate(image, label)
    mode = {2: "bilinear", 3: "trilinear"}[dimensions]
    for item in range(2):
        logits, change, features, wobble = image[item].split([classes, classes, 3, 3])
        mean = sum((logits + turn * change).softmax(0) for turn in range(3)) / 3
        entropy = -(mean * mean.clamp(min=1e-12).log()).sum(0) / math.log(classes)
        votes = torch.zeros(size)
        for scale, factor in enumerate((4, 2, 1)):
            one = (features + wobble)[None, scale : scale + 1]  # the mean of passes 0, 1 and 2
            pooled = (F.avg_pool2d if dimensions == 2 else F.avg_pool3d)(one, factor)
            fine = F.interpolate(pooled, size=size, mode=mode, align_corners=False)[0, 0]
            distances = []
            for cls in range(classes):
                predicted = mean.argmax(0) == cls
                trusted = predicted & (entropy < 0.1)
                weight = mean[cls] * (trusted if (mean[cls] * trusted).sum() >= 1 else predicted)
                found = weight.sum() >= 1
                prototype = (weight * fine).sum() / weight.sum()
                distances.append((fine - prototype).square() if found else torch.full(size, torch.inf))
            votes += torch.stack(distances).argmin(0) == label[item]
        assert torch.equal(clean[item], votes >= 2)
    assert 0.1 < clean.float().mean() < 0.9


class TestTerms:
    @pytest.fixture
    def image(self):
        return scan([0.3, 0.8, 0.6, 0.1], [0.0, 1.0, 4.0, 5.0])

    def terms(self, monkeypatch, image, label, clean, step=LAST, **arguments) -> dict[str, Tensor]:
        """Of one noisy sample of which the voxels in ``clean`` are believed."""
        method = PLIL(Transparent(), **arguments)
        monkeypatch.setattr(method, "isolate", lambda *_: torch.tensor([clean], dtype=torch.bool))
        return method.loss(batch(image, torch.tensor([label]), NOISY), step)

    @pytest.mark.parametrize(("masked", "dice"), [(True, 0.061188), (False, 0.171566)])
    def test_clean_voxels_by_hand(self, monkeypatch, image, masked, dice):
        terms = self.terms(monkeypatch, image, [0, 1, 1, 0], [1, 1, 0, 1], mask_dice_target=masked)
        assert terms["clean"].item() == pytest.approx((0.228393 + dice) / 2, abs=1e-6)

    def test_if_all_are_clean_the_loss_is_the_ordinary_one(self, monkeypatch, image):
        terms = self.terms(monkeypatch, image, [0, 1, 1, 0], [1, 1, 1, 1])
        assert_close(terms["clean"], cross_entropy_dice(image[:, :2], torch.tensor([[0, 1, 1, 0]])))
        assert terms["stable"].item() == 0

    def test_if_none_is_clean_it_is_zero(self, monkeypatch, image):
        terms = self.terms(monkeypatch, image, [0, 1, 1, 0], [0, 0, 0, 0])
        assert terms["clean"].item() == 0
        assert 0 < terms["stable"].item() < 1
        terms["clean"].backward()

    @pytest.mark.parametrize(("kind", "compared"), [("softmax", lambda z: z.softmax(1)), ("logits", lambda z: z)])
    def test_stability_is_the_mean_over_noisy_voxels(self, monkeypatch, image, kind, compared):
        monkeypatch.setattr(
            plil, "clipped_gaussian", lambda image: image + torch.tensor([1.0, 0, 0]).repeat(4)[:10, None]
        )
        terms = self.terms(monkeypatch, image, [0, 1, 1, 0], [1, 0, 0, 1], stability_loss=kind, beta=0.5)
        student, teacher = image[:, :2], image[:, :2] + torch.tensor([1.0, 0.0]).view(2, 1)
        squares = (compared(student) - compared(teacher)).square().mean(1)
        assert_close(terms["stable"], 0.5 * squares[0, 1:3].mean())

    @pytest.mark.parametrize("kind", ["softmax", "logits"])
    def test_stability_pulls_only_where_the_label_is_noisy(self, monkeypatch, image, kind):
        image.requires_grad_()
        clean = [1, 0, 1, 0]
        torch.manual_seed(0)
        self.terms(monkeypatch, image, [0, 1, 1, 0], clean, stability_loss=kind)["stable"].backward()
        pull = image.grad[0, :2].abs().sum(0)
        assert (pull == 0).tolist() == [True, False, True, False]

    def test_a_perturbed_student_sees_noise_of_its_own(self, monkeypatch, image):
        seen = []
        monkeypatch.setattr(plil, "clipped_gaussian", lambda image: seen.append(image) or image + len(seen))
        self.terms(monkeypatch, image, [0, 1, 1, 0], [0, 0, 0, 0])
        assert len(seen) == 1
        # Softmax is blind to the shift, logits are not: the second pass is shifted one further.
        terms = self.terms(
            monkeypatch, image, [0] * 4, [0] * 4, perturb_student=True, stability_loss="logits", beta=1.0
        )
        assert len(seen) == 3
        assert terms["stable"].item() == pytest.approx(1, rel=1e-5)

    @pytest.mark.parametrize(("step", "stairs", "length"), [(Step(0, 8000), 0, 1.0), (Step(2100, 8000), 40, 0.75)])
    def test_both_rise_with_the_ramp(self, monkeypatch, image, step, stairs, length):
        arguments = {"ramp_stairs": stairs, "ramp_length": length}
        scenes = []
        for at in (step, Step(8000, 8000)):
            torch.manual_seed(0)
            scenes.append(self.terms(monkeypatch, image, [0, 1, 1, 0], [1, 1, 0, 0], at, **arguments))
        ramp = sigmoid_ramp(step.progress, length, stairs)
        for name in ("clean", "stable"):
            assert_close(scenes[0][name], ramp * scenes[1][name])


def samples(*quality: Quality) -> Batch:
    """Noisy discs with labels that are too large."""
    random = torch.Generator().manual_seed(0)
    x, y = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    distance = ((x - 16) ** 2 + (y - 14) ** 2).sqrt()
    image = 2.0 * (distance < 7).float() + 0.5 * torch.randn(len(quality), 1, 32, 32, generator=random)
    label = (distance < 10).long().repeat(len(quality), 1, 1)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    return batch(image, label, *quality)


@pytest.fixture(scope="module")
def network() -> VNet:
    """One that has seen enough to predict both classes."""
    torch.manual_seed(0)
    network, experts = VNet(1, 2, 2, width=4), samples(EXPERT, EXPERT)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(12):
        optimiser.zero_grad()
        cross_entropy_dice(network(experts.image), experts.label).backward()
        optimiser.step()
    return network


@pytest.fixture
def on_samples(network) -> Callable[..., dict[str, float]]:
    """The loss terms of some samples in the middle of a run."""

    def terms(data: Batch, **arguments: Any) -> dict[str, float]:
        method = PLIL(copy.deepcopy(network), **arguments)
        torch.manual_seed(1)
        return {name: term.item() for name, term in method.loss(data, MIDDLE).items()}

    return terms


class TestSwitches:
    """Each changes what it says, and nothing else."""

    BOTH = samples(EXPERT, NOISY, EXPERT, NOISY)

    def test_by_default_there_are_three_terms(self, on_samples):
        assert set(on_samples(self.BOTH)) == {"expert", "clean", "stable"}

    @pytest.mark.parametrize(
        ("arguments", "changed", "gone"),
        [
            ({"passes": 3}, {"clean", "stable"}, set()),
            ({"uncertainty": "spread"}, {"clean", "stable"}, set()),
            ({"threshold": 0.9}, {"clean", "stable"}, set()),
            ({"voting": False}, {"clean", "stable"}, set()),
            ({"features": ("x9",)}, {"clean", "stable"}, set()),
            ({"clean_voxel_loss": False}, set(), {"clean"}),
            ({"stability_loss": "none"}, set(), {"stable"}),
            ({"stability_loss": "logits"}, {"stable"}, set()),
            ({"perturb_student": True}, {"stable"}, set()),
            ({"beta": 0.3}, {"stable"}, set()),
            ({"mask_dice_target": False}, {"clean"}, set()),
            ({"ramp_length": 0.5}, {"clean", "stable"}, set()),
            ({"ramp_stairs": 3}, {"clean", "stable"}, set()),
            ({"decay": 0.5}, set(), set()),
            ({"warm_up": 0.4}, set(), set()),  # it is over by the middle of the run
            ({"warm_up": 0.6}, {"clean", "stable"}, set()),
        ],
        ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
    )
    def test_terms(self, on_samples, arguments, changed, gone):
        usual, other = on_samples(self.BOTH), on_samples(self.BOTH, **arguments)
        assert set(usual) - set(other) == gone
        differ = {name for name in other if other[name] != pytest.approx(usual[name], rel=1e-6)}
        assert differ == changed

    def test_every_label_is_believed_while_warming_up(self, on_samples):
        warming, over = on_samples(self.BOTH, warm_up=0.51), on_samples(self.BOTH, warm_up=0.5)
        everything_clean = on_samples(self.BOTH, warm_up=1.0)
        assert warming == everything_clean
        assert warming["stable"] == 0
        assert warming["clean"] > over["clean"] > 0
        assert over["stable"] > 0

    def test_beta_scales(self, on_samples):
        usual, other = on_samples(self.BOTH), on_samples(self.BOTH, beta=0.3)
        assert other["stable"] == pytest.approx(3 * usual["stable"])

    def test_unknown_quality_treats_all_samples_as_noisy(self, on_samples):
        all_noisy = samples(NOISY, NOISY, NOISY, NOISY)
        assert on_samples(self.BOTH, quality_known=False) == on_samples(all_noisy)
        assert set(on_samples(all_noisy)) == {"clean", "stable"}

    def test_unknown_quality_draws_all_labels_alike(self):
        network = VNet(1, 2, 2, width=2)
        assert PLIL(network, quality_known=False).needs == Composition(any_labelled=4)
        assert PLIL(network).needs == PLIL.needs == Composition(expert=2, noisy=2)

    def test_decay_is_the_teachers(self):
        method = PLIL(Transparent(), decay=0.75)
        with torch.no_grad():
            method.network.gain.fill_(5.0)
        follow_students(method, 50)
        assert method.teacher.network.gain.item() == pytest.approx(2)

    def test_a_network_without_named_features_must_be_told_them(self):
        network = SegResNet(1, 2, 2, init_filters=8)
        with raises("missing-value", "network SegResNet", match="decoder features"):
            PLIL(network)
        PLIL(network, features=("net.up_layers.1", "net.up_layers.2"))


class TestSamples:
    def test_expert_labels_are_believed_whole(self):
        torch.manual_seed(0)
        method, experts = PLIL(VNet(1, 2, 2, width=4, dropout_rate=0.0)), samples(EXPERT, EXPERT)
        terms = method.loss(experts, LAST)
        assert set(terms) == {"expert"}
        assert_close(terms["expert"], cross_entropy_dice(method.network(experts.image), experts.label))

    def test_unlabelled_samples_are_kept_stable_and_nothing_else(self, on_samples):
        alone = on_samples(samples(NONE, NONE))
        assert alone["clean"] == 0
        assert alone["stable"] > 0

    def test_the_student_sees_the_whole_batch_in_one_pass(self):
        passes = []
        method = PLIL(VNet(1, 2, 2, width=2))
        method.network.register_forward_hook(lambda _module, inputs, _output: passes.append(len(inputs[0])))
        method.loss(samples(EXPERT, NOISY, EXPERT, NOISY), MIDDLE)
        assert passes == [4]

    def test_the_teacher_builds_no_graph(self):
        method = PLIL(VNet(1, 2, 2, width=2))
        data = samples(EXPERT, NOISY, EXPERT, NOISY)
        sum(method.loss(data, MIDDLE).values()).backward()
        assert all(parameter.grad is None for parameter in method.teacher.parameters())
        assert not method.isolate(data.image, data.label).requires_grad
