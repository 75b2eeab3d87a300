"""Networks of MONAI as its users write them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from monai.networks import nets
from torch import nn

import segmend
from segmend.core.errors import InputError
from segmend.networks import MonaiUNet, SegResNet, UNet, VNet
from segmend.networks.foreign import adopted

FROM_DATA = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}


def refusal(network: object) -> InputError:
    with pytest.raises(InputError, match=r"functools\.partial\(CLASS") as error:
        adopted(network)
    assert (error.value.where, error.value.code) == ("network", "unsupported")
    return error.value


def test_an_instance_stands_for_its_class_and_arguments():
    instance = nets.UNet(**FROM_DATA, channels=(4, 8, 16), strides=(2, 2), num_res_units=1, dropout=0.25)
    made = adopted(instance)(3, 5, 2)
    assert type(made) is MonaiUNet
    assert {name: made.arguments[name] for name in ("channels", "strides", "num_res_units", "dropout")} == {
        "channels": (4, 8, 16),
        "strides": (2, 2),
        "num_res_units": 1,
        "dropout": 0.25,
    }
    assert made(torch.zeros(1, 3, 16, 16)).shape == (1, 5, 16, 16)
    assert repr(adopted(instance)(1, 2, 3).net) == repr(instance)


def test_an_instance_with_default_arguments_needs_no_attributes():
    assert repr(adopted(nets.BasicUNet(**FROM_DATA))(1, 2, 3).net) == repr(nets.BasicUNet(**FROM_DATA))


def test_an_instance_whose_arguments_it_does_not_keep_is_refused_and_not_replaced_by_the_defaults():
    error = refusal(nets.BasicUNet(**FROM_DATA, features=(4, 4, 8, 8, 16, 4)))
    assert "MONAI's class BasicUNet" in error.problem


def test_classes_and_partial_functions_of_them():
    assert adopted(nets.SegResNet)(1, 2, 3).arguments["init_filters"] == 8
    made = adopted(partial(nets.SegResNet, **FROM_DATA, init_filters=16))(2, 4, 2)
    assert (type(made), made.arguments["init_filters"], made.arguments["in_channels"]) == (SegResNet, 16, 2)


def test_arguments_by_position_are_refused():
    refusal(partial(nets.SegResNet, 3))


@pytest.mark.parametrize("network", [nn.Conv3d(1, 2, 1), nn.Conv3d, nets.Discriminator])
def test_other_modules_are_refused(network):
    refusal(network)


@pytest.mark.parametrize("network", [VNet, partial(UNet, width=4), lambda channels, classes, dimensions: None])
def test_what_segmend_takes_anyway_is_left_alone(network):
    assert adopted(network) is network


def test_one_of_monai_trains_and_predicts(make_folder, tmp_path):
    data = make_folder(shape=(16, 16, 16), test_cases=["test_1"])
    network = nets.UNet(**FROM_DATA, channels=(4, 8), strides=(2,))
    given = {"data": data, "method": "Supervised", "iterations": 2, "patch": (16, 16, 16), "cache": tmp_path / "cache"}
    run = segmend.train(**given, out=tmp_path / "run", network=network)
    assert run.config["network"]["class_path"] == "MonaiUNet"
    assert run.predict(data / "imagesTs" / "test_1_0000.nii.gz").shape == (16, 16, 16)
    with pytest.raises(InputError, match="is of the class Conv3d"):
        segmend.train(**given, out=tmp_path / "other", network=nn.Conv3d(1, 2, 1))
