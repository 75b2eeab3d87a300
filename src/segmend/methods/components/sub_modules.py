"""Parts of a network by their names."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from segmend.core.errors import InputError, did_you_mean


def sub_modules(network: nn.Module, names: Sequence[str], role: str, argument: str) -> list[nn.Module]:
    """The sub-modules of these names, in their order.

    Args:
        network: any module.
        names: names as in ``network.named_modules()``.
        role: what a method uses one for, in the message: 'decoder feature', for example.
        argument: the method's argument that names them, for the message.

    Raises:
        InputError: a name is not a sub-module of the network, or none is given.
    """
    modules = dict(network.named_modules())
    if not names:
        raise InputError(
            f"network {type(network).__name__}",
            f"names no {role}s of its own",
            f"name them by the method's '{argument}' argument; the sub-modules are "
            + ", ".join(sorted(name for name in modules if name and name.count(".") < 2)),
            code="missing-value",
        )
    for name in names:
        if name not in modules:
            raise InputError(
                f"{role} '{name}'",
                f"is not a sub-module of {type(network).__name__}",
                did_you_mean(name, modules),
                code="unknown-name",
            )
    return [modules[name] for name in names]


def members(network: nn.Module, names: Sequence[str]) -> list[str]:
    """The names, with those of the members in place of a list of modules, which itself has no output.

    Args:
        network: any module.
        names: names as in ``network.named_modules()``; unknown ones stay as they are.
    """
    modules = dict(network.named_modules())
    expanded = []
    for name in names:
        module = modules.get(name)
        expanded += (
            [f"{name}.{key}" for key, _ in module.named_children()] if isinstance(module, nn.ModuleList) else [name]
        )
    return expanded
