from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from refusals import raises
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.contrast import groups_of, mean_over_positives, pair_losses, self_paced_weights
from segmend.functional.dice import cross_entropy_dice
from segmend.methods import SelfPacedContrast, Step
from segmend.networks import ResUNet, UNet, VNet

START, HALF, LATER = Step(0, 100), Step(25, 100), Step(50, 100)
EXPERT, NONE = Quality.EXPERT, Quality.NONE


def method(**arguments: Any) -> SelfPacedContrast:
    torch.manual_seed(0)
    return SelfPacedContrast(UNet(1, 2, 2, width=4, stages=3), **arguments).eval()


def batch(*quality: Quality, positions: tuple[float, ...] | None = None, cases: tuple[str, ...] = ()) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(len(quality), 1, 16, 16, generator=random)
    label = torch.randint(0, 2, (len(quality), 16, 16), generator=random)
    for row, each in enumerate(quality):
        label[row] = IGNORE if each is NONE else label[row]
    place = None
    if positions:
        place = torch.zeros(len(quality), 3, 3)
        place[:, :, 2] = torch.tensor(positions).unsqueeze(1)
    return Batch(image, label, quality, cases or tuple(map(str, range(len(quality)))), place=place)


@pytest.fixture
def unmirrored(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.ones(*shape))


FOUR = batch(EXPERT, NONE, NONE, NONE, positions=(0.1, 0.2, 0.5, 0.99), cases=("a", "b", "b", "c"))


def vectors(made: SelfPacedContrast, of: Batch) -> torch.Tensor:
    """Projections of both views where nothing is mirrored."""
    with made._taps.recording() as tapped:
        made.network(of.image)
    return made.projections(tapped)[0][:, 0].repeat(2, 1)


class TestPhases:
    def test_labels_count_after_the_pretraining(self):
        made = method()
        assert set(made.loss(FOUR, START)) == {"contrast"}
        terms = made.loss(FOUR, LATER)
        assert_close(terms, {"expert": cross_entropy_dice(made.network(FOUR.image[:1]), FOUR.label[:1])})

    def test_contrast_may_go_on(self):
        assert set(method(regularisation=0.1).loss(FOUR, LATER)) == {"contrast", "expert"}

    def test_without_pretraining_it_is_supervised(self):
        assert set(method(pretrain=0.0).loss(FOUR, START)) == {"expert"}

    def test_pretraining_needs_no_label(self):
        assert set(method().loss(batch(NONE, NONE), START)) == {"contrast"}
        assert method().loss(batch(NONE, NONE), LATER) == {}

    def test_pretraining_trains_the_encoder_and_the_projections_only(self):
        made = method()
        made.loss(FOUR, START)["contrast"].backward()
        assert all(each.grad is not None for each in made.network.encoder.parameters())
        assert all(each.grad is None for each in made.network.decoder.parameters())
        assert all(each.grad.any() for each in made.projections.parameters())


@pytest.mark.usefixtures("unmirrored")
class TestContrast:
    @pytest.mark.parametrize(
        ("kind", "groups"), [("position", [0, 0, 1, 2]), ("case", [0, 1, 1, 2])], ids=["position", "case"]
    )
    def test_is_self_paced_over_the_groups(self, kind, groups):
        made = method(labels=[kind], temperature=0.5, pace=(0.5, 2.5), contrast=3.0)
        positive, negative = groups_of(torch.tensor(groups).repeat(2))
        for step, gamma in ((START, 0.5), (HALF, 0.5 + 2 * 0.5**0.5)):
            losses = pair_losses(vectors(made, FOUR), positive, negative, 0.5)
            weights = self_paced_weights(losses, gamma)
            expected = mean_over_positives(losses, positive, weights) / weights[positive].mean().clamp(min=1e-12)
            assert_close(made.loss(FOUR, step)["contrast"], 3 * expected)

    def test_mean_weight_may_be_left_out(self):
        made = method(labels=["case"], pace=(2.0, 2.0), divide_by_weight=False, weights="hard", temperature=0.5)
        positive, negative = groups_of(torch.tensor([0, 1, 1, 2] * 2))
        losses = pair_losses(vectors(made, FOUR), positive, negative, 0.5)
        expected = mean_over_positives(losses, positive, (losses <= 2.0).float())
        assert_close(made.loss(FOUR, START)["contrast"], expected)

    def test_kinds_add_up(self):
        both, position, case = (
            method(labels=labels).loss(FOUR, START)["contrast"]
            for labels in (["position", "case"], ["position"], ["case"])
        )
        assert_close(both, position + case)

    def test_without_positions_each_sample_is_its_own_group(self):
        unplaced = replace(FOUR, place=None, cases=tuple("abcd"))
        position, case = (method(labels=[kind]).loss(unplaced, START)["contrast"] for kind in ("position", "case"))
        assert_close(position, case)


@pytest.mark.parametrize(("phase", "gamma"), [(0, 3), (0.25, 36.5), (0.5, 50.376154), (1, 70)])
def test_pace(phase, gamma):
    assert method()._gamma(phase) == pytest.approx(gamma, abs=1e-6)


def test_mirrored_view_is_passed(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.zeros(*shape))
    made, seen = method(), []
    made.network.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    made.loss(FOUR, START)
    assert torch.equal(seen[0], torch.cat([FOUR.image, FOUR.image.flip(2, 3)]))


def test_feature_is_the_bottom_or_named():
    assert method()._taps._modules[0] is not None
    made = SelfPacedContrast(VNet(1, 2, 2, width=2))
    assert made._taps._modules == [made.network.get_submodule("x5")]
    assert SelfPacedContrast(ResUNet(1, 2, 2, width=2), features="res3")
    with raises("missing-value", "network ResUNet"):
        SelfPacedContrast(ResUNet(1, 2, 2, width=2))


def test_takes_expert_and_unlabelled_samples():
    assert SelfPacedContrast.needs == Composition(expert=2, unlabelled=6)
