from __future__ import annotations

import re
from inspect import signature
from typing import get_args

import pytest
import yaml
from refusals import raises

import segmend
from segmend.cli import main
from segmend.commands.cite import citations, cite
from segmend.core.config import described
from segmend.methods import CoTeaching, Method, Supervised, all_methods
from segmend.methods.supervised.supervised import LossName
from segmend.networks import UNet, VNet, all_networks

KNOWN = citations()


def field(name: str, of: str) -> str:
    return re.search(rf"^  {of} = \{{(.*)\}},$", KNOWN[name], re.MULTILINE)[1]


@pytest.fixture
def run(tmp_path):
    """The folder of a run of a method."""

    def make(method: Method):
        parts = {
            "method": described(method, all_methods()),
            "network": described(method.network, all_networks()),
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(parts))
        return tmp_path

    return make


class TestEntries:
    @pytest.mark.parametrize("name", [name for name, cls in all_methods().items() if cls.paper])
    def test_every_paper_has_one_that_agrees_with_it(self, name):
        paper = all_methods()[name].paper
        assert field(name, "year") == paper[-4:]
        assert field(name, "author").split(",")[0] == re.match(r"(\w+)", paper)[1]

    @pytest.mark.parametrize("name", KNOWN)
    def test_each_is_complete_and_for_something_that_exists(self, name):
        cls, _, value = name.partition("-")
        assert cls in {**all_methods(), **all_networks()}
        assert all(field(name, of) for of in ("author", "title", "year"))
        assert len(re.findall(r"^  (?:journal|booktitle) = ", KNOWN[name], re.MULTILINE)) == 1
        assert KNOWN[name].count("{") == KNOWN[name].count("}")
        assert not value or value in signature(all_methods()[cls]).parameters or value in get_args(LossName)

    def test_a_paper_stands_there_once(self):
        titles = [field(name, "title") for name in KNOWN]
        assert len(set(titles)) == len(set(KNOWN.values()))


class TestNames:
    def test_are_printed_in_the_order_asked_for(self, capsys):
        assert main(["cite", "VNet", "PLIL"]) == 0
        printed = capsys.readouterr().out
        assert re.findall(r"^@\w+\{(\w+),", printed, re.MULTILINE) == ["VNet", "PLIL"]
        assert printed.startswith("@inproceedings{VNet,\n")
        assert printed.endswith("}\n")

    def test_one_may_be_given_by_its_argument(self, capsys):
        assert main(["cite", "--names", "PLIL"]) == 0
        assert capsys.readouterr().out == KNOWN["PLIL"] + "\n"

    def test_of_one_paper_are_printed_once(self):
        assert cite(names=["VNet", "MonaiVNet", "VNet"]) == [KNOWN["VNet"]]

    def test_without_a_paper(self):
        with raises("unknown-name", match="Did you mean PLIL"):
            cite(names=["PLLI"])

    def test_none(self, capsys):
        assert main(["cite"]) == 1
        assert "nothing is asked for" in capsys.readouterr().err


class TestRun:
    def test_method_and_network(self, run):
        assert segmend.cite(run=run(CoTeaching(UNet(1, 2, 2)))) == [KNOWN["CoTeaching"], KNOWN["UNet"]]

    def test_what_arguments_stand_for(self, run):
        of_run = cite(run=run(CoTeaching(UNet(1, 2, 2), disagreement=True)))
        assert of_run == [KNOWN["CoTeaching"], KNOWN["CoTeaching-disagreement"], KNOWN["UNet"]]
        of_run = cite(run=run(Supervised(VNet(1, 2, 2, width=2), loss="truncated_gce")))
        assert of_run == [KNOWN["Supervised-gce"], KNOWN["VNet"]]

    def test_a_baseline_has_no_paper(self, run):
        assert cite(run=run(Supervised(VNet(1, 2, 2, width=2)))) == [KNOWN["VNet"]]

    def test_with_further_names(self, run):
        assert cite(names=["ELR"], run=run(Supervised(VNet(1, 2, 2, width=2)))) == [KNOWN["ELR"], KNOWN["VNet"]]

    def test_that_is_none(self, tmp_path, capsys):
        assert main(["cite", "--run", str(tmp_path)]) == 1
        assert "is not a run folder" in capsys.readouterr().err
