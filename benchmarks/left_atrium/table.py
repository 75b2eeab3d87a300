"""Makes results/table.md and results/boxplot.png of the scores that run.py wrote.

python benchmarks/left_atrium/table.py [--against HL-Sup]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from segmend.metrics import compare, draw_boxplot, read_table

RESULTS = Path(__file__).parent / "results"
METRICS = ("dice", "jaccard", "hd95", "asd", "assd")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--against", default="HL-Sup", help="the row that the others are tested against")
    given = arguments.parse_args()
    files = sorted(RESULTS.glob("*_seed[0-9].csv"))
    lines = [
        "| row | seed | " + " | ".join(METRICS) + f" | p against {given.against} | steps/s |",
        "|---|---|" + "---|" * (len(METRICS) + 2),
    ]
    tables = {}
    for file in sorted(files, key=lambda path: -mean_dice(path)):
        row, seed = file.stem.rsplit("_seed", 1)
        table = read_table(file)
        tables[f"{row.replace('_', ' ')} {seed}"] = table
        cells = [f"{cell(table[metric], metric)}" for metric in METRICS]
        baseline = RESULTS / f"{given.against.replace(' ', '_')}_seed{seed}.csv"
        p = f"{p_value(file, baseline):.2g}" if baseline.is_file() and baseline != file else ""
        speed = json.loads((RESULTS / f"{file.stem}_run.json").read_text())["summary"]["steps_per_second"]
        lines.append(f"| {row.replace('_', ' ')} | {seed} | {' | '.join(cells)} | {p} | {speed:.2f} |")
    lines += ["", "Test cases: mean (population sd) over 20; overlap in %, distances in mm; p of the paired Wilcoxon"]
    lines[-1] += " signed-rank test on Dice, two-sided."
    (RESULTS / "table.md").write_text("\n".join(lines) + "\n")
    draw_boxplot(RESULTS / "boxplot.png", tables, "mm")
    print("\n".join(lines))


def mean_dice(file: Path) -> float:
    return float(read_table(file)["dice"].mean())


def cell(values: pd.Series[float], metric: str) -> str:
    factor = 100 if metric in ("dice", "jaccard") else 1
    undefined = int(values.isna().sum())
    return f"{factor * values.mean():.2f} ({factor * values.std(ddof=0):.2f})" + (
        f" [{undefined} undefined]" if undefined else ""
    )


def p_value(file: Path, baseline: Path) -> float:
    tests = compare(file, baseline)
    return float(tests.loc[(tests["metric"] == "dice") & (tests["label"] == "overall"), "p_wilcoxon"].iloc[0])


if __name__ == "__main__":
    main()
