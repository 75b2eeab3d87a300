from __future__ import annotations

import pytest
from refusals import raises

from segmend.bench.building import (
    audit_arguments,
    auditing_method,
    corruption_of,
    method_of,
    network_class,
    network_of,
    recipes_in,
    train_arguments,
    whole_training,
)
from segmend.bench.plan import Plan
from segmend.core.errors import InputError
from segmend.engine.learner import Optimisation
from segmend.methods import MeanTeacher, Supervised
from segmend.networks import PlannedUNet, UNet, VNet
from segmend.noise import CubeMorphology, MissingLabel, MixedNoise


@pytest.fixture
def labels(small, write_plan):
    """The state 'some noisy' of a plan, with more said about it."""

    def make(**more):
        small["labels"]["some noisy"] |= more
        return Plan.read(write_plan(small)).labels["some noisy"]

    return make


def test_arguments_of_training():
    given = {
        "network": {"name": "UNet", "width": 2, "stages": 2},
        "optimisation": {"optimiser": "adamw"},
        "any_labelled": 4,
    }
    arguments = train_arguments(given, "row A")
    assert arguments["optimisation"] == Optimisation(optimiser="adamw")
    assert arguments["any_labelled"] == 4
    network = arguments["network"](1, 2, 3)
    assert isinstance(network, UNet)
    assert network.arguments["width"] == 2
    assert isinstance(method_of("Supervised", {"loss": "gce"})(network), Supervised)
    assert network_of({}, "row A") is None
    assert network_class({}, "row A") is PlannedUNet
    assert train_arguments({}, "row A")["network"] is None
    assert network_of({"network": "UNet"}, "row A") == (UNet, {})


@pytest.mark.parametrize(
    ("given", "message"),
    [({"optimisation": {"rate": 1}}, "row A, optimisation.*rate"), ({"network": "VNett"}, "row A.*VNett.*VNet")],
)
def test_what_is_not_known_is_said(given, message):
    with pytest.raises(InputError, match=message):
        train_arguments(given, "row A")


def test_noise(labels):
    corruption = corruption_of(labels())
    assert isinstance(corruption["recipe"], CubeMorphology)
    assert corruption["expert"] == 2
    assert recipes_in(labels()) == (CubeMorphology,)
    mixed = labels(recipe="MixedNoise", arguments={"recipes": [{"MissingLabel": {}}]})
    assert recipes_in(mixed) == (MixedNoise, MissingLabel)


def test_an_audit(labels):
    state = labels(audit={"folds": 2, "network": {"name": "UNet", "width": 2}, "method": "MeanTeacher"})
    arguments = audit_arguments(state)
    assert arguments["folds"] == 2
    assert arguments["method"] is auditing_method(state) is MeanTeacher
    assert arguments["network"].func is UNet
    assert auditing_method(labels(audit=None)) is Supervised
    with raises("unknown-name", match="labels some noisy, audit.*Superviced.*Supervised"):
        audit_arguments(labels(audit={"method": "Superviced"}))


class TestRecipe:
    def test_counts_as_if_the_plan_stated_its_settings(self):
        stated = {
            "network": "VNet",
            "iterations": 8000,
            "foreground": 0,
            "optimisation": {"optimiser": "sgd", "learning_rate": 0.01},
            "augmentation": {"quarter_turns": True, "flips": True, "rotation": 0, "zoom": 0, "contrast": 0, "noise": 0},
        }
        assert whole_training({"recipe": "paper"}, "row A") == whole_training(stated, "row A")
        assert network_class({"recipe": "paper"}, "row A") is VNet
        assert train_arguments({"recipe": "paper"}, "row A")["optimisation"] == Optimisation("sgd", 0.01)

    def test_what_a_row_states_wins(self):
        given = {"recipe": "paper", "iterations": 5, "optimisation": {"optimiser": "adamw", "learning_rate": 0.001}}
        arguments = train_arguments(given, "row A")
        assert arguments["iterations"] == 5
        assert arguments["optimisation"] == Optimisation("adamw", 0.001)
        assert arguments["foreground"] == 0

    def test_unknown(self):
        with raises("unknown-name", match="row A, recipe.*papr"):
            train_arguments({"recipe": "papr"}, "row A")
