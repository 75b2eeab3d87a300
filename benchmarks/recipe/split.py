"""A data folder with every fifth case, in alphabetical order, held out for testing.

Nothing is copied: scans and labels are links, and all labels of the training cases are expert ones.

    python benchmarks/recipe/split.py DATA OUT
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from segmend.core.case import Quality, Split
from segmend.core.folders import atomic_folder
from segmend.data.cases_table import write_cases
from segmend.data.folder import DataFolder

EVERY = 5


def main() -> None:
    """Write the folder."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("out", type=Path)
    given = arguments.parse_args()
    folder = DataFolder.open(given.data)
    cases = []
    with atomic_folder(given.out) as out:
        for number, case in enumerate(folder.cases):
            test = number % EVERY == EVERY - 1
            part = "Ts" if test else "Tr"
            for kind, files in (("images", case.images), ("labels", [case.label] if case.label else [])):
                (out / f"{kind}{part}").mkdir(exist_ok=True)
                for file in files:
                    (out / f"{kind}{part}" / file.name).symlink_to(file.resolve())
            cases.append(replace(case, split=Split.TEST if test else Split.TRAIN, quality=Quality.EXPERT))
        write_cases(out / "cases.csv", cases)
        shutil.copyfile(given.data / "dataset.json", out / "dataset.json")


if __name__ == "__main__":
    main()
