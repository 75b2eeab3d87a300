"""The whole way of a plan on phantoms, with runs in this process."""

from __future__ import annotations

import json
from typing import ClassVar

import pandas as pd
import pytest
from refusals import raises

from segmend.bench import command, executors, protocol
from segmend.bench.command import bench
from segmend.bench.commit import commit
from segmend.bench.plan import Plan
from segmend.bench.preparation import Preparation
from segmend.bench.unit import execute
from segmend.core.errors import InputError
from segmend.demo.phantom import write_phantoms
from segmend.metrics.results import COLUMNS


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    write_phantoms(folder, train=4, test=2, shape=(24, 24, 16))
    return folder


@pytest.fixture
def in_process(monkeypatch, own_cache):
    """Runs units here, in order, and counts them; those named in ``broken`` fail."""

    class Here(executors.Executor):
        ran: ClassVar[list[str]] = []
        broken: tuple[str, ...] = ()

        def __init__(self, jobs=None):
            pass

        def run(self, units, report, deadline):
            states = {}
            for unit in units:
                if not unit.done and unit.row in self.broken:
                    unit.log.write_text("first\nValueError: the last line\n")
                    states[unit.folder.name] = "failed"
                    continue
                if not unit.done:
                    Here.ran.append(f"{unit.row}, {unit.labels}")
                    execute(unit)
                states[unit.folder.name] = "done"
                report({other.folder.name: states.get(other.folder.name, "waiting") for other in units})
            return states

    Here.ran = []
    monkeypatch.setattr(command, "LocalExecutor", Here)
    return Here


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_makes_table_and_pictures_and_repeats_nothing(small, write_plan, data, tmp_path, in_process, capsys):
    before, out = contents(data), tmp_path / "out"
    table = bench(plan=str(write_plan(small)), data=data, out=out)
    assert in_process.ran == ["Mixed, some noisy", "Mixed, as given"]
    assert contents(data) == before
    text = (out / "table.md").read_text()
    assert "*77.21 (7.52)*" in text
    assert "| PNL | *78.01 (7.23)* |" in text
    assert "published only" in text
    assert "last checkpoint" in text
    assert text.strip() in capsys.readouterr().out
    results = pd.read_csv(out / "results.csv")
    assert len(results) == 2 * 2 * results["label"].nunique()
    assert set(results.columns) >= {"row", "labels", "seed", "case", "label", "dice", "hd95", "status", "fingerprint"}
    assert results["fingerprint"].nunique() == 2
    assert r"\begin{tabular}" in (out / "table.tex").read_text()
    assert (out / "table.png").stat().st_size > 5000
    assert {path.name for path in out.glob("boxplot_*.png")} == {"boxplot_some-noisy.png", "boxplot_as-given.png"}
    runs = json.loads((out / "runs.json").read_text())
    assert [run["what"]["method"] for run in runs] == ["Supervised", "Supervised"]
    assert str(tmp_path) not in json.dumps([run["what"] for run in runs])
    assert {run["commit"] for run in runs} == {commit()}
    assert "commit" not in runs[0]["summary"]
    again = bench(plan=str(write_plan(small)), data=data, out=out)
    assert len(in_process.ran) == 2
    pd.testing.assert_frame_equal(again.results, table.results)

    small["train"]["iterations"] = 1  # other arguments are other runs, and never share the table
    other = bench(plan=str(write_plan(small)), data=data, out=out, labels=["as given"])
    assert in_process.ran[2:] == ["Mixed, as given"]
    assert len(other.results) == len(table.results) / 2
    assert not set(other.results["fingerprint"]) & set(table.results["fingerprint"])


def test_runs_that_are_known_from_elsewhere_are_not_repeated(small, write_plan, data, tmp_path, in_process):
    plan, first, second = str(write_plan(small)), tmp_path / "first", tmp_path / "second"
    there = bench(plan=plan, data=data, out=first, labels=["as given"])
    here = bench(plan=plan, data=data, out=second, known=[first])
    assert in_process.ran == ["Mixed, as given", "Mixed, some noisy"]
    columns = list(there.results.columns)
    taken = here.results[here.results["labels"] == "as given"].reset_index(drop=True)
    pd.testing.assert_frame_equal(taken[columns], there.results, check_exact=True)
    small["train"]["iterations"] = 1
    bench(plan=str(write_plan(small)), data=data, out=tmp_path / "third", known=[first])
    assert len(in_process.ran) == 4, "results of other arguments were taken over"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("runs.json", "[", "cannot be read"),
        ("runs.json", '[{"what": {}}]', "cannot be read"),
        ("results.csv", "row,seed\n", "lacks the column 'asd'"),
        ("results.csv", None, "cannot be read"),
        ("results.csv", ",".join(["fingerprint", *COLUMNS]), "has no scores of run"),
    ],
)
def test_what_is_no_result_is_not_taken_over(small, write_plan, data, tmp_path, in_process, file, content, message):
    plan, first = str(write_plan(small)), tmp_path / "first"
    bench(plan=plan, data=data, out=first, labels=["as given"])
    (first / file).unlink()
    if content is not None:
        (first / file).write_text(content)
    with pytest.raises(InputError, match=message):
        bench(plan=plan, data=data, out=tmp_path / "second", known=[first])
    assert not (tmp_path / "second").exists()


