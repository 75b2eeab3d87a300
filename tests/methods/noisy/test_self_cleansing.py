from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from labelled_case import CaseInMemory
from refusals import raises
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.methods import SelfCleansing, Step
from segmend.networks import Network, ResUNet, SegResNet

EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE
LATE, SIDE = Step(60, 100), 10
SURE = 5.0


class Readable(Network):
    """Reads the logits of the foreground classes and two features off the channels of the image."""

    decoder_scales = ("other", "features")

    def __init__(self, in_channels: int = 3, classes: int = 2, dimensions: int = 2, *, pooled: bool = False) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.other, self.features = nn.Identity(), nn.AvgPool2d(2) if pooled else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        logits = image[:, :-2]
        self.other(image[:, -1:])
        self.features(image[:, -2:])
        return self.gain * torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)


class Scan(CaseInMemory):
    """A case in memory; the last axis of a sliced one is that of the slices."""

    def __init__(self, image: Tensor, given: Tensor, pseudo: Tensor | None = None, name: str = "scan", **more) -> None:
        super().__init__(name, image, given, **more)
        if pseudo is not None:
            self.pseudo = pseudo

    @property
    def pseudo(self) -> Tensor:
        return self.layers["pseudo"]

    @pseudo.setter
    def pseudo(self, label: Tensor) -> None:
        self.layers["pseudo"] = label


def rows(first: int, last: int, holes: int = 0, columns: int = SIDE) -> Tensor:
    """A label of 1 in some rows of an image, except in the first few pixels there."""
    label = torch.zeros(SIDE, columns, dtype=torch.uint8)
    label[first:last] = 1
    label[first, :holes] = 0
    return label


def looking(seen: Tensor, object_: Tensor) -> Tensor:
    """The image of which the network sees one mask, while the features are those of another."""
    return torch.stack([SURE * (2.0 * seen - 1), object_.float(), 1.0 - object_.float()])


SEEN, LIKE_IT = rows(0, 5), rows(0, 6)


def good(index: int) -> Tensor:
    """A label that is nearly what the network sees."""
    return rows(0, 5, holes=1 + index % 5)


def bad(index: int) -> Tensor:
    """A label that is not: a row of it, and some others."""
    return rows(4, 9, holes=index % 5)


def revised(cases: Sequence[Scan], step: Step = LATE, network: Network | None = None, **arguments: Any) -> list[Tensor]:
    """The new pseudo label of every case, as if what is not revised stayed."""
    method = SelfCleansing(network or Readable(), **arguments).eval()
    for number, case in enumerate(cases):
        case.name = f"scan_{number}"
    with torch.no_grad():
        new = {revision.case: revision.labels["pseudo"] for revision in method.revise(cases, step)}
    assert all(label.dtype == torch.uint8 for label in new.values())
    return [new.get(case.name, case.layer("pseudo")) for case in cases]


def scans(given: Sequence[Tensor], pseudo: Sequence[Tensor] | None = None) -> list[Scan]:
    image = looking(SEEN, LIKE_IT)
    return [Scan(image, label, None if pseudo is None else pseudo[index]) for index, label in enumerate(given)]


