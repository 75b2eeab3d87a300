from __future__ import annotations

import math
from dataclasses import replace

from segmend.data.augment import PLANNED, Augmentation
from segmend.data.fingerprint import ClassOrder, Fingerprint
from segmend.engine import planner
from segmend.engine.plan import TrainingPlan
from segmend.engine.planner import (
    Machine,
    plan_augmentation,
    plan_mirroring,
    plan_spacing,
    plan_training,
)

CT = (0.0, 1.0, 0.5, 0.1)
ISOTROPIC = Fingerprint(
    spacing=(1.0, 1.0, 1.0),
    shape=(36, 50, 37),
    content=1.0,
    foreground=(CT,),
    fine_spacing=(1.0, 1.0, 1.0),
    extent=(36.0, 50.0, 37.0),
    cases=80,
    annotated=(80, 80),
    order=(),
)
THICK = replace(ISOTROPIC, spacing=(1.0, 1.0, 10.0), fine_spacing=(0.9, 0.9, 5.0), shape=(216, 256, 9))


class TestSpacing:
    def test_the_median(self):
        assert plan_spacing(ISOTROPIC).value == [1, 1, 1]

    def test_across_thick_slices_the_tenth_percentile(self):
        choice = plan_spacing(THICK)
        assert choice.value == [1, 1, 5]
        assert "10 mm" in choice.reason

    def test_slices_are_never_finer_than_voxels_are_wide(self):
        assert plan_spacing(replace(THICK, fine_spacing=(0.9, 0.9, 0.5))).value == [1, 1, 1]

    def test_slices_of_one_thickness_keep_it(self):
        assert plan_spacing(replace(THICK, fine_spacing=(0.9, 0.9, 10.0))).value == [1, 1, 10]

    def test_the_thick_axis_is_last(self):
        sagittal = replace(THICK, spacing=(10.0, 1.0, 2.0), fine_spacing=(6.0, 1.0, 2.0))
        assert plan_spacing(sagittal).value == [1, 2, 6]


class TestMirroring:
    def test_along_all_axes_if_no_order_is_known(self):
        assert plan_mirroring(ISOTROPIC, ["organ"]).value == [0, 1, 2]

    def test_not_along_an_axis_that_tells_classes_apart(self):
        ordered = replace(ISOTROPIC, order=(ClassOrder(1, 2, 1, 1.0, 80),))
        choice = plan_mirroring(ordered, ["anterior", "posterior"])
        assert choice.value == [0, 2]
        assert "posterior and anterior keep their order along anterior in 100 % of 80 cases" in choice.reason

    def test_prepared_axes_are_meant(self):
        ordered = replace(THICK, spacing=(10.0, 1.0, 1.0), order=(ClassOrder(0, 1, 2, 1.0, 9),))
        assert plan_mirroring(ordered, ["left", "right"]).value == [0, 1]


class TestAugmentation:
    def test_of_isotropic_volumes(self):
        choice = plan_augmentation((1, 1, 3))
        assert Augmentation(**choice.value) == replace(PLANNED, quarter_turns=None, flips=None, across_slices=True)

    def test_nothing_reaches_across_thick_slices(self):
        choice = plan_augmentation((1, 1, 5))
        assert choice.value["across_slices"] is False
        assert "slices, which are 5 times as thick" in choice.reason

    def test_pictures_have_no_slices(self):
        assert not {"tilt", "across_slices"} & plan_augmentation((1, 9)).value.keys()

    def test_is_switched_in_one_place(self, monkeypatch):
        monkeypatch.setattr(planner, "PLANNED_AUGMENTATION", None)
        assert Augmentation(**plan_augmentation((1, 1, 1)).value) == Augmentation()

    def test_plans_without_it_keep_the_defaults(self):
        assert TrainingPlan({}).augmentation == {}
        assert TrainingPlan({}).foreground_by == "voxel"


def planned(machine: Machine, **given):
    return plan_training(
        ISOTROPIC,
        channels=1,
        classes=2,
        objects=["organ"],
        slices=False,
        batch=2,
        networks=1,
        machine=machine,
        **given,
    )


class TestEncoder:
    CPU = Machine("CPU", 2**33, 2, 4, "narrow")
    GPU = replace(CPU, name="GPU", gpu=True)

    def test_is_residual_on_a_gpu_with_room_for_it(self):
        plan = planned(self.GPU)
        assert plan.network["residual"] is True
        assert "residual encoder, as a step with this patch fits" in plan.entries["network"].reason

    def test_is_plain_on_a_cpu(self):
        plan = planned(self.CPU)
        assert "residual" not in plan.network, "plans and configurations stay those of earlier versions"
        assert "no GPU" in plan.entries["network"].reason

    def test_the_patch_never_shrinks_for_it(self):
        """Between what the plain and the residual encoder need for the whole scan, the plain one is taken."""
        needs = {}
        for residual in (False, True):
            needs[residual] = planned(self.GPU, residual=residual).entries["memory"].value
        plain, with_residual = (float(needs[each].split()[0]) * 2**30 for each in (False, True))
        assert plain < with_residual
        between = planned(replace(self.GPU, memory=int((plain + with_residual) / 2)))
        assert between.patch == planned(self.CPU).patch
        assert "residual" not in between.network
        assert "would need" in between.entries["network"].reason

    def test_memory_and_patch_include_it_where_it_is_asked_for(self):
        tight = replace(self.CPU, memory=int(0.03 * 2**30))
        sides = [math.prod(planned(tight, residual=each).patch) for each in (False, True)]
        assert sides[1] < sides[0]
        assert planned(self.CPU, residual=True).network["residual"] is True
        assert "as given" in planned(self.GPU, residual=False).entries["network"].reason


class TestGivenPatch:
    def test_beyond_the_memory_is_warned_of(self, caplog):
        plan = planned(replace(TestEncoder.CPU, memory=2**20), patch=(40, 56, 40))
        assert "more than" in plan.entries["memory"].reason
        assert "give a smaller patch" in caplog.text
