from __future__ import annotations

import math

from refusals import raises

from segmend.engine.architecture import plan_architecture, plan_patch, step_bytes
from segmend.networks import PlannedUNet


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
