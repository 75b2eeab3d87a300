"""A training that has been checked: it says what it will do, reads the scans, and is ready to start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from segmend.core.case import Case
from segmend.core.locks import is_first_process
from segmend.core.precision import best_device, resolved
from segmend.core.progress import say, warn
from segmend.data.cache import cached_fingerprint, data_digest, default_cache, prepare, true_labels
from segmend.data.fingerprint import choose_preprocessing
from segmend.data.folder import DataFolder
from segmend.data.preprocess import Preprocessing
from segmend.data.sampling import BatchPlan
from segmend.data.state import DataState
from segmend.engine.fit import Training
from segmend.engine.hardware import check_memory, unused_gpu
from segmend.engine.initial_labels import write_initial_labels
from segmend.engine.options import TrainingOptions
from segmend.engine.plan import TrainingPlan
from segmend.engine.run import Run, Task, configuration_of
from segmend.engine.warm_start import WarmStart
from segmend.methods import Method
from segmend.networks import Network
from segmend.networks.fitting import choose_patch


@dataclass(frozen=True)
class TrainingSetup:
    """A training that has been checked.

    Attributes:
        folder: the data.
        options: settings, with all decided that depends on the number of classes.
        method: with its network, untrained.
        make_network: gives a fresh network of the same kind, with the same weights of an earlier run.
        run: where the training will be.
        labelled_cases: training cases as they were given.
        training_cases: the same, with the labels that unlabelled ones get first if the method wants them.
        validation_cases: those of the validation split that have a label.
        batches: draws the cases of every batch.
        dimensions: of the network, 2 or 3.
        slices: the network sees 2D slices of volumes.
        plan: what was chosen from the data, with reasons, where the network was not named.
        start: the earlier run that the network starts from.
    """

    folder: DataFolder
    options: TrainingOptions
    method: Method
    make_network: Callable[[], Network]
    run: Run
    labelled_cases: Sequence[Case]
    training_cases: Sequence[Case]
    validation_cases: Sequence[Case]
    batches: BatchPlan
    dimensions: int
    slices: bool
    plan: TrainingPlan | None = None
    start: WarmStart | None = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """All that decides what is computed, for config.yaml."""
        folder, table = self.folder, self.folder.table
        return {
            "data": str(folder.root.resolve()),
            "out": str(self.run.path.resolve()),
            **configuration_of(self.method, self.method.network),
            **self.options.deciding(),
            **(self.start.described() if self.start else {}),
            "compile": self.options.compile,
            "cases": str(table.resolve()) if table else None,
        }

    @cached_property
    def state(self) -> DataState:
        """The state of the data, by digests of the files."""
        return DataState.of(self.folder, [*self.labelled_cases, *self.validation_cases])

    def prepare(self, cache: Path | None = None) -> Training:
        """Read the scans, choose preprocessing and patch, and fill the cache.

        Args:
            cache: where prepared scans are kept; the user's cache folder by default.

        Returns:
            The training, of the cases as they were given.

        Raises:
            InputError: a scan or label cannot be used, or a step does not fit into memory.
        """
        options, folder, cache = self.options, self.folder, cache or default_cache()
        fingerprint = cached_fingerprint(folder, cache)
        preprocessing = choose_preprocessing(
            fingerprint, folder.channel_names, spacing=options.spacing, slices=self.slices
        )
        if (self.run.path / "task.json").is_file():  # a run goes on as it was begun
            begun = self.run.task.preprocessing
            preprocessing = replace(preprocessing, interpolation=begun.interpolation)
        patch = options.patch
        if patch is None:
            shape = fingerprint.shape_at(preprocessing)[: self.dimensions]
            patch = choose_patch(self.method.network, len(folder.channel_names), shape)
        needed = check_memory(
            self.method.network, len(folder.channel_names), patch, self.batches.size, options.hardware
        )
        self._announce(preprocessing.spacing, patch, needed)
        prepared = prepare(folder, self.labelled_cases, preprocessing, cache)
        validation = prepare(folder, self.validation_cases, preprocessing, cache)
        return Training(
            cases=prepared,
            validation=validation,
            plan=self.batches,
            task=Task(
                channel_names=folder.channel_names,
                labels=folder.labels,
                dimensions=self.dimensions,
                patch=tuple(patch),
                preprocessing=preprocessing,
                fingerprint=data_digest([*prepared, *validation]),
                mirroring=self.plan.mirroring if self.plan else None,
                regions=folder.regions,
            ),
            augmentation=options.augmentation,
            foreground=options.foreground,
            foreground_by=options.foreground_by or "voxel",
            optimisation=options.optimisation,
            iterations=options.iterations,
            seed=options.seed,
            checkpoint_every=options.checkpoint_every,
            truth=true_labels(folder, self.labelled_cases, preprocessing, cache) if self.method.layers else {},
        )

    def with_initial_labels(self, training: Training, cache: Path | None = None) -> Training:
        """Give unlabelled cases the labels of a plain training first, where the method starts from such labels.

        Args:
            training: of the cases as they were given.
            cache: as in ``prepare``.

        Raises:
            InputError: no case is labelled, or a file cannot be used.
        """
        if self.training_cases == self.labelled_cases:
            return training
        options = self.options
        steps = options.initial_iterations or max(options.iterations // 4, 1)
        incomplete = [case for case in self.labelled_cases if case not in set(self.training_cases)]
        write_initial_labels(
            self.run, self.folder, self.make_network, training, incomplete, steps, options.hardware, self.config
        )
        preprocessing = training.task.preprocessing
        prepared = prepare(self.folder, self.training_cases, preprocessing, cache or default_cache())
        task = replace(training.task, fingerprint=data_digest([*prepared, *training.validation]))
        return replace(training, cases=prepared, task=task)

    def digest(self, preprocessing: Preprocessing, cache: Path | None = None) -> str:
        """Digest of all prepared data that the run learns from, as ``Task.fingerprint`` has it."""
        cases = [*self.training_cases, *self.validation_cases]
        return data_digest(prepare(self.folder, cases, preprocessing, cache or default_cache()))

    def _announce(self, spacing: Sequence[float | None], patch: Sequence[int], memory: int) -> None:
        """Print what is trained, on what and where, before the work starts."""
        if not is_first_process():
            return
        if ignored := unused_gpu():
            warn(ignored)
        device, network = best_device(), self.method.network
        place = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
        grid = "the scans' own spacing" if None in spacing else f"{' x '.join(f'{side:.3g}' for side in spacing)} mm"
        millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        cases = f"{len(self.training_cases)} training and {len(self.validation_cases)} validation cases"
        if self.plan:
            for line in self.plan.lines():
                say(line)
        if self.start:
            say(f"the network starts from the weights in {self.start.given}")
        regions = f" of {len(self.folder.regions)} regions" if self.folder.regions else ""
        say(f"data: {self.folder.name}, {cases}, {self.folder.classes - 1} classes{regions}")
        say(
            f"{type(self.method).__name__} with {type(network).__name__} ({millions:.3g} M parameters) on {place}, "
            f"precision {resolved(self.options.precision, device)}: {self.options.iterations} steps, batch of "
            f"{self.options.composition(self.method.needs)}, crops of {' x '.join(map(str, patch))} at {grid}, "
            f"about {memory / 2**30:.1f} GiB for a step of each network"
        )
