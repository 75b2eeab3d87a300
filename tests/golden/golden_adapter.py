"""All that the golden runs know of Segmend, with golden_commands: the files to adapt when modules move.

What a function here computes must stay the same for ever, or the digests of old and new code could not be compared.
All arguments are given, even where they are the defaults, and nothing that users see (names of columns, terms, files)
gets into what is returned.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from segmend.core.case import Quality, Split
from segmend.data.augment import Augmentation
from segmend.data.cache import PreparedCase, prepare
from segmend.data.check import load_case
from segmend.data.fingerprint import ClassOrder, Fingerprint, choose_preprocessing, take_fingerprint
from segmend.data.folder import DataFolder
from segmend.data.image import read_label
from segmend.data.sampling import BatchPlan
from segmend.engine.fit import Training, fit
from segmend.engine.hardware import Hardware
from segmend.engine.label_revision import label_store
from segmend.engine.label_store import LabelStore
from segmend.engine.learner import Optimisation
from segmend.engine.planner import Machine, plan_training
from segmend.engine.run import Run, Task
from segmend.engine.segmenter import Segmenter
from segmend.methods import Method, all_methods
from segmend.methods.supervised.supervised import LossName
from segmend.networks import all_networks
from segmend.noise import all_recipes

Tensors = list[NDArray[Any]]

AUGMENTATION = Augmentation(
    quarter_turns=True, flips=True, rotation=0.0, zoom=0.0, contrast=0.0, brightness=0.0, noise=0.0
)
STRONG_AUGMENTATION = Augmentation(
    quarter_turns=True, flips=True, rotation=20.0, zoom=0.2, contrast=0.2, brightness=0.2, noise=0.1
)
SGD = Optimisation(optimiser="sgd", learning_rate=0.01, momentum=0.9, weight_decay=1e-4, schedule="poly", clip=None)
ADAMW = Optimisation(optimiser="adamw", learning_rate=0.001, momentum=0.9, weight_decay=0.01, schedule="step", clip=1.0)
OPTIONS = {
    "papers": (AUGMENTATION, SGD, 0.0),
    "strong": (STRONG_AUGMENTATION, ADAMW, 0.5),
}
"""Augmentation, optimisation and share of samples centred on an object."""


def method_names() -> list[str]:
    """All methods."""
    return list(all_methods())


def network_names() -> list[str]:
    """All networks."""
    return list(all_networks())


def recipe_names() -> list[str]:
    """All noise recipes."""
    return list(all_recipes())


def versions(names: Sequence[str]) -> dict[str, int]:
    """Versions of ``engine``, ``audit`` and ``resampling``, and of methods, networks and recipes."""
    from segmend.bench import protocol  # commits that these golden runs are injected into may have none

    known = {**all_methods(), **all_networks(), **all_recipes()}
    shared = {
        "engine": protocol.ENGINE_VERSION,
        "audit": protocol.AUDIT_VERSION,
        "resampling": getattr(protocol, "RESAMPLING_VERSION", 1),
        "planner": getattr(protocol, "PLANNER_VERSION", 1),
    }
    return {name: shared.get(name) or known[name].protocol_version for name in names}


def planned(
    spacing: Sequence[float],
    shape: Sequence[int],
    fine_spacing: Sequence[float],
    ordered_axis: int | None,
    gibibytes: float,
    width: int,
    slices: bool,
) -> dict[str, Any]:
    """What is planned for three classes and batches of four, one channel, in bfloat16: values without their reasons."""
    order = () if ordered_axis is None else (ClassOrder(ordered_axis, 1, 2, 1.0, 20),)
    fingerprint = Fingerprint(
        spacing=tuple(spacing),
        shape=tuple(shape),
        content=1.0,
        foreground=((0.0, 1.0, 0.5, 0.1),),
        fine_spacing=tuple(fine_spacing),
        extent=tuple(distance * side for distance, side in zip(spacing, shape, strict=True)),
        cases=20,
        annotated=(20, 20),
        order=order,
    )
    names: dict[str, Any] = {"classes": 3, "objects": ["a", "b"]}
    if "class_names" in inspect.signature(plan_training).parameters:  # of commits before there were regions
        names = {"class_names": ["background", "a", "b"]}
    plan = plan_training(
        fingerprint,
        channels=1,
        **names,
        slices=slices,
        batch=4,
        networks=1,
        machine=Machine("golden", int(gibibytes * 2**30), 2, width, "given"),
    )
    return {
        "spacing": plan.spacing,
        "patch": plan.patch,
        "network": plan.network,
        "mirroring": plan.mirroring,
        "augmentation": plan.augmentation,
        "foreground": plan.foreground_by,
    }


def criteria() -> list[str]:
    """All losses of plain training."""
    return list(get_args(LossName))


@dataclass(frozen=True)
class Prepared:
    """A data folder that is ready to be trained on.

    Attributes:
        cases: its training cases.
        task: channels, classes, patch and preprocessing.
    """

    cases: list[PreparedCase]
    task: Task

    @classmethod
    def of(cls, data: Path, cache: Path, patch: Sequence[int], spacing: Sequence[float]) -> Prepared:
        """Prepares the training cases; a patch of two sides goes through slices of volumes."""
        folder = DataFolder.open(data)
        cases = folder.select(Split.TRAIN)
        found = take_fingerprint(folder)
        slices = len(patch) < len(spacing)
        preprocessing = choose_preprocessing(found, folder.channel_names, spacing=tuple(spacing), slices=slices)
        task = Task(folder.channel_names, folder.labels, len(patch), tuple(patch), preprocessing, "golden")
        return cls(prepare(folder, cases, preprocessing, cache), task)

    def arrays(self) -> Tensors:
        """Images and labels."""
        return [array for case in self.cases for array in (np.asarray(case.image), np.asarray(case.given))]


@dataclass(frozen=True)
class Trained:
    """What a training left.

    Attributes:
        state: all numbers of the method.
        moved: by how much the parameters of its network moved.
        labels: all that the method revises of every case, as it is at the end.
        probabilities: of the first case, by the sliding window.
    """

    state: Tensors
    moved: Tensors
    labels: Tensors
    probabilities: Tensors


def schooled(prepared: Prepared, name: str, arguments: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Weights of a network that knows the scans a little: by an untrained one, labels would not be rewritten.

    All but the last layer stays random; that one is fitted to the expert labels by least squares. This depends neither
    on how Segmend trains nor, beyond the last digits, on how a processor rounds; steps of training would.
    """
    torch.manual_seed(0)
    task = prepared.task
    network = all_networks()[name](len(task.channel_names), len(task.labels), task.dimensions, **arguments)
    expert = [case for case in prepared.cases if case.case.quality is Quality.EXPERT]
    windows = [tuple(slice(side) for side in task.patch), tuple(slice(-side, None) for side in task.patch)]
    image = torch.tensor(np.stack([case.image[(slice(None), *window)] for case in expert for window in windows]))
    label = torch.tensor(np.stack([case.given[window] for case in expert for window in windows]).astype(np.int64))
    *_, head = (part for part in network.modules() if hasattr(part, "weight") and hasattr(part, "kernel_size"))
    seen: list[torch.Tensor] = []
    tap = head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                part.momentum = None  # statistics of just these scans
        network.train()(image)
        seen.clear()
        network.eval()(image)
        features = seen[0].movedim(1, -1).flatten(0, -2).double()
        features = torch.cat([features, torch.ones_like(features[:, :1])], 1)
        wanted = 6.0 * torch.nn.functional.one_hot(label.flatten(), len(task.labels)).double()
        weighted = features / torch.bincount(label.flatten())[label.flatten()].unsqueeze(1)  # all classes count alike
        normal = weighted.T @ features + 1e-3 * torch.eye(features.shape[1], dtype=torch.float64)
        solved = torch.linalg.solve(normal, weighted.T @ wanted).float()
        head.weight.copy_(solved[:-1].T.reshape(head.weight.shape))
        head.bias.copy_(solved[-1])
        for part in network.modules():
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                part.momentum = 0.1
                part.num_batches_tracked.zero_()
    tap.remove()
    return network.state_dict()


