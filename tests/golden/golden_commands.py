"""Like golden_adapter, and by its rules: noise, evaluation, audit and correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from golden_adapter import AUGMENTATION, SGD, Tensors, labels_in, state_of
from numpy.typing import NDArray

from segmend.commands.audit import audit
from segmend.commands.correct import correct
from segmend.commands.corrupt import corrupt
from segmend.commands.evaluate import evaluate
from segmend.commands.predict import predict
from segmend.commands.train import train
from segmend.methods import all_methods
from segmend.metrics.evaluation import score_case
from segmend.networks import all_networks
from segmend.noise import all_recipes, corrupt_label


def by_command(data: Path, out: Path, cache: Path, method: str) -> Tensors:
    """Weights and predicted labels of a training from a data folder, first labels and validation included."""
    run = train(
        data=data,
        method=all_methods()[method],
        out=out / "run",
        network=lambda channels, classes, dimensions: all_networks()["UNet"](
            channels, classes, dimensions, width=2, stages=3
        ),
        iterations=3,
        initial_iterations=2,
        patch=None,
        spacing="auto",
        dimensions=None,
        foreground=0.0,
        augmentation=AUGMENTATION,
        optimisation=SGD,
        seed=1,
        precision="32",
        devices=1,
        nodes=1,
        workers=0,
        compile=False,
        checkpoint_every=2,
        cache=cache,
    )
    predict(
        run=run.path,
        images=data / "imagesTs",
        out=out / "predictions",
        checkpoint="last",
        overlap=0.5,
        weighting="gaussian",
        flips=True,
        largest_component=True,
        precision="32",
    )
    return [*state_of(run.method(run.last)), *labels_in(out / "predictions")]


def corrupted(
    recipe: str,
    arguments: Mapping[str, Any],
    label: NDArray[np.uint8],
    spacing: Sequence[float],
    seed: int,
    strength: float,
) -> NDArray[np.uint8]:
    """A label through a recipe."""
    made = all_recipes()[recipe](**arguments)
    return corrupt_label(label, spacing, made, np.random.default_rng(seed), strength).label


def corrupted_folder(data: Path, out: Path) -> Tensors:
    """Labels of a folder that is corrupted to a wanted Dice, in a share of the cases."""
    recipe = all_recipes()["RadiusMorphology"](radius_min=1.0, radius_max=3.0)
    corrupt(data=data, out=out, recipe=recipe, expert=1, dice=0.7, share=0.7, seed=1)
    return labels_in(out / "labelsTr")


def scores(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8], values: Sequence[int], spacing: Sequence[float]
) -> list[float | None]:
    """All metrics of some label values."""
    found = score_case("case", prediction, reference, {str(value): (value,) for value in values}, spacing, 1.0)
    return [number for value in values for number in _numbers_of_score(found[str(value)])]


def evaluated(predictions: Path, references: Path, out: Path, unit: str) -> list[float | None]:
    """All metrics of a folder of predictions."""
    table = evaluate(predictions=predictions, references=references, out=out, unit=unit, tolerance=1.0)
    return _numbers(table, _SCORES)


def audited(data: Path, probabilities: Path, out: Path) -> list[float | None]:
    """What an audit says of the labels of a folder, by given probabilities."""
    table = audit(data=data, out=out, probabilities=probabilities, seed=1)
    return _numbers(table, _AUDITED)


def audited_by_folds(data: Path, out: Path, cache: Path) -> list[float | None]:
    """What an audit says of the labels of a folder, by models that it trains itself."""
    table = audit(
        data=data,
        out=out,
        folds=2,
        method=all_methods()["Supervised"],
        network=lambda channels, classes, dimensions: all_networks()["UNet"](
            channels, classes, dimensions, width=2, stages=3
        ),
        iterations=3,
        patch=(16, 16, 16),
        spacing="native",
        foreground=0.0,
        augmentation=AUGMENTATION,
        optimisation=SGD,
        seed=1,
        precision="32",
        devices=1,
        nodes=1,
        workers=0,
        compile=False,
        checkpoint_every=3,
        cache=cache,
    )
    return _numbers(table, _AUDITED)


def proposed(audit_folder: Path) -> Tensors:
    """The labels that an audit proposes."""
    return labels_in(audit_folder / "proposals")


def corrected(data: Path, audit_folder: Path, out: Path, minimum_score: float, *, offsets: bool) -> Tensors:
    """Labels of a folder once an audit is followed."""
    correct(
        data=data,
        audit=audit_folder,
        out=out,
        minimum_score=minimum_score,
        correct_offsets=offsets,
        change_expert=False,
    )
    return labels_in(out / "labelsTr")


_SCORES = (
    *("dice", "jaccard", "hd95", "asd", "assd", "mssd", "nsd", "ravd"),
    *("volume_prediction", "volume_reference"),
)
_AUDITED = (
    *("score", "dice_to_prediction", "flagged_voxels", "expected_dice", "distance_mm", "offset_mm", "offset_se_mm"),
    *("correction_mm", "correction_se_mm", "volume_ratio", "proposal_score", "changed_voxels"),
)


def _numbers(table: pd.DataFrame, columns: Sequence[str]) -> list[float | None]:
    rows = table.sort_values(["case", "label"])[list(columns)].to_numpy(dtype=float)
    return [None if np.isnan(number) else float(number) for number in rows.ravel()]


def _numbers_of_score(score: Any) -> list[float | None]:
    return [getattr(score, name) for name in _SCORES]
