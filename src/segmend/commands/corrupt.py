"""Makes a copy of a data folder with synthetic label noise."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from segmend.data.case import Case
from segmend.data.folder import DataFolder
from segmend.errors import InputError
from segmend.labels.corrupt import CubeMorphology, NoisyLabel, Recipe, calibrate
from segmend.outputs import whole_folder
from segmend.progress import track

CLEAN = "labelsTr_clean"
"""Folder of the true labels of corrupted cases."""

PUBLISHED = CubeMorphology()
"""The noise of PLIL, MTCL and ALC."""


def corrupt(
    *,
    data: Path,
    out: Path,
    recipe: Recipe = PUBLISHED,
    expert: int | Path = 0,
    dice: float | None = None,
    share: float = 1.0,
    seed: int = 0,
    cases: Path | None = None,
) -> pd.DataFrame:
    """Copies a data folder and corrupts training labels in the copy.

    Validation, test and expert cases keep their labels; so do those that ``cases.csv`` marks as expert
    already or whose label it says is none. All other labelled training cases become noisy. The noise of a case
    depends on the seed and its name only, not on which other cases there are.

    Images are hard links where the file system allows it, labels are copies. Beside them the copy holds
    ``cases.csv`` of all cases, the true labels of corrupted cases in ``labelsTr_clean``,
    ``corruption.csv`` with a row a corrupted case and label (``case, label, operation, parameters,
    strength, dice, emptied``), and in ``dataset.json`` how the noise was made.

    Args:
        data: data folder; it is not changed.
        out: folder to write.
        recipe: how labels go wrong.
        expert: how many labelled training cases stay expert, the first in alphabetical order; or a text
            file of their names, one a line.
        dice: mean Dice of corrupted to true labels, over cases and labels, to scale the strength of the
            recipe to (within 0.005).
        share: share of the noisy cases to corrupt, chosen at random; the others keep their labels.
        seed: of all chance, 0 or more.
        cases: a table to use instead of ``data/cases.csv``.

    Returns:
        The table of ``corruption.csv``.

    Raises:
        InputError: the data folder or an argument cannot be used, no case is left to corrupt, the recipe does
            not suit the data, or it cannot reach the wanted Dice.

    Example:
        segmend corrupt --data left_atrium --out left_atrium_noisy --expert 8 --recipe CubeMorphology
    """
    _check_arguments(data, out, dice, share, seed)
    folder = DataFolder.open(data, cases)
    recipe.check(folder.classes)
    noisy = _noisy_cases(folder, expert)
    chosen = _share_of(noisy, share, seed)
    corrupted = partial(_corrupt_case, folder, recipe, seed)
    strength = 1.0 if dice is None else calibrate(partial(_mean_dice, corrupted, chosen), dice)
    with whole_folder(out) as copy:
        _copy_files(data, copy)
        rows: list[Row] = []
        for case in track(chosen, "corrupting labels"):
            values, result = corrupted(case, strength)
            _replace_label(folder, case, values, result, copy)
            rows += _rows(folder, case, result)
        table = pd.DataFrame(rows)
        table.to_csv(copy / "corruption.csv", index=False)
        _write_cases(folder, noisy, copy / "cases.csv")
        made = {"recipe": type(recipe).__name__, **recipe.arguments, "dice": dice, "strength": strength, "seed": seed}
        _write_description(data, made, copy)
    return table


class Row(TypedDict):
    """A line of corruption.csv."""

    case: str
    label: str
    operation: str
    parameters: str
    strength: float
    dice: float
    emptied: bool


def _check_arguments(data: Path, out: Path, dice: float | None, share: float, seed: int) -> None:
    if dice is not None and not 0 <= dice <= 1:
        raise InputError("dice", f"is {dice}", "give a mean Dice coefficient from 0 to 1")
    if not 0 < share <= 1:
        raise InputError("share", f"is {share}", "give a share above 0, up to 1")
    if seed < 0:
        raise InputError("seed", f"is {seed}", "give 0 or more")
    if (data / CLEAN).exists():
        raise InputError(data / CLEAN, "exists, so this data folder was corrupted before", "give the original one")
    if out.resolve().is_relative_to(data.resolve()):
        raise InputError(out, "lies in the data folder, which is not changed", "choose a folder elsewhere")
    check_free(out)


def _noisy_cases(folder: DataFolder, expert: int | Path) -> list[Case]:
    """The labelled training cases that are not expert, in alphabetical order."""
    labelled = [case for case in folder.select(Split.TRAIN) if case.quality is not Quality.NONE]
    experts = _expert_names(folder, labelled, expert)
    return [case for case in labelled if case.quality is Quality.NOISY and case.name not in experts]


def _expert_names(folder: DataFolder, labelled: Sequence[Case], expert: int | Path) -> set[str]:
    names = [case.name for case in labelled]
    if isinstance(expert, int):
        if expert < 0:
            raise InputError("expert", f"is {expert}", "give 0 or more cases, or a file of names")
        return set(names[:expert])
    if not expert.is_file():
        raise InputError(expert, "does not exist", "give a number of cases, or a text file with one name a line")
    listed = {line.strip() for line in expert.read_text(encoding="utf-8").splitlines()} - {""}
    for name in sorted(listed.difference(names)):
        if name in {case.name for case in folder.cases}:
            raise InputError(expert, f"'{name}' is no training case with a label", "list only those")
        raise InputError(expert, f"there is no case '{name}'", did_you_mean(name, names))
    return listed


def _share_of(noisy: Sequence[Case], share: float, seed: int) -> list[Case]:
    """The noisy cases to corrupt; a larger share holds those of a smaller one."""
    places = {case.name: _generators(seed, case)[0].random() for case in noisy}
    first = sorted(places, key=lambda name: places[name])[: round(share * len(noisy))]
    if not first:
        raise InputError("expert, share", "leave no label to corrupt", "keep fewer, or mark cases in cases.csv as noisy")
    return [case for case in noisy if case.name in first]


def _generators(seed: int, case: Case) -> tuple[np.random.Generator, np.random.Generator]:
    """The chance that decides whether a case is corrupted, and the one that decides how."""
    whether, how = np.random.default_rng([seed, *case.name.encode()]).spawn(2)
    return whether, how


def _corrupt_case(
    folder: DataFolder, recipe: Recipe, seed: int, case: Case, strength: float
) -> tuple[NDArray[np.integer], NoisyLabel]:
    """The label values of a case as they are in the file, and what becomes of them."""
    assert case.label is not None
    values, grid = read_label(case.label)
    _, chance = _generators(seed, case)
    return values, corrupt_label(folder.to_indices(values), grid.spacing, recipe, chance, strength)


def _mean_dice(corrupted: Callable[..., tuple[Any, NoisyLabel]], cases: Sequence[Case], strength: float) -> float:
    # Labels are read anew at every strength: those of a large data set do not fit into memory.
    tracked = track(cases, f"calibrating, strength {strength:.4g}")
    scores = [score for case in tracked for score in corrupted(case, strength)[1].dice.values()]
    return fmean(scores) if scores else 1.0


def _copy_files(data: Path, copy: Path) -> None:
    """Links the images and copies the labels: people edit labels, and an edit would reach through a link."""
    for source in sorted(data.glob("*T[rs]*/*")):
        kind = source.parent.name[:6]
        ...


def _replace_label(
    folder: DataFolder, case: Case, values: NDArray[np.integer], result: NoisyLabel, copy: Path
) -> None:
    """Puts the noisy label where the copy has the true one, which is kept apart."""
    assert case.label is not None
    place = copy / case.label.relative_to(folder.root)
    kept = copy / CLEAN / place.name
    kept.parent.mkdir(exist_ok=True)
    os.replace(place, kept)
    noisy = np.where(result.label == IGNORE, values, folder.to_values(result.label))
    write_label(place, noisy, like=case.label)


def _rows(folder: DataFolder, case: Case, result: NoisyLabel) -> Iterator[Row]:
    names = list(folder.labels)
    for index, decision in result.decisions.items():
        yield Row(
            case=case.name,
            label=names[index],
            operation=decision.operation,
            parameters=json.dumps(decision.parameters),
            strength=decision.strength,
            dice=result.dice[index],
            emptied=index in result.emptied,
        )


def _write_cases(folder: DataFolder, noisy: Sequence[Case], path: Path) -> None:
    ...
