"""Computes golden runs and records their results for processors such as this one.

python tests/golden/record.py [--only TEXT]            writes the record; refuses what changed under the same versions
python tests/golden/record.py --out FILE [--only TEXT] writes results to another file, to be compared elsewhere
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from golden_records import REMEDY, computed, described, processor_class, record_path, unannounced, write
from golden_runs import all_golden


def main() -> int:
    """Computes and records what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where to write results instead of recording them")
    parser.add_argument("--only", default="", help="golden runs whose name holds this text")
    given = parser.parse_args()
    runs = all_golden()
    results = computed(name for name in runs if given.only in name)
    if given.out:
        write(given.out, {"processor": processor_class(), "results": results})
        return 0
    path = record_path()
    old = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else {}
    new = {name: described(runs[name], result) for name, result in results.items()}
    if silent := unannounced(new, old):
        print("\n".join(["", "Not recorded, since results changed while versions did not:", *sorted(silent), REMEDY]))
        return 1
    kept = {name: run for name, run in old.items() if name in runs and given.only not in name}
    write(path, {"processor": processor_class(), "runs": kept | new})
    print(f"{len(new)} golden runs recorded in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
