"""Which recorded runs ``benchmarks/refingerprint.py`` writes anew."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "refingerprint.py"))
RECORDED = sorted((Path(__file__).parents[2] / "benchmarks").glob("**/runs.json"))


def test_only_runs_of_the_old_state_that_there_still_are_get_a_new_fingerprint(tmp_path):
    fingerprints = {name: 8 * f"{number:04d}" for number, name in enumerate(("kept", "gone", "other", "new"))}
    runs = [{"row": name, "what": {"fingerprint": fingerprints[name]}} for name in ("kept", "gone", "other")]
    (tmp_path / "runs.json").write_text(json.dumps(runs))
    (tmp_path / "results.csv").write_text("".join(f"{run['what']['fingerprint']},0.5\n" for run in runs))
    old = {fingerprints["kept"]: ("plan", "A"), fingerprints["gone"]: ("plan", "B")}
    new = {("plan", "A"): {"fingerprint": fingerprints["new"], "arguments": {}}}
    assert SCRIPT["rewrite"](tmp_path / "runs.json", runs, old, new) == 1
    written = json.loads((tmp_path / "runs.json").read_text())
    expected = [fingerprints[name] for name in ("new", "gone", "other")]
    assert [run["what"]["fingerprint"] for run in written] == expected
    assert written[0]["what"] == new["plan", "A"]
    assert [line.split(",")[0] for line in (tmp_path / "results.csv").read_text().splitlines()] == expected


def test_recorded_runs_that_declare_versions_are_those_of_the_shipped_plans():
    """A change that alters fingerprints, but no result, has to be followed by 'make refingerprint'."""
    runs = [run for path in RECORDED for run in json.loads(path.read_text())]
    declared = {run["what"]["fingerprint"] for run in runs if "versions" in run["what"]}
    listed = SCRIPT["listed"](sorted({run["what"]["data"] for run in runs}))
    assert len(declared) > 100
    assert declared <= {what["fingerprint"] for _, what in listed}
