"""Bidirectional copy-paste."""

from __future__ import annotations

import torch
from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.copy_paste import paste, random_cuboid
from segmend.functional.dice import cross_entropy_dice
from segmend.functional.morphology import largest_component
from segmend.methods._base import Method, Step
from segmend.methods.components.ema import EMATeacher
from segmend.networks import Network


class BCP(Method):
    r"""Expert and unlabelled scans are pasted into each other, and are learnt from in one image.

    With a mask M that is 0 in one random cuboid and 1 elsewhere, \hat y the classes that the teacher predicts on
    unlabelled scans u, and expert scans x with labels y, pairs of samples become

        M x + (1 - M) u    and    M u + (1 - M) x,    L = L_sup(y on the part of x) + \alpha L_sup(\hat y on that of u),

    the two parts each normalised by their own voxels, and the two kinds of pairs added. In a first phase, expert scans
    are pasted into each other.

    Deviations from the paper: ``docs/methods/BCP.md``.

    Args:
        network: the student; the teacher starts as its copy.
        cuboid: sides of the cuboid, as a fraction of the image's.
        unlabelled_weight: \alpha.
        warm_up: fraction of the run that the first phase takes.
        keep_largest: of a class that the teacher predicts, keep the largest component only.
        decay: largest decay of the moving average.
    """

    kind = "semi"
    paper = "Bai et al., Bidirectional copy-paste for semi-supervised medical image segmentation, CVPR 2023"
    cost = "1 network, 1 teacher pass"
    needs = Composition(expert=2, unlabelled=2)

    def __init__(
        self,
        network: Network,
        *,
        cuboid: float = 2 / 3,
        unlabelled_weight: float = 0.5,
        warm_up: float = 0.118,
        keep_largest: bool = True,
        decay: float = 0.99,
    ) -> None:
        super().__init__(network)
        self.teacher = EMATeacher(network, decay)
        self.cuboid, self.unlabelled_weight, self.warm_up = cuboid, unlabelled_weight, warm_up
        self.keep_largest = keep_largest

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``expert`` and, after the first phase, ``unlabelled``."""
        expert, others = batch.rows(Quality.EXPERT), batch.unsupervised
        if not expert:
            return {}
        inside = random_cuboid(batch.image.shape[2:], self.cuboid, batch.image.device)
        if step.progress < self.warm_up or not others:
            partners = [*expert[1:], expert[0]]
            image, label = (paste(each[expert], each[partners], inside) for each in (batch.image, batch.label))
            return {"expert": cross_entropy_dice(self.network(image), label)}
        pairs = range(max(len(expert), len(others)))
        mine, theirs = ([rows[turn % len(rows)] for turn in pairs] for rows in (expert, others))
        known, guessed = (
            batch.label[mine],
            self._pseudo_labels(batch.image[others])[[turn % len(others) for turn in pairs]],
        )
        # The expert sample is outside the cuboid in the first pair, inside it in the second, and so on.
        of_expert = torch.cat([~inside if turn % 2 == 0 else inside for turn in pairs])
        logits = self.network(paste(batch.image[theirs], batch.image[mine], of_expert))
        kinds = [slice(first, None, 2) for first in range(min(len(pairs), 2))]
        learnt = [cross_entropy_dice(logits[kind], known[kind], of_expert[kind]) for kind in kinds]
        followed = [cross_entropy_dice(logits[kind], guessed[kind], ~of_expert[kind]) for kind in kinds]
        weighted = self.unlabelled_weight * torch.stack(followed).sum()
        return {"expert": torch.stack(learnt).sum(), "unlabelled": weighted}

    def _pseudo_labels(self, image: Tensor) -> Tensor:
        """The teacher's classes ``[B, *spatial]``."""
        classes = self.teacher.predict(image).argmax(1)
        if not self.keep_largest:
            return classes
        largest = [torch.from_numpy(largest_component(each.numpy())) for each in classes.to("cpu", torch.uint8)]
        return torch.stack(largest).to(classes)
