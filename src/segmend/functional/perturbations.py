"""Perturbed samples: noise, strong views, adversarial steps, and mixtures of two (mixup, Zhang et al., ICLR 2018).

``clipped_gaussian``, ``strong_intensities`` and ``beta_shares`` draw from torch's global generator.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Beta

from segmend.functional.intensity import blur

_JITTERED, _BLURRED, _SIGMAS = 0.8, 0.5, (0.1, 2.0)


def clipped_gaussian(image: Tensor, sd: float = 0.1) -> Tensor:
    """The image plus Gaussian noise of standard deviation ``sd``, clipped at twice that (UA-MT, PLIL, ALC)."""
    return image + (sd * torch.randn_like(image)).clamp(-2 * sd, 2 * sd)


def strong_intensities(image: Tensor, change: float = 0.5) -> Tensor:
    """A strong view: contrast, brightness and blur of each sample and channel changed, but no voxel moved.

    Contrast and brightness change in 4 of 5 samples, by a factor of 1 - change .. 1 + change and by as much up or down;
    half of the samples are blurred, by 0.1..2 voxels: the amounts and probabilities of UniMatch (CVPR 2023).

    Args:
        image: ``[B, channels, *spatial]``, z-scored.
        change: 0..1.

    Returns:
        A new tensor of that shape.
    """
    count, channels = image.shape[:2]
    jittered = torch.rand(count, 1) < _JITTERED
    amounts = torch.where(jittered, torch.empty(2, count, channels).uniform_(-change, change), 0.0)
    factors, shifts = (each.view(count, channels, *[1] * (image.ndim - 2)).to(image) for each in amounts)
    sigmas = torch.empty(count, channels).uniform_(*_SIGMAS) * (torch.rand(count, 1) < _BLURRED)
    return blur(image * (1 + factors) + shifts, sigmas, range(image.ndim - 2))


def fast_gradient_sign(image: Tensor, gradient: Tensor, epsilon: float) -> Tensor:
    """The image plus epsilon times the sign of a loss's gradient, so that the loss increases (Goodfellow et al., 2015).

    Args:
        image: ``[B, channels, *spatial]``.
        gradient: of the loss with respect to the image, same shape.
        epsilon: largest change of an intensity, >= 0.

    Returns:
        ``[B, channels, *spatial]``, kept within the range of intensities of each sample and channel.
    """
    axes = tuple(range(2, image.ndim))
    lowest, highest = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    return (image + epsilon * gradient.sign()).clamp(lowest, highest)


def beta_shares(like: Tensor, alpha: float) -> Tensor:
    """Draw a coefficient for each sample from Beta(alpha, alpha): near 0 or 1 for small alpha, near 0.5 for large.

    Args:
        like: ``[B, ...]``; determines number and device.
        alpha: above 0.

    Returns:
        ``[B]`` float32, 0..1.

    Raises:
        ValueError: alpha is not above 0.
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, not {alpha}")
    concentration = torch.full((len(like),), alpha, device=like.device)
    # A check by torch would wait for the accelerator.
    return Beta(concentration, concentration, validate_args=False).sample()


def mixed(values: Tensor, partners: Tensor, shares: Tensor) -> Tensor:
    """Mix each sample with its partner: share * sample + (1 - share) * partner.

    Args:
        values: ``[B, ...]``.
        partners: ``[B]``, the row of each sample's partner.
        shares: ``[B]``, 0..1.

    Returns:
        ``[B, ...]``.
    """
    return torch.lerp(values[partners], values, shares.view(-1, *[1] * (values.ndim - 1)))


def mixed_targets(targets: Tensor, partners: Tensor, shares: Tensor) -> Tensor:
    """Mix soft labels like their images.

    Args:
        targets: ``[B, C, *spatial]``, summing to 1 over the classes, or 0 in all of them where nothing is known.
        partners: ``[B]``, the row of each sample's partner.
        shares: ``[B]``, 0..1.

    Returns:
        ``[B, C, *spatial]``, summing in the same way; 0 where the target of either is unknown.
    """
    known = targets.sum(1, keepdim=True) > 0
    return mixed(targets, partners, shares) * (known & known[partners])
