"""Checkpoints as files of unknown origin: read without running anything, and checked before they are used."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from segmend.core.documents import DamagedError, is_integer, is_number

_PREFIX = "method."
_SHOWN = 3
_PARTS = {
    "state_dict": dict,
    "global_step": int,
    "epoch": int,
    "loops": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "callbacks": dict,
    "pytorch-lightning_version": str,
}
"""What a training is continued from."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint. Only plain values and tensors are read: objects that name code are refused.

    Raises:
        DamagedError: the file is damaged or no checkpoint, or holds weights that are not finite; the message is empty
            where nothing more is known.
    """
    size = _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise DamagedError("") from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise DamagedError("it has no state_dict, which holds the weights")
    for name, value in content["state_dict"].items():
        if not isinstance(name, str):
            raise DamagedError("names of its weights are not text")
        if isinstance(value, Tensor):
            _check_tensor(name, value, size)
    return content


def weights_in(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of the method in a checkpoint, by the method's own names."""
    return {name.removeprefix(_PREFIX): value for name, value in checkpoint["state_dict"].items()}


def check_weights(weights: Mapping[str, Any], wanted: nn.Module) -> None:
    """Makes sure that weights are those of a module, which may be without memory.

    Raises:
        DamagedError: a weight is missing, of another shape, or not of the module.
    """
    own = wanted.state_dict()
    missing, unknown = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    if missing or unknown:
        parts = [("lacks", missing), ("has the unknown", unknown)]
        raise DamagedError("it " + " and ".join(f"{verb} weights {_listed(names)}" for verb, names in parts if names))
    for name, value in own.items():
        given = weights[name]
        if isinstance(value, Tensor) != isinstance(given, Tensor):
            raise DamagedError(f"'{name}' is not what it should be")
        if isinstance(value, Tensor) and given.shape != value.shape:
            shapes = f"{_sides(given)}, but the configuration wants {_sides(value)}"
            raise DamagedError(f"the weights '{name}' have the shape {shapes}")


def check_origin(checkpoint: Mapping[str, Any], mark: str | None) -> None:
    """Makes sure that a checkpoint is not one of another run.

    Args:
        checkpoint: as read; an old one does not say.
        mark: of the run, see ``Run.mark``.

    Raises:
        DamagedError: it says that it belongs to another run.
    """
    callbacks = checkpoint.get("callbacks")
    state = callbacks.get("Checkpoints") if isinstance(callbacks, dict) else None
    own = state.get("run") if isinstance(state, dict) else None
    if own is not None and mark is not None and own != mark:
        raise DamagedError("it belongs to another run than config.yaml and task.json")


def check_continuable(
    checkpoint: Mapping[str, Any], method: nn.Module, optimiser: Optimizer, trainer: Trainer, iterations: int
) -> int:
    """Makes sure that a training can be continued from a checkpoint, and ends.

    Args:
        checkpoint: as read.
        method: that is trained.
        optimiser: a new one of its weights.
        trainer: that is to continue.
        iterations: optimiser steps of the whole run.

    Returns:
        Optimiser steps done.

    Raises:
        DamagedError: a part is missing or contradicts another one, or the weights are those of another method.
    """
    for part, kind in _PARTS.items():
        if not isinstance(checkpoint.get(part), kind) or isinstance(checkpoint[part], bool):
            raise DamagedError(f"it has no usable '{part}'")
    check_weights(weights_in(checkpoint), method)
    done: int = checkpoint["global_step"]
    if not 0 < done <= iterations:
        raise DamagedError(f"it was written at step {done} of {iterations}")
    _check_loops(checkpoint, trainer, done)
    _check_optimiser(checkpoint, method, optimiser)
    schedules, rate = checkpoint["lr_schedulers"], optimiser.param_groups[0]["lr"]
    known = len(schedules) == 1 and isinstance(schedules[0], dict)
    if not known or schedules[0].get("last_epoch") != done or schedules[0].get("base_lrs") != [rate]:
        raise DamagedError(f"its learning rate is not that of step {done}")
    state = checkpoint["callbacks"].get("Checkpoints")
    if not isinstance(state, dict) or not isinstance(state.get("best"), float) or not is_number(state.get("seconds")):
        raise DamagedError("it has no usable 'callbacks'")
    remaining = state.get("remaining", [])
    if not isinstance(remaining, list) or not all(isinstance(each, str) for each in remaining):
        raise DamagedError("it has no usable 'callbacks'")
    return done