def test_only_labels_that_are_wanted_are_made(small, write_plan, data, tmp_path, in_process):
    bench(plan=str(write_plan(small)), data=data, out=tmp_path / "out", labels=["as given"])
    assert not (tmp_path / "out" / "labels").exists()


def test_a_run_that_fails_is_shown_and_leaves_the_others_alone(small, write_plan, data, tmp_path, in_process, capsys):
    small["rows"]["Bad"] = {"method": "MeanTeacher", "labels": ["some noisy"], "batch": {"expert": 1, "noisy": 1}}
    small["rows"]["Mixed"]["labels"] = ["some noisy"]
    in_process.broken = ("Bad",)
    with raises("unfinished", match="Bad.*failed"):
        bench(plan=str(write_plan(small)), data=data, out=tmp_path / "out")
    assert "ValueError: the last line" in capsys.readouterr().err
    text = (tmp_path / "out" / "table.md").read_text()
    assert "0 of 1, 1 failed" in text
    assert len(pd.read_csv(tmp_path / "out" / "results.csv")["row"].unique()) == 1


def test_selection_on_the_test_cases_is_only_on_demand(small, write_plan, data, tmp_path, in_process):
    small |= {"select": "test", "labels": {"as given": {}}}
    small["rows"] = {"Mixed": {"method": "Supervised", "batch": {"any_labelled": 2}}}
    bench(plan=str(write_plan(small)), data=data, out=tmp_path / "out")
    (run,) = (tmp_path / "out" / "runs").iterdir()
    assert (run / "run" / "checkpoints" / "best.ckpt").is_file()
    assert "SELECTED ON THE TEST SET" in (tmp_path / "out" / "table.md").read_text()


def test_unlabelled_cases_count_as_noisy_for_methods_that_label_them(small, write_plan, data, tmp_path):
    names = sorted(path.name.removesuffix(".nii.gz") for path in (data / "labelsTr").iterdir())
    table = ["case,split,quality", *[f"{name},train,{'none' if at else 'expert'}" for at, name in enumerate(names)]]
    (tmp_path / "one.csv").write_text("\n".join(table))
    small["labels"] = {"one": {"cases": "one.csv"}}
    both = {"labels": ["one"], "batch": {"expert": 1, "noisy": 1}}
    small["rows"] = {"Mixed": {"method": "MLBSeg", **both}}
    small["train"]["network"]["stages"] = 3
    Preparation(Plan.read(write_plan(small)), data, tmp_path / "out").check()
    small["rows"] = {"Mixed": {"method": "PLIL", **both}}
    with raises("no-data", match="no noisy training case"):
        Preparation(Plan.read(write_plan(small)), data, tmp_path / "out").check()


def test_labels_may_be_mended_first(small, write_plan, data, tmp_path, in_process):
    noise = {"recipe": "CubeMorphology", "arguments": {"side_min": 3, "side_max": 7}}
    network = {"name": "UNet", "width": 2, "stages": 2}
    training = {"folds": 2, "iterations": 2, "patch": [16, 16, 16], "network": network, "any_labelled": 1}
    small["labels"] = {"given": noise, "corrected": {**noise, "audit": training, "correct": {"minimum_score": 0.0}}}
    small["rows"] = {"Mixed": {"method": "Supervised", "batch": {"any_labelled": 2}}}
    out = tmp_path / "out"
    bench(plan=str(write_plan(small)), data=data, out=out)
    (audited,) = (out / "audits").iterdir()
    assert (audited / "report.html").is_file()
    runs = {run["labels"]: run["what"] for run in json.loads((out / "runs.json").read_text())}
    assert "audit" not in runs["given"]["versions"]
    assert runs["corrected"]["versions"]["audit"] == protocol.AUDIT_VERSION
    assert runs["corrected"]["labels"]["correct"] == {
        "minimum_score": 0,
        "correct_offsets": False,
        "change_expert": False,
        "ignore_issues": False,
    }
    (corrected,) = [
        path for path in (out / "labels").iterdir() if path.name.startswith("corrected") and "given" not in path.name
    ]
    assert (corrected / "corrections.csv").is_file()
    assert (corrected / "labelsTr_clean").is_dir()
    before = contents(out / "audits")
    bench(plan=str(write_plan(small)), data=data, out=out)
    assert contents(out / "audits") == before
    assert len(in_process.ran) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"data": {"train": 80, "source": "the Atrial Challenge from example.org"}},
            "4 train cases.*needs 80.*example.org",
        ),
        ({"data": {"test": 3}}, "2 test cases with labels.*needs 3"),
        ({"train": {"network": "VNett"}}, "no network 'VNett'"),
        ({"train": {"network": {"name": "UNet", "wide": 3}}}, "cannot be built.*wide"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(small, write_plan, data, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        bench(plan=str(write_plan({**small, **change})), data=data, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("option", "value"), [("only", ["Mixd"]), ("labels", ["as givn"])])
def test_rows_and_labels_must_be_of_the_plan(small, write_plan, data, tmp_path, option, value):
    with raises("unknown-name", option, match=value[0]):
        bench(plan=str(write_plan(small)), data=data, out=tmp_path / "out", **{option: value})
