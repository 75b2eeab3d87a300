from __future__ import annotations

from refusals import raises

from segmend.methods.components.sub_modules import members, sub_modules
from segmend.networks import UNet, VNet

NETWORK = VNet(1, 2, 2, width=2)


def test_come_in_the_order_of_their_names():
    assert sub_modules(NETWORK, ["x9.1", "x1"], "part", "parts") == [NETWORK.x9[1], NETWORK.x1]


def test_a_wrong_name_brings_the_nearest():
    with raises("unknown-name", "part 'heads'", match=r"Did you mean head\?"):
        sub_modules(NETWORK, ["x1", "heads"], "part", "parts")


def test_no_name_brings_those_that_there_are():
    with raises("missing-value", "network VNet") as error:
        sub_modules(NETWORK, [], "part", "pieces")
    assert str(error.value).startswith("network VNet: names no parts of its own. Name them by the method's 'pieces'")
    assert "x9, x9.0, x9.1" in error.value.remedy
    assert "x9.0.0" not in error.value.remedy


def test_members_stand_for_their_list():
    network = UNet(1, 2, 2, width=2, stages=2)
    assert members(network, ["encoder", "decoder.head", "unknown"]) == [
        "encoder.0",
        "encoder.1",
        "decoder.head",
        "unknown",
    ]
    assert members(NETWORK, NETWORK.encoder_stages) == list(NETWORK.encoder_stages)
