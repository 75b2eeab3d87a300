"""Updates fingerprints of recorded runs after a change that alters them but no result.

python benchmarks/refingerprint.py COMMIT

For example, an argument was renamed, or added with a default that reproduces the former behaviour. The golden runs of
both states are compared first, bit by bit. Then each run in a runs.json below benchmarks/ whose fingerprint is that of
COMMIT gets the fingerprint of this tree, in results.csv too. Runs are matched by plan, row, label setting and seed, so
none of these may be renamed at the same time. Runs of other states of the code keep their fingerprints.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).resolve().parent.parent
Place = tuple[str, ...]


def main() -> int:
    """Does it, or lists the fingerprints of one tree for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?")
    parser.add_argument("--list", nargs="*", metavar="DATA_DIGEST", help="print what runs of all plans are of")
    given = parser.parse_args()
    if given.list is not None:
        print(json.dumps(listed(given.list)))
        return 0
    if not given.commit:
        parser.error("name the commit that the recorded runs are of")
    if subprocess.run([sys.executable, ROOT / "tests" / "golden" / "against.py", given.commit], check=False).returncode:
        return 1
    recorded = {path: json.loads(path.read_text(encoding="utf-8")) for path in ROOT.glob("benchmarks/**/runs.json")}
    digests = sorted({run["what"]["data"] for runs in recorded.values() for run in runs})
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", tree, given.commit], cwd=ROOT, check=True)
        try:
            old = {what["fingerprint"]: place for place, what in of_tree(tree, digests).items()}
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    new = of_tree(ROOT, digests)
    for path, runs in sorted(recorded.items()):
        print(f"{rewrite(path, runs, old, new)} of {len(runs)} runs updated in {path.relative_to(ROOT)}")
    return 0


def listed(digests: list[str]) -> list[tuple[Place, dict[str, Any]]]:
    """What every run of every plan is of, for each of some data."""
    from segmend.bench.plan import PLANS, Plan
    from segmend.bench.preparation import Preparation
    from segmend.bench.unit import Unit

    class OfDigest(Preparation):
        # The data are not there: as in recorded runs, it is left open whether scans are resampled.
        _grids: ClassVar[list[object]] = []

        def _digest(self, labels: object) -> str:
            return self.data.name

    found = []
    for path in [*sorted(PLANS.glob("*.yaml")), *sorted(ROOT.glob("benchmarks/**/plan.yaml"))]:
        plan = Plan.read(path)
        for digest in digests:
            units: list[Unit] = OfDigest(plan, Path(digest), Path("out")).units([])
            found += [
                ((path.name, path.parent.name, unit.row, unit.labels, str(unit.seed), digest), unit.what)
                for unit in units
            ]
    return found


def of_tree(tree: Path, digests: list[str]) -> dict[Place, dict[str, Any]]:
    """The same, computed by the code of a tree."""
    command = [sys.executable, str(tree / "benchmarks" / "refingerprint.py"), "--list", *digests]
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    ended = subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return {tuple(place): what for place, what in json.loads(ended.stdout)}


def rewrite(path: Path, runs: list[dict[str, Any]], old: dict[str, Place], new: dict[Place, dict[str, Any]]) -> int:
    """Updates runs.json and results.csv of one table."""
    results = path.with_name("results.csv")
    text, number = results.read_text(encoding="utf-8"), 0
    for run in runs:
        fingerprint = run["what"]["fingerprint"]
        if (what := new.get(old.get(fingerprint, ()))) and what["fingerprint"] != fingerprint:
            text = text.replace(fingerprint, what["fingerprint"])
            run["what"] = what
            number += 1
    if number:
        path.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
        results.write_text(text, encoding="utf-8")
    return number


if __name__ == "__main__":
    sys.exit(main())
