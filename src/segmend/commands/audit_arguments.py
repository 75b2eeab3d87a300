"""segmend audit: whether its arguments fit together and to the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segmend.audit.external.nnunet_results import NnunetResults
from segmend.audit.folder import AuditFolder
from segmend.audit.judges import Judges
from segmend.audit.rounds import EarlierRound
from segmend.core.case import Case
from segmend.core.errors import InputError
from segmend.core.parallel import available_cores
from segmend.core.progress import warn
from segmend.data.folder import DataFolder
from segmend.engine.cross_validation import CrossValidation, opened
from segmend.engine.options import TrainingOptions
from segmend.engine.run import Run
from segmend.engine.splits import Splits
from segmend.engine.warm_start import WarmStart


def usable_cores(cores: int | None) -> int:
    """How many processes to use at most."""
    if cores is not None and cores < 1:
        raise InputError("cores", f"is {cores}", "give 1 or more, or leave it out to use all", code="invalid-value")
    return cores or available_cores()


def listed(given: Path | list[Path] | None) -> list[Path]:
    """The paths of an argument that takes one or several."""
    return [given] if isinstance(given, Path) else given or []


def check_sources(
    runs: Sequence[Path],
    probabilities: Sequence[Path],
    nnunet: Path | None,
    earlier: Path | None,
    splits: Path | None,
) -> None:
    """Make sure that the evidence comes from runs, files or an earlier round, and that a file of folds has a use."""
    sources = {"run": runs, "earlier": earlier, "probabilities": probabilities, "nnunet": nnunet}
    chosen = [name for name, value in sources.items() if value]
    if (runs or earlier) and len(chosen) > 1:
        problem = "are both given" if len(chosen) == 2 else "are all given"
        remedy = "choose one of them; 'segmend predict --probabilities true' makes files of a run, to judge with others"
        raise InputError(", ".join(chosen), problem, remedy, code="mismatch")
    if splits and chosen and not nnunet:
        problem = f"are given, but nothing is trained with `{chosen[0]}`"
        raise InputError("splits", problem, "leave one of them out", code="mismatch")


def earlier_round(
    earlier: Path | None, retrain: bool, folder: DataFolder, judged: Sequence[Case], out: Path, options: TrainingOptions
) -> EarlierRound | None:
    """The earlier round, if it is of these cases."""
    if retrain and not earlier:
        problem, remedy = "is true, but no earlier round is given", "name its folder as `earlier`"
        raise InputError("retrain", problem, remedy, code="missing-value")
    if not earlier:
        return None
    if retrain and options.weights:
        problem = "are both given, but the folds start from the weights of the earlier round"
        raise InputError("retrain, weights", problem, "leave one of them out", code="mismatch")
    before = EarlierRound(AuditFolder(earlier))
    before.check(folder, judged, out)
    return before


def nnunet_results(
    nnunet: Path | None, folder: DataFolder, judged: Sequence[Case], splits: Splits | None
) -> NnunetResults | None:
    """The results of nnU-Net, if they are of these cases."""
    results = NnunetResults.find(nnunet) if nnunet else None
    if results:
        results.check(folder, judged, splits)
    return results


def check_arguments(
    folder: DataFolder,
    out: Path,
    judged: Sequence[Case],
    runs: Sequence[Path],
    given: Judges | None,
    earlier: Path | None,
    folds: int,
) -> None:
    """Make sure that there is something to judge, and something to judge it by."""
    if out.resolve().is_relative_to(folder.root.resolve()):
        raise InputError(
            out, "lies in the data folder, which is not changed", "choose a folder elsewhere", code="invalid-value"
        )
    if not judged:
        raise InputError(folder.root, "has no training case with a label", "there is nothing to audit", code="no-data")
    if folds < 2:
        raise InputError("folds", f"is {folds}", "give 2 or more", code="invalid-value")
    if not runs and not given and not earlier and len(judged) < 2:
        raise InputError(
            folder.root, "has only one labelled training case", "give a `run` that can judge it", code="no-data"
        )
    if given:
        given.check(judged)


def check_weights(weights: Path, judged: Sequence[Case], out: Run) -> None:
    """Make sure that the models of the folds do not start from one that knows the labels they judge."""
    known = WarmStart.of(weights, out).trained_on(judged)
    if known:
        raise InputError(
            weights,
            f"was trained on {len(known)} of the cases to judge ({', '.join(known[:3])}), which would look better",
            "give `weights` of a run on other scans, or leave them out",
            code="mismatch",
        )
    if known is None:
        warn(f"{weights}: it is not known which scans these weights were trained on; labels they know look better")


def opened_runs(paths: Sequence[Path]) -> tuple[CrossValidation | None, list[Run]]:
    """The cross-validation, or the runs, in some folders."""
    found = [opened(path) for path in paths]
    runs = [each for each in found if isinstance(each, Run)]
    crossed = next((each for each in found if isinstance(each, CrossValidation)), None)
    if crossed and len(found) > 1:
        problem = "is a cross-validation, whose probabilities are not averaged with those of other runs"
        raise InputError(crossed.path, problem, "give it alone", code="mismatch")
    return crossed, runs
