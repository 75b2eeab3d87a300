"""Where an expert's hour goes: cases chosen by 'segmend select' and by other rules, and the interval of its estimate.

    segmend corrupt --data DATA --out NOISY --share 0.5 --recipe MixedNoise --seed 0
    python benchmarks/select/simulate.py judge --data NOISY --out JUDGE
    segmend audit --data NOISY --probabilities JUDGE --out AUDIT
    python benchmarks/select/simulate.py choose --data NOISY --audit AUDIT --out NAME_choice.csv
    python benchmarks/select/simulate.py estimate --data NOISY --audit AUDIT --out NAME_estimate.csv
    python benchmarks/select/simulate.py draw --choice A_choice.csv B_choice.csv --out choice.png

judge     Probabilities of a simulated model, no network: distances to the true surfaces of each class, shifted by
          smooth noise and by an offset of the case, through a logistic function. Cases differ in how good it is.
choose    Mean Dice of all noisy labels against the number of checked cases, whose labels become the true ones.
estimate  Coverage and width of the 95 % interval of the fraction of labels below --below, over --repeats samples of
          'segmend select --purpose estimate' and of plain random samples, whose interval is the exact one, too.
draw      A figure of tables of choose.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.special import softmax

from segmend.audit.folder import AuditFolder
from segmend.audit.selection.candidates import labelled_candidates
from segmend.audit.selection.features import CaseFeatures, feature_groups, read_features
from segmend.audit.selection.sample import draw_sample
from segmend.core.case import Split
from segmend.core.progress import track
from segmend.core.tables import write_table
from segmend.data.folder import DataFolder
from segmend.data.image import read_label, write_map
from segmend.data.maps import MapNames
from segmend.functional.diversity import choose_diverse, gower_similarity
from segmend.functional.stratified import Estimate, Stratum, estimate_fraction
from segmend.metrics import dice

GAIN, DICE, RANDOM = "expected gain, diversity {:g}", "Dice to the prediction", "random"
DIVERSITIES = (0.0, 0.5, 1.0)
BUDGETS = (10, 20, 40)
RANDOM_ORDERS = 200
WIDTH_MM = 1.5
"""Of the logistic function."""
COLOURS = {RANDOM: "#888888", DICE: "#e69f00"} | dict(
    zip(map(GAIN.format, DIVERSITIES), ("#56b4e9", "#0072b2", "#cc79a7"), strict=True)
)
STYLES = {RANDOM: ":", DICE: "--"}


def main() -> None:
    matplotlib.use("agg")
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = arguments.add_subparsers(dest="step", required=True)
    for name in ("judge", "choose", "estimate"):
        step = steps.add_parser(name)
        step.add_argument("--data", type=Path, required=True, help="a folder of 'segmend corrupt'")
        step.add_argument("--seed", type=int, default=0)
        step.add_argument("--out", type=Path, required=True)
        if name != "judge":
            step.add_argument("--audit", type=Path, required=True)
        if name == "estimate":
            step.add_argument("--below", type=float, default=0.8)
            step.add_argument("--repeats", type=int, default=2000)
    drawing = steps.add_parser("draw")
    drawing.add_argument("--choice", type=Path, nargs="+", required=True)
    drawing.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    if given.step == "judge":
        judge(DataFolder.open(given.data), given.out, given.seed)
    elif given.step == "draw":
        draw(given.choice, given.out)
    else:
        truth = true_dice(DataFolder.open(given.data), AuditFolder(given.audit).read_labels())
        if given.step == "choose":
            table = choose(DataFolder.open(given.data), AuditFolder(given.audit), truth, given.seed)
        else:
            table = estimate(truth, given.below, given.repeats, given.seed)
            print(table.round(3).to_string(index=False))
        write_table(given.out, table, "%.5g")


def truth_of(folder: DataFolder, case: str) -> NDArray[np.uint8]:
    """The true label ``[*spatial]`` of a case; where none was kept the given one is true."""
    file = folder.root / "labelsTr_clean" / f"{case}{folder.file_ending}"
    given = folder.root / "labelsTr" / file.name
    return folder.to_indices(read_label(file if file.is_file() else given)[0])


def judge(folder: DataFolder, out: Path, seed: int) -> None:
    """Write the probabilities of a simulated model."""
    out.mkdir(parents=True)
    cases = [case for case in folder.select(Split.TRAIN) if case.label is not None]
    names = MapNames([case.name for case in cases], folder.labels)
    for number, case in enumerate(track(cases, "simulating a model")):
        assert case.label is not None
        chance = np.random.default_rng((seed, number))
        truth, (_, grid) = truth_of(folder, case.name), read_label(case.label)
        quality = chance.gamma(2.0, 0.5)  # mean 1: some scans are hard
        scores = []
        for index in range(folder.classes):
            inside = truth == index
            distance = signed_distance(inside, grid.spacing)
            smooth = [8.0 / spacing for spacing in grid.spacing]
            noise = gaussian_filter(chance.normal(size=truth.shape), smooth)
            shift = quality * (1.5 * noise / noise.std() + chance.normal(0, 0.7))
            scores.append((distance + shift) / (WIDTH_MM * np.sqrt(quality)))
        for label, probability in zip(folder.labels, softmax(np.stack(scores), axis=0), strict=True):
            write_map(out / names.name(case.name, label), probability.astype(np.float32), like=case.label)


def signed_distance(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Distance to the surface in mm, positive inside; -50 everywhere for an empty mask."""
    if not mask.any():
        return np.full(mask.shape, -50.0)
    inside: NDArray[np.float64] = distance_transform_edt(mask, spacing)
    return inside - distance_transform_edt(~mask, spacing)