def fitted(
    prepared: Prepared,
    out: Path,
    method: str,
    arguments: Mapping[str, Any],
    network: str,
    network_arguments: Mapping[str, Any],
    precision: str,
    iterations: int,
    options: str = "papers",
    start: Mapping[str, torch.Tensor] | None = None,
) -> Trained:
    """Trains a method on prepared cases."""
    torch.manual_seed(1)
    made = all_networks()[network](
        len(prepared.task.channel_names), len(prepared.task.labels), prepared.task.dimensions, **network_arguments
    )
    if start is not None:
        made.load_state_dict(start)
    trained = all_methods()[method](made, **arguments)
    before = [parameter.detach().clone() for parameter in made.parameters()]
    augmentation, optimisation, foreground = OPTIONS[options]
    training = Training(
        cases=prepared.cases,
        validation=[],
        plan=BatchPlan.of([case.case for case in prepared.cases], trained.needs, 1, "golden"),
        task=prepared.task,
        augmentation=augmentation,
        foreground=foreground,
        optimisation=optimisation,
        iterations=iterations,
        seed=1,
        checkpoint_every=iterations,
    )
    run = Run(out)
    fit(run, trained, training, Hardware(precision=precision, devices=1, nodes=1, workers=0, compile=False))
    final = _revised(label_store(run.labels, trained, prepared.cases, iterations), trained, prepared)
    trained.eval()
    with torch.no_grad():
        segmenter = _segmenter(trained, prepared.task, precision)
        probabilities = segmenter.maps(np.asarray(prepared.cases[0].image), trained.predict)
    moved = [(new.detach() - old).numpy() for old, new in zip(before, made.parameters(), strict=True)]
    return Trained(state_of(trained), moved, final, [probabilities])


