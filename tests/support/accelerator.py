"""An accelerator that is none: its tensors compute on the CPU, but say that they live elsewhere.

Inside ``Accelerator()``, ``.to(DEVICE)`` gives such tensors, and so does every function that makes tensors with
``device=``. As on a GPU, they cannot be mixed with tensors of the CPU, except for scalars and indices, and NumPy cannot
read them. Operations after which the host has to wait for the accelerator are counted, and so are copies to it.

The tensors are wrappers on the device ``meta``, where autograd needs no kernels and no threads of its own. In Python
they say that they are on ``DEVICE``, a kind that no build of PyTorch for CPUs can compute on, but that autocast knows.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

import segmend

DEVICE = torch.device("maia:0")
"""Where the tensors say that they are."""

CPU = torch.device("cpu")
SOURCE = f"{Path(segmend.__file__).parent}{os.sep}"
aten = torch.ops.aten

_FROM_DATA = {torch.tensor, torch.as_tensor}
"""Functions that copy data of Python, which modes of dispatch never see."""

_INDEX = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
_TAKES_CPU_SCALARS = {aten.masked_fill, aten.masked_fill_, aten.fill, aten.fill_}
"""Those besides the pointwise operations."""

_WAITS = {aten._linalg_check_errors}
"""Operations that read a result on the host although PyTorch does not mark them so."""


class WrongDeviceError(RuntimeError):
    """What a GPU would refuse."""


class AcceleratorTensor(Tensor):
    """A tensor that computes with the one it holds."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Self:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device="meta",
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @property
    def device(self) -> torch.device:
        return DEVICE

    def numpy(self, **_options: object) -> Any:
        raise WrongDeviceError(f"NumPy cannot read what is on {DEVICE}: copy it to the CPU first")

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, **_options: object) -> str:
        return f"AcceleratorTensor({self.held!r})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        raise WrongDeviceError(f"{func} outside of the block of the accelerator")


class Accelerator:
    """A context in which the accelerator is there.

    Attributes:
        waits: how often the host waited for the accelerator, by operation and line of the source.
        copies: how often something was copied to it, likewise.
    """

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self._modes = (_Functions(self), _Operations(self))

    def __enter__(self) -> Self:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)

    def forget(self) -> None:
        """Count from zero."""
        self.waits.clear()
        self.copies.clear()

    def waited(self, operation: object, times: int = 1) -> None:
        """Count that the host waited."""
        if times:
            self.waits[f"{operation} in {_place()}"] += times

    def copied(self, operation: object) -> None:
        """Count a copy to the accelerator."""
        self.copies[f"{operation} in {_place()}"] += 1


def _place() -> str:
    """The innermost line of the source that is being run; "backward" or so if there is none."""
    frame = sys._getframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(SOURCE):
            return f"{file.removeprefix(SOURCE)}:{frame.f_lineno}"
        frame = frame.f_back
    return "backward"


class _Functions(TorchFunctionMode):
    """What has to be seen before PyTorch makes tensors of data: lists as indices, and functions that take data."""

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__()
        self.accelerator = accelerator

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func in _FROM_DATA and _is_accelerator(options.get("device")):
            del options["device"]
            return func(*args, **options).to(DEVICE)
        if func is Tensor.new_tensor and isinstance(args[0], AcceleratorTensor):
            return torch.tensor(args[1], dtype=options.get("dtype", args[0].dtype)).to(DEVICE)
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], AcceleratorTensor):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            rest = [torch.tensor(each, dtype=args[0].dtype) if _is_number(each) else each for each in args[2:]]
            args = (args[0], tuple(_of_list(each) for each in index), *rest)
        return func(*args, **options)


def _of_list(index: Any) -> Any:
    """An index that is no list: that is copied to the accelerator."""
    return torch.tensor(index).to(DEVICE) if isinstance(index, list | range) else index


def _is_number(value: object) -> bool:
    """Scalars that are assigned stay on the CPU."""
    return isinstance(value, bool | int | float)


def _is_accelerator(device: Any) -> bool:
    # "meta" is what tensors say that torch.func has wrapped.
    return device is not None and torch.device(device).type in (DEVICE.type, "meta")


