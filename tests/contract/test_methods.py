"""What every method must do. A method is tested here because ``segmend.methods`` imports it; nothing else is needed."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.config import described, rebuilt
from segmend.core.masks import IGNORE
from segmend.core.regions import FIRST_SET
from segmend.functional.class_sets import class_sets
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.ramps import ema_decay
from segmend.functional.regions import dice_by_region
from segmend.methods import Method, Step, all_methods
from segmend.methods.components.ema import EMATeacher, follow_students
from segmend.networks import Network, PlannedUNet
from segmend.networks.blocks import channel_dropout, conv_blocks, convolution, doubling, halving

METHODS = all_methods()
OWN = {"OffsetCorrection"}
"""Methods that are of this project."""
LAYERS, MAPS, VALUES = (
    {name for cls in METHODS.values() for name in getattr(cls, kept)} for kept in ("layers", "maps", "values")
)
GRIDS = {2: (16, 16), 3: (8, 16, 16)}
MIDDLE = Step(50, 100)

EXCUSED = {
    ("test_do_not_depend_on_the_order_within_a_quality", "AIDE"): (
        "Copies for its pseudo labels are turned at random, by the place in the batch; there is no other noise."
    ),
    ("test_do_not_depend_on_the_order_within_a_quality", "ALC"): (
        "Ranks samples by how far noisy passes are apart; without noise all are equal, and the first are selected."
    ),
    ("test_do_not_depend_on_the_order_within_a_quality", "BCP"): "Pairs samples by the place in the batch.",
    ("test_do_not_depend_on_the_order_within_a_quality", "DivideMix"): "Draws partners by the place in the batch.",
    ("test_do_not_depend_on_the_order_within_a_quality", "Mixup"): "Draws partners by the place in the batch.",
    ("test_do_not_depend_on_the_order_within_a_quality", "MLBSeg"): "Draws views by the place in the batch.",
    ("test_do_not_depend_on_the_order_within_a_quality", "UniMatch"): "Draws views by the place in the batch.",
    ("test_labels_of_unlabelled_samples_do_not_matter", "PLIL"): (
        "Takes every sample that is not expert for noisy. Labels of unlabelled ones are IGNORE by the batch's contract."
    ),
}
"""Tests that a method need not pass, with the reason; it is an error if it passes all the same."""

BEYOND_LABELS = {
    ("AIDE", "consistency"): "Agreement with the other network's pseudo label needs no label.",
    ("ALC", "selected"): "The teacher's refined labels are everywhere.",
    ("ALC", "consistency"): "Agreement with the teacher needs no label.",
    ("DiscreteMI", "information"): "Clusters need no label.",
    ("DUWMStyle", "features"): "Agreement with the teacher needs no label.",
    ("DUWMStyle", "segmentation"): "Agreement with the teacher needs no label.",
    ("KDEM", "distilled"): "Agreement with the strong decoder needs no label.",
    ("KDEM", "confident"): "Confidence needs no label.",
    ("BCP", "unlabelled"): "The teacher gives the label.",
    ("CPCL", "backward"): "Labels are compared with the prototypes of unlabelled samples.",
    ("CPCL", "forward"): "Is for samples without a label.",
    ("CPS", "cross"): "The other network gives the label.",
    ("DAPStyle", "adversarial"): "The critic judges a sample by all of it.",
    ("DAPStyle", "pseudo"): "The network gives the label.",
    ("DeepCoTraining", "agreement"): "Agreement of both networks needs no label.",
    ("DeepCoTraining", "diversity"): "Agreement of both networks needs no label.",
    ("DAN", "adversarial"): "The critic judges a sample by all of it.",
    ("DAN", "critic"): "The critic judges a sample by all of it.",
    ("DTC", "consistency"): "Agreement of the two outputs needs no label.",
    ("EntropyMinimisation", "entropy"): "Confidence needs no label.",
    ("LGERMT", "consistency"): "Agreement with the teacher needs no label.",
    ("LGERMT", "entropy"): "Confidence needs no label.",
    ("LGERMT", "global"): "Agreement with the teacher needs no label.",
    ("LGERMT", "local"): "Agreement with the teacher needs no label.",
    ("MCNet", "consistency"): "Agreement of the decoders needs no label.",
    ("MTCL", "consistency"): "Agreement with the teacher needs no label.",
    ("MeanTeacher", "consistency"): "Agreement with the teacher needs no label.",
    ("MixSegNet", "agreement"): "Both networks give the label.",
    ("MLBSeg", "given"): "A zoomed view mixes neighbouring voxels.",
    ("MLBSeg", "pseudo"): "The network's own labels are everywhere.",
    ("MLBSeg", "expert"): "A zoomed view mixes neighbouring voxels.",
    ("MLBSeg", "views"): "Agreement of the views needs no label.",
    ("MLBSeg", "teacher"): "Agreement with the teacher needs no label.",
    ("PickAndLearn", "weighted"): "The quality network judges a sample by all of its image.",
    ("PLIL", "stable"): "Is for the voxels whose label is not believed, those without any included.",
    ("PseudoLabel", "pseudo"): "The network gives the label.",
    ("SASSNet", "adversarial"): "The critic judges a sample by all of it.",
    ("SASSNet", "critic"): "The critic judges a sample by all of it.",
    ("UAMT", "consistency"): "Agreement with the teacher needs no label.",
    ("UniMatch", "perturbed"): "The network gives the label.",
    ("UniMatch", "strong"): "The network gives the label.",
    ("URPC", "consistency"): "Agreement of the scales needs no label.",
}
"""Terms that are meant to look at voxels without a label."""

EQUIVARIANT = {
    ("DAPStyle", "critic"): "The critic sees predictions as constants, and no image.",
    ("DiscreteMI", "consistency"): "A network that looks at one voxel at a time sees a mirrored image equally.",
}
"""Terms that are zero for such a network, with the reason."""


OF_CRITICS = (("DAN", "critic"), ("DAPStyle", "critic"), ("SASSNet", "critic"))
"""Terms that train a further network, and must not move the one that segments."""


class Small(Network):
    """Three scales with dropout: all that a method may ask of a network."""

    decoder_scales = ("bottom", "middle", "top")
    encoder_stages = ("first", "second")

    def __init__(
        self, in_channels: int, classes: int, dimensions: int, *, width: int = 4, dropout_rate: float = 0.5
    ) -> None:
        super().__init__()
        w, d = width, dimensions
        self.first = conv_blocks(in_channels, w, 1, d)
        self.second = nn.Sequential(halving(w, 2 * w, d), conv_blocks(2 * w, 2 * w, 1, d))
        self.bottom = nn.Sequential(halving(2 * w, 4 * w, d), channel_dropout(dropout_rate, d))
        self.joint = doubling(4 * w, 2 * w, d)
        self.middle = nn.Sequential(conv_blocks(2 * w, 2 * w, 1, d), doubling(2 * w, w, d))
        self.top = nn.Sequential(conv_blocks(w, w, 1, d), channel_dropout(dropout_rate, d))
        self.head = convolution(w, classes, 1, d)

    def forward(self, image: Tensor) -> Tensor:
        first = self.first(image)
        second = self.second(first)
        return self.head(self.top(first + self.middle(second + self.joint(self.bottom(second)))))


class Pointwise(Network):
    """Looks at one voxel at a time: the image's gradient is zero exactly where that of the logits is."""

    decoder_scales = ("first", "second", "third")
    encoder_stages = ("first", "second")

    def __init__(self, in_channels: int, classes: int, dimensions: int) -> None:
        super().__init__()
        self.first = convolution(in_channels, 8, 1, dimensions)
        self.second = convolution(8, 8, 1, dimensions)
        self.third = convolution(8, 8, 1, dimensions)
        self.head = convolution(8, classes, 1, dimensions)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.third(self.second(self.first(image).tanh()).tanh()).tanh())


