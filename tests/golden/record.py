"""Computes golden runs.

python tests/golden/record.py --out FILE [--only TEXT]    results of this code, to be compared elsewhere
"""

from __future__ import annotations

import argparse
from pathlib import Path

from golden_records import computed, processor_class, write
from golden_runs import all_golden


def main() -> None:
    """Computes what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="golden runs whose name holds this text")
    given = parser.parse_args()
    names = [name for name in all_golden() if given.only in name]
    write(given.out, {"processor": processor_class(), "results": computed(names)})


if __name__ == "__main__":
    main()
