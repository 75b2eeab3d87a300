from __future__ import annotations

import pytest
import torch
from monai.networks.nets import DynUNet

from segmend.core.errors import InputError
from segmend.networks import PlannedUNet

KERNELS = ((3, 3, 1), (3, 3, 3), (3, 3, 3))
STRIDES = ((1, 1, 1), (2, 2, 1), (2, 2, 2))


def test_computes_what_dynunet_computes():
    torch.manual_seed(0)
    ours = PlannedUNet(2, 3, 3, kernels=KERNELS, strides=STRIDES, widths=(4, 8, 8))
    theirs = DynUNet(3, 2, 3, KERNELS, STRIDES, STRIDES[1:], filters=(4, 8, 8))
    pairs = [
        (ours.encoder[0], theirs.input_block),
        (ours.encoder[1], theirs.downsamples[0]),
        (ours.encoder[2], theirs.bottleneck),
        (ours.decoder[1], theirs.upsamples[0]),
        (ours.decoder[0], theirs.upsamples[1]),
        (ours.head, theirs.output_block),
    ]
    for own, other in pairs:
        other.load_state_dict(own.state_dict())
    image = torch.randn(1, 2, 8, 8, 6)
    torch.testing.assert_close(ours(image), theirs(image))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("dimensions", "shape"), [(2, (16, 32)), (3, (16, 16, 32))])
def test_logits_have_the_shape_of_the_image(dimensions, shape, residual):
    network = PlannedUNet(1, 4, dimensions, kernels=(3,) * 3, strides=(1, 2, 2), widths=(2, 4, 4), residual=residual)
    assert network(torch.zeros(1, 1, *shape)).shape == (1, 4, *shape)


def test_widths_double_up_to_a_limit():
    network = PlannedUNet(1, 2, 3)
    widths = [stage.conv1.conv.out_channels for stage in network.encoder]
    assert widths == [32, 64, 128, 256, 320]


def test_names_its_stages_from_coarse_to_fine():
    network = PlannedUNet(1, 2, 2, kernels=(3,) * 3, strides=(1, 2, 2), widths=(2, 4, 4))
    assert network.decoder_scales == ("decoder.1", "decoder.0")
    modules = dict(network.named_modules())
    assert {*network.decoder_scales, *network.encoder_stages} <= set(modules)


@pytest.mark.parametrize(
    ("stages", "scales"),
    [(2, ()), (3, ("decoder.1",)), (4, ("decoder.1",)), (6, ("decoder.3", "decoder.2", "decoder.1"))],
)
def test_deep_supervision_leaves_out_the_finest_and_the_coarsest_stage(stages, scales):
    network = PlannedUNet(1, 2, 2, kernels=(3,) * stages, strides=(1, *[2] * (stages - 1)), widths=(2,) * stages)
    assert network.supervised_scales == scales


@pytest.mark.parametrize(
    "arguments", [{"kernels": (3,), "strides": (1,)}, {"kernels": (3, 3), "strides": (1, 2, 2)}, {"widths": (2, 2)}]
)
def test_lists_of_other_lengths(arguments):
    with pytest.raises(InputError, match="must have two stages or more"):
        PlannedUNet(1, 2, 3, **arguments)
