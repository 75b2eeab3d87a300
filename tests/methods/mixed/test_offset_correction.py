from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from refusals import raises
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import ALC, PLIL, OffsetCorrection, Step
from segmend.methods.components.ema import follow_students
from segmend.methods.mixed.offset_correction import CORRECTED
from segmend.networks import UNet

SIDE = 33
STEP = Step(30, 100)


def disc(radius: float, centre: tuple[float, float] = (16.0, 16.0)) -> Tensor:
    x, y = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2).to(torch.uint8)


@dataclass
class Drawn:
    """A case of which the teacher sees the truth, blurred."""

    name: str
    given: Tensor
    truth: Tensor
    quality: Quality = Quality.NOISY
    annotator: str = ""
    spacing: tuple[float, ...] = (1.0, 1.0)
    sliced: bool = False
    seen: list[int] = field(default_factory=list)

    def layer(self, name: str) -> Tensor:
        return self.given

    def was_revised(self, name: str) -> bool:
        return False

    def predict_map(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        self.seen.append(1)
        p = torch.stack([(self.truth == cls).float() for cls in range(int(self.truth.max()) + 1)])
        return 0.98 * p + 0.02 / len(p)


def method(**arguments) -> OffsetCorrection:
    torch.manual_seed(0)
    return OffsetCorrection(UNet(1, 2, 2, width=2, stages=2), **arguments)


def anchored(cases: list[Drawn]) -> list[Drawn]:
    """The cases, and an expert label by which the teacher is known to have no bias, if there is none."""
    if any(case.quality is Quality.EXPERT for case in cases):
        return cases
    return [*cases, replace(cases[0], name="expert", given=cases[0].truth, quality=Quality.EXPERT)]


def corrected(cases: list[Drawn], **arguments) -> dict[str, Tensor]:
    revisions = list(method(**arguments).revise(anchored(cases), STEP))
    assert all(set(revision.labels) == {CORRECTED} for revision in revisions)
    return {revision.case: revision.labels[CORRECTED] for revision in revisions}


def rows(cases: list[Drawn], **arguments) -> dict[str, dict]:
    return {revision.case: dict(revision.report[0]) for revision in method(**arguments).revise(cases, STEP)}


def dice(first: Tensor, second: Tensor) -> float:
    return float(2 * (first * second).sum() / (first.sum() + second.sum()))


class TestRevision:
    @pytest.mark.parametrize("criterion", ["separation", "overlap", "likelihood"])
    @pytest.mark.parametrize("drawn", [7.0, 9.0, 12.0, 14.0])
    def test_a_label_drawn_too_wide_or_too_tight_is_moved_back(self, drawn, criterion):
        case = Drawn("a", disc(drawn), disc(10.0))
        label = corrected([case], criterion=criterion, hierarchical=False, remainder="keep")["a"]
        assert label.dtype == torch.uint8
        assert dice(label, case.truth) > 0.97

    def test_the_shape_is_the_annotators(self):
        given = disc(10.0)
        given[16, 24:29] = 1  # a thin vessel that the teacher does not see
        label = corrected([Drawn("a", given, disc(10.0))], remainder="keep")["a"]
        assert label[16, 24:28].all()

    def test_expert_labels_and_those_of_nobody_stay(self):
        cases = [Drawn("e", disc(12.0), disc(10.0), Quality.EXPERT), Drawn("n", disc(0.0), disc(10.0), Quality.NONE)]
        assert corrected(cases) == {}
        assert not cases[1].seen

    def test_the_bias_of_the_teacher_is_subtracted(self):
        # It sees everything a voxel and a half too wide, expert labels too.
        experts = [Drawn(f"e{number}", disc(10.0), disc(11.5), Quality.EXPERT) for number in range(4)]
        noisy = [Drawn(f"n{number}", disc(13.0), disc(11.5)) for number in range(4)]
        row = rows([*experts, *noisy])["n0"]
        assert row["teacher_bias_mm"] == pytest.approx(1.5, abs=0.5)
        assert row["offset_mm"] == pytest.approx(-3.0, abs=0.5)

    def test_without_expert_labels_the_bias_is_the_median_offset(self):
        cases = [Drawn(f"n{number}", disc(radius), disc(11.5)) for number, radius in enumerate((8.0, 10.0, 12.0))]
        found = rows(cases)
        assert found["n1"]["teacher_bias_mm"] == found["n1"]["measured_mm"]
        assert [round(row["offset_mm"]) for row in found.values()] == [2, 0, -2]

    def test_a_teacher_that_loses_expert_surfaces_moves_no_others(self):
        noisy = [Drawn(f"n{number}", disc(12.0), disc(radius)) for number, radius in enumerate((9.0, 11.0, 8.0, 12.0))]
        steady = [Drawn(f"e{number}", disc(10.0), disc(10.0), Quality.EXPERT) for number in range(4)]
        lost = [Drawn(f"e{n}", disc(10.0), disc(r), Quality.EXPERT) for n, r in enumerate((5.0, 15.0, 6.0, 14.0))]
        by_steady, by_lost = (rows([*experts, *noisy]) for experts in (steady, lost))
        spread = [
            max(r["offset_mm"] for r in found.values()) - min(r["offset_mm"] for r in found.values())
            for found in (by_steady, by_lost)
        ]
        assert spread[0] > 3
        assert spread[1] < spread[0] / 2

    def test_expert_labels_that_it_memorised_later_do_not_make_it_reliable(self):
        """Nor in a run that was interrupted between the two revisions."""
        noisy = [Drawn(f"n{number}", disc(12.0), disc(radius)) for number, radius in enumerate((9.0, 11.0, 8.0, 12.0))]
        first = [Drawn(f"e{n}", disc(10.0), disc(r), Quality.EXPERT) for n, r in enumerate((5.0, 15.0, 6.0, 14.0))]
        learned = [replace(case, truth=case.given) for case in first]
        begun, resumed, fresh = method(), method(), method()
        list(begun.revise([*first, *noisy], STEP))
        resumed.load_state_dict(begun.state_dict())
        for chosen, trusted in ((begun, False), (resumed, False), (fresh, True)):
            moved = [abs(revision.report[0]["offset_mm"]) for revision in chosen.revise([*learned, *noisy], STEP)]
            assert (max(moved) > 2) == trusted

    def test_labels_whose_shape_is_wrong_are_sampled_less_often(self):
        """By the first evaluation, also after an interruption; uniformly where the reliability is unknown."""
        expert = Drawn("e", disc(10.0), disc(10.0), Quality.EXPERT)
        moved = [Drawn(f"m{number}", disc(radius), disc(10.0)) for number, radius in enumerate((12.0, 13.0, 8.0))]
        displaced = [Drawn(f"d{number}", disc(10.0, (11.0 + number, 16.0)), disc(10.0)) for number in range(3)]

        def drawn(chosen: OffsetCorrection, *cases: Drawn) -> dict[str, float | None]:
            return {each.case: each.sampling_weight for each in chosen.revise(cases, STEP)}

        begun, resumed = method(), method()
        assert sum(drawn(method(), expert, *moved).values()) > 2
        first = drawn(begun, expert, *displaced)
        assert sum(first.values()) == pytest.approx(1.0, abs=0.2)
        among = drawn(method(), expert, *moved, *displaced)
        assert max(among[case.name] for case in displaced) < min(among[case.name] for case in moved)
        resumed.load_state_dict(begun.state_dict())
        learned = [replace(case, truth=case.given) for case in displaced]
        assert drawn(resumed, expert, *learned) == first != drawn(method(), expert, *learned)
        assert set(drawn(method(weight_by_reliability=False), expert, *moved).values()) == {None}
        assert set(drawn(method(), *moved).values()) == {None}

    def test_a_label_without_a_surface_is_drawn_as_usual(self):
        expert, given = Drawn("e", disc(10.0), disc(10.0), Quality.EXPERT), Drawn("a", disc(10.0), disc(10.0))
        empty = replace(given, name="empty", given=torch.zeros_like(given.given))
        found = {each.case: each.sampling_weight for each in method().revise([expert, given, empty], STEP)}
        assert found["empty"] == found["a"] == pytest.approx(1.0)

    def test_the_report_has_the_measured_and_the_used_offset(self):
        experts = [Drawn(f"e{number}", disc(10.0), disc(10.0), Quality.EXPERT) for number in range(3)]
        row = rows([*experts, Drawn("a", disc(12.0), disc(10.0), annotator="x")], hierarchical=False)["a"]
        assert (row["label"], row["annotator"]) == (1, "x")
        assert row["offset_mm"] == row["measured_mm"] - row["teacher_bias_mm"]
        assert 0 < row["reliability"] <= 1
        assert "neighbour" not in row

    def test_offsets_are_in_mm(self):
        row = rows([Drawn("a", disc(12.0), disc(10.0), spacing=(3.0, 3.0))])["a"]
        assert row["measured_mm"] == pytest.approx(-6.0, abs=1.5)

    def test_criterion_reach_and_doubt_are_those_of_the_estimate(self):
        class Faint(Drawn):
            def predict_map(self, function: Callable[[Tensor], Tensor]) -> Tensor:
                p = 0.02 + 0.28 * (self.truth == 1).float()
                return torch.stack([1 - p, p])

        def measured(**arguments) -> float:
            return rows([Faint("a", disc(9.0), disc(11.0))], **arguments)["a"]["measured_mm"]

        assert measured() == pytest.approx(2.0, abs=0.6)
        assert measured(reach=1.0) <= 1.0
        assert measured(criterion="likelihood") < -5  # nowhere above one half, so that it shrinks the object to nothing
        one = Drawn("a", disc(9.0), disc(11.0))
        certain, doubtful = (rows([one], criterion="likelihood", doubt=doubt)["a"] for doubt in (0.02, 1.0))
        assert certain["measured_mm"] == pytest.approx(2.0, abs=0.6)
        assert doubtful["measured_mm"] == 0.0  # every voxel has log-odds of 0

    def test_each_annotator_has_a_mean(self):
        wide = [Drawn(f"w{number}", disc(12.0), disc(10.0), annotator="wide") for number in range(3)]
        tight = [Drawn(f"t{number}", disc(8.0), disc(10.0), annotator="tight") for number in range(3)]
        found = rows([*wide, *tight])
        assert found["w0"]["annotator_mean_mm"] < -1
        assert found["t0"]["annotator_mean_mm"] > 1

    def test_an_uncertain_offset_is_pulled_to_the_annotators_mean(self):
        good = [Drawn(f"g{number}", disc(13.0), disc(10.0), annotator="a") for number in range(12)]
        # Of this one the teacher sees a small part at one side, so that the sides contradict each other.
        odd = Drawn("odd", disc(13.0), disc(5.0, (9.0, 16.0)), annotator="a")
        expert = Drawn("e", disc(10.0), disc(10.0), Quality.EXPERT)
        shrunk, plain = (rows([*good, odd, expert], hierarchical=kind)["odd"] for kind in (True, False))
        assert plain["measured_error_mm"] > rows(good)["g0"]["measured_error_mm"]
        assert abs(shrunk["offset_mm"] + 3) < abs(plain["offset_mm"] + 3)

    def test_sides_may_move_by_their_own(self):
        case = Drawn("a", disc(10.0, (18.0, 16.0)), disc(10.0, (15.0, 16.0)))
        whole, sides = (corrected([case], offsets=kind, remainder="keep")["a"] for kind in ("case", "direction"))
        assert dice(sides, case.truth) > dice(whole, case.truth) + 0.03

    def test_what_no_offset_explains_is_resolved_as_the_remainder_says(self):
        truth = disc(6.0, (10.0, 10.0)) | disc(6.0, (22.0, 22.0))
        case = Drawn("a", disc(6.0, (10.0, 10.0)), truth)
        missing = truth.bool() & (disc(9.0, (10.0, 10.0)) == 0)
        assert corrected([case], remainder="teacher")["a"][missing].float().mean() > 0.9
        assert (corrected([case], remainder="ignore")["a"][missing] == IGNORE).float().mean() > 0.9
        assert corrected([case], remainder="keep")["a"][missing].float().mean() < 0.3
        assert corrected([case], remainder="teacher", confidence=0.999)["a"][missing].float().mean() < 0.3

    def test_ignored_voxels_stay_ignored(self):
        given = disc(12.0)
        given[:8] = IGNORE
        label = corrected([Drawn("a", given, disc(10.0))])["a"]
        assert (label[:8] == IGNORE).all()
        assert (label[8:] != IGNORE).all()

    def test_slices_are_drawn_one_by_one(self):
        given, truth = (torch.stack([disc(0.0), disc(radius), disc(0.0)], dim=-1) for radius in (12.0, 9.0))
        case = Drawn("a", given, truth, spacing=(1.0, 1.0, 1.0), sliced=True)
        label = corrected([case], remainder="keep")["a"]
        assert not label[..., [0, 2]].any()
        assert dice(label, truth) > 0.95

    def test_an_empty_label_takes_what_the_teacher_is_sure_of(self):
        case = Drawn("a", disc(0.0), disc(8.0))
        assert torch.equal(corrected([case], remainder="teacher")["a"], case.truth)
        assert not corrected([case], remainder="keep")["a"].any()

    def test_several_classes_move_together(self):
        left = torch.arange(SIDE)[:, None] < 16
        truth, given = (disc(radius) * torch.where(left, 1, 2).to(torch.uint8) for radius in (9.0, 12.0))
        label = corrected([Drawn("a", given, truth)], remainder="keep")["a"]
        assert (label != truth).float().mean() < (given != truth).float().mean() / 2

    def test_the_two_surfaces_of_a_wall_move_by_their_own(self):
        def heart(inner: float, outer: float) -> Tensor:
            return (disc(outer) + disc(inner)).to(torch.uint8)  # a wall, 1, around a chamber, 2

        truth, given = heart(6.0, 10.0), heart(7.5, 12.0)  # both surfaces were drawn too wide
        case = Drawn("a", given, truth)
        whole, both = (corrected([case], offsets=kind)["a"] for kind in ("case", "neighbour"))
        assert dice(both == 1, truth == 1) > 0.94 > 0.7 > dice(whole == 1, truth == 1)
        assert dice(both == 2, truth == 2) > 0.94
        (revision,) = method(offsets="neighbour").revise(anchored([case]), STEP)
        found = {(row["label"], row["neighbour"]): row["measured_mm"] for row in revision.report}
        assert set(found) == {(1, 0), (1, 2), (2, 1)}
        assert found[1, 0] == pytest.approx(-2.0, abs=0.6)
        assert found[1, 2] == pytest.approx(1.5, abs=0.6)
        assert found[2, 1] == pytest.approx(-1.5, abs=0.6)

    def test_of_a_lone_object_the_background_is_the_only_neighbour(self):
        case = Drawn("a", disc(12.0), disc(10.0))
        assert torch.equal(corrected([case], offsets="neighbour")["a"], corrected([case])["a"])


class TestTraining:
    def test_a_reach_that_cannot_be_used(self):
        with raises("invalid-value", "method.reach"):
            method(reach=0.0)

    def test_revises_at_the_given_fractions_of_the_run(self):
        chosen = method(revise_at=(0.25, 0.5))
        assert [index for index in range(8) if chosen.revises(Step(index, 8))] == [2, 4]
        assert not method(revise_at=(0.0,)).revises(Step(0, 8))

    def batch(self) -> Batch:
        image = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        label = (image[:, 0] > 0).long()
        quality = (Quality.EXPERT, Quality.EXPERT, Quality.NOISY, Quality.NOISY)
        return Batch(image, label, quality, tuple("abcd"), {CORRECTED: 1 - label})

    def test_learns_from_the_corrected_labels(self):
        chosen, batch = method(), self.batch()
        (loss,) = chosen.loss(batch, STEP).values()
        expected = cross_entropy_dice(chosen.network(batch.image), batch.layers[CORRECTED])
        assert torch.equal(loss, expected)

    def test_its_batch_is_that_of_the_method_that_goes_on(self):
        assert method().needs == OffsetCorrection.needs == Composition(any_labelled=4)
        assert method(then="PLIL").needs == PLIL.needs

    @pytest.mark.parametrize(("then", "cls"), [("PLIL", PLIL), ("ALC", ALC)])
    def test_another_method_may_go_on_from_there(self, then, cls):
        chosen, batch = method(then=then), self.batch()
        assert isinstance(chosen.base, cls)
        assert chosen.base.network is chosen.network
        torch.manual_seed(1)
        terms = chosen.loss(batch, STEP)
        torch.manual_seed(1)
        alone = chosen.base.loss(replace(batch, label=batch.layers[CORRECTED]), STEP)
        assert {name: term.item() for name, term in terms.items()} == {n: t.item() for n, t in alone.items()}

    def test_the_teacher_follows_with_the_students_statistics(self):
        chosen, batch = method(), self.batch()
        chosen.loss(replace(batch, image=10 + batch.image), STEP)
        follow_students(chosen, 5)
        mine, theirs = dict(chosen.teacher.network.named_buffers()), dict(chosen.network.named_buffers())
        assert mine
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