def _check_archive(path: Path) -> int:
    """Size of the file, once its parts are as long as they claim and their check sums are right."""
    if not path.is_file():
        raise DamagedError("it is not a file")
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                raise DamagedError("it is compressed")
            if sum(part.file_size for part in parts) > size or archive.testzip() is not None:
                raise DamagedError("")
    except DamagedError:
        raise
    except Exception as error:  # zipfile raises many kinds, too
        raise DamagedError("") from error
    return size


def _check_tensor(name: str, value: Tensor, size: int) -> None:
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise DamagedError(f"the weights '{name}' are not plain numbers")
    if value.numel() * value.element_size() > size:
        raise DamagedError(f"the weights '{name}' claim to be larger than the file")
    if not bool(torch.isfinite(value).all()):
        raise DamagedError(f"the weights '{name}' are not finite")


def _check_loops(checkpoint: Mapping[str, Any], trainer: Trainer, done: int) -> None:
    """A training counts its steps by these; one that counts otherwise than its loader never ends."""
    loop = checkpoint["loops"].get("fit_loop")
    if not re.match(r"\d+\.\d+", checkpoint["pytorch-lightning_version"]):
        raise DamagedError("it has no usable 'pytorch-lightning_version'")
    if checkpoint["pytorch-lightning_version"] == version("lightning"):
        _check_like(loop, trainer.fit_loop.state_dict(), "fit_loop")
    try:
        steps = loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"]["completed"]
    except (KeyError, TypeError, IndexError) as error:
        raise DamagedError("it has no usable 'loops'") from error
    if steps != done:
        raise DamagedError(f"it counts {steps} steps in one place and {done} in another")


def _check_like(given: object, own: object, place: str) -> None:
    """Makes sure that counters are where they should be."""
    if isinstance(own, dict):
        # The state of an epoch's loop is filled once it has run.
        if not isinstance(given, dict) or (own and set(given) != set(own)):
            raise DamagedError(f"it has no usable 'loops' ({place})")
        for key, value in own.items():
            _check_like(given[key], value, f"{place}, {key}")
    elif type(given) is not type(own) or (is_integer(given) and not 0 <= int(str(given)) < 2**62):
        raise DamagedError(f"it has no usable 'loops' ({place})")


def _check_optimiser(checkpoint: Mapping[str, Any], method: nn.Module, optimiser: Optimizer) -> None:
    states = checkpoint["optimizer_states"]
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    try:
        (state,) = states
        (group,) = state["param_groups"]
        numbers = list(group["params"])
        moments = state["state"].items()
        own = {name: value for name, value in optimiser.param_groups[0].items() if isinstance(value, (float, tuple))}
        fits = (
            numbers == list(range(len(trained)))
            and all(_alike(group[name], value) for name, value in own.items())
            and all(_fits(value, trained[number]) for number, each in moments for value in each.values())
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DamagedError("it has no usable 'optimizer_states'") from error
    if not fits:
        raise DamagedError("its 'optimizer_states' are not finite, or those of other weights")


def _fits(value: object, parameter: Tensor) -> bool:
    """Whether a value may be what an optimiser remembers of a parameter."""
    if not isinstance(value, Tensor):
        return value is None or is_number(value)
    return value.shape in (parameter.shape, torch.Size([])) and bool(torch.isfinite(value).all())


def _alike(given: object, own: object) -> bool:
    """Whether a setting of an optimiser is of the kind that it should be."""
    if isinstance(own, tuple):
        return isinstance(given, (tuple, list)) and len(given) == len(own) and all(map(is_number, given))
    return is_number(given)


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + (
        f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
    )


def _sides(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "of one number"