class TestSchedule:
    @pytest.mark.parametrize(
        ("epoch", "weight"), [(0, 1), (49, 1), (50, 1), (100, 0.75), (150, 0.5), (200, 0.25), (250, 0), (499, 0)]
    )
    def test_weights_are_the_papers(self, epoch, weight):
        given, pseudo = torch.zeros(1, SIDE, SIDE, dtype=torch.long), SEEN[None].long()
        data = Batch(looking(SEEN, SEEN)[None], given, (NOISY,), ("a",), {"pseudo": pseudo})
        terms = SelfCleansing(Readable()).loss(data, Step(epoch, 500))
        # Probabilities of 0.9933 and 0.0067 over 50 voxels each.
        to_given, to_pseudo = 1.0, 1 - 2 * 0.9933 * 50 / (50 + 50)
        expected = {"given": weight * to_given, "pseudo": (1 - weight) * to_pseudo}
        assert {name: term.item() for name, term in terms.items()} == pytest.approx(
            {name: value for name, value in expected.items() if value}, abs=1e-4
        )

    def test_labels_are_cleansed_every_five_of_500_epochs_from_the_50th_on(self):
        method = SelfCleansing(Readable())
        assert [epoch for epoch in range(500) if method.revises(Step(epoch, 500))] == list(range(50, 500, 5))

    @pytest.mark.parametrize("total", [100, 777, 8000])
    def test_however_long_the_run_it_is_cleansed_as_often(self, total):
        method = SelfCleansing(Readable())
        due = [index for index in range(total) if method.revises(Step(index, total))]
        assert len(due) == 90
        assert due[0] == -(-total // 10)

    def test_arguments_are_shares_of_the_run(self):
        method = SelfCleansing(Readable(), warm_up=0.0, hand_over=0.25, interval=0.3)
        assert [index for index in range(100) if method.revises(Step(index, 100))] == [0, 30, 60, 90]
        data = Batch(looking(SEEN, SEEN)[None], SEEN[None].long(), (NOISY,), ("a",), {"pseudo": SEEN[None].long()})
        assert set(method.loss(data, Step(24, 100))) == {"given", "pseudo"}
        assert set(method.loss(data, Step(25, 100))) == {"pseudo"}
        assert set(method.loss(data, Step(0, 100))) == {"given"}

    def test_a_run_shorter_than_the_intervals_is_cleansed_before_every_step(self):
        assert [SelfCleansing(Readable()).revises(Step(index, 20)) for index in range(5)] == [False] * 2 + [True] * 3


class TestLoss:
    @staticmethod
    def batch(*quality: Quality) -> Batch:
        image = torch.stack([looking(rows(0, 5 - row), SEEN) for row in range(len(quality))])
        label = torch.stack([rows(0, 2 + row).long() for row in range(len(quality))])
        return Batch(image, label, quality, tuple("abcd"[: len(quality)]), {"pseudo": label.flip(0)})

    def test_every_label_counts_alike_and_samples_without_one_do_not(self):
        method = SelfCleansing(Readable())
        alike = [method.loss(self.batch(*quality), Step(3, 10)) for quality in ([NOISY] * 3, [EXPERT, NOISY, EXPERT])]
        assert alike[0] == alike[1]
        some = self.batch(NOISY, NONE, NOISY)
        fewer = Batch(
            some.image[[0, 2]], some.label[[0, 2]], (NOISY,) * 2, ("a", "c"), {"pseudo": some.layers["pseudo"][[0, 2]]}
        )
        assert method.loss(some, Step(3, 10)) == method.loss(fewer, Step(3, 10))
        assert method.loss(self.batch(NONE, NONE), Step(3, 10)) == {}

    def test_an_image_without_the_object_pulls_too(self):
        image = looking(SEEN, SEEN)[None].repeat(2, 1, 1, 1).requires_grad_()
        label = torch.stack([SEEN.long(), torch.zeros(SIDE, SIDE, dtype=torch.long)])
        data = Batch(image, label, (NOISY, NOISY), ("a", "b"), {"pseudo": label})
        (term,) = SelfCleansing(Readable()).loss(data, Step(0, 100)).values()
        assert term.item() == pytest.approx(1 - 2 * 49.67 / (50 + 2 * 50), abs=1e-3)
        (gradient,) = torch.autograd.grad(term, image)
        # 2 * 49.67 / 150^2 for each voxel, times p (1 - p); image by image it would be ten thousand times less.
        assert gradient[1, 0].sum().item() == pytest.approx(0.004415 * 100 * 0.9933 * 0.0067, rel=0.01)

    def test_is_the_mean_of_the_foreground_classes(self):
        label = torch.stack([rows(0, 5), 2 * rows(5, 10)]).sum(0).long()
        image = torch.stack([SURE * 2 * (label == 1), torch.zeros(SIDE, SIDE), *torch.zeros(2, SIDE, SIDE)])[None]
        data = Batch(image, label[None], (NOISY,), ("a",), {"pseudo": label[None]})
        (term,) = SelfCleansing(Readable(4, 3)).loss(data, Step(0, 100)).values()
        p = [1 / (2 + torch.e**10) * torch.e**10, 1 / 3, 1 / (2 + torch.e**10)]
        first = 1 - 2 * 50 * p[0] / (50 + 50 * p[0] + 50 * p[1])
        second = 1 - 2 * 50 * p[1] / (50 + 50 * p[1] + 50 * p[2])
        assert term.item() == pytest.approx((first + second) / 2, abs=1e-5)


class TestFiltering:
    def test_the_four_combinations(self):
        labels = {True: good, False: bad}
        kinds = [(given, pseudo) for given in labels for pseudo in labels for _ in range(8)]
        given = [labels[kind[0]](index) for index, kind in enumerate(kinds)]
        pseudo = [labels[kind[1]](index + 1) for index, kind in enumerate(kinds)]
        for index, label in enumerate(revised(scans(given, pseudo))):
            expected = {(False, True): pseudo[index], (False, False): LIKE_IT}.get(kinds[index], given[index])
            assert label.equal(expected), kinds[index]

    def test_a_pseudo_label_that_was_never_made_is_noisy(self):
        given = [good(index) for index in range(8)] + [bad(index) for index in range(8)]
        assert all(map(torch.equal, revised(scans(given)), given[:8] + [LIKE_IT] * 8))

    def test_few_labels_are_all_clean(self):
        given = [good(index) for index in range(4)] + [bad(index) for index in range(5)]
        assert all(map(torch.equal, revised(scans(given)), given))

    def test_a_pseudo_label_left_empty_is_redrawn_once_the_network_sees_the_object(self):
        given = [good(index) for index in range(9)] + [bad(index) for index in range(9)]
        empty, blind = torch.zeros_like(SEEN), looking(torch.zeros_like(SEEN), LIKE_IT)
        cases = scans(given)
        cases[-1].image = blind
        first = revised(cases)
        assert first[-1].equal(empty)
        # All pseudo labels of one kind: none of them is noisy by its loss alone.
        for case, label in zip(cases, first, strict=True):
            case.pseudo = label
        assert revised(cases)[-1].equal(empty)
        cases[-1].image = looking(SEEN, LIKE_IT)
        assert revised(cases)[-1].equal(LIKE_IT)

    def test_images_on_whose_emptiness_all_agree_say_nothing_about_the_others(self):
        empty = torch.zeros_like(SEEN)
        given = [rows(0, 5, holes=1 + index) for index in range(9)] + [rows(4, 9, holes=index) for index in range(9)]
        cases = scans([*given, *[empty] * 40])
        for case in cases[18:]:
            case.image = looking(empty, LIKE_IT)
        assert all(map(torch.equal, revised(cases), given[:9] + [LIKE_IT] * 9 + [empty] * 40))

    def test_unknown_voxels_stay_unknown_and_count_for_nothing(self):
        unknown = rows(5, 10).bool()
        given = [good(index) for index in range(8)] + [bad(index) for index in range(8)]
        cases = scans([label.masked_fill(unknown, IGNORE) for label in given])
        for label in cases[8:]:
            label.image = looking(torch.ones_like(SEEN), torch.ones_like(SEEN))
        found = revised(cases)
        assert all(label[5:].eq(IGNORE).all() for label in found)
        assert all(label[:5].equal(expected[:5]) for label, expected in zip(found[:8], given, strict=False))
        assert all(label[:5].eq(1).all() for label in found[8:])

    def test_cases_without_a_label_are_left_alone(self):
        unlabelled = Scan(looking(SEEN, LIKE_IT), torch.full((SIDE, SIDE), IGNORE, dtype=torch.uint8), quality=NONE)
        cases = [*scans([good(index) for index in range(8)] + [bad(index) for index in range(8)]), unlabelled]
        assert revised(cases)[-1] is unlabelled.given
        assert not unlabelled.asked

    def test_expert_labels_are_judged_like_all_others(self):
        cases = scans([good(index) for index in range(8)] + [bad(index) for index in range(8)])
        for case in cases:
            case.quality = EXPERT
        assert revised(cases)[-1].equal(LIKE_IT)


class TestImages:
    GIVEN = torch.stack([*[good(index) for index in range(8)], *[bad(index) for index in range(8)]], dim=-1)
    IMAGE = looking(SEEN, LIKE_IT).unsqueeze(-1).expand(-1, -1, -1, 16)

    def test_slices_are_judged_one_by_one(self):
        (label,) = revised([Scan(self.IMAGE, self.GIVEN, sliced=True)])
        assert label[..., :8].equal(self.GIVEN[..., :8])
        assert label[..., 8:].equal(LIKE_IT.unsqueeze(-1).expand(-1, -1, 8))

    def test_a_case_that_is_not_sliced_is_one_image(self):
        cases = [
            Scan(self.IMAGE, (good if number < 8 else bad)(number).unsqueeze(-1).repeat(1, 1, 16))
            for number in range(16)
        ]
        found = revised(cases)
        assert all(map(torch.equal, found[:8], [case.given for case in cases]))
        assert all(label.equal(LIKE_IT.unsqueeze(-1).repeat(1, 1, 16)) for label in found[8:])

    def test_slices_of_all_cases_are_judged_together(self):
        halves = [Scan(self.IMAGE[..., :8], part, sliced=True) for part in self.GIVEN.split(8, dim=-1)]
        first, second = revised(halves)
        assert first.equal(self.GIVEN[..., :8])
        assert second.equal(LIKE_IT.unsqueeze(-1).expand(-1, -1, 8))


class TestClasses:
    """Rows 0 to 4 are seen as class 1 and rows 5 to 9 as class 2."""

    LABEL = rows(0, 5) + 2 * rows(5, 10)

    def image(self, first: Tensor, second: Tensor) -> Tensor:
        """The features of a voxel are how much it is alike either class."""
        seen = [SURE * 2 * self.LABEL.eq(index) for index in (1, 2)]
        return torch.stack([*seen, first.float(), second.float()])

    def cases(self, image: Tensor) -> list[Scan]:
        """Eight labels that are right, but for a few voxels, and eight of which only class 1 is."""
        given = []
        for index in range(16):
            label = self.LABEL.clone()
            label[0, : 1 + index % 5] = label[9, : 1 + index % 4] = 0
            if index >= 8:
                label[5:9] = 0
            given.append(label)
        return [Scan(image, label) for label in given]

    def test_are_judged_and_redrawn_one_by_one(self):
        cases = self.cases(self.image(rows(0, 5), rows(5, 10)))
        for case, label in zip(cases, found := revised(cases, network=Readable(4, 3)), strict=True):
            assert label[:5].equal(case.given[:5])
        assert all(label[5:].equal(case.given[5:]) for label, case in zip(found[:8], cases, strict=False))
        assert all(label[5:].eq(2).all() for label in found[8:])

    def test_a_label_that_is_kept_has_the_voxels_that_it_shares(self):
        everywhere = torch.ones_like(SEEN)
        cases = self.cases(self.image(everywhere, everywhere))
        for case, label in zip(cases[8:], revised(cases, network=Readable(4, 3))[8:], strict=True):
            assert label.equal(torch.where(case.given == 1, 1, 2).to(torch.uint8))

    def test_the_more_alike_of_two_redrawn_ones_has_a_voxel(self):
        # Prototypes are (1, 0) and (0.6, 0.8); a voxel between them is alike both, but more so the nearer one.
        features = torch.zeros(2, SIDE, SIDE)
        features[:, :5] = torch.tensor([1.0, 0.0]).view(2, 1, 1)
        features[:, 5:] = torch.tensor([0.6, 0.8]).view(2, 1, 1)
        features[:, 4] = torch.tensor([0.75, 0.6614]).view(2, 1)  # 0.98 to the second, 0.75 to the first
        cases = self.cases(self.image(*features))
        label = revised(cases, network=Readable(4, 3), filtering=False, representative=0.95)[0]
        assert label[:4].eq(1).all()
        assert label[4:].eq(2).all()


class TestCleansing:
    GIVEN = [good(index) for index in range(8)] + [bad(index) for index in range(8)]

    def test_without_filtering_every_label_is_redrawn(self):
        assert all(label.equal(LIKE_IT) for label in revised(scans(self.GIVEN), filtering=False))

    def test_without_prototypes_the_label_is_what_is_seen(self):
        found = revised(scans(self.GIVEN), prototypes=False)
        assert all(map(torch.equal, found, self.GIVEN[:8] + [SEEN] * 8))
        with_speck = SEEN.clone()
        with_speck[9, 9] = 1
        (label, *_) = revised([Scan(looking(with_speck, LIKE_IT), good(0))], prototypes=False, filtering=False)
        assert label.equal(with_speck)

    @pytest.mark.parametrize(("cells", "redrawn"), [(10, rows(0, 8)), (1, rows(0, 10))])
    def test_one_cell_is_the_mean_feature(self, cells, redrawn):
        # Eight of ten seen rows look one way and two another: no representatives, but a part of the mean.
        features = torch.stack([rows(0, 8).float(), rows(8, 10).float()])
        image = torch.cat([torch.full((1, SIDE, SIDE), SURE), features])
        case = Scan(image, bad(0))
        (label,) = revised([case], filtering=False, cells=cells, alike=0.2)
        assert label.equal(redrawn)

    @pytest.mark.parametrize(("alike", "redrawn"), [(0.79, rows(0, 7)), (0.81, rows(0, 6))])
    def test_voxels_must_be_as_much_alike_as_is_asked(self, alike, redrawn):
        image = looking(SEEN, LIKE_IT)
        image[1:, 6] = torch.tensor([0.8, 0.6]).view(2, 1)
        (label,) = revised([Scan(image, bad(0))], filtering=False, alike=alike)
        assert label.equal(redrawn)

    @pytest.mark.parametrize(("representative", "redrawn"), [(0.2, rows(0, 10)), (0.3, rows(0, 4)), (1.0, rows(0, 4))])
    def test_representatives_are_chosen_by_their_share_of_the_highest(self, representative, redrawn):
        # Of five seen rows one looks another way, as all others do: a quarter of the representation of the four.
        image = looking(SEEN, rows(0, 4))
        (label,) = revised([Scan(image, bad(0))], filtering=False, representative=representative, alike=0.15)
        assert label.equal(redrawn)

    def test_what_all_features_have_in_common_can_be_taken_away(self):
        image = looking(SEEN, LIKE_IT)
        image[1:] += 5
        (label,) = revised([Scan(image, bad(0))], filtering=False)
        assert label.all()
        (label,) = revised([Scan(image, bad(0))], filtering=False, centred=True)
        assert label.equal(LIKE_IT)

    def test_fragments_go_and_pinholes_are_filled(self):
        rough = LIKE_IT.clone()
        rough[3, 3], rough[9, 4:8] = 0, 1
        image = looking(SEEN, rough)
        (label,) = revised([Scan(image, bad(0))], filtering=False)
        assert label.equal(LIKE_IT)
        (label,) = revised([Scan(image, bad(0))], filtering=False, fragment=0.0)
        assert label.equal(rough)

    def test_taps_the_last_decoder_scale_or_the_one_that_is_named(self):
        cases = [Scan(looking(SEEN, LIKE_IT), bad(0))]
        assert revised(cases, filtering=False)[0].equal(LIKE_IT)
        # The other one is zero in what is seen.
        assert not revised(cases, filtering=False, features="other")[0].any()

    def test_features_may_be_coarser_than_the_image(self):
        image = looking(SEEN, LIKE_IT)
        (label,) = revised([Scan(image, bad(0))], network=Readable(pooled=True), filtering=False)
        assert label[:6].all()
        assert not label[7:].any()

    def test_needs_features(self):
        network = SegResNet(1, 2, 2, init_filters=8)
        with raises("missing-value", "network SegResNet", match="decoder features"):
            SelfCleansing(network)
        SelfCleansing(network, features="net.up_layers.2")


class TestEconomy:
    GIVEN = [good(index) for index in range(8)] + [bad(index) for index in range(8)]

    def test_features_are_made_of_those_images_only_that_need_new_labels(self):
        cases = scans(self.GIVEN)
        revised(cases)
        assert [case.asked for case in cases] == [[2]] * 8 + [[2, 4]] * 8

    def test_one_case_after_the_other(self):
        cases = scans(self.GIVEN)
        for number, case in enumerate(cases):
            case.name = str(number)
        revisions = SelfCleansing(Readable()).eval().revise(cases, LATE)
        assert isinstance(revisions, Iterator)
        with torch.no_grad():
            for revision in revisions:
                assert sum(4 in case.asked for case in cases) == max(int(revision.case) - 7, 0)

    def test_labels_that_do_not_change_are_not_given_again(self):
        cases = scans(self.GIVEN)
        for case, label in zip(cases, revised(cases), strict=True):
            case.pseudo = label
        changed = cases[3].pseudo = bad(3)
        assert not changed.equal(self.GIVEN[3])
        with torch.no_grad():
            assert [new.case for new in SelfCleansing(Readable()).eval().revise(cases, LATE)] == ["scan_3"]


def test_needs_the_papers_batch():
    assert SelfCleansing.needs == Composition(any_labelled=16)
    assert SelfCleansing.layers == ("pseudo",)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_runs_on_the_papers_network(dimensions):
    torch.manual_seed(0)
    network = ResUNet(1, 3, dimensions, width=2)
    shape = (16, 16, 8)[:dimensions]
    cases = []
    for number in range(12):
        given = torch.randint(0, 3, shape, dtype=torch.uint8)
        cases.append(Scan(torch.randn(1, *shape), given, name=str(number)))
    for label in revised(cases, network=network, filtering=False):
        assert label.shape == shape
        assert label.max() <= 2
    label = torch.stack([case.given for case in cases]).long()
    data = Batch(torch.stack([case.image for case in cases]), label, (NOISY,) * 12, ("a",) * 12, {"pseudo": label})
    terms = SelfCleansing(network).loss(data, Step(30, 100))
    assert_close(terms["given"], terms["pseudo"])
