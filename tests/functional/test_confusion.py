from __future__ import annotations

import math

import torch
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.confusion import confused_cross_entropy
from segmend.functional.losses import cross_entropy

P = torch.tensor([0.8, 0.2]).log().view(1, 2, 1)
A = torch.tensor([[[0.9, 0.3], [0.1, 0.7]]]).log()


def test_is_the_likelihood_of_the_confused_prediction():
    found = [confused_cross_entropy(P, A, torch.tensor([[drawn]])).item() for drawn in (0, 1)]
    assert_close(found, [-math.log(0.78), 1.514128], atol=1e-6, rtol=0)


def test_each_sample_has_its_own_matrix():
    swapped = torch.tensor([[[0.3, 0.9], [0.7, 0.1]]]).log()
    found = confused_cross_entropy(P.expand(2, 2, 1), torch.cat([A, swapped]), torch.tensor([[1], [1]]))
    assert_close(found.exp().reciprocal(), torch.tensor([[0.22], [0.8 * 0.7 + 0.2 * 0.1]]))


def test_without_confusion_it_is_cross_entropy():
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    label = torch.arange(40).view(2, 4, 5) % 3
    label[0, 0] = IGNORE
    found = confused_cross_entropy(logits.log_softmax(1), torch.eye(3).log().clamp(min=-1e4).expand(2, 3, 3), label)
    assert_close(found, cross_entropy(logits, label))
    assert not found[0, 0].any()


def test_its_gradient_is_finite_where_the_prediction_excludes_the_label():
    logits = torch.tensor([[[200.0], [-200.0]]], requires_grad=True)
    confused_cross_entropy(
        logits.log_softmax(1), torch.eye(2).mul(50).log_softmax(0)[None], torch.tensor([[1]])
    ).sum().backward()
    assert logits.grad.isfinite().all()
