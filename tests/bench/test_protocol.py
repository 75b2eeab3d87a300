from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from typing import Literal

import pytest
from refusals import raises

from segmend.bench import protocol
from segmend.bench.protocol import effective, resolved, versions_of
from segmend.methods import AIDE, PLIL, MeanTeacher, OffsetCorrection, Supervised
from segmend.networks import PlannedUNet, SegResNet, UNet, VNet
from segmend.noise import CubeMorphology, MixedNoise

OWN = '''
from segmend.methods import PLIL, Method
from segmend.core.batch import Composition

class Mine(Method):
    """Mine."""
    needs = Composition(any_labelled=1)
    def loss(self, batch, step):
        return {"loss": self.network(batch.image).sum()}

class Better(PLIL):
    pass
'''


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Imports a user's module from its text."""

    def load(text: str, name: str = "of_a_user"):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


class TestVersions:
    def test_are_those_of_engine_method_network_and_noise(self):
        assert versions_of(PLIL, VNet, CubeMorphology) == {"engine": 1, "PLIL": 1, "VNet": 1, "CubeMorphology": 1}
        assert versions_of(Supervised, SegResNet) == {"engine": 1, "Supervised": 1, "SegResNet": 1}

    def test_are_those_that_the_classes_state(self, monkeypatch):
        monkeypatch.setattr(PLIL, "protocol_version", 3)
        monkeypatch.setattr(UNet, "protocol_version", 2)
        monkeypatch.setattr(protocol, "ENGINE_VERSION", 4)
        assert versions_of(PLIL, UNet) == {"engine": 4, "PLIL": 3, "UNet": 2}

    def test_of_others_do_not_matter(self, monkeypatch):
        before = versions_of(PLIL, VNet)
        for cls in (MeanTeacher, UNet, MixedNoise):
            monkeypatch.setattr(cls, "protocol_version", 9)
        assert versions_of(PLIL, VNet) == before

    def test_of_the_planner_count_where_a_network_is_planned(self, monkeypatch):
        assert "planner" not in versions_of(PLIL, PlannedUNet)
        monkeypatch.setattr("segmend.bench.protocol.PLANNER_VERSION", 7)
        assert versions_of(PLIL, PlannedUNet, planned=True)["planner"] == 7

    def test_of_an_audit_count_where_there_is_one(self):
        assert "audit" not in versions_of(PLIL, VNet)
        assert versions_of(PLIL, VNet, audited=True)["audit"] == protocol.AUDIT_VERSION

    def test_of_methods_that_label_cases_first_hold_the_method_that_does(self):
        assert "Supervised" in versions_of(AIDE, VNet)
        assert "Supervised" not in versions_of(MeanTeacher, VNet)

    @pytest.mark.parametrize("then", ["Supervised", "PLIL"])
    def test_hold_methods_that_arguments_name(self, then):
        arguments = resolved(OffsetCorrection, {"then": then} if then != "Supervised" else {}, {"network"})
        assert versions_of(OffsetCorrection, arguments=arguments) == {"engine": 1, "OffsetCorrection": 1, then: 1}

    def test_do_not_depend_on_where_a_module_lies(self, monkeypatch):
        before = versions_of(PLIL, VNet)
        monkeypatch.setattr(PLIL, "__module__", "segmend.elsewhere")
        assert versions_of(PLIL, VNet) == before


class TestClassesOfUsers:
    def test_go_by_their_source_but_for_words(self, imported):
        mine = imported(OWN).Mine
        version = versions_of(mine)["own Mine"]
        assert versions_of(imported(OWN + "\n# a word\n").Mine)["own Mine"] == version
        assert versions_of(imported(OWN.replace("sum()", "mean()")).Mine)["own Mine"] != version

    def test_do_not_go_by_the_name_of_their_module(self, imported):
        assert versions_of(imported(OWN, "here").Mine) == versions_of(imported(OWN, "there").Mine)

    def test_may_state_a_version(self, imported):
        stated = imported(OWN.replace('"""Mine."""', "protocol_version = 7")).Mine
        assert versions_of(stated) == {"engine": 1, "own Mine": 7}

    def test_have_the_version_of_what_they_are_derived_from_besides(self, imported, monkeypatch):
        monkeypatch.setattr(PLIL, "protocol_version", 2)
        found = versions_of(imported(OWN).Better)
        assert found["PLIL"] == 2
        assert isinstance(found["own Better"], str)

    def test_without_a_source_are_refused(self):
        scope = {"__name__": "typed_in"}
        exec(OWN, scope)
        with raises("environment", match=r"Mine.*state its protocol_version"):
            versions_of(scope["Mine"])


@dataclass(frozen=True)
class Part:
    rate: float = 0.5
    clip: float | None = None


def command(*, data: str, steps: int = 8, share: float = 0.0, part: Part = Part(), way: Literal["a", "b"] = "a"):
    """Something with arguments."""


class TestResolved:
    def test_holds_defaults(self):
        assert resolved(command, {}) == {"steps": 8, "share": 0, "part": {"rate": 0.5}, "way": "a"}

    @pytest.mark.parametrize("given", [{"steps": 8}, {"share": 0.0}, {"part": {"rate": 0.5}}, {"part": {"clip": None}}])
    def test_is_the_same_if_a_default_is_stated(self, given):
        assert resolved(command, given) == resolved(command, {})

    @pytest.mark.parametrize("given", [{"steps": 9}, {"share": 0.25}, {"part": {"rate": 0.25}}, {"way": "b"}])
    def test_is_another_if_something_else_is_given(self, given):
        assert resolved(command, given) != resolved(command, {})

    def test_changes_with_a_default(self):
        def changed(*, data: str, steps: int = 9) -> None: ...

        assert resolved(changed, {}) == {"steps": 9}
        assert resolved(changed, {"steps": 8}) == {"steps": 8}

    def test_leaves_out_what_does_not_count_unless_it_is_given(self):
        assert "steps" not in resolved(command, {}, {"steps"})
        assert resolved(command, {"steps": 8}, {"steps"})["steps"] == 8

    def test_a_whole_number_is_one_number(self):
        assert str(resolved(command, {"share": 1.0})) == str(resolved(command, {"share": 1}))
        assert resolved(command, {"part": {"rate": True}})["part"]["rate"] is True


def test_what_of_a_text_has_an_effect():
    source = '''"""Module."""

TEXT = """kept, # this too
"""  # gone
"""Of the text."""

def function(a: int) -> str:
    """Two
    lines."""
    # gone

    return f"{a} # kept"
'''
    kept = ['TEXT = """kept, # this too', '"""', "def function(a: int) -> str:", '    return f"{a} # kept"']
    assert effective(source).splitlines() == kept
