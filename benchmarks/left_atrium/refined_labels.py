"""Dice of ALC's refined labels and of the given ones to the true labels, on noisy training cases.

    python benchmarks/left_atrium/refined_labels.py --run RUN --data NOISY [--write FILE.csv]

Over one crop of each noisy training case around its object, by the run's last checkpoint. Also whether the half
with the smaller uncertainty is the better one, as selection assumes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch
from crops import noisy_cases

from segmend.engine.run import Run
from segmend.methods import ALC
from segmend.metrics import dice


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", type=Path, required=True)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    torch.manual_seed(0)
    run = Run(given.run)
    method = run.method(run.last)
    assert isinstance(method, ALC)
    method.train()
    rows = []
    for case in noisy_cases(run, given.data):
        refined = method.refine(case.image)
        labels = {"given": case.label, "refined": refined.label, "mean": refined.mean.argmax(1)}
        truth = (case.truth[0] > 0).numpy()
        scores = {name: dice((label[0] > 0).numpy(), truth) for name, label in labels.items()}
        rows.append({"case": case.name, **scores, "uncertainty": float(refined.uncertainty[0])})
    table = pd.DataFrame(rows)
    if given.write:
        table.to_csv(given.write, index=False, float_format="%.6g")
    sure = table["uncertainty"] <= table["uncertainty"].median()
    print(table.groupby(sure.map({True: "certain half", False: "other half"})).mean(numeric_only=True).round(3))
    print(table.mean(numeric_only=True).round(3).to_string())


if __name__ == "__main__":
    main()
