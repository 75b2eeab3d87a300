from __future__ import annotations

from pathlib import Path

import pytest

from segmend.bench import code
from segmend.bench.code import code_of, effective
from segmend.labels.corrupt import CubeMorphology, MixedNoise, PolygonSimplification
from segmend.methods import AIDE, PLIL, MeanTeacher, Supervised
from segmend.methods.mixed import plil
from segmend.networks import UNet, VNet


@pytest.fixture
def changed(monkeypatch, tmp_path):
    """Pretends that the source of a module reads differently."""

    find = code._source.__wrapped__

    def change(name: str, text: str = "\nCHANGED = 1\n") -> None:
        def source(each: str) -> Path | None:
            path = find(each)
            if each != name:
                return path
            copy = tmp_path / path.name
            copy.write_text(path.read_text() + text)
            return copy

        monkeypatch.setattr(code, "_source", source)

    return change


def test_is_the_same_twice_and_of_every_method_another():
    assert code_of(PLIL, VNet) == code_of(PLIL, VNet)
    assert len({code_of(method, VNet) for method in (PLIL, MeanTeacher, Supervised)}) == 3


@pytest.mark.parametrize(
    "module", ["segmend.learner", "segmend.data.crops", "segmend.metrics.surface", "segmend.commands.predict"]
)
def test_changes_with_the_code_that_all_results_depend_on(module, changed):
    before = code_of(Supervised, VNet)
    changed(module)
    assert code_of(Supervised, VNet) != before


def test_changes_with_the_methods_own_file_and_what_it_imports(changed):
    before = code_of(PLIL, VNet), code_of(Supervised, VNet)
    changed(plil.__name__)
    assert code_of(PLIL, VNet) != before[0]
    assert code_of(Supervised, VNet) == before[1]
    changed("segmend.functional.prototypes")
    assert code_of(PLIL, VNet) != before[0]


@pytest.mark.parametrize(
    "module",
    [
        *("segmend.report.curves", "segmend.progress", "segmend.bench.table", "segmend.metrics.boxplot"),
        *("segmend.commands.recommended", "segmend.methods", "segmend.networks", "segmend.labels.corrupt"),
    ],
)
def test_does_not_change_with_what_only_shows_or_lists(module, changed):
    before = code_of(PLIL, VNet)
    changed(module)
    assert code_of(PLIL, VNet) == before


@pytest.mark.parametrize("module", ["segmend.networks.vnet", "segmend.networks.unet"])
def test_depends_on_the_network_that_is_used_and_no_other(module, changed):
    before = {network: code_of(PLIL, network) for network in (VNet, UNet)}
    changed(module)
    after = {network for network in before if code_of(PLIL, network) != before[network]}
    assert {network.__module__ for network in after} == {module}


@pytest.mark.parametrize("recipe", [CubeMorphology, PolygonSimplification])
def test_depends_on_the_noise_that_is_used_and_no_other(recipe, changed):
    states = [(CubeMorphology,), (PolygonSimplification,), (), (MixedNoise, recipe)]
    before = {state: code_of(PLIL, VNet, *state) for state in states}
    changed(recipe.__module__)
    assert {state for state in states if code_of(PLIL, VNet, *state) != before[state]} == {
        (recipe,),
        (MixedNoise, recipe),
    }
    before = code_of(PLIL, VNet, recipe)
    changed("segmend.labels.corrupt.calibrate")
    assert code_of(PLIL, VNet, recipe) != before


def test_methods_that_label_cases_first_depend_on_the_method_that_does(changed):
    before = code_of(AIDE, VNet), code_of(MeanTeacher, VNet)
    changed(Supervised.__module__)
    assert code_of(AIDE, VNet) != before[0]
    assert code_of(MeanTeacher, VNet) == before[1]


@pytest.mark.parametrize("text", ["\n\n# a word\n", '\n"""Of what stands above."""\n'])
def test_words_do_not_matter(text, changed):
    before = code_of(PLIL, VNet)
    changed("segmend.learner", text)
    assert code_of(PLIL, VNet) == before


def test_what_has_an_effect():
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


def test_labels_that_are_mended_first_depend_on_the_audit(changed):
    before = code_of(PLIL, VNet), code_of(PLIL, VNet, audited=True)
    assert before[0] != before[1]
    changed("segmend.labels.audit.scores")
    assert code_of(PLIL, VNet) == before[0]
    assert code_of(PLIL, VNet, audited=True) != before[1]
