"""Uncertainty of a network: of its probabilities, between several stochastic passes, or by evidence.

As evidence for each class, logits give a Dirichlet distribution over the possible probabilities (Sensoy et al., NeurIPS
2018).
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from segmend.functional.soft_labels import one_hot


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy over the classes in nats, 0..log C.

    Args:
        probabilities: ``[B, C, *spatial]``, summing to 1 over the classes.

    Returns:
        ``[B, *spatial]``. The logarithm is guarded by 1e-6, as in UA-MT.
    """
    return -(probabilities * (probabilities + 1e-6).log()).sum(1)


def normalised_entropy(probabilities: Tensor) -> Tensor:
    """``entropy`` divided by log C, so that it lies in 0..1: ``[B, C, *spatial]`` to ``[B, *spatial]``."""
    return entropy(probabilities) / math.log(probabilities.shape[1])


def self_information(log_probabilities: Tensor) -> Tensor:
    """Each class's part of the normalised entropy: -p_c log p_c / log C (ADVENT, Vu et al., CVPR 2019).

    Args:
        log_probabilities: ``[B, C, *spatial]``, from log-softmax, so that the gradient stays finite where p underflows.

    Returns:
        ``[B, C, *spatial]``; the sum over the classes is the entropy, from 0 to 1 where all classes are equally
        probable.
    """
    return -log_probabilities.exp() * log_probabilities / math.log(log_probabilities.shape[1])


def spread_of_halved_logits(logits: Tensor) -> Tensor:
    """Standard deviation (N - 1) over the passes of sigmoid(logit / 2), channel by channel.

    The uncertainty in PLIL's public code, where its paper has an entropy.

    Args:
        logits: ``[passes, B, C, *spatial]``, at least two passes.

    Returns:
        ``[B, C, *spatial]``, in 0..0.71.
    """
    return (logits.float() / 2).sigmoid().std(0)


def variance_of_passes(probabilities: Tensor) -> Tensor:
    """Variance (N) over the passes of each class's probability, averaged over the classes.

    Args:
        probabilities: ``[passes, B, C, *spatial]``.

    Returns:
        ``[B, *spatial]``, in 0..0.25; 0 where all passes agree.
    """
    return probabilities.var(0, correction=0).mean(1)


def confidence(probabilities: Tensor) -> Tensor:
    """Confidence of a prediction, 0 for a uniform one: 1 - C / (C - 1) (1 - sum_c p_c^2).

    With two classes it is 1 - 4 p_0 p_1 = (p_0 - p_1)^2, the pixel weight in AIDE's public code.

    Args:
        probabilities: ``[B, C, *spatial]``, summing to 1 over the classes.

    Returns:
        ``[B, *spatial]``, from 0 where all classes are equally probable to 1 where one is certain.
    """
    classes = probabilities.shape[1]
    return 1 - classes / (classes - 1) * (1 - probabilities.square().sum(1))


def dirichlet(logits: Tensor) -> Tensor:
    """Parameters of the distribution: softplus(logits), the evidence, plus 1.

    Args:
        logits: ``[B, C, *spatial]``.

    Returns:
        ``[B, C, *spatial]`` float32, >= 1. Divided by their sum they are the mean probabilities.
    """
    return F.softplus(logits.float()) + 1


def vacuity(alpha: Tensor) -> Tensor:
    """How little evidence there is: C / sum_c alpha_c, 1 where there is none.

    Args:
        alpha: ``[B, C, *spatial]``, >= 1.

    Returns:
        ``[B, *spatial]``, above 0, to 1.
    """
    return alpha.shape[1] / alpha.sum(1)


def expected_cross_entropy(alpha: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy over the distribution: digamma(sum_c alpha_c) - digamma(alpha_y).

    Args:
        alpha: ``[B, C, *spatial]`` float32, >= 1.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.

    Returns:
        Loss map ``[B, *spatial]``, >= 0.
    """
    log_ratio = alpha.sum(1, keepdim=True).digamma() - alpha.digamma()
    return (one_hot(label, alpha.shape[1]) * log_ratio).sum(1)


def misleading_evidence(alpha: Tensor, label: Tensor) -> Tensor:
    """KL divergence from the uniform Dirichlet distribution after the evidence for the label is removed.

    Args:
        alpha: ``[B, C, *spatial]`` float32, >= 1.
        label: ``[B, *spatial]`` class indices; ``IGNORE`` gives 0.

    Returns:
        Loss map ``[B, *spatial]``, >= 0; 0 where there is no evidence for any other class.
    """
    classes = alpha.shape[1]
    own = one_hot(label, classes)
    known = own.sum(1)
    # Where nothing is known it is 1 for all classes, so the divergence is 0.
    others = 1 + (1 - own) * (alpha - 1) * known.unsqueeze(1)
    total = others.sum(1)
    expected = ((others - 1) * (others.digamma() - total.digamma().unsqueeze(1))).sum(1)
    return total.lgamma() - others.lgamma().sum(1) - math.lgamma(classes) + expected
