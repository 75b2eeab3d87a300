"""One folder that brings a plan to a machine without internet: wheels, data, and a script that continues the plan.

    python benchmarks/bundle.py --plan plil_table1 --data DATA --out bundle [--python 3.11] [--platform NAME]

On the machine:  bash bundle/run.sh MINUTES
It installs what is in the folder, continues from bundle/state if there is one, stops after so many minutes and leaves
bundle/state, files of at most 15 MiB; carry that folder to the next machine. bundle/results holds the table so far.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from segmend.bench.plan import Plan
from segmend.core.folders import atomic_folder

ROOT = Path(__file__).parent.parent

RUN = """#!/usr/bin/env bash
# Continues the plan for at most so many minutes: bash run.sh MINUTES
set -euo pipefail
minutes=${1:?how many minutes? bash run.sh MINUTES}
cd "$(dirname "$0")"
if [ ! -x work/venv/bin/segmend ]; then
    mkdir -p work
    python%(python)s -m venv work/venv
    work/venv/bin/pip install --quiet --no-index --find-links wheels segmend
    tar -xf data.tar -C work
fi
segmend=work/venv/bin/segmend
if [ -f state/state.json ]; then work/venv/bin/python -m segmend.bench.carry unpack state work/out; fi
status=0
SEGMEND_CACHE=$PWD/work/cache "$segmend" bench --plan plan/%(plan)s --data work/data --out work/out \\
    --minutes "$minutes" || status=$?
rm -rf state.new
work/venv/bin/python -m segmend.bench.carry pack work/out state.new
rm -rf state && mv state.new state
mkdir -p results
find work/out -maxdepth 1 -type f -exec cp {} results/ \\;
exit $status
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--plan", required=True)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}")
    arguments.add_argument("--platform", nargs="+", default=["manylinux_2_28_x86_64", "manylinux2014_x86_64"])
    given = arguments.parse_args()
    plan = Plan.read(given.plan)
    with atomic_folder(given.out) as folder:
        collect_wheels(folder / "wheels", given.python, given.platform)
        (folder / "plan").mkdir()
        for file in [*plan.path.parent.glob("*.yaml"), *plan.path.parent.glob("*.csv")]:  # bases and tables of cases
            shutil.copy(file, folder / "plan")
        with tarfile.open(folder / "data.tar", "w") as archive:
            archive.add(given.data.resolve(), "data")
        script = RUN % {"python": given.python, "plan": plan.path.name}
        (folder / "run.sh").write_text(script, encoding="utf-8")
        (folder / "run.sh").chmod(0o755)


def collect_wheels(wheels: Path, python: str, platforms: list[str]) -> None:
    """Segmend's own wheel and those of all that it needs, for another machine."""
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, ROOT], check=True)
    (own,) = wheels.glob("segmend-*.whl")
    foreign = ["--python-version", python, "--only-binary", ":all:"]
    foreign += [word for platform in platforms for word in ("--platform", platform)]
    download = [*pip, "download", "--quiet", "--dest", wheels, "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*download, *foreign, own], check=True)


if __name__ == "__main__":
    main()
