"""What every network of Segmend has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from segmend.core.config import Configured
from segmend.core.errors import InputError

_MOST_STAGES = 10


def check_sizes(network: Network, width: int, stages: int = 1) -> None:
    """Check that a network of this width and depth can be built.

    Args:
        network: for the error.
        width: channels of the first stage.
        stages: number of resolutions, each half of the one before.

    Raises:
        InputError: one of them is not a whole number, or not in its range.
    """
    for name, value, most in (("width", width, 2**16), ("stages", stages, _MOST_STAGES)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            problem = f"{name} must be a whole number from 1 to {most}, got {value!r}"
            raise InputError(
                f"network {type(network).__name__}", problem, f"give another `network.{name}`", code="invalid-value"
            )


class Network(Configured, nn.Module, ABC):
    """A segmentation network: an image in, one logit map per class out, on the same grid.

    The first three constructor arguments of every subclass are ``in_channels``, ``classes`` and
    ``dimensions``; the data decide them. All others are keyword-only, have defaults, and appear on
    the command line as ``--network.ARGUMENT``.

    Attributes:
        decoder_scales: names of the sub-modules whose outputs are the last decoder features, from coarse to fine.
            Methods that use features (for example prototypes) tap these by default.
        encoder_stages: names of the sub-modules that make up the encoder. Methods with several decoders
            share these by default.
    """

    decoder_scales: tuple[str, ...] = ()
    encoder_stages: tuple[str, ...] = ()

    @property
    def supervised_scales(self) -> tuple[str, ...]:
        """Names of the sub-modules that deep supervision adds heads to, from coarse to fine.

        All of ``decoder_scales`` but the finest, which has the network's own head.
        """
        return self.decoder_scales[:-1]

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Map an image ``[B, in_channels, *spatial]`` to logits ``[B, classes, *spatial]``."""

    def stochastic_passes(self, image: Tensor, passes: int) -> Tensor:
        """Logits of several passes that differ by dropout only, as one batch.

        A network whose first layers are not random may override this to run them once.

        Args:
            image: ``[B, in_channels, *spatial]``.
            passes: how many times each image is passed.

        Returns:
            ``[passes * B, classes, *spatial]``; pass ``k`` of item ``b`` is row ``k * B + b``.
        """
        logits: Tensor = self(image.repeat(passes, *[1] * (image.ndim - 1)))
        return logits
