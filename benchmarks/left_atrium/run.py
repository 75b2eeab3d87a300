"""Left atrium at 1.25 mm with 4 expert and 76 noisy labels: trains, predicts and evaluates rows of a table.

    python benchmarks/left_atrium/run.py --data DATA --work WORK --rows HL-Sup PLIL --seed 0

DATA is the left-atrium folder (100 scans, 80 train, 20 test). WORK takes the noisy copy, runs and predictions; what was
finished there is not repeated, what was interrupted continues. The scores of each test case are written beside this
file as results/ROW_seedN.csv; table.py makes the table and pictures of them. The last checkpoint counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from segmend import corrupt, evaluate, predict, train
from segmend.methods import PLIL, MeanTeacher, Method, Supervised
from segmend.networks import Network

RESULTS = Path(__file__).parent / "results"
ITERATIONS, SPACING, PATCH, EXPERT = 1000, (1.25, 1.25, 1.25), (64, 64, 48), 4
NOISE_SEED = 0

Row = tuple[Callable[[Network], Method], dict[str, int]]
ROWS: dict[str, Row] = {
    "H-Sup": (Supervised, {"expert": 4}),
    "HL-Sup": (Supervised, {"mixed": 4}),
    "HL-Sup 2+2": (Supervised, {"expert": 2, "noisy": 2}),
    "MeanTeacher": (MeanTeacher, {"expert": 2, "noisy": 2}),
    "PLIL": (
        partial(PLIL, warm_up=0.3, ramp_length=0.0, uncertainty="spread", threshold=0.15, passes=4),
        {"expert": 2, "noisy": 2},
    ),
    "PLIL without warm-up": (partial(PLIL, threshold=1.0, ramp_length=0.25, passes=2), {"expert": 2, "noisy": 2}),
    "PLIL as in the paper": (PLIL, {"expert": 2, "noisy": 2}),
}
"""Method and batch of each row. All share network, steps, data, noise and optimiser."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--work", type=Path, required=True)
    arguments.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    noisy = given.work / f"noisy_{NOISE_SEED}"
    if not noisy.exists():
        corrupt(data=given.data, out=noisy, expert=EXPERT, seed=NOISE_SEED)
    for row in given.rows:
        run_row(row, given.seed, noisy, given.work)


def run_row(row: str, seed: int, noisy: Path, work: Path) -> None:
    method, batch = ROWS[row]
    name = f"{row.replace(' ', '_')}_seed{seed}"
    run = train(
        data=noisy,
        method=method,
        out=work / name,
        iterations=ITERATIONS,
        spacing=SPACING,
        patch=PATCH,
        seed=seed,
        **batch,
    )
    predictions = work / f"{name}_predictions"
    if not predictions.exists():
        predict(run=run.path, images=noisy / "imagesTs", out=predictions)
    scores = work / f"{name}.csv"
    evaluate(predictions=predictions, references=noisy / "labelsTs", out=scores)
    RESULTS.mkdir(exist_ok=True)
    shutil.copy(scores, RESULTS)
    config = {key: value for key, value in run.config.items() if key not in ("data", "out", "cases")}
    (RESULTS / f"{name}_run.json").write_text(json.dumps({"config": config, "summary": run.summary}, indent=1))


if __name__ == "__main__":
    main()
