"""A strong and a weak branch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.functional.dice import cross_entropy_dice
from segmend.methods._base import Method, Step
from segmend.methods.components.branches import second_decoder
from segmend.networks import Network


class Decoupled(Method):
    """One encoder learns from all labels, but expert and noisy labels each have their own decoder.

    L = L_sup(strong(x_expert), y_expert) + w L_sup(weak(x_noisy), y_noisy), with equal numbers of both in a batch so
    that the many noisy labels do not outweigh the few expert ones. The label noise stays in the weak decoder. The
    strong one predicts.

    Implementation notes. The paper's weak labels are made from image tags, and its network is one for photographs;
    with noisy labels, the loss and the batch are those of the left-atrium methods. Details of the paper, that w is 1
    among them, are recalled and could not be checked; there is no public code. The paper splits after the backbone,
    here the encoder is shared and all that comes after it is not. Each branch passes its own samples only: nothing of a
    noisy sample reaches the strong decoder, and batch norm in the encoder uses the statistics of each group separately
    during training. Samples without a label are not used.

    Args:
        network: encoder and strong decoder; the weak decoder is a second one with its own random initialisation.
        weak: w.
        shared: sub-modules that both decoders share; the network's encoder by default.
    """

    kind = "mixed"
    paper = "Luo & Yang, Semi-supervised semantic segmentation via strong-weak dual-branch network, ECCV 2020"
    cost = "1 network with 2 decoders"
    needs = Composition(expert=2, noisy=2)

    def __init__(self, network: Network, *, weak: float = 1.0, shared: Sequence[str] | None = None) -> None:
        super().__init__(network)
        self.weak_branch = second_decoder(network, shared or network.encoder_stages)
        self.weak = weak

    def loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """``strong`` on expert samples and ``weak`` on noisy ones."""
        expert, noisy = batch.rows(Quality.EXPERT), batch.rows(Quality.NOISY)
        terms = {}
        if expert:
            terms["strong"] = cross_entropy_dice(self.network(batch.image[expert]), batch.label[expert])
        if noisy:
            terms["weak"] = self.weak * cross_entropy_dice(self.weak_branch(batch.image[noisy]), batch.label[noisy])
        return terms
