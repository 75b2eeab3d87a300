from __future__ import annotations

from pathlib import Path

import pytest

from segmend.bench import code
from segmend.bench.code import code_of
from segmend.methods import PLIL, MeanTeacher, Supervised
from segmend.methods.mixed import plil


@pytest.fixture
def changed(monkeypatch, tmp_path):
    """Pretends that the source of a module reads differently."""

    find = code._source.__wrapped__

    def change(name: str) -> None:
        def source(each: str) -> Path | None:
            path = find(each)
            if each != name:
                return path
            copy = tmp_path / path.name
            copy.write_text(path.read_text() + "\n# changed\n")
            return copy

        monkeypatch.setattr(code, "_source", source)

    return change


def test_is_the_same_twice_and_of_every_method_another():
    assert code_of(PLIL) == code_of(PLIL)
    assert len({code_of(method) for method in (PLIL, MeanTeacher, Supervised)}) == 3


@pytest.mark.parametrize(
    "module", ["segmend.learner", "segmend.data.crops", "segmend.metrics.surface", "segmend.commands.predict"]
)
def test_changes_with_the_code_that_all_results_depend_on(module, changed):
    before = code_of(Supervised)
    changed(module)
    assert code_of(Supervised) != before


def test_changes_with_the_methods_own_file_and_what_it_imports(changed):
    before = code_of(PLIL), code_of(Supervised)
    changed(plil.__name__)
    assert code_of(PLIL) != before[0]
    assert code_of(Supervised) == before[1]
    changed("segmend.functional.prototypes")
    assert code_of(PLIL) != before[0]


@pytest.mark.parametrize("module", ["segmend.report.curves", "segmend.progress", "segmend.bench.table"])
def test_does_not_change_with_what_only_shows(module, changed):
    before = code_of(PLIL)
    changed(module)
    assert code_of(PLIL) == before
