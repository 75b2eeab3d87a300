from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from segmend.audit.advice import advice, fall_of_loss, of_training
from segmend.audit.folder import AuditFolder


@pytest.fixture
def write_log(tmp_path):
    def write(fold, loss):
        path = tmp_path / "folds" / fold / "log.csv"
        path.parent.mkdir(parents=True)
        pd.DataFrame({"step": np.arange(1, len(loss) + 1) * 10, "loss": loss}).to_csv(path, index=False)
        return path

    return write


@pytest.mark.parametrize(
    ("loss", "fall"),
    [
        ([4, 4, 2, 2, 1, 1, 0.5, 0.5], 0.5),
        ([1, 1, 1, 1], 0),
        ([1, 1, 1, 2], -1),
        ([-1, -1, -1, -2], 1),  # of a loss that is the negative Dice
        ([3, 2, 1], 0),
        ([0, 0, 0, 0], 0),
    ],
)
def test_fall_from_the_third_to_the_last_quarter(loss, fall):
    assert fall_of_loss(np.array(loss, float)) == pytest.approx(fall)


def test_a_loss_that_falls_fast_wants_many_more_steps(write_log):
    said = of_training([write_log("1", [1.0, 0.8, 0.6, 0.4])])
    assert said.startswith("Train for about 160 steps: the loss still fell by 33%")


def test_the_median_of_the_folds_counts(write_log):
    curves = ([1.0, 1.0, 1.0, 0.9], [1.0, 1.0, 1.0, 0.99], [1.0, 1.0, 1.0, 0.93])
    said = of_training([write_log(str(fold), loss) for fold, loss in enumerate(curves)])
    assert said.startswith("Train for about 80 steps: the loss still fell by 7%")


@pytest.mark.parametrize("last", [0.99, 1.2])
def test_a_flat_loss_wants_better_labels(write_log, last):
    said = of_training([write_log("1", [1.0, 1.0, 1.0, last])])
    assert "More steps hardly help" in said
    assert "'expert' in cases.csv" in said
    assert "-" not in said.split("fell by")[1].split("%")[0]


def test_given_probabilities_have_no_learning_curve(tmp_path, write_log):
    assert advice(AuditFolder(tmp_path)).startswith("Give probabilities of a model")
    write_log("2", [1.0, 1.0, 1.0, 0.5])
    assert advice(AuditFolder(tmp_path)).startswith("Train for about 160 steps")
