from __future__ import annotations

import importlib
import inspect
from functools import partial
from pathlib import Path

import pytest
from refusals import raises

import segmend
from segmend.commands import calls
from segmend.methods import PLIL
from segmend.networks import UNet
from segmend.noise import CubeMorphology


@pytest.fixture
def received(monkeypatch):
    """What a command's function is called with."""

    def call(name, *leading, **arguments):
        found = {}
        module = importlib.import_module(segmend.COMMANDS[name])
        real = getattr(module, name)

        def record(**given):
            found.update(given)

        record.__signature__ = inspect.signature(real, eval_str=True)
        monkeypatch.setattr(module, name, record)
        calls.as_function.cache_clear()
        calls.as_function(name)(*leading, **arguments)
        return found

    yield call
    calls.as_function.cache_clear()


def test_paths_may_be_text(received):
    assert received("train", data="d", out=Path("o"), spacing="native") == {
        "data": Path("d"),
        "out": Path("o"),
        "spacing": "native",
    }
    assert received("audit", data="d", out="a", run=["r1", "r2"])["run"] == [Path("r1"), Path("r2")]


def test_what_is_required_may_be_given_by_position(received):
    assert received("train", "d", "o", seed=1) == {"data": Path("d"), "out": Path("o"), "seed": 1}
    assert received("predict", "r", "i", "p") == {"run": Path("r"), "images": Path("i"), "out": Path("p")}


@pytest.mark.parametrize(
    ("leading", "named", "message"),
    [(("d", "o", "PLIL"), {}, "takes data, out by position, got 3"), (("d",), {"data": "e"}, "data by position and")],
)
def test_more_by_position_is_refused(received, leading, named, message):
    with pytest.raises(TypeError, match=message):
        received("train", *leading, **named)


def test_classes_may_be_named(received):
    given = received("train", data="d", out="o", method="PLIL", network="UNet")
    assert (given["method"], given["network"]) == (PLIL, UNet)
    assert isinstance(received("corrupt", data="d", out="o", recipe="CubeMorphology")["recipe"], CubeMorphology)


def test_an_instance_stands_for_its_class_and_arguments(received):
    network = UNet(1, 2, 2, width=4, stages=2)
    given = received("train", data="d", out="o", method=PLIL(network, passes=3), network=network)
    built = given["network"](1, 3, 3)
    assert (built.arguments["width"], built.arguments["classes"]) == (4, 3)
    assert given["method"](built).passes == 3


def test_classes_and_partials_stay_as_they_are(received):
    method = partial(PLIL, passes=3)
    given = received("train", data="d", out="o", method=method, network=UNet)
    assert given["method"] is method
    assert given["network"] is UNet


def test_an_unknown_name_is_an_error_with_the_nearest_ones():
    with raises("unknown-name", "method", match="Did you mean PLIL"):
        segmend.train(data="d", out="o", method="PLLI")


def test_packages_of_the_name_of_a_command_are_callable():
    with raises("missing-file", "nowhere"):
        segmend.audit(data="nowhere", out="a")