class _Operations(TorchDispatchMode):
    """Computes with what the tensors hold, refuses what a GPU would refuse, and counts."""

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__()
        self.accelerator = accelerator

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        given = [each for each in tree_flatten((args, options))[0] if isinstance(each, Tensor)]
        held = [each for each in given if isinstance(each, AcceleratorTensor)]
        target = options.get("device")
        if not held and not _is_accelerator(target):
            return func(*args, **options)
        there = bool(held) if target is None else _is_accelerator(target)
        if target is not None:
            options["device"] = CPU
        if func.overloadpacket in (aten._to_copy, aten.copy_):
            there = self._copy(func, args, held, there)
        else:
            _check(func, args, given, options, there)
            self._count(func, args, options)
        if func.overloadpacket is aten._efficientzerotensor:  # a derivative of 0 without memory; here it gets some
            func = aten.zeros.default
        plain_args, plain_options = tree_map_only(AcceleratorTensor, lambda each: each.held, (tuple(args), options))
        found = func(*plain_args, **plain_options)
        if any(each.alias_info is not None and each.alias_info.is_write for each in func._schema.returns):
            written = _written(func, args, options)
            return written[0] if len(written) == 1 else tuple(written)
        return tree_map_only(Tensor, AcceleratorTensor, found) if there else found

    def _copy(self, func: Any, args: Sequence[Any], held: Sequence[Tensor], there: bool) -> bool:
        """Count a copy between devices; whether its result is on the accelerator."""
        source = args[1] if func.overloadpacket is aten.copy_ else args[0]
        if func.overloadpacket is aten.copy_:
            there = isinstance(args[0], AcceleratorTensor)
        if there and not isinstance(source, AcceleratorTensor):
            self.accelerator.copied(func)
        elif not there and held:
            self.accelerator.waited(func)
        return there

    def _count(self, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> None:
        operation = func.overloadpacket
        if operation in _INDEX:
            indices = [each for each in args[1] if isinstance(each, Tensor)]
            for each in indices:
                if not isinstance(each, AcceleratorTensor):
                    self.accelerator.copied(func)
            if not _is_masked_fill(args):
                self.accelerator.waited(func, sum(each.dtype in (torch.bool, torch.uint8) for each in indices))
        elif operation is aten.repeat_interleave:
            self.accelerator.waited(func, options.get("output_size") is None)
        elif operation in _WAITS or {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags):
            self.accelerator.waited(func)


def _is_masked_fill(args: Sequence[Any]) -> bool:
    """Whether a scalar of the CPU is put where a mask says, which no GPU waits for."""
    if len(args) < 3 or (len(args) > 3 and args[3]):
        return False
    value, indices = args[2], [each for each in args[1] if each is not None]
    scalar = not isinstance(value, AcceleratorTensor) and value.ndim == 0
    return scalar and len(indices) == 1 and indices[0].dtype == torch.bool


def _check(func: Any, args: Sequence[Any], given: Sequence[Tensor], options: Mapping[str, Any], there: bool) -> None:
    """Refuse tensors of two devices, except where a GPU takes them."""
    if there and any(isinstance(each, torch.Generator) for each in (*args, *options.values())):
        raise WrongDeviceError(f"{func}: a generator of the CPU cannot draw on {DEVICE}")
    strangers = [each for each in given if not isinstance(each, AcceleratorTensor)]
    if len(strangers) == len(given):  # a tensor like one of the CPU
        return
    operation = func.overloadpacket
    if operation in _INDEX and isinstance(args[0], AcceleratorTensor):
        strangers = [each for each in args[2:3] if not isinstance(each, AcceleratorTensor)]
    takes_scalars = operation in _INDEX | _TAKES_CPU_SCALARS or torch.Tag.pointwise in func.tags
    written = {id(each) for each in _written(func, args, options)}
    if any(each.ndim or not takes_scalars or id(each) in written for each in strangers):
        shapes = ", ".join(f"a tensor {list(each.shape)}" for each in strangers)
        raise WrongDeviceError(f"{func}: {shapes} on the CPU, others on {DEVICE}")


def _written(func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """The arguments that an operation writes to."""
    arguments = enumerate(func._schema.arguments)
    return [
        args[position] if position < len(args) else options.get(argument.name)
        for position, argument in arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
