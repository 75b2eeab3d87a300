from __future__ import annotations

import pytest
from refusals import raises

from segmend.core.batch import Composition
from segmend.data.augment import Augmentation
from segmend.engine.hardware import Hardware
from segmend.engine.options import TrainingOptions, check_patch_axes
from segmend.engine.plan import Choice, TrainingPlan
from segmend.engine.planner import plan_augmentation


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("iterations", 0, 1), ("initial_iterations", 0, 1), ("checkpoint_every", 0, 1), ("seed", -1, 0)],
)
def test_numbers_out_of_range(name, value, least):
    with raises("invalid-value", name, match=f"{least} or more, got {value}"):
        TrainingOptions(**{name: value})


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range(share):
    with raises("invalid-value", "foreground"):
        TrainingOptions(foreground=share)


def test_the_method_decides_on_the_batch_unless_a_count_is_given():
    of_method = Composition(expert=2, unlabelled=2)
    assert TrainingOptions().composition(of_method) == of_method
    assert TrainingOptions(noisy=3).composition(of_method) == Composition(noisy=3)


def test_what_only_makes_it_faster_does_not_decide():
    left = TrainingOptions(workers=4, compile=True, checkpoint_every=3, patch=(8, 8)).deciding()
    assert left == TrainingOptions(patch=[8, 8]).deciding()
    assert left["patch"] == [8, 8]
    assert left["augmentation"]["rotation"] == 15.0
    assert TrainingOptions(seed=1).deciding() != TrainingOptions().deciding()


def test_mirroring_is_decided_by_the_number_of_classes():
    assert TrainingOptions().for_classes(2).augmentation == Augmentation(quarter_turns=True, flips=True)
    assert TrainingOptions().for_classes(3).augmentation == Augmentation(quarter_turns=False, flips=False)


def test_hardware_is_what_was_asked_for():
    options = TrainingOptions(precision="32", devices=1, workers=0, compile=True)
    assert options.hardware == Hardware("32", 1, 1, 0, True)


@pytest.mark.parametrize("patch", [(8,), (8, 8, 8), (8, 0)])
def test_a_patch_of_other_axes(patch):
    with raises("invalid-value", "patch", match="2 positive values, got 8"):
        check_patch_axes(patch, 2)


class TestPlanned:
    @pytest.fixture
    def plan(self):
        entries = {"patch": [8, 8], "spacing": [1.0, 1.0], "mirroring": [1], "foreground": "class"}
        chosen = {name: Choice(value, "") for name, value in entries.items()}
        return TrainingPlan({**chosen, "augmentation": plan_augmentation((1.0, 1.0))})

    @pytest.mark.parametrize("given", [Augmentation(), Augmentation(mirror=[1]), Augmentation(flips=True)])
    def test_what_is_not_given_is_planned(self, plan, given):
        planned = TrainingOptions(augmentation=given).planned(plan)
        assert planned.augmentation.strengths == plan.augmentation
        assert planned.augmentation.mirror == (None if given.flips else given.mirror or (1,))
        assert planned.foreground_by == "class"

    @pytest.mark.parametrize("given", [{"noise": 0.2}, {"occasional": False}, {"blur": 0.0}])
    def test_what_is_given_is_kept(self, plan, given):
        planned = TrainingOptions(augmentation=Augmentation(**given), foreground_by="voxel").planned(plan)
        assert planned.augmentation.strengths == Augmentation(**given).strengths
        assert planned.augmentation.mirror == (1,)
        assert planned.foreground_by == "voxel"

    def test_is_planned_once(self, plan):
        once = TrainingOptions().planned(plan)
        assert once.planned(plan) == once
