"""Agreement of predictions from several scales."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from segmend.functional.consistency import kl_divergence_of_logs, squared_difference
from segmend.functional.reduce import masked_mean


def rectified_discrepancy(logits: Tensor, divergence: Literal["from_mean", "to_mean"] = "from_mean") -> Tensor:
    r"""How much the predictions of several scales deviate from their mean, with more weight where they nearly agree.

    mean_s [ sum exp(-D_s) (\bar p - p_s)^2 / sum exp(-D_s) + mean D_s ], the consistency loss of URPC. Gradients flow
    through everything, including the mean and the weights.

    Args:
        logits: ``[scales, B, C, *spatial]``.
        divergence: D_s is KL(\bar p || p_s), 'from_mean', or KL(p_s || \bar p), 'to_mean'.

    Returns:
        Scalar, >= 0; 0 where all scales agree.
    """
    log_scales = logits.float().log_softmax(2)
    log_mean = log_scales.logsumexp(0) - math.log(len(logits))
    terms = []
    for log_scale in log_scales:
        pair = (log_mean, log_scale) if divergence == "from_mean" else (log_scale, log_mean)
        apart = kl_divergence_of_logs(*pair)
        difference = squared_difference(log_mean.exp(), log_scale.exp())
        terms.append(masked_mean(difference, (-apart).exp()) + apart.mean())
    return torch.stack(terms).mean()
