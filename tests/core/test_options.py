from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest

from segmend.core.options import spread


@dataclass(frozen=True)
class Settings:
    """Settings.

    Attributes:
        steps: of the run,
            in all.
        rate: of the steps.

    Raises:
        ValueError: never.
    """

    steps: int = 10
    rate: float | None = None


@spread("settings")
def run(name: str, *, settings: Settings = Settings(steps=3), seed: int = 0) -> tuple[str, Settings, int]:
    """Run.

    Args:
        name: of the run.
        settings: of the run,
            each an argument.
        seed: of the run.

    Returns:
        All.
    """
    return name, settings, seed


class TestSpread:
    def test_fields_are_arguments_with_the_defaults_of_the_function(self):
        assert run("a") == ("a", Settings(3, None), 0)
        assert run("a", rate=0.5, seed=1) == ("a", Settings(3, 0.5), 1)

    def test_the_group_may_be_given_and_its_fields_replaced(self):
        assert run("a", settings=Settings(7, 0.1)) == ("a", Settings(7, 0.1), 0)
        assert run("a", settings=Settings(7, 0.1), steps=8) == ("a", Settings(8, 0.1), 0)

    def test_the_signature_shows_the_fields_in_place_of_the_group(self):
        parameters = inspect.signature(run, eval_str=True).parameters
        assert list(parameters) == ["name", "steps", "rate", "seed"]
        assert (parameters["steps"].default, parameters["steps"].annotation) == (3, int)
        assert parameters["rate"].annotation == float | None

    def test_the_docstring_explains_the_fields_in_place_of_the_group(self):
        lines = [line.strip() for line in run.__doc__.splitlines()]
        assert lines[3:8] == [
            "name: of the run.",
            "steps: of the run,",
            "in all.",
            "rate: of the steps.",
            "seed: of the run.",
        ]
        assert lines[8:] == ["", "Returns:", "All."]

    def test_unknown_arguments_are_refused(self):
        with pytest.raises(TypeError, match="pace"):
            run("a", pace=1)

    def test_a_group_without_defaults_is_refused(self):
        with pytest.raises(TypeError, match="settings of bad must have a dataclass instance"):

            @spread("settings")
            def bad(settings: Settings) -> None: ...
