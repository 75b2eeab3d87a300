"""One prediction from several of the same image."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.functional.consistency import kl_divergence


def divergence_weighted_mean(log_probabilities: Tensor) -> Tensor:
    """Weighted mean in which a prediction weighs less at a voxel the more it deviates from the plain mean there.

    sum_j p_j exp(-H_j) / sum_j exp(-H_j) with H_j = KL(mean_j p_j || p_j): the label refinement of ALC
    (Eqs. 4-6) before it is rounded to the largest class.

    Args:
        log_probabilities: ``[passes, B, C, *spatial]``, from log-softmax.

    Returns:
        Probabilities ``[B, C, *spatial]``.
    """
    probabilities = log_probabilities.exp()
    mean = probabilities.mean(0)
    divergences = torch.stack([kl_divergence(mean, each) for each in log_probabilities])
    return (probabilities * (-divergences).softmax(0).unsqueeze(2)).sum(0)