def scene(dimensions: int, classes: int, count: int) -> tuple[Tensor, Tensor]:
    """Noisy discs or balls, each class inside the one before, every sample another."""
    random = torch.Generator().manual_seed(0)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, side) for side in GRIDS[dimensions]], indexing="ij")
    centres = 0.6 * torch.rand(count, dimensions, generator=random) - 0.3
    squares = [[(axis - at) ** 2 for axis, at in zip(axes, centre, strict=True)] for centre in centres.tolist()]
    distance = torch.stack([torch.stack(square).sum(0).sqrt() for square in squares])
    label = sum((distance < 0.8 * (classes - cls) / classes).long() for cls in range(1, classes))
    noise = 0.3 * torch.randn(distance.shape, generator=random)
    return (2.0 * label + noise - 1).unsqueeze(1), label


def batch(needs: Composition, dimensions: int, classes: int = 2, further: tuple[Quality, ...] = ()) -> Batch:
    """What the method needs, and perhaps further samples; labels of mixed samples are expert and noisy in turn."""
    quality = [Quality.EXPERT] * needs.expert + [Quality.NOISY] * needs.noisy + [Quality.NONE] * needs.unlabelled
    quality += [(Quality.EXPERT, Quality.NOISY)[turn % 2] for turn in range(needs.any_labelled)] + list(further)
    image, label = scene(dimensions, classes, len(quality))
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is Quality.NONE else label[row]
    return labelled(Batch(image, label, tuple(quality), tuple(f"case_{row}" for row in range(len(quality)))), label)


