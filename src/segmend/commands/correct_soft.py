"""segmend correct --soft: soft labels of corrected labels."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmend.audit.folder import AuditFolder
from segmend.core.case import Case, Split
from segmend.core.errors import InputError
from segmend.core.progress import track
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, write_map
from segmend.data.maps import MapNames
from segmend.data.raters import read_drawing
from segmend.data.soft_labels import SOFT
from segmend.engine.evidence import Evidence, is_evidence


class SoftCorrections:
    """Writes the soft labels of all labelled training cases.

    A voxel that was changed has the calibrated probabilities of the audit's evidence; one that was not has its label.
    So a correction counts as much as the audit is certain of it. A label that a person has drawn stays as it is drawn.

    Args:
        folder: the data folder that was audited.
        place: the audit.

    Raises:
        InputError: the folder has regions, the audit has no usable probabilities of a case, or two maps would share a
            file name.
    """

    def __init__(self, folder: DataFolder, place: AuditFolder) -> None:
        if folder.regions:
            problem = f"is asked for, but {folder.root} has the regions {', '.join(folder.regions)}"
            raise InputError("soft", problem, "leave it out: soft labels are of classes", code="unsupported")
        self._folder, self._place = folder, place
        self._cases = [case for case in folder.select(Split.TRAIN) if case.training_label]
        self._names = MapNames([case.name for case in folder.cases], folder.labels)
        self._names.check(folder.root)
        summary = place.read_summary()
        temperature = summary.get("temperature")
        if not isinstance(temperature, (int, float)) or not temperature > 0:
            raise InputError(place.summary, "has no temperature", "audit the folder again", code="damaged")
        self._temperature = float(temperature)
        for case in self._cases:
            file = place.evidence(case.name)
            if not is_evidence(file, read_grid(case.images[0]).shape, folder.classes):
                problem = f"holds no usable probabilities of case '{case.name}'"
                raise InputError(file, problem, "run the same 'segmend audit' again", code="missing-file")

    def write(self, copy: Path, changed: Collection[str], drawn: Collection[str] = ()) -> None:
        """Write the maps into the folder 'soft' of a copy.

        Args:
            copy: the data folder with corrected labels.
            changed: names of the cases that were corrected.
            drawn: names of those that got a new label, drawn by a person.

        Raises:
            InputError: a file cannot be read or written.
        """
        for case in track(self._cases, "writing soft labels"):
            maps = self._maps(copy, case, case.name in changed, case.name in drawn)
            for name, of_class in zip(self._folder.labels, maps, strict=True):
                write_map(copy / SOFT / self._names.name(case.name, name), of_class, like=case.images[0])

    def _maps(self, copy: Path, case: Case, changed: bool, drawn: bool) -> NDArray[np.float32]:
        assert case.label is not None
        grid = read_grid(case.label)
        given = read_drawing(case.label, self._folder, grid)
        new = read_drawing(copy / case.label.relative_to(self._folder.root), self._folder, grid) if changed else given
        maps = np.stack([new == index for index in range(self._folder.classes)]).astype(np.float32)
        where = new != given
        if where.any() and not drawn:
            evidence = Evidence(self._place.evidence(case.name))
            found = np.stack([evidence.probability(index)[where] for index in range(evidence.classes)])
            tempered = found ** (1 / self._temperature)
            maps[:, where] = tempered / tempered.sum(0)
        return maps
