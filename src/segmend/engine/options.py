"""All settings of a training but its data, its method and its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from segmend.core.batch import Composition
from segmend.core.config import plain
from segmend.core.errors import InputError
from segmend.core.precision import Precision
from segmend.data.augment import Augmentation
from segmend.engine.batches import ForegroundBy
from segmend.engine.hardware import Hardware
from segmend.engine.learner import Optimisation
from segmend.engine.plan import TrainingPlan
from segmend.engine.recipes import RecipeName, settings_of

_COUNTS = ("expert", "noisy", "unlabelled", "any_labelled")
_WITHOUT_EFFECT = {"width", "memory", "workers", "compile", "checkpoint_every"}
"""Options that do not change what a run computes, up to rounding."""


@dataclass(frozen=True)
class TrainingOptions:
    """Settings of a training. Those that are None are chosen from the data or by the method.

    Attributes:
        recipe: many settings in one word. 'planned', the default, chooses network, patch and augmentation from data and
            machine; 'paper' is the protocol of the left-atrium literature: V-Net, SGD, flips and quarter turns, crops
            drawn uniformly, 8000 steps. Arguments that are given with it win.
        iterations: optimiser steps.
        labels: what is learned from: 'classes' is the class of each voxel, in labelsTr, and the default; 'soft' its
            probability of each class, in the maps soft/CASE_CLASS.nii.gz of the data folder (docs/soft_labels.md).
        weights: a run folder, or a checkpoint file of one, whose network this training starts from. Without a named
            network, the earlier run's network, spacing and patch are taken. The last layer is drawn new if the classes
            differ. Teachers start as copies; second networks that a method initialises for itself stay random.
        initial_iterations: optimiser steps of the plain training before, for methods that start from labels of
            unlabelled cases; a quarter of the iterations by default.
        patch: sides of the training crops in voxels, slices last; chosen from the data by default.
        spacing: millimetres between voxels to train at, slices last; 'native' keeps each scan's own,
            'auto' takes the median of the training scans.
        dimensions: 2 trains on slices of volumes; by default that of the images.
        expert: samples with expert labels in a batch. If none of the four counts is given, the method's own are taken
            (of the default method, those that there are labels for).
        noisy: samples with noisy labels in a batch.
        unlabelled: samples without labels in a batch.
        any_labelled: samples in a batch that are drawn uniformly from all labelled cases.
        foreground: fraction of labelled samples that are centred on a labelled object, 0..1.
        foreground_by: how the voxel is drawn that such a sample is centred on: 'voxel' takes any of the label's
            foreground, 'class' draws one of the label's classes first. By default 'class' with a planned network.
        augmentation: random changes of the samples; mirroring and quarter turns only if there is a single foreground
            class, or if asked for. If none is given, a planned network is trained with those of its plan.
        optimisation: optimiser settings.
        seed: decides every random choice.
        precision: bf16 where the hardware has it (auto), or one of the two.
        width: channels of the planned network's first stage; 32 by default, and 16 without a GPU.
        residual: add the input of each encoder block of the planned network to its output. By default on a GPU where it
            fits with the whole patch, and never on a CPU.
        memory: GiB that a training step may take, for the plan; what the GPU has, or up to 8 on a CPU, by default.
        devices: how many GPUs (or processes on a CPU) to use.
        nodes: how many machines to use.
        workers: processes that load data; none on a CPU and 4 for a GPU by default.
        compile: compile the network first; pays off on long runs.
        checkpoint_every: steps between checkpoints (and validations, if there is a validation split).

    Raises:
        InputError: a number is out of its range.
    """

    recipe: RecipeName | None = None
    iterations: int = 8000
    labels: Literal["classes", "soft"] | None = None
    weights: Path | None = None
    initial_iterations: int | None = None
    patch: Sequence[int] | None = None
    spacing: Sequence[float] | Literal["native", "auto"] = "auto"
    dimensions: Literal[2, 3] | None = None
    expert: int | None = None
    noisy: int | None = None
    unlabelled: int | None = None
    any_labelled: int | None = None
    foreground: float = 0.33
    foreground_by: ForegroundBy | None = None
    augmentation: Augmentation = Augmentation()
    optimisation: Optimisation = Optimisation()
    seed: int = 0
    precision: Precision = "auto"
    width: int | None = None
    residual: bool | None = None
    memory: float | None = None
    devices: int | Literal["auto"] = "auto"
    nodes: int = 1
    workers: int | None = None
    compile: bool = False
    checkpoint_every: int = 250

    def __post_init__(self) -> None:
        least_values = {"iterations": 1, "initial_iterations": 1, "checkpoint_every": 1, "seed": 0, "width": 1}
        for name, least in least_values.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(
                    name, f"must be {least} or more, got {value}", "give a larger number", code="invalid-value"
                )
        if not 0 <= self.foreground <= 1:
            raise InputError(
                "foreground", f"must be a share from 0 to 1, got {self.foreground}", "correct it", code="invalid-value"
            )
        if self.memory is not None and not self.memory > 0:
            raise InputError(
                "memory", f"must be above 0 GiB, got {self.memory}", "give a larger number", code="invalid-value"
            )

    def merged(self, **given: Any) -> Self:
        """The same with other values; of the settings of a recipe that is among them, those that are not given.

        Commands call it with their arguments. Where this class is built directly, ``recipe`` fills in nothing.

        Args:
            given: fields of this class by name.

        Raises:
            InputError: there is no such recipe, or a number is out of its range.
        """
        settings = settings_of(given.get("recipe") or "planned")
        settings.pop("network", None)
        for name, cls in (("augmentation", Augmentation), ("optimisation", Optimisation)):
            if name in settings:
                settings[name] = cls(**settings[name])
        recipe = given.get("recipe", self.recipe)
        return replace(self, **{**settings, **given, "recipe": None if recipe == "planned" else recipe})

    @property
    def hardware(self) -> Hardware:
        """What to compute on.

        Raises:
            InputError: there is less than that.
        """
        return Hardware(self.precision, self.devices, self.nodes, self.workers, self.compile)

    @property
    def given_augmentation(self) -> dict[str, Any] | None:
        """How strongly samples are augmented, if any of that is given; where they are mirrored does not count."""
        strengths = self.augmentation.strengths
        return None if strengths == Augmentation().strengths else strengths

    @property
    def counts(self) -> dict[str, int]:
        """The samples of each quality in a batch that are asked for; empty if the method decides."""
        given = {name: getattr(self, name) for name in _COUNTS}
        return {} if set(given.values()) == {None} else {name: count or 0 for name, count in given.items()}

    def composition(self, default: Composition) -> Composition:
        """Samples of each quality in a batch: those asked for, or those of the method."""
        return Composition(**self.counts) if self.counts else default

    def for_classes(self, classes: int) -> Self:
        """The same, with what depends on the number of classes decided.

        Args:
            classes: number of classes, background included.
        """
        return replace(self, augmentation=self.augmentation.for_classes(classes))

    def planned(self, plan: TrainingPlan) -> Self:
        """The same, with what a plan chooses in the place of what was not given."""
        augmentation = self.augmentation
        if self.given_augmentation is None:
            augmentation = replace(augmentation, **plan.augmentation)
        if augmentation.flips is None and augmentation.quarter_turns is None and augmentation.mirror is None:
            augmentation = replace(augmentation, flips=False, quarter_turns=False, mirror=plan.mirroring)
        patch, spacing = self.patch, self.spacing
        if patch is None:
            patch = plan.patch
        if spacing == "auto":
            spacing = [side for side in plan.spacing if side is not None]
        foreground_by = self.foreground_by or plan.foreground_by
        return replace(self, patch=patch, spacing=spacing, augmentation=augmentation, foreground_by=foreground_by)

    def deciding(self) -> dict[str, Any]:
        """Those that decide what a run computes, as YAML and JSON can hold them."""
        return {name: value for name, value in plain(asdict(self)).items() if name not in _WITHOUT_EFFECT}


def check_patch_axes(patch: Sequence[int], dimensions: int) -> None:
    """Make sure that a patch has one side for each axis of the network.

    Raises:
        InputError: it has not, or one is not positive.
    """
    if len(patch) != dimensions or min(patch) < 1:
        shown = " ".join(map(str, patch))
        problem = f"must have {dimensions} positive values, got {shown or 'none'}"
        raise InputError("patch", problem, f"give one side for each of the {dimensions} axes", code="invalid-value")
