"""MONAI's segmentation networks, with MONAI's names and arguments."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import operator
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from monai.networks import nets
from torch import Tensor, nn

from segmend.networks._base import Network

_POSITIONAL, _NONE = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
_FROM_DATA = {"spatial_dims", "in_channels", "out_channels"}


class MonaiNetwork(Network):
    """Base class of the adapted networks; ``net`` holds the network itself, which is of the class ``original``."""

    net: nn.Module
    original: ClassVar[type[nn.Module]]

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, classes, *spatial]``; of several outputs (deep supervision) the finest one."""
        output = self.net(image)
        if isinstance(output, (list, tuple)):
            # Most put the finest first; of UNet++, whose outputs are all of one size, the last is the deepest.
            output = max(reversed(output), key=Tensor.numel)
        elif output.ndim > image.ndim:  # DynUNet stacks them along a second axis
            output = output[:, 0]
        logits: Tensor = output
        return logits


def _adapted(monai_name: str, name: str = "") -> type[Network]:
    """Build a Network class whose constructor has MONAI's own arguments after the three that the data determine.

    Arguments whose default is a class are left out, and modules and functions are not accepted: no configuration could
    hold them, and one that names a function would have it called.
    """
    original = getattr(nets, monai_name)
    hints = get_type_hints(original.__init__)
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=_plain(hints.get(parameter.name, Any)))
        for parameter in inspect.signature(original).parameters.values()
        if parameter.name not in _FROM_DATA and (parameter.default is _NONE or not isinstance(parameter.default, type))
    ]

    # Named so because it becomes the constructor of the class made below.
    def __init__(self: MonaiNetwork, in_channels: int, classes: int, dimensions: int = 3, **arguments: Any) -> None:  # noqa: N807
        nn.Module.__init__(self)
        given = {"spatial_dims": dimensions, "in_channels": in_channels, "out_channels": classes}
        self.net = original(**given, **arguments)

    leading = [
        inspect.Parameter(parameter, _POSITIONAL, annotation=int, default=default)
        for parameter, default in (("self", _NONE), ("in_channels", _NONE), ("classes", _NONE), ("dimensions", 3))
    ]
    # The command line, --help and the recorded configuration use the signature.
    setattr(__init__, "__signature__", inspect.Signature([*leading, *own]))  # noqa: B010 - functions have none for mypy
    __init__.__annotations__ = {parameter.name: parameter.annotation for parameter in [*leading[1:], *own]}
    content = {"__init__": __init__, "__doc__": original.__doc__, "__module__": __name__, "original": original}
    return type(name or monai_name, (MonaiNetwork,), content)


def _plain(hint: Any) -> Any:
    """The hint without the alternatives that are modules or functions."""
    alternatives = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
    if not alternatives:
        return hint
    kept = [each for each in alternatives if each not in (collections.abc.Callable, nn.Module)]
    # jsonargparse takes a type of None alone for one that is not known.
    return Literal[None] if kept == [type(None)] else functools.reduce(operator.or_, kept)


AttentionUnet = _adapted("AttentionUnet")
BasicUNet = _adapted("BasicUNet")
BasicUNetPlusPlus = _adapted("BasicUNetPlusPlus")
DynUNet = _adapted("DynUNet")
FlexibleUNet = _adapted("FlexibleUNet")
HighResNet = _adapted("HighResNet")
MedNeXt = _adapted("MedNeXt")
MonaiUNet = _adapted("UNet", "MonaiUNet")
MonaiVNet = _adapted("VNet", "MonaiVNet")
SegResNet = _adapted("SegResNet")
SegResNetDS = _adapted("SegResNetDS")
SwinUNETR = _adapted("SwinUNETR")
UNETR = _adapted("UNETR")
