from __future__ import annotations

import json
import re
from functools import partial

import pandas as pd
import pytest

from segmend.core.errors import InputError
from segmend.demo import command as module
from segmend.demo.command import demo
from segmend.engine.run import Run
from segmend.metrics import read_table
from segmend.networks import VNet

TINY = {"seed": 1, "iterations": 2, "train_cases": 3, "expert_cases": 1, "test_cases": 2}


@pytest.fixture(scope="module")
def tiny():
    """The demo in small: the same steps with next to nothing to compute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHAPE", (24, 24, 16))
        patch.setattr(module, "SPACING", (4.0, 4.0, 5.0))
        patch.setattr(module, "PATCH", (48, 48, 16))
        patch.setattr(module, "NETWORK", partial(VNet, width=2))
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory, tiny):
    """A finished demo: its folder and what it returned."""
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, demo(out=out, **TINY)


def test_the_numbers_are_the_same_everywhere(done):
    out, results = done
    pd.testing.assert_frame_equal(pd.read_csv(out / "results.csv", dtype={"status": str}), results)
    assert results.groupby("method", sort=False).size().to_dict() == {"Supervised": 2, "PLIL": 2}
    assert set(results["case"]) == {"phantom_004", "phantom_005"}
    summary = json.loads((out / "summary.json").read_text())
    report = (out / "report.html").read_text()
    for method, rows in results.groupby("method"):
        scores = read_table(out / "predictions" / f"{method}.csv")
        assert scores["dice"].tolist() == rows["dice"].tolist()
        mean = summary["methods"][method]["dice"]["mean"]
        assert mean == pytest.approx(rows["dice"].mean())
        assert f"{mean:.3f} ± {rows['dice'].std(ddof=0):.3f}" in report
    noise = pd.read_csv(out / "noisy/corruption.csv")
    assert noise["case"].tolist() == ["phantom_002", "phantom_003"]
    assert summary["dice_of_noisy_labels"] == pytest.approx(noise["dice"].mean())
    assert summary["settings"] == TINY


def test_the_methods_differ_in_nothing_else(done):
    configs = [Run(done[0] / "runs" / method).config for method in module.METHODS]
    own = {"method", "out"}
    first, second = ({name: value for name, value in config.items() if name not in own} for config in configs)
    assert first == second
    assert (
        len({method.needs.size for method in (Run(done[0] / "runs" / name).method() for name in module.METHODS)}) == 1
    )


def test_the_report_shows_all_pictures_and_commands(done):
    out, _ = done
    report = (out / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 3 + len(module.METHODS)
    assert len(list((out / "pictures").iterdir())) == report.count("data:image/png;base64,")
    commands = [re.split(r"[\s<]", line)[0] for line in report.split("<span>segmend ")[1:]]
    assert commands == ["corrupt", "check", "train", "train", "predict", "predict", "evaluate", "evaluate"]


def test_a_finished_demo_is_not_repeated(done, contents):
    out, results = done
    written_anew = ("pictures", "report.html", "results.csv", "summary.json")
    before = contents(out)
    pd.testing.assert_frame_equal(demo(out=out, **TINY), results)
    after = contents(out)
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert all(name.startswith(written_anew) for name in changed)


def test_an_interrupted_demo_goes_on(done, tmp_path, monkeypatch, contents):
    def interrupted(**arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "predict", interrupted)
        with pytest.raises(KeyboardInterrupt):
            demo(out=tmp_path / "out", **TINY)
    before = contents(tmp_path / "out")
    assert "runs/PLIL/summary.json" in before
    pd.testing.assert_frame_equal(demo(out=tmp_path / "out", **TINY), done[1])
    after = contents(tmp_path / "out")
    kept = [name for name in before if name.startswith(("data/", "noisy/", "runs/"))]
    assert all(after[name] == before[name] for name in kept)


def test_a_demo_of_other_arguments_is_refused(done):
    with pytest.raises(InputError, match="holds a demo with other arguments"):
        demo(out=done[0], **TINY | {"seed": 2})


def test_a_folder_of_something_else_is_refused(tmp_path, tiny):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="already holds something"):
        demo(out=tmp_path, **TINY)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "iterations: is 0. Give 1 or more."),
        ({"seed": -1}, "seed: is -1. Give 0 or more."),
        ({"test_cases": 0}, "test_cases: is 0"),
        ({"expert_cases": 0}, "expert_cases: is 0"),
        ({"train_cases": 1}, "train_cases: is 1. Give more of them than expert cases."),
    ],
)
def test_what_makes_no_demo_is_refused_at_once(tmp_path, change, message):
    with pytest.raises(InputError) as error:
        demo(out=tmp_path / "out", **TINY | change)
    assert message in str(error.value)
    assert not any(tmp_path.iterdir())
