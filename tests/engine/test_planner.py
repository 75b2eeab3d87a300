from __future__ import annotations

import math
from dataclasses import replace

from refusals import raises

from segmend.data.augment import PLANNED, Augmentation
from segmend.data.fingerprint import ClassOrder, Fingerprint
from segmend.engine import planner
from segmend.engine.planner import (
    TrainingPlan,
    plan_architecture,
    plan_augmentation,
    plan_mirroring,
    plan_patch,
    plan_spacing,
    step_bytes,
)
from segmend.networks import PlannedUNet

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


class TestArchitecture:
    def test_an_isotropic_scan(self):
        """36 -> 18 -> 9 -> 4.5: three halvings, so sides are multiples of 8."""
        chosen = plan_architecture((36, 50, 37), (1, 1, 1))
        assert chosen.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
        assert chosen.kernels == ((3, 3, 3),) * 4
        assert chosen.patch == (40, 56, 40)

    def test_thick_slices_are_halved_once_voxels_are_as_coarse(self):
        """At 1 x 1 x 5 mm slices stay apart until the plane is at 4 mm, where 5 is less than twice as much."""
        chosen = plan_architecture((192, 224, 40), (1, 1, 5))
        assert chosen.strides[:4] == ((1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2))
        assert chosen.kernels[:3] == ((3, 3, 1), (3, 3, 1), (3, 3, 3))

    def test_nine_slices_are_not_padded_to_sixteen(self):
        chosen = plan_architecture((216, 256, 9), (1, 1, 10))
        assert chosen.patch[2] in (9, 10)

    def test_patches_are_multiples_of_the_strides(self):
        for patch, spacing in (((33, 47, 21), (1, 1, 3)), ((300, 211), (0.5, 0.5)), ((5, 5, 5), (1, 1, 1))):
            chosen = plan_architecture(patch, spacing)
            for axis, side in enumerate(chosen.patch):
                assert side % math.prod(stride[axis] for stride in chosen.strides) == 0
                assert side >= patch[axis]

    def test_the_network_takes_the_patch(self):
        chosen = plan_architecture((20, 22, 9), (1, 1, 4))
        network = PlannedUNet(1, 2, 3, kernels=chosen.kernels, strides=chosen.strides, widths=[2] * len(chosen.strides))
        assert step_bytes(network, 1, chosen.patch, 2, 4) > 0


class TestPatch:
    def test_a_scan_that_fits_is_taken_whole(self):
        chosen, choice = plan_patch((36, 50, 37), (1, 1, 1), lambda _: True)
        assert chosen.patch == (40, 56, 40)
        assert "all of the median scan" in choice.reason

    def test_otherwise_it_shrinks_in_the_shape_of_the_scan(self):
        shape = (512, 512, 106)
        chosen, choice = plan_patch(shape, (1, 1, 5), lambda a: math.prod(a.patch) <= 200 * 200 * 48)
        shares = [side / whole for side, whole in zip(chosen.patch, shape, strict=True)]
        assert max(shares) / min(shares) < 1.35
        assert math.prod(chosen.patch) > 0.6 * 200 * 200 * 48
        assert "as much as fits into memory" in choice.reason

    def test_no_patch_fits(self):
        with raises("too-large", "memory"):
            plan_patch((36, 50, 37), (1, 1, 1), lambda _: False)


class TestMirroring:
    def test_along_all_axes_if_no_order_is_known(self):
        assert plan_mirroring(ISOTROPIC, ["background", "organ"]).value == [0, 1, 2]

    def test_not_along_an_axis_that_tells_classes_apart(self):
        ordered = replace(ISOTROPIC, order=(ClassOrder(1, 2, 1, 1.0, 80),))
        choice = plan_mirroring(ordered, ["background", "anterior", "posterior"])
        assert choice.value == [0, 2]
        assert "posterior and anterior keep their order along anterior in 100 % of 80 cases" in choice.reason

    def test_prepared_axes_are_meant(self):
        ordered = replace(THICK, spacing=(10.0, 1.0, 1.0), order=(ClassOrder(0, 1, 2, 1.0, 9),))
        assert plan_mirroring(ordered, ["background", "left", "right"]).value == [0, 1]


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
