from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from segmend.functional.contrast import groups_of, mean_over_positives, pair_losses, self_paced_weights

ROWS = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
POSITIVE, NEGATIVE = groups_of(torch.tensor([0, 0, 1, 1]))
LOSSES = torch.tensor([0.000336, 0.127223, 0.127223, 0.000336])
CLOSE = {"atol": 1e-5, "rtol": 0}


def random_rows(count=12, seed=0):
    return F.normalize(torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_groups():
    positive, negative = groups_of(torch.tensor([3, 1, 3]))
    assert positive.int().tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert negative.int().tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize("others", ["all", "negatives"])
def test_losses_of_pairs(others):
    """With one positive each, both forms are the same."""
    assert_close(pair_losses(ROWS, POSITIVE, NEGATIVE, 0.1, others=others)[POSITIVE], LOSSES, **CLOSE)


def test_of_local_regions():
    cosines = torch.tensor([0.9, 0.2, 0.1, 0.3, -0.2])
    anchor = torch.zeros(6, 6)
    anchor[0, 0] = 1
    anchor[1:, 0] = cosines
    anchor[range(1, 6), range(1, 6)] = (1 - cosines**2).sqrt()
    positive, negative = torch.zeros(6, 6, dtype=torch.bool), torch.zeros(6, 6, dtype=torch.bool)
    positive[0, 1], negative[0, 2:] = True, True
    found = pair_losses(anchor, positive, negative, 0.1, others="negatives")[0, 1]
    assert found.item() == pytest.approx(0.003736, abs=1e-6)


def test_other_positives_count_in_one_form_only():
    rows, (positive, negative) = torch.eye(3)[[0, 0, 0, 1]], groups_of(torch.tensor([0, 0, 0, 1]))
    assert pair_losses(rows, positive, negative, 1.0)[0, 1].item() == pytest.approx(math.log(2 + math.exp(-1)))
    among_negatives = pair_losses(rows, positive, negative, 1.0, others="negatives")[0, 1]
    assert among_negatives.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_mean_leaves_out_rows_without_positives():
    losses, positive = (
        torch.tensor([[9.0, 2, 4], [2, 9, 9], [9, 9, 9]]),
        torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 0]]),
    )
    assert mean_over_positives(losses, positive.bool()).item() == pytest.approx((3 + 2) / 2)
    assert mean_over_positives(losses, torch.zeros(3, 3, dtype=torch.bool)).item() == 0


def test_mean_of_the_reference():
    assert mean_over_positives(pair_losses(ROWS, POSITIVE, NEGATIVE, 0.1), POSITIVE).item() == pytest.approx(
        0.063780, abs=1e-6
    )


@pytest.mark.parametrize(
    ("pace", "kind", "weights", "loss"),
    [
        (0.1, "soft", [0.996638, 0, 0, 0.996638], 0.000168),
        (0.1, "hard", [1, 0, 0, 1], 0.000168),
        (0.5, "soft", [0.999328, 0.745553, 0.745553, 0.999328], 0.047594),
        (0.5, "hard", [1, 1, 1, 1], 0.063780),
        (1e6, "soft", [1, 1, 1, 1], 0.063780),
    ],
)
def test_self_paced(pace, kind, weights, loss):
    losses = pair_losses(ROWS, POSITIVE, NEGATIVE, 0.1)
    found = self_paced_weights(losses, pace, kind)
    assert_close(found[POSITIVE], torch.tensor(weights, dtype=torch.float32), **CLOSE)
    assert mean_over_positives(losses, POSITIVE, found).item() == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("others", ["all", "negatives"])
def test_no_negative_of_a_row_is_needed(others):
    rows = random_rows(3).requires_grad_()
    positive, negative = groups_of(torch.zeros(3))
    loss = mean_over_positives(pair_losses(rows, positive, negative, 0.1, others=others), positive)
    loss.backward()
    assert loss.isfinite()
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize("others", ["all", "negatives"])
def test_gradient_is_finite_with_rows_that_stand_alone(others):
    rows = random_rows(4).requires_grad_()
    positive, negative = groups_of(torch.tensor([0, 0, 1, 2]))
    mean_over_positives(pair_losses(rows, positive, negative, 0.07, others=others), positive).backward()
    assert rows.grad.isfinite().all()


def test_order_and_rotation_do_not_matter():
    rows, numbers, order = (
        random_rows(),
        torch.arange(12) % 3,
        torch.randperm(12, generator=torch.Generator().manual_seed(1)),
    )
    turn, _ = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(2)))
    values = []
    for each, groups in ((rows, numbers), (rows[order], numbers[order]), (rows @ turn, numbers)):
        positive, negative = groups_of(groups)
        values.append(mean_over_positives(pair_losses(each, positive, negative, 0.1), positive).item())
    assert values == pytest.approx([values[0]] * 3, rel=1e-4)


def test_batches_are_independent():
    rows, (positive, negative) = (
        torch.stack([random_rows(seed=0), random_rows(seed=1)]),
        groups_of(torch.arange(12) % 3),
    )
    both = pair_losses(rows, positive, negative, 0.1)
    assert_close(both[1], pair_losses(rows[1], positive, negative, 0.1))
    alone = [mean_over_positives(each, positive) for each in both]
    assert_close(mean_over_positives(both, positive), torch.stack(alone).mean())
