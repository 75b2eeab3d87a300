"""True quality of the labels of an audit, and what it expects: ranking, expected Dice, and its proposals.

    segmend audit --data DATA --out AUDIT
    python benchmarks/audit/quality.py --data DATA --audit AUDIT --truth FOLDER [--write FILE.md]

FOLDER holds true labels by the name of the label file; a label without one counts as right. Expert labels are left out.
All rankings come from the same out-of-fold probabilities; a label is bad if its true Dice is below --bad.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from detect import precision, rivals
from scipy.stats import spearmanr

from segmend.audit.folder import AuditFolder
from segmend.data.folder import DataFolder
from segmend.data.image import read_label
from segmend.metrics.overlap import dice

_HARMED = 0.02


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--cases", type=Path)
    arguments.add_argument("--audit", type=Path, required=True)
    arguments.add_argument("--truth", type=Path, required=True)
    arguments.add_argument("--bad", type=float, default=0.8)
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    folder, audit = DataFolder.open(given.data, given.cases), AuditFolder(given.audit)
    table = compared(folder, audit, given.truth)
    bad = (table["true"] < given.bad).to_numpy()
    others = pd.DataFrame([rivals(folder, audit, *key) for key in zip(table["case"], table["label"], strict=True)])
    scores = {
        "segmend audit: score": table["score"],
        "segmend audit: expected Dice": table["expected_dice"],
        "Dice to the prediction": table["dice_to_prediction"],
        **{name: others[name] for name in others},
    }
    lines = ["| ranking | rank correlation with the true Dice | by class | average precision |", "|---|---|---|---|"]
    for name, score in scores.items():
        each = [correlation(score.to_numpy()[rows], table["true"].to_numpy()[rows]) for rows in by_class(table)]
        found = f"{precision(score.to_numpy(), bad):.3f}" if bad.any() and not bad.all() else "-"
        whole = correlation(score.to_numpy(), table["true"].to_numpy())
        lines.append(f"| {name} | {whole:.2f} | {', '.join(f'{value:.2f}' for value in each)} | {found} |")
    error = table["expected_dice"] - table["true"]
    summary = audit.read_summary()["share_below"]
    share = ", ".join(f"{100 * summary[key]:.0f}" for key in ("from", "to"))
    lines += ["", "| expected Dice | |", "|---|---|"]
    lines += [f"| mean true Dice of {len(table)} labels | {table['true'].mean():.3f} |"]
    lines += [f"| mean error of the expected Dice, bias | {error.abs().mean():.3f}, {error.mean():+.3f} |"]
    stated = f"{100 * summary['share']:.0f} ({share})"
    lines += [f"| labels below {given.bad} in %: true; expected of all (range) | {100 * bad.mean():.0f}; {stated} |"]
    lines += ["", "| proposals | labels | mean change of their Dice | better | worse | of right ones |"]
    lines += ["|---|---|---|---|---|---|", *of_proposals(table)]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.write:
        given.write.write_text(text, encoding="utf-8")


def compared(folder: DataFolder, audit: AuditFolder, truth: Path) -> pd.DataFrame:
    """Rows of ``audit.csv`` but those of expert labels, with the true Dice of the label and of its proposal."""
    table = audit.read_labels()
    table = table[table["quality"] != "expert"].reset_index(drop=True)
    names, cases = list(folder.labels), {case.name: case for case in folder.cases}
    found = []
    for name, rows in table.groupby("case", sort=False):
        case = cases[str(name)]
        true_label = truth / case.label.name
        label, right, proposal = (
            folder.to_indices(read_label(path)[0])
            for path in (
                case.label,
                true_label if true_label.is_file() else case.label,
                audit.proposal(case.name, folder.file_ending),
            )
        )
        for row in rows.itertuples():
            true = right == names.index(row.label)
            found.append((row.Index, *(dice(each == names.index(row.label), true) for each in (label, proposal))))
    values = pd.DataFrame(found, columns=["row", "true", "proposed"]).set_index("row")
    return table.join(values)


def of_proposals(table: pd.DataFrame) -> list[str]:
    """What proposals do to the labels: all of them, and those that are followed by default."""
    proposed = table[table["proposal"] != "none"]
    followed = (proposed["proposal_score"] >= 0.5) & ~proposed["proposal"].isin(("erase", "create"))
    followed &= proposed["expected_dice_proposal"] >= proposed["expected_dice"]
    lines = []
    for name, rows in (("all", proposed), ("followed by default", proposed[followed])):
        change = rows["proposed"] - rows["true"]
        worse = change < -_HARMED
        mean = f"{change.mean():+.3f}" if len(rows) else "-"
        counts = f"{(change > _HARMED).sum()} | {worse.sum()} | {(worse & (rows['true'] > 0.95)).sum()}"
        lines.append(f"| {name} | {len(rows)} | {mean} | {counts} |")
    return lines


def by_class(table: pd.DataFrame) -> list[np.ndarray]:
    """Rows of each class."""
    return [(table["label"] == name).to_numpy() for name in table["label"].unique()]


def correlation(score: np.ndarray, true: np.ndarray) -> float:
    """Spearman's rank correlation."""
    return float(spearmanr(score, true)[0])


if __name__ == "__main__":
    main()
