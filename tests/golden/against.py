"""Shows that this working tree computes what a commit computes, bit by bit, on this machine.

python tests/golden/against.py COMMIT [--inject] [--only TEXT]

The commit is checked out into a temporary worktree, and the golden runs of both are computed by this interpreter, each
by the code of its own tree: only results are compared. So they may be compared although modules were moved or renamed.
A commit from before there were golden runs gets those of this tree (--inject does so for any commit): these have to
know where its modules lie.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from golden_records import differing

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def main() -> int:
    """Compares, and says what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--inject", action="store_true", help="use the golden runs of this tree for both")
    parser.add_argument("--only", default="", help="golden runs whose name holds this text")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tree = place / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", str(tree), given.commit], cwd=ROOT, check=True)
        try:
            golden = tree / "tests" / "golden"
            if given.inject or not golden.is_dir():
                shutil.rmtree(golden, ignore_errors=True)
                shutil.copytree(HERE, golden)
            old = results_of(tree, place / "old.json", given.only)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)
        new = results_of(ROOT, place / "new.json", given.only)
    both = sorted(new.keys() & old.keys())
    changed = {name: differing(new[name], old[name]) for name in both}
    for name, parts in changed.items():
        if parts:
            print(f"DIFFERS  {name}: {', '.join(parts)}")
    for name in sorted(new.keys() ^ old.keys()):
        print(f"only in {'this tree' if name in new else given.commit}: {name}")
    number = sum(map(bool, changed.values()))
    print(f"{len(both) - number} of {len(both)} golden runs give the same bits as {given.commit}")
    return int(number > 0 or not both)


def results_of(tree: Path, out: Path, only: str) -> dict[str, dict[str, object]]:
    """Results of the golden runs of a tree, by its own code."""
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tree / "tests" / "golden" / "record.py"), "--out", str(out), "--only", only]
    log = out.with_suffix(".log")
    with log.open("wb") as file:
        ended = subprocess.run(command, cwd=tree, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False)
    if ended.returncode:
        sys.exit(f"the golden runs of {tree} failed:\n{log.read_text(errors='replace')[-3000:]}")
    results: dict[str, dict[str, object]] = json.loads(out.read_text(encoding="utf-8"))["results"]
    return results


if __name__ == "__main__":
    sys.exit(main())
