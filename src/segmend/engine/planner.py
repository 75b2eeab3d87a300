"""Plans a training from the data and the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from segmend.core.errors import InputError
from segmend.core.progress import warn
from segmend.data.augment import PLANNED, Augmentation
from segmend.data.fingerprint import Fingerprint
from segmend.data.preprocess import THICK_SLICES
from segmend.engine.architecture import (
    SMALLEST_SIDE,
    Architecture,
    architecture_arguments,
    plan_architecture,
    plan_patch,
    step_bytes,
)
from segmend.engine.batches import ForegroundBy
from segmend.engine.plan import Choice, TrainingPlan
from segmend.networks import PlannedUNet

PLANNED_AUGMENTATION: Augmentation | None = PLANNED
"""What samples are augmented by where nothing is given; None for the defaults of ``Augmentation``."""

PLANNED_FOREGROUND: ForegroundBy = "class"
"""How foreground voxels are drawn where nothing is given."""


@dataclass(frozen=True)
class Machine:
    """What a training may take.

    Attributes:
        name: for human readers.
        memory: bytes for a training step.
        bytes_per_value: 2 where the network computes in bfloat16, else 4.
        width: channels of the network's first stage.
        reason: why that width.
        gpu: whether it computes on a GPU.
    """

    name: str
    memory: int
    bytes_per_value: int
    width: int
    reason: str
    gpu: bool = False


def plan_training(
    fingerprint: Fingerprint,
    *,
    channels: int,
    classes: int,
    objects: Sequence[str],
    slices: bool,
    batch: int,
    networks: float,
    machine: Machine,
    spacing: Sequence[float | None] | None = None,
    patch: Sequence[int] | None = None,
    augmentation: Mapping[str, Any] | None = None,
    foreground_by: ForegroundBy | None = None,
    residual: bool | None = None,
) -> TrainingPlan:
    """Plan network, patch and augmentation of a training.

    Args:
        fingerprint: of the training scans.
        channels: image channels.
        classes: number of classes, background included.
        objects: names of the classes or regions that are segmented, without the background.
        slices: a 2D network sees slices of volumes.
        batch: samples of a step.
        networks: how many networks the method trains.
        machine: what there is.
        spacing: millimetres between voxels, slices last, where they are given.
        patch: sides of the crops, where they are given.
        augmentation: arguments of ``Augmentation``, where some are given; those of mirroring do not count.
        foreground_by: how foreground voxels are drawn, where that is given.
        residual: whether the encoder is residual, where that is given.

    Raises:
        InputError: no patch fits into the memory.
    """
    entries = {"machine": Choice(machine.name, f"{machine.memory / 2**30:.3g} GiB for a step")}
    entries["spacing"] = plan_spacing(fingerprint) if spacing is None else Choice(list(spacing), "as given")
    if slices:
        entries["spacing"] = replace(entries["spacing"], value=[*entries["spacing"].value[:2], None])
    dimensions = len(fingerprint.spacing) - slices
    own = [fingerprint.spacing[axis] for axis in fingerprint.axes()]
    distances = [wanted or kept for wanted, kept in zip(entries["spacing"].value, own, strict=True)][:dimensions]
    extent = [fingerprint.extent[axis] for axis in fingerprint.axes()][:dimensions]
    shape = [max(1, round(side / distance)) for side, distance in zip(extent, distances, strict=True)]

    def memory(chosen: Architecture, with_residual: bool = bool(residual)) -> int:
        arguments = architecture_arguments(chosen, machine.width, with_residual)
        with torch.device("meta"):
            network = PlannedUNet(channels, classes, dimensions, **arguments)
        return int(networks * step_bytes(network, channels, chosen.patch, batch, machine.bytes_per_value))

    if patch is None:
        chosen, entries["patch"] = plan_patch(shape, distances, lambda tried: memory(tried) <= machine.memory)
    else:
        chosen = plan_architecture(patch, distances)
        entries["patch"] = Choice(list(patch), "as given")
        if chosen.patch != tuple(patch):
            raise InputError(
                "patch",
                f"must suit the strides of the planned network, got {' '.join(map(str, patch))}",
                f"the next that does is `patch {' '.join(map(str, chosen.patch))}`",
                code="mismatch",
            )
    stages = len(chosen.strides)
    encoder = plan_encoder(machine, lambda: memory(chosen, True), residual)
    entries["network"] = Choice(
        architecture_arguments(chosen, machine.width, encoder.value),
        f"U-Net of {stages} stages: axes are halved down to {SMALLEST_SIDE} voxels; {machine.width} channels, "
        f"{machine.reason}; {encoder.reason}",
    )
    entries["batch"] = Choice(batch, "as the method composes it")
    entries["mirroring"] = plan_mirroring(fingerprint, objects, dimensions)
    entries["augmentation"] = Choice(dict(augmentation), "as given") if augmentation else plan_augmentation(distances)
    entries["foreground"] = Choice(PLANNED_FOREGROUND, "crops are centred on all classes of a label equally often")
    if foreground_by:
        entries["foreground"] = Choice(foreground_by, "as given")
    needed = memory(chosen, encoder.value)
    entries["memory"] = Choice(_gib(needed), "for a training step, estimated")
    if needed > machine.memory:  # of a patch that was given: others are chosen to fit
        reason = f"for a training step, estimated: more than the {_gib(machine.memory)} of the machine"
        entries["memory"] = replace(entries["memory"], reason=reason)
        warn(f"a training step needs about {_gib(needed)}, but there are {_gib(machine.memory)}: give a smaller patch")
    return TrainingPlan(entries)


def plan_spacing(fingerprint: Fingerprint) -> Choice:
    """Choose the spacing to train at, slices last: the median, and a finer one across slices that vary in thickness.

    Returns:
        Millimetres along each prepared axis.
    """
    axes = fingerprint.axes()
    median = [fingerprint.spacing[axis] for axis in axes]
    if len(axes) < 3 or median[-1] <= THICK_SLICES * max(median[:-1]):
        return Choice(median, f"median of {fingerprint.cases} scans")
    fine = max(fingerprint.fine_spacing[axes[-1]], max(median[:-1]))
    if fine >= median[-1]:
        return Choice(median, f"median of {fingerprint.cases} scans; slices are {median[-1]:.3g} mm apart in most")
    return Choice(
        [*median[:-1], fine],
        f"median of {fingerprint.cases} scans within slices; across them the tenth percentile, since the median, "
        f"{median[-1]:.3g} mm, would discard slices of the finer scans",
    )


def plan_encoder(machine: Machine, memory: Callable[[], int], given: bool | None = None) -> Choice:
    """Choose whether the encoder is residual.

    Residual encoders segmented more accurately than plain ones where the GPU was large enough for them (Isensee et al.,
    nnU-Net revisited, MICCAI 2024). Here the patch comes first: it never shrinks for them.

    Args:
        machine: what there is.
        memory: gives the bytes that a step of a residual network with the chosen patch takes.
        given: what is asked for, if it is.
    """
    if given is not None:
        return Choice(given, f"{'residual' if given else 'plain'} encoder, as given")
    if not machine.gpu:
        return Choice(False, "plain encoder, as there is no GPU")
    needed = memory()
    if needed > machine.memory:
        return Choice(False, f"plain encoder, as a step of a residual one would need {_gib(needed)} with this patch")
    return Choice(True, f"residual encoder, as a step with this patch fits into memory with it, too ({_gib(needed)})")


def plan_mirroring(fingerprint: Fingerprint, objects: Sequence[str], dimensions: int = 3) -> Choice:
    """Choose the prepared axes along which samples are mirrored: not those that tell classes apart.

    Args:
        fingerprint: of the training scans.
        objects: names of the classes or regions that are segmented, without the background.
        dimensions: of the network: 2 for slices of volumes.
    """
    names = ("right", "anterior", "superior") if len(fingerprint.spacing) == 3 else ("x", "y")
    kept = {each.axis: each for each in sorted(fingerprint.order, key=lambda each: each.share)}
    axes = [place for place, axis in enumerate(fingerprint.axes()[:dimensions]) if axis not in kept]
    if not kept:
        return Choice(axes, "no two of what is segmented keep their order along an axis")
    pairs = "; ".join(
        f"{objects[each.first - 1]} and {objects[each.second - 1]} keep their order along {names[axis]} in "
        f"{100 * each.share:.0f} % of {each.cases} cases"
        for axis, each in sorted(kept.items())
    )
    return Choice(axes, f"not along the others: {pairs}")


def plan_augmentation(spacing: Sequence[float]) -> Choice:
    """Choose how strongly samples are augmented; where they are mirrored is another entry.

    Args:
        spacing: millimetres between voxels along the axes of the network.

    Returns:
        Arguments of ``Augmentation``.
    """
    if PLANNED_AUGMENTATION is None:
        return Choice(Augmentation().strengths, "the defaults")
    reason = "the changes that nnU-Net makes, about as strong and as often"
    if len(spacing) == 2:
        return Choice(replace(PLANNED_AUGMENTATION, tilt=None).strengths, reason)
    ratio = max(spacing) / min(spacing)
    if ratio > THICK_SLICES:
        reason += f"; not across slices, which are {ratio:.3g} times as thick as voxels are wide"
    return Choice(replace(PLANNED_AUGMENTATION, across_slices=ratio <= THICK_SLICES).strengths, reason)


def _gib(size: float) -> str:
    return f"{size / 2**30:.2g} GiB"
