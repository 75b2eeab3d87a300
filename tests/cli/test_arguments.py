from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.cli.arguments import normalised


def command(
    *,
    data: Path,
    patch: Sequence[int] | None = None,
    spacing: Sequence[float] | Literal["native", "auto"] = "auto",
    seed: int = 0,
    json: bool = False,
    flips: bool = False,
) -> None: ...


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--data d", "--data d"),
        ("--data=d --seed=1", "--data d --seed 1"),
        ("--data=a=b", "--data a=b"),
        ("--patch 64 64 48 --seed 1", "--patch [64,64,48] --seed 1"),
        ("--seed 1 --patch 64 64 48", "--seed 1 --patch [64,64,48]"),
        ("--patch 64", "--patch [64]"),
        ("--patch [64,64]", "--patch [64,64]"),
        ("--seed -1", "--seed -1"),
        ("--spacing .5 1. 1e-1", "--spacing [.5,1.,1e-1]"),
        ("--spacing native", "--spacing native"),
        ("--unknown 1 2", "--unknown [1,2]"),
        ("--json --data d", "--json true --data d"),
        ("--data d --json", "--data d --json true"),
        ("--json false --flips", "--json false --flips true"),
        ("--json --flips", "--json true --flips true"),
        ("--seed 1 --config c --json", "--config c --seed 1 --json true"),
        ("--config=c", "--config c"),
        ("--seed 1 --config", "--config --seed 1"),
        ("12 13", "12 13"),
        ("", ""),
    ],
)
def test_by_example(given, expected):
    assert normalised(given.split(), command) == expected.split()


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(NUMBERS, min_size=1), st.booleans())
def test_any_numbers_become_a_list(numbers, with_equals):
    words = [str(number) for number in numbers]
    given_words = [f"--spacing={words[0]}", *words[1:]] if with_equals else ["--spacing", *words]
    option, text = normalised([*given_words, "--json"], command)[:2]
    assert option == "--spacing"
    assert json.loads(text) == numbers


@given(st.lists(st.sampled_from(["--patch", "--json", "--data", "x", "1", "2", "true", "--config", "-3.5"])))
def test_once_is_enough(words):
    once = normalised(words, command)
    if words.count("--config") <= 1:
        assert normalised(once, command) == once


class TestDefaultClasses:
    @pytest.fixture(autouse=True)
    def _names(self):
        from segmend.commands.audit import audit
        from segmend.commands.corrupt import corrupt
        from segmend.commands.train import train

        self.train, self.corrupt, self.audit = train, corrupt, audit

    def test_arguments_of_a_default_class_need_no_name(self):
        assert normalised(["--method.q", "0.5"], self.audit) == ["--method", "Supervised", "--method.q", "0.5"]

    def test_the_planned_network_has_none(self):
        assert normalised(["--network.width", "8"], self.train) == ["--network.width", "8"]

    def test_a_default_that_is_an_object_counts_too(self):
        words = normalised(["--recipe.side_max", "5"], self.corrupt)
        assert words == ["--recipe", "CubeMorphology", "--recipe.side_max", "5"]

    @pytest.mark.parametrize("given", [["--network", "UNet", "--network.width", "8"], ["--network.help", "UNet"]])
    def test_a_name_that_is_given_stays(self, given):
        assert normalised(given, self.train) == given

    def test_a_configuration_may_name_another_class(self):
        given = ["--config", "c.yaml", "--network.width", "8"]
        assert normalised(given, self.train) == given


def test_names_and_files_become_lists_alone_or_together():
    def bench(*, only: Sequence[str] | None = None, known: Sequence[Path] | None = None, jobs: int = 1) -> None: ...

    words = ["--known", "here", "--only", "A", "B", "--jobs", "2", "--known", "there", "and", "elsewhere"]
    assert normalised(words, bench) == [
        *("--known", '["here"]', "--only", '["A", "B"]', "--jobs", "2"),
        *("--known", '["there", "and", "elsewhere"]'),
    ]