def labelled(data: Batch, label: Tensor) -> Batch:
    """The batch with other labels, also in every layer, as before any label is revised.

    Maps divide an image into halves; values are 0 and 1 in turn.
    """
    halves = torch.arange(label[0].numel()).view(label[0].shape).mul(2).div(label[0].numel()).long() + 1
    layers = {layer: label.clone() for layer in LAYERS}
    maps = dict.fromkeys(MAPS, halves.expand_as(label))
    return replace(
        data, label=label, layers=layers, maps=maps, values=dict.fromkeys(VALUES, torch.arange(len(label)) % 2.0)
    )


def with_label(data: Batch, label: Tensor) -> Batch:
    """The batch with other labels in its labelled samples."""
    rows = data.rows(Quality.EXPERT, Quality.NOISY)
    changed = data.label.clone()
    changed[rows] = label.expand_as(changed)[rows]
    return labelled(data, changed)


@functools.cache
def _schooled(cls: type[Network], dimensions: int, classes: int) -> Network:
    torch.manual_seed(0)
    network = cls(1, classes, dimensions)
    image, label = scene(dimensions, classes, 4)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(30):
        optimiser.zero_grad()
        cross_entropy_dice(network(image), label).backward()
        optimiser.step()
    optimiser.zero_grad()
    return network


def build(name: str, dimensions: int, classes: int = 2, network: type[Network] = Small) -> Method:
    """The method around a network that already distinguishes the classes, as in the middle of a run."""
    return METHODS[name](copy.deepcopy(_schooled(network, dimensions, classes)))


def total(method: Method, data: Batch, step: Step = MIDDLE) -> Tensor:
    torch.manual_seed(1)
    return torch.stack(list(method.loss(data, step).values())).sum()


def gradients(module: nn.Module) -> Iterator[Tensor]:
    return (parameter.grad for parameter in module.parameters() if parameter.grad is not None)


def teachers(method: Method) -> list[EMATeacher]:
    return [part for part in method.modules() if isinstance(part, EMATeacher)]


@pytest.fixture(params=METHODS)
def name(request) -> str:
    return request.param


@pytest.fixture(params=[2, 3], ids=["2D", "3D"])
def dimensions(request) -> int:
    return request.param


@pytest.fixture(autouse=True)
def _excuse(request) -> None:
    method = request.node.callspec.params.get("name")
    if reason := EXCUSED.get((request.function.__name__, method)):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


