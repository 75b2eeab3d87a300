"""Networks of MONAI, as its users write them, as networks of Segmend."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from segmend.core.errors import InputError
from segmend.networks import Network, all_networks
from segmend.networks.monai import MonaiNetwork

_FROM_DATA = ("spatial_dims", "in_channels", "out_channels")
_REMEDY = (
    "give a network by name, such as 'VNet'; one of MONAI as functools.partial(CLASS, ARGUMENT=VALUE...); "
    "or one of your own as a subclass of segmend.networks.Network"
)


def adopted(network: object) -> object:
    """A network of Segmend for one of MONAI; what is no module, or a network of Segmend already, comes back as it is.

    A training records class and arguments of its network, builds it again from them, with the numbers of channels,
    classes and dimensions of the data, and draws the weights by its seed. MONAI's classes, partial functions of
    them and instances are therefore turned into the adapted class with the same arguments. The arguments of an
    instance are read from its attributes; the result is compared with the instance layer by layer. Its weights are
    not taken over.

    Args:
        network: what a caller of ``train`` gives.

    Raises:
        InputError: a module of another kind, or an instance whose arguments cannot be found out.
    """
    adapted = {cls.original: cls for cls in all_networks().values() if issubclass(cls, MonaiNetwork)}
    made_of, given = (network.func, network.keywords) if isinstance(network, partial) else (network, {})
    if isinstance(made_of, type) and issubclass(made_of, nn.Module) and not issubclass(made_of, Network):
        if made_of not in adapted or (isinstance(network, partial) and network.args):
            raise _refused(f"is {made_of.__name__}, which is not a Network")
        return partial(adapted[made_of], **_own(given))
    if not isinstance(network, nn.Module) or isinstance(network, Network):
        return network
    original = type(network)
    if original not in adapted:
        raise _refused(f"is of the class {original.__name__}, which is not a Network")
    for arguments in (_attributes(network), {}):
        if _same(network, arguments):
            return partial(adapted[original], **_own(arguments))
    raise _refused(f"is of MONAI's class {original.__name__}, whose arguments cannot be read from it")


def _own(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in _FROM_DATA}


def _attributes(network: nn.Module) -> dict[str, Any]:
    """The arguments that the network keeps as attributes of the same names, as far as a configuration can hold them."""
    names = inspect.signature(type(network)).parameters
    return {name: getattr(network, name) for name in names if _is_plain(getattr(network, name, ...))}


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, (bool, int, float, str))


def _same(network: nn.Module, arguments: Mapping[str, Any]) -> bool:
    """Whether these arguments build this network: same layers with the same settings, same shapes of weights."""
    convolutions = [each for each in network.modules() if isinstance(each, nn.modules.conv._ConvNd)]
    if not convolutions:
        return False
    channels = {"in_channels": convolutions[0].in_channels, "out_channels": convolutions[-1].out_channels}
    build: Callable[..., nn.Module] = type(network)
    try:
        with torch.device("meta"):
            again = build(**{"spatial_dims": len(convolutions[0].kernel_size), **channels, **arguments})
    except Exception:  # MONAI refuses arguments by errors of many kinds
        return False
    shapes, others = ({key: value.shape for key, value in each.state_dict().items()} for each in (network, again))
    return repr(network) == repr(again) and shapes == others


def _refused(problem: str) -> InputError:
    return InputError("network", problem, _REMEDY, code="unsupported")
