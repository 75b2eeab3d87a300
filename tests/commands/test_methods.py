from __future__ import annotations

import json

import pytest
from refusals import raises

from segmend.cli import main
from segmend.commands.methods import methods
from segmend.methods import all_methods
from segmend.networks import all_networks


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


def described(name: str) -> dict:
    (description,) = methods(name=name)
    return description


class TestTable:
    def test_has_a_line_for_each_method(self, capsys):
        assert main(["methods"]) == 0
        header, *lines = capsys.readouterr().out.splitlines()
        assert header.split("  ")[0] == "method"
        assert [line.split()[0] for line in lines] == list(all_methods())

    def test_says_what_it_is_for_what_it_needs_and_what_it_costs(self, capsys):
        methods()
        lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
        for name, words in {
            "CoTeaching": ("noisy", "noise rate", "2 networks", "Two networks select training labels"),
            "PLIL": ("mixed", "expert labels", "K + 1 teacher passes", "Trains on the voxels"),
            "Supervised": ("supervised", "nothing", "1 network", "as if it were correct."),
        }.items():
            places = [lines[name].find(word) for word in words]
            assert -1 not in places
            assert places == sorted(places)


class TestDescription:
    @pytest.mark.parametrize(
        ("name", "known"),
        [("PLIL", ["expert labels"]), ("UAMT", ["expert labels"]), ("JoCoR", ["noise rate"]), ("ELR", [])],
    )
    def test_what_must_be_known(self, name, known):
        assert described(name)["known"] == known

    def test_arguments_have_defaults_types_and_help(self):
        beta = {argument["name"]: argument for argument in described("PLIL")["arguments"]}["beta"]
        assert beta == {"name": "beta", "default": 0.1, "type": "float", "help": "weight of the stability loss."}

    def test_networks_are_those_with_what_it_taps(self):
        assert described("Supervised")["networks"] == list(all_networks())
        assert "UNet" in described("PLIL")["networks"]
        assert "SegResNet" not in described("PLIL")["networks"]

    def test_as_json(self, capsys):
        assert main(["methods", "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert [each["name"] for each in printed] == list(all_methods())
        assert all(each["cost"] and each["summary"] and each["kind"] for each in printed)
        assert main(["methods", "ELR", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == [each for each in printed if each["name"] == "ELR"]


class TestPage:
    def test_explains_everything(self, capsys):
        assert main(["methods", "CoTeaching"]) == 0
        printed = capsys.readouterr().out
        for words in (
            "docs/methods/CoTeaching.md",
            "noise_rate=0.2",
            "A batch holds 4 labelled; must be known: noise rate.",
            "Cost: 2 networks.",
            "Han et al.",
        ):
            assert words in printed

    def test_of_a_method_that_needs_to_know_nothing(self, capsys):
        methods(name="ELR")
        assert "must be known: nothing." in capsys.readouterr().out

    def test_of_a_misspelt_method(self):
        with raises("unknown-name", match="Did you mean PLIL"):
            methods(name="PLLI")
