from __future__ import annotations

from dataclasses import dataclass

import pytest

from segmend.errors import InputError
from segmend.misuse import check_names, explained


@dataclass
class Settings:
    strength: float = 1.0


# A frozen default, as commands have it: what is tested reads the signature.
def command(*, method: str, settings: Settings = Settings(), seed: int = 0) -> None: ...  # noqa: B008


class TestCheckNames:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--method", "PLILL"], r"--method: there is no 'PLILL'\. Did you mean PLIL"),
            (["--seed", "1", "--network", "VNt"], r"--network: there is no 'VNt'\. Did you mean VNet"),
            (["--recipe", "CubeMorpholgy"], r"--recipe: there is no 'CubeMorpholgy'\. Did you mean CubeMorphology"),
            (["--method.help", "PLLI"], r"--method\.help: there is no 'PLLI'"),
        ],
    )
    def test_misspelt(self, words, message):
        with pytest.raises(InputError, match=message):
            check_names(words)

    @pytest.mark.parametrize(
        "words",
        [
            ["--method", "PLIL"],
            ["--method", "package.Mine"],
            ["--network", "{class_path: VNet}"],
            ["--method"],
            ["--out", "PLLI"],
        ],
    )
    def test_the_rest_is_left_to_jsonargparse(self, words):
        check_names(words)


class TestExplained:
    @pytest.mark.parametrize(
        ("message", "words", "problem", "remedy"),
        [
            (
                "Unrecognized arguments: --settings.strenth",
                [],
                "there is no argument --settings.strenth",
                "did you mean --settings.strength or --settings?",
            ),
            (
                "Option 'pases' is not accepted ... Namespace(class_path='segmend.methods.PLIL', init_args=...)",
                [],
                "PLIL has no argument 'pases'",
                "did you mean passes?",
            ),
            (
                'Parser key "method": ...: Parser key "passes": Expected a <class \'int\'>. Got value: x.',
                ["--method.passes", "x"],
                "--method.passes is x",
                "give a whole number",
            ),
            (
                "Parser key \"seed\": - Expected a typing.Literal['a', 'b'] - Expected a <class 'NoneType'>",
                ["--seed", "c"],
                "--seed is c",
                "give 'a' or 'b'",
            ),
            ("anything\n  else", [], "anything else", "correct the arguments"),
            (
                "Parser key \"seed\": Expected a <class 'int'>",
                [],
                "Parser key \"seed\": Expected a <class 'int'>",
                "correct the arguments",
            ),
        ],
    )
    def test_in_words_of_the_user(self, message, words, problem, remedy):
        assert explained(message, words, command) == (problem, remedy)


def test_missing_arguments_of_a_chosen_class():
    message = (
        'Parser key "network":\n  Type Callable expects a class: the following arguments are required: '
        "kernel_size, strides. Got value: Namespace(class_path='segmend.networks.DynUNet', init_args=Namespace())"
    )
    problem, remedy = explained(message, ["--network", "DynUNet"], command)
    assert problem == "DynUNet cannot do without kernel_size, strides"
    assert "--ARGUMENT.NAME" in remedy