def _revised(store: LabelStore, trained: Method, prepared: Prepared) -> Tensors:
    """All that the method revises, as uint8 ``[*spatial]``, what was never revised as the given label.

    Superpixels are two digits of base 255, the high one first, and probabilities are in percent: once, they were kept
    in this way.
    """
    cases, last = [(case.case.name, case.given) for case in prepared.cases], store.count
    arrays = [store.label(name, layer, last) for layer in trained.layers for name, _ in cases]
    for kept in trained.maps:
        for digit in (lambda numbers: numbers // 255, lambda numbers: numbers % 255):
            for name, given in cases:
                known = store.holder(name, kept, last) > 0
                arrays.append(digit(store.map(name, kept, last)).astype(np.uint8) if known else given)
    for kept in trained.values:
        for name, given in cases:
            percent = 100 * np.array(store.value(name, kept, last))
            known = bool(np.isfinite(percent).all())
            arrays.append(np.broadcast_to(np.rint(percent), given.shape).astype(np.uint8) if known else given)
    return [np.asarray(array) for array in arrays]


def predicted(prepared: Prepared, data: Path, network: str, network_arguments: Mapping[str, Any]) -> Tensors:
    """Classes and probabilities of a scan by an untrained network, in all ways to look at it."""
    torch.manual_seed(1)
    task = prepared.task
    made = all_networks()[network](len(task.channel_names), len(task.labels), task.dimensions, **network_arguments)
    method = all_methods()["Supervised"](made).eval()
    folder = DataFolder.open(data)
    scan = load_case(folder.select(Split.TRAIN)[0], folder)
    stride = tuple(max(1, side // 3) for side in task.patch)
    found: Tensors = []
    with torch.no_grad():
        for more in ({}, {"stride": stride, "weighting": "uniform"}, {"flips": True}, {"largest": True}):
            segmenter = _segmenter(method, task, "32", **more)
            found += [segmenter.classes(scan.image, scan.grid), *segmenter.probabilities(scan.image, scan.grid)]
    return found


def _segmenter(method: Method, task: Task, precision: str, **more: Any) -> Segmenter:
    usual: dict[str, Any] = {"overlap": 0.5, "weighting": "gaussian", "flips": False, "largest": False, "batch": 1}
    return Segmenter(method, task, precision=precision, **(usual | more))


def state_of(method: Method) -> Tensors:
    """All numbers that a method keeps."""
    return list(_arrays(method.state_dict()))


def _arrays(state: Any) -> Iterator[NDArray[Any]]:
    """All numbers of a state, whatever they are called there."""
    if isinstance(state, Mapping):
        for value in state.values():
            yield from _arrays(value)
    elif isinstance(state, (list, tuple)):
        for value in state:
            yield from _arrays(value)
    elif isinstance(state, torch.Tensor):
        yield state.detach().cpu().clone().contiguous().numpy()
    elif isinstance(state, (int, float)):
        yield np.array(float(state))


def labels_in(folder: Path) -> Tensors:
    """All label files of a folder."""
    return [read_label(file)[0] for file in sorted(folder.glob("*.nii.gz"))]
