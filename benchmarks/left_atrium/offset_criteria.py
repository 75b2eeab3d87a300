"""Accuracy of boundary offsets from a teacher by several criteria, before and after it can segment.

    python benchmarks/left_atrium/offset_criteria.py --data NOISY --out RUN [--at 0.05 0.15 0.3] [--write FILE.csv]

Trains as offset correction does on a folder with labelsTr_clean at 1.25 mm (a V-Net of half width, 1000 steps), but
changes no label. Reports at the given fractions of the run the teacher's own Dice to the truth on the noisy cases, the
Dice of their labels as each criterion would move them (bias-corrected, shrunk) and as the best single offset would, and
the median contrast, by which offset correction leaves labels unchanged that a teacher does not detect. It ends after
the last fraction.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from segmend.commands.train import train
from segmend.core.case import Quality, Split
from segmend.data.augment import LEFT_ATRIUM_PROTOCOL
from segmend.data.cache import default_cache, true_labels
from segmend.data.fingerprint import choose_preprocessing, take_fingerprint
from segmend.data.folder import DataFolder
from segmend.engine.learner import Optimisation
from segmend.functional.offsets.correction import MeasuredOffset, shrink_offsets, teacher_bias
from segmend.functional.offsets.estimate import estimate_offset
from segmend.functional.offsets.surfaces import surfaces_of
from segmend.methods import LabelledCase, OffsetCorrection, Revision, Step
from segmend.metrics import dice
from segmend.networks import VNet

CRITERIA = {
    "expected Dice": {"criterion": "overlap"},
    "even odds": {"criterion": "likelihood", "doubt": 0.02},
    "separation": {"criterion": "separation"},
}


class Watched(OffsetCorrection):
    """Offset correction that reports the labels of other criteria and changes none."""

    truth: Mapping[str, np.ndarray]
    found: list[dict[str, object]]

    def revise(self, cases: Sequence[LabelledCase], step: Step) -> Iterable[Revision]:
        """Measures, and changes nothing."""
        labelled = [case for case in cases if case.quality is not Quality.NONE]
        measured: dict[str, list[MeasuredOffset]] = {name: [] for name in CRITERIA}
        distances: dict[str, torch.Tensor] = {}
        own, best = [], []
        for case in labelled:
            p = case.predict_map(self.teacher.predict)[1]
            (surface,) = surfaces_of(case.given, [1], case.spacing)
            distance = distances[case.name] = surface.distance
            expert = case.quality is Quality.EXPERT
            if not expert:
                true = torch.from_numpy(self.truth[case.name] == 1)
                own.append(dice((p > 0.5).numpy(), true.numpy()))
                known = estimate_offset(surface, true.float(), case.spacing, criterion="overlap")
                best.append(dice((distance < known.offset).numpy(), true.numpy()))
            for name, options in CRITERIA.items():
                estimate = estimate_offset(surface, p, case.spacing, **options)
                measured[name].append(MeasuredOffset(case.name, case.annotator, expert, surface.kind, estimate))
        contrast = np.median([each.estimate.contrast for each in measured["separation"]])
        row: dict[str, object] = {"step": step.index, "teacher": np.mean(own), "contrast": contrast}
        for criterion, of_criterion in measured.items():
            scores = []
            for each in shrink_offsets(of_criterion, teacher_bias(of_criterion)):
                name = each.measured.case
                scores.append(dice((distances[name] < each.offset).numpy(), self.truth[name] == 1))
            row[criterion] = np.mean(scores)
        row["best offset"] = np.mean(best)
        self.found.append(row)
        print(pd.DataFrame(self.found).to_string(float_format="%.4f"), flush=True)
        if not any(self.revises(Step(index, step.total)) for index in range(step.index + 1, step.total)):
            raise KeyboardInterrupt  # nothing is left to be measured
        return ()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--cases", type=Path, help="a table of fewer cases than the folder's cases.csv")
    arguments.add_argument("--at", type=float, nargs="+", default=[0.05, 0.15, 0.3])
    arguments.add_argument("--expert", type=int, default=2)
    arguments.add_argument("--noisy", type=int, default=2)
    arguments.add_argument("--iterations", type=int, default=1000)
    arguments.add_argument("--width", type=int, default=8)
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    Watched.truth, Watched.found = truth_of(DataFolder.open(given.data, given.cases)), []
    with suppress(KeyboardInterrupt):
        train(
            data=given.data,
            cases=given.cases,
            method=partial(Watched, revise_at=given.at),
            out=given.out,
            network=partial(VNet, width=given.width),
            iterations=given.iterations,
            spacing=(1.25, 1.25, 1.25),
            patch=(64, 64, 48),
            expert=given.expert,
            noisy=given.noisy,
            foreground=0.0,
            augmentation=LEFT_ATRIUM_PROTOCOL,
            optimisation=Optimisation(optimiser="sgd"),
        )
    if given.write:
        pd.DataFrame(Watched.found).to_csv(given.write, index=False, float_format="%.4f")


def truth_of(folder: DataFolder) -> Mapping[str, np.ndarray]:
    """True labels by case, on the grid that is trained on."""
    cases, cache = folder.select(Split.TRAIN), default_cache()
    fingerprint = take_fingerprint(folder)
    preprocessing = choose_preprocessing(fingerprint, folder.channel_names, spacing=(1.25, 1.25, 1.25), slices=False)
    return true_labels(folder, cases, preprocessing, cache)


if __name__ == "__main__":
    main()
