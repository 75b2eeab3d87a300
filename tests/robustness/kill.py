"""Kills every command directly before its changes of the file system and at random moments, and runs it again.

PYTHONPATH=tests/support python tests/robustness/kill.py [--seed 0] [--moments 5] [--changes 1000] [COMMAND ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from kills import Stage
from scenes import SCENES, shrink_demo

SLOW = {"bench": 12, "demo": 40, "audit by folds": 60}
"""Changes to kill before at most, for scenes of which one trial takes long."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--moments", type=int, default=5, help="kills at random moments, for each command")
    parser.add_argument("--changes", type=int, default=1000, help="changes to kill before at most, for each command")
    parser.add_argument("commands", nargs="*", choices=[[], *SCENES])
    given = parser.parse_args()
    shrink_demo(Path())
    failed = total = 0
    started = time.monotonic()
    for name in given.commands or SCENES:
        with tempfile.TemporaryDirectory() as root:
            stage = Stage(SCENES[name], Path(root))
            before = stage.changes(min(given.changes, SLOW.get(name, given.changes)), given.seed)
            trials = [{"kill_before": change} for change in before]
            trials += [{"kill_after": moment} for moment in stage.moments(given.moments, given.seed)]
            problems = [(trial, problem) for trial in trials if (problem := stage.trial(**trial))]
        print(f"{name}: {stage.whole.changes} changes, {len(trials)} kills, {len(problems)} problems", flush=True)
        for trial, problem in problems:
            print(f"  {trial}: {problem}", flush=True)
        failed, total = failed + len(problems), total + len(trials)
    print(f"{total} kills, {failed} problems, {time.monotonic() - started:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
