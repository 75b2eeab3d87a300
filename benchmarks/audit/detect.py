"""Detection of corrupted labels by an audit, compared with other rankings.

    segmend corrupt --data DATA --out NOISY --share 0.3
    segmend audit --data NOISY --out AUDIT --folds 2
    python benchmarks/audit/detect.py --data NOISY --audit AUDIT [--write FILE.md]

A label (case and class) counts as erroneous if its Dice to the true one is below --bad. All rankings come from the same
out-of-fold probabilities: the audit's score, Dice to the prediction, the mean self-confidence of the object's voxels,
and cleanlab's score of segmentation labels, of each class against the rest. Voxels: precision and recall of the
audit's issues for the true errors of the corrupted cases.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab.segmentation.rank import get_label_quality_scores
from scipy.stats import rankdata

from segmend.audit.evidence import Evidence
from segmend.audit.folder import AuditFolder
from segmend.data.folder import DataFolder
from segmend.data.image import read_label


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--audit", type=Path, required=True)
    arguments.add_argument("--bad", type=float, default=0.9)
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    folder, audit = DataFolder.open(given.data), AuditFolder(given.audit)
    table = pd.read_csv(audit.labels, dtype={"case": str})
    corrupted = pd.read_csv(given.data / "corruption.csv", dtype={"case": str}).set_index(["case", "label"])["dice"]
    keys = list(zip(table["case"], table["label"], strict=True))
    bad = np.array([corrupted.get(key, 1.0) < given.bad for key in keys])
    others = pd.DataFrame([rivals(folder, audit, *key) for key in keys])
    scores = {
        "segmend audit": table["score"].to_numpy(),
        "Dice to the prediction": table["dice_to_prediction"].fillna(0).to_numpy(),
        **{name: others[name].to_numpy() for name in others},
    }
    average = {name: precision(score, bad) for name, score in scores.items()}
    best = max(list(average)[1:], key=lambda name: average[name])
    lines = ["# Ranking of labels", ""]
    result = f"{average['segmend audit']:.3f}; best other ranking {average[best]:.3f} ({best})"
    lines += [f"**Result**: average precision {result}.", ""]
    lines += ["| ranking | AUROC | average precision |", "|---|---|---|"]
    lines += [f"| {name} | {auroc(score, bad):.3f} | {precision(score, bad):.3f} |" for name, score in scores.items()]
    found = np.sum(
        [voxels(folder, audit, given.data, case) for case in {key[0] for key in keys if key in corrupted}], 0
    )
    both, flagged, wrong = (float(count) for count in found)
    lines += ["", f"{bad.sum()} of {len(bad)} labels are erroneous (Dice to the true label below {given.bad})."]
    lines += [f"Voxels of corrupted cases: precision {both / flagged:.3f}, recall {both / wrong:.3f}."]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.write:
        given.write.write_text(text)


def rivals(folder: DataFolder, audit: AuditFolder, name: str, label: str) -> dict[str, float]:
    """Other scores of one label, low if it is suspect."""
    index = list(folder.labels).index(label)
    case = next(case for case in folder.cases if case.name == name)
    mask = folder.to_indices(read_label(case.label)[0]) == index
    p = Evidence(audit.evidence(name)).probability(index)
    # cleanlab takes 2D images: a volume is one with its slices side by side.
    flat, flat_p = mask.reshape(1, mask.shape[0], -1).astype(int), p.reshape(1, p.shape[0], -1)
    softmin, _ = get_label_quality_scores(flat, np.stack([1 - flat_p, flat_p], axis=1), verbose=False)
    return {
        "self-confidence of the object": float(p[mask].mean()) if mask.any() else 0.0,
        "cleanlab": float(softmin[0]),
    }


def voxels(folder: DataFolder, audit: AuditFolder, data: Path, name: str) -> tuple[int, int, int]:
    """Voxels that are issues and errors, issues, and errors."""
    case = next(case for case in folder.cases if case.name == name)
    given, truth = read_label(case.label)[0], read_label(data / "labelsTr_clean" / case.label.name)[0]
    issues, wrong = read_label(audit.issues(name, folder.file_ending))[0] > 0, given != truth
    return int((issues & wrong).sum()), int(issues.sum()), int(wrong.sum())


def auroc(score: np.ndarray, bad: np.ndarray) -> float:
    """Probability that an erroneous label has a lower score than a correct one."""
    ranks = rankdata(-score)
    return float((ranks[bad].sum() - bad.sum() * (bad.sum() + 1) / 2) / (bad.sum() * (~bad).sum()))


def precision(score: np.ndarray, bad: np.ndarray) -> float:
    """Mean precision at each erroneous label, from the lowest score on."""
    found = bad[np.argsort(score, kind="stable")]
    return float((np.cumsum(found) / np.arange(1, len(found) + 1))[found].mean())


if __name__ == "__main__":
    main()