class TestTerms:
    def test_each_trains_the_network_down_to_its_first_layer(self, name, dimensions):
        method = build(name, dimensions)
        torch.manual_seed(1)
        terms = method.loss(batch(method.needs, dimensions), MIDDLE)
        assert terms
        for term_name, term in terms.items():
            assert term.shape == (), term_name
            assert term.isfinite(), term_name
            assert term.requires_grad, term_name
            method.zero_grad()
            term.backward(retain_graph=True)
            first = next(method.network.parameters()).grad
            if (name, term_name) in OF_CRITICS:
                assert not list(gradients(method.network)), term_name
                assert any(gradient.any() for gradient in gradients(method)), term_name
                continue
            assert first is not None, term_name
            assert first.any(), term_name

    def test_together_train_every_parameter(self, name, dimensions):
        method = build(name, dimensions)
        total(method, batch(method.needs, dimensions)).backward()
        for parameter_name, parameter in method.network.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.isfinite().all(), parameter_name
        assert all(gradient.isfinite().all() for gradient in gradients(method))

    def test_train_a_planned_network(self, name, dimensions):
        """Halvings and kernels that differ by axis, as a plan chooses them for thick slices."""
        torch.manual_seed(0)
        axes = (1,) * (dimensions - 1)
        network = PlannedUNet(
            1,
            3,
            dimensions,
            kernels=((*[3 * axis for axis in axes], 1), (3,) * dimensions, (3,) * dimensions),
            strides=((1,) * dimensions, (*[2 * axis for axis in axes], 1), (2,) * dimensions),
            widths=(4, 8, 8),
        )
        method = METHODS[name](network)
        of = batch(method.needs, dimensions, classes=3)
        total(method, of).backward()
        assert next(method.network.parameters()).grad.any()
        assert all(gradient.isfinite().all() for gradient in gradients(method))
        assert method.eval().predict(of.image).shape == (len(of.image), 3, *GRIDS[dimensions])

    def test_leave_batch_and_modes_as_they_were(self, name, dimensions):
        method = build(name, dimensions)
        given = batch(method.needs, dimensions)
        image, label, modes = given.image.clone(), given.label.clone(), [part.training for part in method.modules()]
        total(method, given).backward()
        assert torch.equal(given.image, image)
        assert torch.equal(given.label, label)
        assert [part.training for part in method.modules()] == modes

    def test_depend_on_torchs_seed_alone(self, name, dimensions):
        method = build(name, dimensions)
        again, given = copy.deepcopy(method), batch(method.needs, dimensions)
        assert torch.equal(total(method, given), total(again, given))

    def test_do_not_depend_on_the_order_within_a_quality(self, name, dimensions, monkeypatch):
        monkeypatch.setattr(torch, "randn_like", torch.zeros_like)  # noise goes by the place in the batch
        method = build(name, dimensions)
        for part in method.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd):
                part.p = 0.0
        given = batch(method.needs, dimensions)
        order = list(range(len(given.cases)))
        for quality in Quality:
            rows = given.rows(quality)
            for row, other in zip(rows, reversed(rows), strict=True):
                order[row] = other
        cases = tuple(given.cases[row] for row in order)
        turned = labelled(replace(given, image=given.image[order], cases=cases), given.label[order])
        assert turned.cases != given.cases
        assert_close(total(copy.deepcopy(method), turned), total(method, given), atol=1e-5, rtol=1e-4)


