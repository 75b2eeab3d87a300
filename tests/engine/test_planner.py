from __future__ import annotations

from dataclasses import replace

from segmend.data.augment import PLANNED, Augmentation
from segmend.data.fingerprint import ClassOrder, Fingerprint
from segmend.engine import planner
from segmend.engine.plan import TrainingPlan
from segmend.engine.planner import plan_augmentation, plan_mirroring, plan_spacing

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
