"""What an audit is made from, written down to notice later that it has changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from segmend.audit.folder import AuditFolder
from segmend.core.case import Case, Split
from segmend.core.config import stated
from segmend.core.errors import InputError
from segmend.core.folders import require_empty
from segmend.core.tables import write_json
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.data.state import DataState
from segmend.engine.building import build_method, build_network
from segmend.engine.options import TrainingOptions
from segmend.engine.preparation import dimensions_of
from segmend.engine.run import configuration_of
from segmend.methods import Method
from segmend.networks import Network, PlannedUNet

_STAND_IN = partial(PlannedUNet, widths=[2] * 5)
"""A small network, to learn the arguments of a method whose network is still to be planned."""


def audit_settings(folder: DataFolder, judged: Sequence[Case], evidence: Mapping[str, object]) -> dict[str, Any]:
    """What an audit is made from.

    Args:
        folder: the data folder.
        judged: cases whose labels are judged.
        evidence: where the probabilities come from.
    """
    return {
        "data": str(folder.root.resolve()),
        "evidence": evidence,
        "classes": {**folder.labels, "ignore": folder.ignore},
        "labels": {case.name: digest_of(case.label) for case in judged},
        "images": {case.name: digest_of(*case.images) for case in judged},
    }


def training_settings(
    folder: DataFolder,
    method: Callable[[Network], Method],
    network: Callable[[int, int, int], Network] | None,
    options: TrainingOptions,
) -> dict[str, Any]:
    """What the models of the folds are made from: settings of the training, and all training cases.

    The runs of the folds know it, too, but may be deleted once they have given their evidence.

    Args:
        folder: the data folder.
        method: of the folds.
        network: of the folds; None plans one for each.
        options: of the trainings.
    """
    cases = folder.select(Split.TRAIN)
    axes = options.dimensions or dimensions_of(cases)
    made = build_network(network or _STAND_IN, len(folder.channel_names), folder.classes, axes)
    described = configuration_of(build_method(method, made), made)
    if network is None:
        described["network"] = "planned"
    deciding = options.for_classes(folder.classes).deciding()
    # As it will be once it was written and read again.
    training: dict[str, Any] = json.loads(
        json.dumps({**described, **deciding, "data": asdict(DataState.of(folder, cases))})
    )
    return training


def claim(place: AuditFolder, settings: Mapping[str, Any]) -> None:
    """Writes down what is asked for, or makes sure that the folder holds an audit of just this.

    Raises:
        InputError: it holds an audit of something else, which the message names, or something that is no audit.
    """
    if not place.settings.is_file():
        require_empty(place.root)
        write_json(place.settings, dict(settings))
        return
    before = place.read_settings()
    differing = [
        _difference(name, before.get(name), value)
        for name, value in settings.items()
        if stated(before.get(name)) != stated(value)
    ]
    if differing:
        problem = f"holds an audit of other {' and '.join(differing)}"
        raise InputError(place.root, problem, "choose another `out`, or delete this one", code="already-exists")


def _difference(name: str, before: Any, now: Any) -> str:
    """What differs, with the first of the cases or arguments that it differs in."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return name
    changed = sorted(key for key in before.keys() | now.keys() if stated(before.get(key)) != stated(now.get(key)))
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return f"{name} ({', '.join(changed[:3])}{more})"
