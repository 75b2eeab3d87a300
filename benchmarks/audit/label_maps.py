"""What an audit loses when a judge gives label maps in the place of probabilities.

    python benchmarks/audit/label_maps.py --audit AUDIT --truth LABELS --out OUT

AUDIT is a finished audit, which may be of any earlier version; its probabilities judge the same labels three times: as
they are, as label maps of the most probable class (``--probabilities`` fits the width of their boundaries), and as
these label maps in the form of probabilities 0 and 1. LABELS are the true labels, which the audits do not see. All
audits are made by ``segmend.audit``, in OUT.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from segmend.audit.evidence import Evidence
from segmend.audit.folder import AuditFolder
from segmend.commands.audit import audit
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, write_label
from segmend.data.raters import read_drawing
from segmend.metrics.overlap import dice

BELOW = 0.8
"""True Dice below which a label is bad."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--audit", type=Path, required=True)
    arguments.add_argument("--truth", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    place = AuditFolder(given.audit)
    folder = DataFolder.open(Path(place.read_settings()["data"]))
    cases = [case for case in folder.cases if place.evidence(case.name).is_file()]
    for case in cases:
        label = Evidence(place.evidence(case.name)).label()
        write_label(given.out / "maps" / f"{case.name}.nii.gz", folder.to_values(label), like=case.label)
        one_hot = np.stack([label == index for index in range(folder.classes)]).astype(np.float16)
        (given.out / "one_hot").mkdir(exist_ok=True)
        np.savez_compressed(given.out / "one_hot" / f"{case.name}.npz", probabilities=one_hot.transpose(0, 3, 2, 1))
    (given.out / "one_hot" / "plans.json").write_text(json.dumps({"image_reader_writer": "SimpleITKIO"}))
    judges = {
        "probabilities": {"earlier": given.audit},
        "label maps": {"probabilities": given.out / "maps"},
        "label maps as 0 and 1": {"probabilities": given.out / "one_hot"},
    }
    print("| judge | error of expected Dice | rank correlation | average precision |\n|---|---|---|---|")
    for name, judge in judges.items():
        table = audit(data=folder.root, out=given.out / name.replace(" ", "_"), **judge)
        print(f"| {name} | {' | '.join(measured(table, folder, given.truth))} |", flush=True)


def measured(table: pd.DataFrame, folder: DataFolder, truth: Path) -> list[str]:
    """Mean absolute error of the expected Dice, its rank correlation with the true one, and its average precision."""
    table = table[table["quality"] != "expert"]
    labels = {case.name: case.label for case in folder.cases}
    true = []
    for case, name in zip(table["case"], table["label"], strict=True):
        grid, index = read_grid(labels[case]), list(folder.labels).index(name)
        given, right = (read_drawing(path, folder, grid) == index for path in (labels[case], truth / labels[case].name))
        true.append(dice(given, right))
    found, known = table["expected_dice"].to_numpy(), np.array(true)
    precision = average_precision_score(known < BELOW, -found)
    return [
        f"{np.abs(found - known).mean():.3f}",
        f"{spearmanr(found, known).statistic:.2f}",
        f"{precision:.2f} ({np.mean(known < BELOW):.0%} below {BELOW})",
    ]


if __name__ == "__main__":
    main()
