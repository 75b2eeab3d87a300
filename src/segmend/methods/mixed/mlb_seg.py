"""Meta-learning for bootstrapping."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.consistency import squared_difference
from segmend.functional.losses import cross_entropy
from segmend.functional.perturbations import clipped_gaussian
from segmend.functional.views import Views, random_views
from segmend.functional.weighting import agreement, masked_mean, share_of_positive
from segmend.methods._base import Method, Step
from segmend.methods.components.ema import EMATeacher
from segmend.methods.components.virtual import logits_jvp, loss_gradient, virtual_logits
from segmend.networks import Network


class WeightMaps(NamedTuple):
    """Weights of each voxel of noisy samples, for its given label and for the network's own prediction.

    Attributes:
        given: weights of the given label ``[B, *spatial]``, >= 0.
        pseudo: weights of the pseudo label, same shape.
        pseudo_label: class indices, same shape; ``IGNORE`` where a view shows nothing.
    """

    given: Tensor
    pseudo: Tensor
    pseudo_label: Tensor


class _Seen(NamedTuple):
    """Samples of one quality in all their views, ``[V * B, ...]``."""

    image: Tensor
    label: Tensor
    views: Views


class MLBSeg(Method):
    r"""Weighs each voxel's given label against the network's own prediction by how much each helps on expert labels.

    Noisy samples are seen as they are and in Q warped views; the pseudo label y' is the class of highest
    mean probability over the views. Each voxel j has two losses, l_j = CE(f(x)_j, y_j) and l'_j = CE(f(x)_j, y'_j).
    With V the mean cross-entropy on expert samples and \hat\theta the network after a virtual descent step
    of rate \alpha on \sum_j \epsilon_j l_j + \epsilon'_j l'_j, the weights are, normalised to sum to 1,

        w_j = max(0, -dV(\hat\theta) / d\epsilon_j at \epsilon = 0) = \alpha max(0, <\nabla l_j, \nabla V>)

    and w'_j in the same way. Then

        L = \sum_j (w_j l_j + w'_j l'_j) + L_views + L_teacher + c [ V + L_views + L_teacher ](expert),

    where L_views is the mean squared difference over all pairs of views, warped onto each other, and
    L_teacher that from the mean teacher's prediction for a noisier image.

    Implementation notes. All inner products come from one forward-mode pass along \nabla V, which is exact. It is in
    float32, with batch statistics but without dropout, and leaves the network unchanged; its pseudo labels are also
    used in the real pass. The public code's virtual step descends L_views and L_teacher too; here as in Eq. 4 it does
    not, so \alpha cancels. No equation trains on expert samples, but the code takes a second optimiser step on them;
    here one step descends the sum. Both maps are normalised together, as in the code, so that the labels compete; the
    paper normalises each on its own. The code starts from a network trained on expert labels, which the warm-up
    replaces here. Where a view shows nothing of the scan it has no label and does not count; the code calls that
    background. The paper is binary and its code has a sigmoid; softmax and cross-entropy are the same for two classes
    and allow more. Unlabelled cases get labels from plain training on the others first, and then count as noisy.

    Args:
        network: the student; the teacher starts as its copy.
        weighting: both maps normalised 'joint' (public code) or 'separate' (paper, Eq. 8); or 'fixed', the
            bootstrapping of Reed et al. (2014), also of batches without expert samples.
        given_share: for 'fixed' weighting, the weight of the given labels; the pseudo labels have the rest.
        zoomed_in: enlarged views.
        zoomed_out: shrunk views.
        flipped: mirrored views. Q is the sum; with 0 there is no pseudo label enhancement.
        detach_partner: L_views has a gradient in one view of each pair only (public code).
        mean_teacher: False leaves out the teacher.
        decay: largest decay of the moving average.
        noise: standard deviation of the teacher's noise in units of the normalised image; clipped at twice that.
        clean_weight: c. 0 is the paper's equations alone.
        warm_up: fraction of the run that trains on expert samples only.
    """

    kind = "mixed"
    paper = (
        "Wei et al., Consistency-guided meta-learning for bootstrapping semi-supervised medical image segmentation, "
        "MICCAI 2023"
    )
    cost = "1 network; 5 views of each sample, about 4 passes each, and 1 teacher pass"
    needs = Composition(expert=2, noisy=1)
    needs_initial_labels = True

    def __init__(
        self,
        network: Network,
        *,
        weighting: Literal["joint", "separate", "fixed"] = "joint",
        given_share: float = 0.8,
        zoomed_in: int = 1,
        zoomed_out: int = 2,
        flipped: int = 1,
        detach_partner: bool = False,
        mean_teacher: bool = True,
        decay: float = 0.99,
        noise: float = 0.02,
        clean_weight: float = 1.0,
        warm_up: float = 0.1,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay) if mean_teacher else None
        self.weighting, self.given_share = weighting, given_share
        self.zoomed_in, self.zoomed_out, self.flipped = zoomed_in, zoomed_out, flipped
        self.detach_partner = detach_partner
        self.noise = noise
        self.clean_weight, self.warm_up = clean_weight, warm_up

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``given`` and ``pseudo`` of noisy samples, ``expert``, and ``views`` and ``teacher`` of both."""
        noisy, expert = self._seen(batch, Quality.NOISY), self._seen(batch, Quality.EXPERT)
        warm_up = expert is not None and step.progress < self.warm_up
        terms: dict[str, Tensor] = {}
        if noisy and not warm_up:
            weights = self._weigh(noisy, expert)
            logits = self.network(noisy.image)
            terms["given"] = (weights.given * cross_entropy(logits, noisy.label)).sum()
            terms["pseudo"] = (weights.pseudo * cross_entropy(logits, weights.pseudo_label)).sum()
            terms |= self._consistency(noisy, logits)
        clean_weight = 1.0 if warm_up else self.clean_weight
        if expert and clean_weight:
            logits = self.network(expert.image)
            clean = {"expert": masked_mean(cross_entropy(logits, expert.label), expert.label != IGNORE)}
            for name, term in (clean | self._consistency(expert, logits)).items():
                terms[name] = terms.get(name, 0) + clean_weight * term
        return terms

    def weight_maps(self, batch: Batch, step: Step) -> WeightMaps | None:
        """The weights that a step would give to noisy samples, in their unwarped view.

        They are normalised over all views, so these sum to less than 1.

        Args:
            batch: in the method's composition; without expert samples the weights are 'fixed'.
            step: position in the run; these weights do not depend on it.

        Returns:
            Maps in the order of ``batch.rows(Quality.NOISY)``; None if there is no noisy sample.
        """
        noisy, expert = self._seen(batch, Quality.NOISY), self._seen(batch, Quality.EXPERT)
        if not noisy:
            return None
        unwarped = len(batch.rows(Quality.NOISY))
        return WeightMaps(*(each[:unwarped] for each in self._weigh(noisy, expert)))

    def after_step(self, step: Step) -> None:
        """The teacher follows the student."""
        if self.teacher:
            self.teacher.follow(self.network, step.index)

    def _seen(self, batch: Batch, quality: Quality) -> _Seen | None:
        rows = batch.rows(quality)
        if not rows:
            return None
        image, label = batch.image[rows], batch.label[rows]
        views = random_views(len(rows), image.ndim - 2, self.zoomed_in, self.zoomed_out, self.flipped)
        return _Seen(views.of(image), views.of(label, "nearest", IGNORE), views)

    def _weigh(self, noisy: _Seen, expert: _Seen | None) -> WeightMaps:
        if expert is None or self.weighting == "fixed":
            pseudo_label = noisy.views.consensus(virtual_logits(self.network, noisy.image).softmax(1))
            given, pseudo = (share_of_positive((label != IGNORE).float()) for label in (noisy.label, pseudo_label))
            return WeightMaps(self.given_share * given, (1 - self.given_share) * pseudo, pseudo_label)
        direction = loss_gradient(self.network, expert.image, expert.label)
        logits, drift = logits_jvp(self.network, noisy.image, direction)
        pseudo_label = noisy.views.consensus(logits.softmax(1))
        values = torch.stack([agreement(logits, drift, label) for label in (noisy.label, pseudo_label)])
        given, pseudo = share_of_positive(values) if self.weighting == "joint" else map(share_of_positive, values)
        return WeightMaps(given, pseudo, pseudo_label)

    def _consistency(self, seen: _Seen, logits: Tensor) -> dict[str, Tensor]:
        """L_views and L_teacher, if they are switched on."""
        probabilities = logits.float().softmax(1)
        terms = {}
        if len(seen.views.warps) > 1:
            terms["views"] = seen.views.disagreement(probabilities, detach_partner=self.detach_partner)
        if self.teacher:
            with torch.no_grad():
                target = self.teacher.network(clipped_gaussian(seen.image, self.noise)).float().softmax(1)
            terms["teacher"] = squared_difference(probabilities, target).mean()
        return terms
