"""Effect of corrections on labels, against the truth: error removed and labels degraded.

    python benchmarks/audit/corrections.py --data DATA --corrected CORRECTED --truth TRUTH [--write FILE.csv]

CORRECTED is the output of 'segmend correct', or label files of 'segmend export-labels'; TRUTH holds the true labels,
for example DATA/labelsTr_clean. A label is a case and class; its error is 1 - Dice to the truth. It is degraded if it
lost more than --harm Dice. Cases without a true label are left out, and so are expert labels, which are never changed.
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
    arguments.add_argument("--corrected", type=Path, required=True)
    arguments.add_argument("--truth", type=Path, required=True)
    arguments.add_argument("--cases", type=Path)
    arguments.add_argument("--harm", type=float, default=0.02)
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    table = compared(DataFolder.open(given.data, given.cases), given.corrected, given.truth)
    if given.write:
        table.to_csv(given.write, index=False, float_format="%.4f")
    print(summary(table, given.harm))


def compared(folder: DataFolder, corrected: Path, truth: Path) -> pd.DataFrame:
    """Dice to the truth of each label as given and as corrected."""
    after = _labels(corrected) if (corrected / "cases.csv").is_file() else _files(corrected)
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
    return pd.DataFrame(rows, columns=["case", "label", "annotator", "given", "corrected", "changed_voxels"])


def summary(table: pd.DataFrame, harm: float) -> str:
    """The table in four lines."""
    gain = table["corrected"] - table["given"]
    degraded = int((gain < -harm).sum())
    removed = gain.sum() / (1 - table["given"]).sum()
    return "\n".join(
        [
            f"{len(table)} labels, {int((table['changed_voxels'] > 0).sum())} of them changed",
            f"mean Dice to the truth: {table['given'].mean():.4f} -> {table['corrected'].mean():.4f}",
            f"error removed: {100 * removed:.1f} %",
            f"degraded by more than {100 * harm:.0f} points of Dice: {degraded} ({100 * degraded / len(table):.1f} %)",
        ]
    )


def _labels(folder: Path) -> dict[str, Path]:
    return {case.name: case.label for case in DataFolder.open(folder).cases if case.label is not None}


def _files(folder: Path) -> dict[str, Path]:
    return {case_name(path): path for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


if __name__ == "__main__":
    main()
