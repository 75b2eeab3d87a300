from __future__ import annotations

import copy
import inspect
import json
from enum import Enum, StrEnum
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from segmend.core.config import Configured, described, plain, rebuilt
from segmend.core.errors import InputError
from segmend.methods import PLIL, MeanTeacher, Method, Supervised, all_methods
from segmend.networks import Network, UNet, VNet


class Leaf(Configured):
    def __init__(self, size: int, *, colour: str = "green") -> None:
        self.size = size


class Tree(Configured):
    def __init__(self, height: float, leaf: Leaf | None = None) -> None:
        self.leaf = leaf or Leaf(3)


class Oak(Tree):
    def __init__(self, *, age: int = 100) -> None:
        super().__init__(height=age / 10)


class OldOak(Oak):
    """Has no constructor of its own."""


class Broken(Configured):
    def __init__(self, size: int) -> None:
        raise ValueError(size)


def test_records_what_was_given_and_the_defaults():
    assert Leaf(2).arguments == {"size": 2, "colour": "green"}
    assert Leaf(colour="red", size=1).arguments == {"size": 1, "colour": "red"}


def test_keeps_the_arguments_themselves():
    leaf = Leaf(1)
    assert Tree(2.5, leaf).arguments["leaf"] is leaf


def test_objects_built_inside_keep_their_own():
    tree = Tree(4.0)
    assert tree.arguments == {"height": 4.0, "leaf": None}
    assert tree.leaf.arguments == {"size": 3, "colour": "green"}


def test_of_a_chain_of_constructors_the_outermost_counts():
    assert Oak(age=50).arguments == {"age": 50}
    assert OldOak(age=300).arguments == {"age": 300}


def test_instances_do_not_share_their_record():
    first, second = Leaf(1), Leaf(2)
    first.arguments["size"] = 9
    assert second.arguments["size"] == 2


def test_a_copy_keeps_the_record():
    assert copy.deepcopy(Leaf(7)).arguments == {"size": 7, "colour": "green"}


def test_the_signature_stays_what_it_was():
    assert str(inspect.signature(Leaf)) == "(size: 'int', *, colour: 'str' = 'green') -> 'None'"


def test_wrong_arguments_and_errors_inside_come_through():
    with pytest.raises(TypeError, match="unexpected keyword argument 'weight'"):
        Leaf(1, weight=2)
    with pytest.raises(TypeError, match="missing a required argument: 'size'"):
        Leaf()
    with pytest.raises(ValueError, match="5"):
        Broken(5)


def test_modules_in_the_arguments_are_not_registered_twice():
    class Wrapper(Configured, nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

    wrapper = Wrapper(nn.Linear(2, 2))
    assert wrapper.arguments["inner"] is wrapper.inner
    assert set(wrapper.state_dict()) == {"inner.weight", "inner.bias"}


class Colour(StrEnum):
    RED = "red"


class Number(Enum):
    TWO = 2


class Shape(Configured):
    def __init__(self, *, sides: tuple[int, ...] = (1, 2), colour: Colour = Colour.RED) -> None:
        self.sides = tuple(sides)


class Square(Shape):
    pass


KNOWN = {"Shape": Shape, "Square": Square}


class TestPlain:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ((1, (2, [3])), [1, [2, [3]]]),
            ({1: (2, 3), "a": {"b": Colour.RED}}, {"1": [2, 3], "a": {"b": "red"}}),
            ([Number.TWO, Path("a/b")], [2, "a/b"]),
            (None, None),
            ("abc", "abc"),
            (True, True),
            (0.5, 0.5),
        ],
    )
    def test_by_hand(self, value, expected):
        assert plain(value) == expected

    def test_an_enum_of_strings_becomes_a_plain_string(self):
        assert type(plain(Colour.RED)) is str

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=10))
    def test_what_is_plain_stays(self, value):
        assert plain(value) == value


class TestDescribed:
    def test_known_classes_go_by_their_short_name(self):
        assert described(Shape(sides=(4, 4)), KNOWN) == {
            "class_path": "Shape",
            "init_args": {"sides": [4, 4], "colour": "red"},
        }

    def test_others_go_by_their_module(self):
        assert described(Square(), {"Shape": Shape})["class_path"] == f"{__name__}.Square"

    def test_another_class_of_a_known_name_goes_by_its_module(self):
        assert described(Shape(), {"Shape": Square})["class_path"] == f"{__name__}.Shape"

    def test_what_only_python_can_give_is_left_out(self):
        network = VNet(1, 2, 2, width=2)
        assert described(network, {})["init_args"] == {"width": 2, "dropout_rate": 0.5}
        method = described(Supervised(network, loss="gce"), all_methods())
        assert method["class_path"] == "Supervised"
        assert method["init_args"]["loss"] == "gce"
        assert "network" not in method["init_args"]


class TestRebuilt:
    def test_undoes_described_through_json_and_yaml(self):
        network = VNet(1, 2, 2, width=2)
        method = PLIL(network, passes=3, uncertainty="spread", features=("x8", "x9"))
        description = described(method, all_methods())
        for written in (json.loads(json.dumps(description)), yaml.safe_load(yaml.safe_dump(description))):
            again = rebuilt(written, all_methods(), Method, network)
            assert type(again) is PLIL
            assert again.network is network
            assert described(again, all_methods()) == description

    def test_leading_arguments_come_first(self):
        network = rebuilt(
            {"class_path": "UNet", "init_args": {"width": 2, "stages": 2}}, {"UNet": UNet}, Network, 3, 4, 2
        )
        assert network.arguments == {"in_channels": 3, "classes": 4, "dimensions": 2, "width": 2, "stages": 2}

    def test_arguments_may_be_missing(self):
        assert rebuilt({"class_path": "Shape"}, KNOWN, Shape).arguments["sides"] == (1, 2)

    def test_finds_classes_by_their_module(self):
        path = "segmend.methods.semi.mean_teacher.MeanTeacher"
        assert type(rebuilt({"class_path": path}, {}, Method, VNet(1, 2, 2, width=2))) is MeanTeacher

    @pytest.mark.parametrize(
        "path", ["Shap", "no.such.module.Shape", "segmend.methods.Shape", "math.pi", "", ".", ".Shape", "..above.Shape"]
    )
    def test_an_unknown_class_is_refused(self, path):
        with pytest.raises(InputError, match="is not known"):
            rebuilt({"class_path": path}, KNOWN, Shape)

    def test_a_misspelt_class_brings_the_nearest(self):
        with pytest.raises(InputError, match=r"^Squar: is not known\. Did you mean Square"):
            rebuilt({"class_path": "Squar"}, KNOWN, Shape)

    def test_a_class_of_another_kind_is_refused(self):
        with pytest.raises(InputError, match=r"^segmend\.networks\.VNet: is not a Method\. Known are"):
            rebuilt({"class_path": "segmend.networks.VNet"}, all_methods(), Method)

    @pytest.mark.parametrize("arguments", [{"corners": 4}, {"sides": 4}])
    def test_wrong_arguments_are_refused(self, arguments):
        with pytest.raises(InputError, match=r"^Shape: cannot be built \(.*\)\. Correct its arguments in config\.yaml"):
            rebuilt({"class_path": "Shape", "init_args": arguments}, KNOWN, Shape)

    def test_an_abstract_class_is_refused(self):
        with pytest.raises(InputError, match="cannot be built"):
            rebuilt({"class_path": "segmend.methods.Method"}, all_methods(), Method, VNet(1, 2, 2, width=2))