class TestLabels:
    def test_voxels_without_a_label_pull_nowhere(self, name, dimensions):
        method = build(name, dimensions, network=Pointwise)
        given = batch(method.needs, dimensions)
        unknown = torch.rand(given.label.shape, generator=torch.Generator().manual_seed(0)) < 0.4
        given = labelled(given, given.label.masked_fill(unknown, IGNORE))
        image = given.image.requires_grad_()
        torch.manual_seed(1)
        for term_name, term in method.loss(given, MIDDLE).items():
            (gradient,) = torch.autograd.grad(term, image, retain_graph=True, materialize_grads=True)
            pulled = gradient.abs().sum(1)
            assert bool(pulled.any()) is ((name, term_name) not in EQUIVARIANT), term_name
            beyond = (name, term_name) in BEYOND_LABELS
            assert bool(pulled[given.label == IGNORE].any()) is beyond, term_name

    def test_labels_of_unlabelled_samples_do_not_matter(self, name, dimensions):
        method = build(name, dimensions)
        given = batch(method.needs, dimensions, further=(Quality.NONE, Quality.NONE))
        rows, label = given.rows(Quality.NONE), given.label.clone()
        label[rows] = torch.randint(0, 2, label[rows].shape, generator=torch.Generator().manual_seed(0))
        assert torch.equal(total(copy.deepcopy(method), given), total(method, labelled(given, label)))

    @pytest.mark.parametrize("value", [0, 1, IGNORE], ids=["background", "object", "nothing"])
    def test_may_be_the_same_everywhere(self, name, dimensions, value):
        method = build(name, dimensions)
        loss = total(method, with_label(batch(method.needs, dimensions), torch.tensor(value)))
        assert loss.isfinite()
        loss.backward()
        assert all(gradient.isfinite().all() for gradient in gradients(method))

    def test_may_have_three_classes(self, name, dimensions):
        method = build(name, dimensions, classes=3)
        given = batch(method.needs, dimensions, classes=3)
        loss = total(method, given)
        assert loss.isfinite()
        loss.backward()
        assert method.eval().predict(given.image).shape == (len(given.cases), 3, *GRIDS[dimensions])


REGIONS = [(1, 2, 3), (2, 3)]


def test_regions_train_the_network_too(name, dimensions):
    """Dice losses of overlapping regions, whose classes are three parts of each other."""
    method = build(name, dimensions, classes=4)
    data = batch(method.needs, dimensions, classes=4)
    with dice_by_region(REGIONS):
        terms = method.loss(data, MIDDLE)
        torch.stack(list(terms.values())).sum().backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert all(torch.isfinite(each).all() for each in gradients(method.network))
    assert any(each.abs().sum() > 0 for each in gradients(method.network))


def test_possible_classes_count_together_where_a_method_takes_sets(name, dimensions):
    """A set of all classes must pull nowhere; all other methods get labels that are complete."""
    method = build(name, dimensions, classes=3)
    if not method.takes_class_sets():
        pytest.skip("labels are completed for it")
    data = batch(method.needs, dimensions, classes=3)
    everything = with_label(data, torch.full_like(data.label[:1], FIRST_SET))
    with class_sets([(0, 1, 2), (0, 2)]):
        total(method, everything).backward()
        assert all(each.abs().max() < 1e-5 for each in gradients(method.network))
        method.zero_grad()
        either = with_label(data, torch.full_like(data.label[:1], FIRST_SET + 1))
        total(method, either).backward()
    assert any(each.abs().max() > 1e-4 for each in gradients(method.network))


def test_bfloat16_stays_finite(name, dimensions):
    method = build(name, dimensions)
    with torch.autocast("cpu", torch.bfloat16):
        loss = total(method, batch(method.needs, dimensions))
    loss.backward()
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(method))


class TestTeachers:
    @pytest.fixture(params=[name for name in METHODS if teachers(build(name, 2))])
    def name(self, request) -> str:
        return request.param

    def test_start_as_copies_that_share_nothing(self, name):
        method = build(name, 2)
        for teacher in teachers(method):
            mine, theirs = teacher.network.state_dict(), method.network.state_dict()
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(mine[key], theirs[key]) for key in mine)

    def test_get_no_gradient(self, name):
        method = build(name, 2)
        total(method, batch(method.needs, 2)).backward()
        for teacher in teachers(method):
            assert not any(parameter.requires_grad for parameter in teacher.parameters())
            assert not any(True for _ in gradients(teacher))

    @pytest.mark.parametrize("index", [0, 1, 9, 500])
    def test_follow_after_each_step(self, name, index):
        method = build(name, 2)
        with torch.no_grad():
            for parameter in method.network.parameters():
                parameter.add_(torch.randn_like(parameter))
        before = [[each.clone() for each in teacher.network.parameters()] for teacher in teachers(method)]
        follow_students(method, index)
        for teacher, old in zip(teachers(method), before, strict=True):
            kept = ema_decay(index, teacher.decay)
            expected = [
                kept * mine + (1 - kept) * theirs for mine, theirs in zip(old, method.network.parameters(), strict=True)
            ]
            assert_close(list(teacher.network.parameters()), expected)


