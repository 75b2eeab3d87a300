"""What mending did to labels, against the truth: how much of their error it took away, and how many it harmed.

    python benchmarks/audit/mend.py --data DATA --mended MENDED --truth DATA/labelsTr_clean [--write FILE.csv]

MENDED is what 'segmend correct' wrote, or the label files of 'segmend labels'. A label is a case and class, its error
1 - Dice to the truth. It is harmed if it lost more than --harm Dice. Cases without a file among the truth are left out,
and so are expert labels, which nothing changes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from segmend.core.case import Quality, Split
from segmend.data.folder import DataFolder
from segmend.data.image import case_name, read_label
from segmend.metrics import dice


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--mended", type=Path, required=True)
    arguments.add_argument("--truth", type=Path, required=True)
    arguments.add_argument("--cases", type=Path)
    arguments.add_argument("--harm", type=float, default=0.02)
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    table = compared(DataFolder.open(given.data, given.cases), given.mended, given.truth)
    if given.write:
        table.to_csv(given.write, index=False, float_format="%.4f")
    print(summary(table, given.harm))


def compared(folder: DataFolder, mended: Path, truth: Path) -> pd.DataFrame:
    """Dice to the truth of each label as given and as mended."""
    after = _mended(mended) if (mended / "cases.csv").is_file() else _files(mended)
    true = _files(truth)
    rows = []
    for case in folder.select(Split.TRAIN, Quality.NOISY):
        if case.name not in true or case.label is None:
            continue
        arrays = [folder.to_indices(read_label(path)[0]) for path in (case.label, after[case.name], true[case.name])]
        for index, name in enumerate(list(folder.labels)[1:], start=1):
            before, now, right = (array == index for array in arrays)
            if before.any() or right.any():
                changed = int((before != now).sum())
                rows.append((case.name, name, case.annotator, dice(before, right), dice(now, right), changed))
    return pd.DataFrame(rows, columns=["case", "label", "annotator", "given", "mended", "changed_voxels"])


def summary(table: pd.DataFrame, harm: float) -> str:
    """The table in four lines."""
    gain = table["mended"] - table["given"]
    harmed = int((gain < -harm).sum())
    removed = gain.sum() / (1 - table["given"]).sum()
    return "\n".join(
        [
            f"{len(table)} labels, of which {int((table['changed_voxels'] > 0).sum())} were changed",
            f"mean Dice to the truth: {table['given'].mean():.4f} -> {table['mended'].mean():.4f}",
            f"error removed: {100 * removed:.1f} %",
            f"harmed by more than {100 * harm:.0f} points of Dice: {harmed} ({100 * harmed / len(table):.1f} %)",
        ]
    )


def _mended(folder: Path) -> dict[str, Path]:
    return {case.name: case.label for case in DataFolder.open(folder).cases if case.label is not None}


def _files(folder: Path) -> dict[str, Path]:
    return {case_name(path): path for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


if __name__ == "__main__":
    main()
