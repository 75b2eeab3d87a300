"""Training that starts from the weights of an earlier run instead of random ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from segmend.core.case import Case
from segmend.core.config import WEIGHTS_DIGEST
from segmend.core.documents import DamagedError
from segmend.core.errors import InputError
from segmend.core.progress import say
from segmend.core.unallocated import build_unallocated
from segmend.data.cache import digest_of
from segmend.data.fingerprint import Fingerprint
from segmend.engine.checkpoints import check_origin, read_checkpoint, weights_in
from segmend.engine.options import TrainingOptions
from segmend.engine.plan import Choice, TrainingPlan
from segmend.engine.planner import plan_mirroring
from segmend.engine.run import Run
from segmend.networks import Network, PlannedUNet

_PREFIX = "network."
"""Of the weights of a method's network among those of the method."""


@dataclass(frozen=True, eq=False)
class WarmStart:
    """The weights of the network of an earlier run.

    Of a method with several networks they are those of the first, without its teachers. The network gets them before
    a method is built around it, so that teachers and other copies of it start from them too. Peers that a method
    initialises for themselves, since they have to disagree at first, stay random.

    Attributes:
        given: what the user has named.
        file: the checkpoint.
        earlier: the run that the checkpoint lies in; None for a file by itself.
        weights: by the network's own names.
    """

    given: Path
    file: Path
    earlier: Run | None
    weights: Mapping[str, Tensor]

    @classmethod
    def of(cls, given: Path, out: Run) -> Self:
        """Read a checkpoint. Nothing is run from it.

        Args:
            given: the folder of a run, whose last checkpoint is taken, or the file of a checkpoint.
            out: the run that is to be trained.

        Raises:
            InputError: there is no such file, it is damaged, or it belongs to ``out``.
        """
        file = Run(given).last if given.is_dir() else given
        if not file.is_file():
            raise InputError(
                given,
                "is a folder without checkpoints/last.ckpt" if given.is_dir() else "does not exist",
                "give the folder of a run, or a checkpoint of one, as `weights`",
                code="missing-file",
            )
        around = Run(file.resolve().parent.parent)
        earlier = around if all((around.path / name).is_file() for name in ("config.yaml", "task.json")) else None
        if out.path.resolve() == around.path:
            raise InputError(
                given, "belongs to the run that is to be trained", "give an earlier run as `weights`", code="mismatch"
            )
        try:
            content = read_checkpoint(file)
            check_origin(content, earlier.mark if earlier else None)
        except DamagedError as error:
            problem = f"is no usable checkpoint ({error})" if str(error) else "is no usable checkpoint"
            raise InputError(
                file, problem, "give another one as `weights`, such as RUN/checkpoints/last.ckpt", code="damaged"
            ) from error
        found = {
            name.removeprefix(_PREFIX): value
            for name, value in weights_in(content).items()
            if name.startswith(_PREFIX) and isinstance(value, Tensor)
        }
        return cls(given, file, earlier, found)

    def described(self) -> dict[str, str]:
        """For config.yaml: where the weights are, and a digest of all that a training takes from there."""
        classes = list(self.earlier.task.labels) if self.earlier else None
        return {"weights": str(self.given.resolve()), WEIGHTS_DIGEST: digest_of(self.file, classes)}

    def trained_on(self, cases: Iterable[Case]) -> list[str] | None:
        """Names of the cases that the earlier run was trained on, by the contents of their images.

        Args:
            cases: of any data folder.

        Returns:
            None if that is not known: for a file by itself, or a run that started from other weights.
        """
        state = self.earlier.data_state if self.earlier else None
        if self.earlier is None or state is None or self.earlier.config.get("weights"):
            return None
        seen = {of_case["images"] for of_case in state.cases.values()}
        return [case.name for case in cases if digest_of(*case.images) in seen]

    @cached_property
    def network(self) -> partial[Network] | None:
        """Gives the network of the earlier run for channels, classes and dimensions; None for a file by itself."""
        if self.earlier is None:
            return None
        arguments = self.earlier.config["network"].get("init_args") or {}
        return partial(self.earlier.network_class, **arguments)

    def followed(self, options: TrainingOptions, axes: int) -> TrainingOptions:
        """The options with dimensions, spacing and patch of the earlier run; those given for a file by itself.

        Args:
            options: as given.
            axes: of the scans.

        Raises:
            InputError: an option that was given differs, or the earlier network has more dimensions than the scans.
        """
        if self.earlier is None or self.network is None:
            return options
        task, network = self.earlier.task, self.network.keywords
        of_network = {"width": (network.get("widths") or [None])[0], "residual": network.get("residual", False)}
        if task.dimensions > axes:
            raise InputError(
                self.given,
                f"is of a network with {task.dimensions} dimensions, but the images have {axes}",
                "give a run on images of as many dimensions as `weights`",
                code="mismatch",
            )
        spacing = [side for side in task.preprocessing.spacing if side is not None] or "native"
        own: dict[str, Any] = {"dimensions": task.dimensions, "spacing": spacing, "patch": task.patch}
        given = {name: getattr(options, name) for name in (*own, *of_network)}
        if given["spacing"] == "auto":
            given["spacing"] = None
        for name, value in given.items():
            wanted = (own | of_network)[name]
            if value is not None and _shown(value) != _shown(wanted):
                raise InputError(
                    name,
                    f"must be that of the run in `weights`, {_shown(wanted)}, got {_shown(value)}",
                    "leave it out, or name the `network`; then only its layers have to agree",
                    code="mismatch",
                )
        return replace(options, **own)

    def plan(self, fingerprint: Fingerprint, objects: Sequence[str], batch: int) -> TrainingPlan:
        """The plan of a training that follows the earlier run; only mirroring and batch are chosen for the data.

        Args:
            fingerprint: of the training scans.
            objects: names of the classes or regions that are segmented, without the background.
            batch: samples of a step.
        """
        assert self.earlier, "a file by itself has no plan"
        assert self.network
        task, reason = self.earlier.task, f"as in {self.given}"
        arguments = dict(self.network.keywords)
        if self.network.func is not PlannedUNet:
            arguments = {"name": self.earlier.network_class.__name__, **arguments}
        return TrainingPlan(
            {
                "spacing": Choice(list(task.preprocessing.spacing), reason),
                "patch": Choice(list(task.patch), reason),
                "network": Choice(arguments, reason),
                "batch": Choice(batch, "as the method composes it"),
                "mirroring": plan_mirroring(fingerprint, objects, task.dimensions),
            }
        )

    def weights_for(
        self, network: Network, one_class_more: Callable[[], Network], class_names: Sequence[str]
    ) -> dict[str, Tensor]:
        """The weights that a new network starts from: all, or all but its last layer where the classes differ.

        The last layer is what changes its shape with the number of classes.

        Args:
            network: the new one.
            one_class_more: gives such a network with one class more.
            class_names: background first.

        Raises:
            InputError: a parameter is missing, unknown or of another shape.
        """
        own = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
        larger = build_unallocated(one_class_more).state_dict()
        head = {name for name, value in own.items() if name not in larger or larger[name].shape != value.shape}
        self._check_fit(own, type(network).__name__, head)
        before = list(self.earlier.task.labels) if self.earlier else None
        same = all(self.weights[name].shape == own[name].shape for name in head)
        if same and before in (None, list(class_names)):
            return dict(self.weights)
        now, was = ", ".join(class_names[1:]), ", ".join(before[1:]) if before else "others"
        say(f"the last layer of the network starts from random weights: the classes are {now}, there {was}")
        return {name: value for name, value in self.weights.items() if name not in head}

    def _check_fit(self, own: Mapping[str, Tensor], network: str, head: Collection[str]) -> None:
        """Make sure that the weights are those of a network, up to the shapes of its last layer."""
        problems = [f"it has no '{name}'" for name in own if name not in self.weights]
        problems += [f"{network} has no '{name}'" for name in self.weights if name not in own]
        problems += [
            f"'{name}' must have the shape {_shape(value)}, got {_shape(self.weights[name])}"
            for name, value in own.items()
            if name in self.weights and name not in head and self.weights[name].shape != value.shape
        ]
        if problems:
            more = f", and {len(problems) - 1} more" if problems[1:] else ""
            raise InputError(
                self.given,
                f"does not fit the network {network}: {problems[0]}{more}",
                "leave out `network` to take that of the run, or `weights` to start from random ones",
                code="mismatch",
            )


def starting_from(build: Callable[[], Network], weights: Mapping[str, Tensor]) -> Network:
    """A new network with these weights; those that are not among them stay as they were drawn."""
    network = build()
    network.load_state_dict(weights, strict=False)
    return network


def _shown(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(f"{each:g}" for each in value)
    return "another" if value is None else str(value)


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "of one number"