def true_dice(folder: DataFolder, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of noisy labels, with their Dice to the truth."""
    noisy = table[table["quality"] == "noisy"].reset_index(drop=True)
    found: dict[tuple[str, str], float] = {}
    for case in track(sorted(set(noisy["case"])), "comparing labels"):
        given = folder.to_indices(read_label(folder.root / "labelsTr" / f"{case}{folder.file_ending}")[0])
        truth = truth_of(folder, case)
        for index, label in enumerate(folder.labels):
            found[case, label] = dice(given == index, truth == index)
    return noisy.assign(true=[found[key] for key in zip(noisy["case"], noisy["label"], strict=True)])


def choose(folder: DataFolder, place: AuditFolder, truth: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Mean Dice of the labels after each checked case, by rule."""
    error = (1 - truth["true"]).groupby(truth["case"], sort=True).sum()
    labels, start = len(truth), float(truth["true"].mean())
    to_prediction = (1 - truth["dice_to_prediction"]).groupby(truth["case"], sort=True).sum()
    orders = {rule: [list(order)] for rule, order in by_gain(folder, place, truth).items()} | {
        DICE: [to_prediction.sort_values(ascending=False, kind="stable").index.tolist()],
        RANDOM: [
            np.random.default_rng((seed, number)).permutation(error.index).tolist() for number in range(RANDOM_ORDERS)
        ],
    }
    rows = []
    for rule, of_rule in orders.items():
        gains = np.array([error[order].cumsum().to_numpy() for order in of_rule]) / labels
        mean, low, high = gains.mean(axis=0), *np.quantile(gains, (0.025, 0.975), axis=0)
        for checked, values in enumerate(zip(mean, low, high, strict=True), start=1):
            rows.append((rule, checked, *(start + value for value in values)))
        rows.append((rule, 0, start, start, start))
    table = pd.DataFrame(rows, columns=["rule", "checked_cases", "mean_dice", "low", "high"])
    return table.sort_values(["rule", "checked_cases"], kind="stable")


def by_gain(folder: DataFolder, place: AuditFolder, truth: pd.DataFrame) -> dict[str, list[str]]:
    """All cases in the order in which 'segmend select' chooses them, by the weight of diversity."""
    candidates = labelled_candidates(truth)
    features = read_features(candidates, folder, place.read_settings())
    gains = np.array([candidate.gain for candidate in candidates])
    found = {}
    for diversity in DIVERSITIES:
        known = features if diversity else [CaseFeatures()] * len(candidates)
        similarity = gower_similarity(feature_groups(candidates, known))
        chosen = choose_diverse(gains, similarity, len(candidates), diversity)
        found[GAIN.format(diversity)] = [candidates[each.index].case for each in chosen]
    return found


def estimate(truth: pd.DataFrame, below: float, repeats: int, seed: int) -> pd.DataFrame:
    """Coverage, width, and error of the estimate of each kind of sample."""
    keys = zip(truth["case"], truth["label"], strict=True)
    erroneous = dict(zip(keys, (truth["true"] < below).tolist(), strict=True))
    fraction = float(np.mean(list(erroneous.values())))
    rows = []
    for budget in BUDGETS:
        if budget >= len(truth):
            continue
        for kind, allocation in (("stratified, Neyman", "neyman"), ("stratified, proportional", "proportional")):
            found = [
                of_sample(truth, budget, below, allocation, seed * repeats + number, erroneous)
                for number in range(repeats)
            ]
            rows.append((budget, kind, *measured(found, fraction)))
        found = list(of_random(np.array(list(erroneous.values())), budget, repeats, seed))
        rows.append((budget, "random", *measured(found, fraction)))
    columns = ["checked_labels", "sample", "true_fraction", "mean_estimate", "rms_error", "coverage", "mean_width"]
    return pd.DataFrame(rows, columns=columns)


def of_sample(
    truth: pd.DataFrame,
    budget: int,
    below: float,
    allocation: str,
    seed: int,
    erroneous: dict[tuple[str, str], bool],
) -> Estimate:
    """The estimate of one stratified sample."""
    drawn, strata = draw_sample(truth, budget, below, allocation, seed, "")  # type: ignore[arg-type]
    found = dict.fromkeys((each.number for each in strata), 0)
    for row in drawn:
        found[row.stratum] += erroneous[row.case, row.label]
    return combined(tuple((each.size, each.checked, found[each.number]) for each in strata))


@cache
def combined(strata: tuple[tuple[int, int, int], ...]) -> Estimate:
    """The estimate, computed once for equal findings."""
    return estimate_fraction([Stratum(*each) for each in strata])


def of_random(erroneous: NDArray[np.bool_], budget: int, repeats: int, seed: int) -> Iterator[Estimate]:
    """Estimates of plain random samples."""
    chance = np.random.default_rng(seed)
    for _ in range(repeats):
        found = int(chance.permutation(erroneous)[:budget].sum())
        yield combined(((len(erroneous), budget, found),))


def measured(found: list[Estimate], fraction: float) -> tuple[float, float, float, float, float]:
    """True fraction, mean estimate, root mean squared error, coverage and mean width of the intervals."""
    estimates = np.array([each.fraction for each in found])
    covered = np.mean([each.low - 1e-9 <= fraction <= each.high + 1e-9 for each in found])
    width = np.mean([each.high - each.low for each in found])
    error = np.sqrt(np.mean((estimates - fraction) ** 2))
    return fraction, float(estimates.mean()), float(error), float(covered), float(width)


def draw(tables: list[Path], out: Path) -> None:
    """A panel for each data set."""
    figure = Figure(figsize=(5.2 * len(tables), 4), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for panel, path in zip(panels, tables, strict=True):
        for rule, own in pd.read_csv(path).groupby("rule", sort=False):
            name, x = str(rule), own["checked_cases"]
            panel.plot(x, own["mean_dice"], STYLES.get(name, "-"), color=COLOURS[name], label=name)
            if name == RANDOM:
                panel.fill_between(x, own["low"], own["high"], color=COLOURS[name], alpha=0.2, linewidth=0)
        title = path.stem.removesuffix("_choice").replace("_", " ").replace("acdc", "ACDC")
        panel.set(title=title, xlabel="checked cases")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean Dice of the noisy labels to the truth")
    panels[0].legend(frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
