from __future__ import annotations

import inspect

import pytest
from refusals import raises

from segmend.bench.plan import Plan
from segmend.commands.train import train
from segmend.data.augment import LEFT_ATRIUM_PROTOCOL, Augmentation
from segmend.engine.learner import Optimisation
from segmend.engine.options import TrainingOptions
from segmend.engine.recipes import RECIPES, network_by, settings_of, with_recipe
from segmend.networks import UNet, VNet


class TestPaper:
    def test_is_the_protocol_of_the_shipped_plan(self):
        stated, by_recipe = Plan.read("plil_table1").rows["HL-Sup"].train, with_recipe({"recipe": "paper"})
        for name in ("network", "iterations", "foreground"):
            assert by_recipe[name] == stated[name]
        for name, cls in (("optimisation", Optimisation), ("augmentation", Augmentation)):
            mine, theirs = cls(**by_recipe[name]), cls(**stated[name])
            if name == "optimisation":
                mine = cls(**{**by_recipe[name], "learning_rate": None})  # which is 0.01 of SGD by default
            assert mine == theirs

    def test_every_setting_is_an_argument_of_train(self):
        for recipe in RECIPES:
            assert set(settings_of(recipe)) <= set(inspect.signature(train).parameters)


class TestWithRecipe:
    def test_what_is_given_wins_one_by_one(self):
        found = with_recipe({"recipe": "paper", "network": "UNet", "optimisation": {"clip": 1.0, "learning_rate": 0.1}})
        assert found["network"] == "UNet"
        assert found["optimisation"]["clip"] == 1.0
        assert found["optimisation"]["learning_rate"] == 0.1
        assert found["optimisation"]["momentum"] == 0.9
        assert found["foreground"] == 0
        assert settings_of("paper")["optimisation"]["learning_rate"] == 0.01, "the recipe itself stays"

    @pytest.mark.parametrize("given", [{}, {"recipe": "planned"}, {"recipe": None}])
    def test_the_planned_one_states_nothing(self, given):
        assert with_recipe({**given, "iterations": 3}) == {"iterations": 3}

    def test_unknown(self):
        with raises("unknown-name", "recipe", match="papr.*paper"):
            with_recipe({"recipe": "papr"})


class TestNetwork:
    def test_of_the_recipe_where_none_is_named(self):
        assert network_by("paper", None) is VNet
        assert network_by("paper", UNet) is UNet
        assert network_by(None, None) is None


class TestOptions:
    def test_take_what_is_not_given_from_the_recipe(self):
        options = TrainingOptions().merged(recipe="paper", foreground=0.33)
        assert options.foreground == 0.33, "also where it is the default of train"
        assert options.optimisation == Optimisation("sgd", 0.01)
        assert options.augmentation == LEFT_ATRIUM_PROTOCOL
        assert options.recipe == "paper"

    def test_the_planned_recipe_is_the_default(self):
        assert TrainingOptions().merged(recipe="planned") == TrainingOptions()

    def test_are_not_changed_again_when_they_are_handed_on(self):
        options = TrainingOptions().merged(recipe="paper", foreground=0.33)
        assert options.merged(seed=3).foreground == 0.33