def test_no_two_parameters_share_storage(name):
    pointers = [parameter.data_ptr() for parameter in build(name, 2).parameters()]
    assert len(set(pointers)) == len(pointers)


class TestPrediction:
    def test_is_a_probability_of_every_class(self, name, dimensions):
        method = build(name, dimensions).eval()
        image, _ = scene(dimensions, 2, 3)
        with torch.no_grad():
            probabilities = method.predict(image)
            alone = method.predict(image[1:2])
        assert probabilities.shape == (3, 2, *GRIDS[dimensions])
        assert probabilities.dtype == torch.float32
        assert (probabilities >= 0).all()
        assert_close(probabilities.sum(1), torch.ones(3, *GRIDS[dimensions]))
        assert_close(alone, probabilities[1:2])

    def test_survives_saving_and_loading(self, name, dimensions):
        method, (image, _) = build(name, dimensions), scene(dimensions, 2, 2)
        total(method, batch(method.needs, dimensions)).backward()
        torch.optim.SGD([each for each in method.parameters() if each.requires_grad], lr=0.1).step()
        follow_students(method, 1)
        torch.manual_seed(5)
        loaded = METHODS[name](Small(1, 2, dimensions))
        expected = method.eval().predict(image)
        assert not torch.allclose(loaded.eval().predict(image), expected, atol=1e-3)
        loaded.load_state_dict(method.state_dict())
        assert_close(loaded.eval().predict(image), expected)


class TestDescription:
    def test_arguments_survive_a_round_trip_through_json(self, name):
        method = build(name, 2)
        again = rebuilt(json.loads(json.dumps(described(method, METHODS))), METHODS, Method, method.network)
        assert type(again) is type(method)
        assert described(again, METHODS) == described(method, METHODS)

    def test_arguments_are_keywords_with_types_and_defaults(self, name):
        network, *others = inspect.signature(METHODS[name]).parameters.values()
        assert network.name == "network"
        for argument in others:
            assert argument.kind is argument.KEYWORD_ONLY, argument.name
            assert argument.default is not argument.empty, argument.name
            assert argument.annotation is not argument.empty, argument.name

    def test_every_argument_is_explained(self, name):
        section = inspect.getdoc(METHODS[name]).split("\nArgs:\n")[1].split("\n\n")[0]
        explained = re.findall(r"^    (\w+): \S", section, flags=re.MULTILINE)
        assert explained == list(inspect.signature(METHODS[name]).parameters)

    def test_kind_is_the_folder(self, name):
        package, _, module = METHODS[name].__module__.rpartition(".")
        assert package == f"segmend.methods.{METHODS[name].kind}"
        assert module.replace("_", "") == name.lower()

    def test_says_what_a_batch_needs(self, name):
        assert isinstance(METHODS[name].needs, Composition)
        assert METHODS[name].needs.size > 0

    def test_says_what_it_costs(self, name):
        assert re.match(r"\d networks?|\d teachers?", METHODS[name].cost)

    def test_cites_its_paper(self, name):
        cls = METHODS[name]
        published = name not in OWN and cls.kind != "supervised"
        assert re.fullmatch(r"\w.+, .*\w (19|20)\d\d", cls.paper) if published else not cls.paper


@pytest.mark.parametrize("key", [*EXCUSED, *BEYOND_LABELS, *EQUIVARIANT, *OF_CRITICS], ids=str)
def test_excuses_are_for_methods_that_exist(key):
    assert set(key) & set(METHODS)
