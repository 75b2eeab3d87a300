"""Features from inside a network, by the names of its sub-modules, and passes with other features in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from segmend.methods.components.sub_modules import sub_modules


class FeatureTaps:
    """Records the outputs of named sub-modules while the network runs.

    Holds no reference to the network's tensors outside ``recording``.

    Args:
        network: any module.
        names: names as in ``network.named_modules()``, in the order wanted.

    Raises:
        InputError: a name is not a sub-module of the network, or none is given.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        self._modules = sub_modules(network, names, "decoder feature", "features")

    @contextmanager
    def recording(self, *, attached: bool = False) -> Iterator[list[Tensor]]:
        """Inside the block, a pass through the network puts the tapped outputs into the list, in order of ``names``.

        Args:
            attached: gradients flow from the outputs back into the network.
        """
        outputs: list[Tensor] = [Tensor()] * len(self._modules)

        def keep(position: int) -> RemovableHandle:
            def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
                outputs[position] = output if attached else output.detach()

            handle: RemovableHandle = self._modules[position].register_forward_hook(hook)
            return handle

        handles = [keep(position) for position in range(len(self._modules))]
        try:
            yield outputs
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def constant(self) -> Iterator[None]:
        """Inside the block, no gradient flows into or through the tapped sub-modules."""

        def stop(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            return output.detach()

        handles = [module.register_forward_hook(stop) for module in self._modules]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def replaced(self, outputs: Sequence[Tensor]) -> Iterator[None]:
        """Inside the block, the tapped sub-modules return these tensors and compute nothing.

        So what follows an encoder can be passed again with other features, while batch statistics of the encoder stay.

        Args:
            outputs: one for each name, in their order.
        """
        for module, output in zip(self._modules, outputs, strict=True):
            vars(module)["forward"] = lambda *_inputs, output=output: output
        try:
            # A compiled network would go on computing what it was compiled from.
            with torch.compiler.set_stance("force_eager"):
                yield
        finally:
            for module in self._modules:
                vars(module).pop("forward", None)
