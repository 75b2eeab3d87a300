from __future__ import annotations

import copy
import inspect

import pytest
from torch import nn

from segmend.core.configured import Configured


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
