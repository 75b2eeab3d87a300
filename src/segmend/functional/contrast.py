"""Contrastive losses: vectors of one group are to be more similar to each other than to those of other groups.

Vectors have unit length, and masks say which pairs belong together (positive) or apart (negative). Everything is
computed in float32.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segmend.functional.weighting import masked_mean


def pair_losses(
    vectors: Tensor,
    positive: Tensor,
    negative: Tensor,
    temperature: float,
    *,
    others: Literal["all", "negatives"] = "all",
) -> Tensor:
    r"""How much less similar the vectors of each pair are than other vectors: -log softmax of their similarity.

    l_ij = -log( e^{s_ij} / (sum_k e^{s_ik}) ), s = cosine / temperature, where k runs over all positives and negatives
    of i (supervised contrast, Khosla et al., NeurIPS 2020), or over j and the negatives alone (Chaitanya et al.,
    NeurIPS 2020).

    Args:
        vectors: ``[*batch, N, D]`` of unit length.
        positive: boolean ``[*batch, N, N]`` or one that broadcasts to it; False on the diagonal.
        negative: the same; no pair is both.
        temperature: above 0.
        others: 'all' or 'negatives'.

    Returns:
        ``[*batch, N, N]``, >= 0 for positive pairs; other entries mean nothing.
    """
    similarities = vectors @ vectors.mT / temperature
    if others == "negatives":
        among = similarities.masked_fill(~negative, -torch.inf).logsumexp(-1, keepdim=True)
        return torch.logaddexp(similarities, among) - similarities
    among = similarities.masked_fill(~(positive | negative), -torch.inf)
    return among.logsumexp(-1, keepdim=True) - similarities


def mean_over_positives(losses: Tensor, positive: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over the positives of each row, then over the rows that have any.

    Args:
        losses: ``[*batch, N, N]``.
        positive: boolean ``[*batch, N, N]`` or one that broadcasts to it.
        weights: of the pairs, >= 0, shaped as the losses; those of a row need not sum to 1.

    Returns:
        Scalar, 0 if no row has a positive.
    """
    positive = positive.expand_as(losses)
    counted = losses.where(positive, 0) if weights is None else (weights * losses).where(positive, 0)
    numbers = positive.sum(-1)
    return masked_mean(counted.sum(-1) / numbers.clamp(min=1), numbers > 0)


def self_paced_weights(losses: Tensor, pace: float, kind: Literal["soft", "hard"] = "soft") -> Tensor:
    r"""Weights of pairs by how well they are learned already: 1 for a loss of 0, and 0 from the pace on.

    Soft: max(0, 1 - l / pace), which minimises w l + pace (w^2 / 2 - w). Hard: 1 up to the pace (Peng et al., NeurIPS
    2021).

    Args:
        losses: any shape, >= 0.
        pace: \gamma, above 0.
        kind: 'soft' or 'hard'.

    Returns:
        Same shape, in 0..1, without gradient.
    """
    learned = losses.detach()
    return (1 - learned / pace).clamp(min=0) if kind == "soft" else (learned <= pace).to(losses.dtype)


def groups_of(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Masks of pairs of one group and of different groups.

    Args:
        numbers: ``[N]``, the group of each vector.

    Returns:
        Positive and negative, boolean ``[N, N]``; False on the diagonal.
    """
    same = numbers.unsqueeze(0) == numbers.unsqueeze(1)
    return same & ~torch.eye(len(numbers), dtype=torch.bool, device=numbers.device), ~same
