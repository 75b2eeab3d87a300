from __future__ import annotations

import pytest
from refusals import raises

from segmend.bench.known import RESULTS, RUNS, Known
from segmend.bench.plan import Plan
from segmend.bench.unit import Unit, is_summary
from segmend.core.errors import InputError
from segmend.metrics.results import COLUMNS


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (("labels",), [1], "'labels' must be a mapping"),
        (("rows",), "x", "'rows' must be a mapping"),
        (("rows", "Mixed"), 5, "'Mixed' is not a mapping"),
        (("labels", "as given"), None, "'as given' is not a mapping"),
        (("rows", "Mixed", "method"), ["os.system"], "'method' must be text"),
        (("rows", "Mixed", "method"), {"class_path": "os.system"}, "'method' must be text"),
        (("rows", "Mixed", "method"), "os.system", "no method 'os.system'"),
        (("rows", "Mixed", "labels"), 5, "'labels' must be a list of texts"),
        (("rows", "Mixed", "batch"), {"any_labelled": "x"}, "'any_labelled' cannot be 'x'"),
        (("rows", "Mixed", "train"), {"iterations": "many"}, "'iterations' cannot be 'many'"),
        (("labels", "some noisy", "recipe"), [1], "'recipe' must be text"),
        (("labels", "some noisy", "arguments"), 5, "'arguments' must be a mapping"),
        (("labels", "some noisy", "dice"), "x", "'dice' cannot be 'x'"),
        (("labels", "some noisy", "audit"), {"folds": "x"}, "'folds' cannot be 'x'"),
        (("labels", "some noisy", "correct"), {"minimum_score": "x"}, "'minimum_score' cannot be 'x'"),
        (("labels", "some noisy", "cases"), 5, "'cases' must be text"),
        (("labels", "some noisy", "published"), 5, "'published' must be a list of texts"),
        (("train", "iterations"), "5", "'iterations' cannot be '5'"),
        (("train", "optimisation"), {"learning_rate": "x"}, "'optimisation' cannot be"),
        (("train", "optimisation"), 5, "'optimisation' cannot be 5"),
        (("train", "spacing"), {"a": 1}, "'spacing' cannot be"),
        (("predict",), {"batch": "x"}, "'batch' cannot be 'x'"),
        (("evaluate",), 5, "'evaluate' must be a mapping"),
        (("seeds",), 5, "'seeds' must be a list of whole numbers"),
        (("seeds",), [True], "'seeds' must be a list of whole numbers"),
        (("metrics",), "dice", "'metrics' must be a list of texts"),
        (("select",), ["last"], "'select' must be text"),
        (("data",), {"train": "x"}, "'train' must be a whole number"),
    ],
)
def test_each_part_of_a_plan_is_of_its_kind(small, write_plan, place, value, problem):
    part = small
    for key in place[:-1]:
        part = part.setdefault(key, {})
    part[place[-1]] = value
    with pytest.raises(InputError, match=r"plan\.yaml line \d+: ") as error:
        Plan.read(write_plan(small))
    assert problem in str(error.value)


def test_numbers_may_be_given_without_a_point(small, write_plan):
    small["train"]["optimisation"] = {"learning_rate": 1, "clip": None}
    assert Plan.read(write_plan(small)).document.content["train"]["optimisation"]["learning_rate"] == 1


def test_a_name_too_long_for_a_file_is_an_unknown_plan():
    with raises("unknown-name", match="is neither a file nor a plan"):
        Plan.read("x" * 5000)


SUMMARY = '{"device": "CPU", "seconds": 3.5, "versions": {"torch": "2"}}'
RUN = '[{"what": {"fingerprint": "abc"}, "summary": SUMMARY}]'


class TestKnown:
    @pytest.fixture
    def write(self, tmp_path):
        def write(runs=RUN, dice="0.5", times=1):
            (tmp_path / RUNS).write_text(runs.replace("SUMMARY", SUMMARY))
            cells = {"case": "a", "label": "organ", "status": "ok", "fingerprint": "abc", "dice": dice}
            columns = [*COLUMNS, "fingerprint"]
            line = ",".join(cells.get(column, "") for column in columns)
            (tmp_path / RESULTS).write_text("\n".join([",".join(columns), *[line] * times, ""]))
            return tmp_path

        return write

    def test_whole_results_are_read(self, write):
        assert set(Known.read(write()).summaries) == {"abc"}

    @pytest.mark.parametrize(
        ("damage", "problem"),
        [
            ({"runs": "5"}, "cannot be read as results"),
            ({"runs": "[5]"}, "cannot be read as results"),
            ({"runs": "[" * 100_000}, "cannot be read as results"),
            ({"runs": '[{"what": {"fingerprint": "abc"}, "summary": 5}]'}, "cannot be read as results"),
            ({"runs": RUN.replace("SUMMARY", "{}")}, "damaged summary of run abc"),
            ({"runs": RUN.replace("abc", "abd")}, "has no scores of run abd"),
            ({"dice": "much"}, "holds 'much' as dice of case 'a'"),
            ({"times": 2}, "holds a score twice"),
        ],
    )
    def test_damaged_ones_are_refused(self, write, damage, problem):
        with pytest.raises(InputError, match=problem):
            Known.read(write(**damage))


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b"{"])
def test_a_unit_with_a_damaged_result_is_not_done(tmp_path, content):
    unit = Unit.at(tmp_path, "row", "labels", 0, {}, {})
    unit.write()
    (unit.folder / "result.json").write_bytes(content)
    assert not unit.done


@pytest.mark.parametrize(
    "content", [{}, {"device": "CPU"}, {"device": "CPU", "seconds": "x", "versions": {"torch": "2"}}]
)
def test_what_is_no_summary(content):
    assert not is_summary(content)
