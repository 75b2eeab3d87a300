"""The run folder: all that a training leaves behind, and all that is needed to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml

from segmend.configuration import described, described_class, rebuilt
from segmend.data.preprocess import Normalisation, Preprocessing
from segmend.errors import InputError
from segmend.methods import Method, all_methods
from segmend.networks import Network, all_networks
from segmend.outputs import content, locked_folder, refuse_if_written, remove_leftovers, whole_file, writing_to

_MAY_DIFFER = {"out", "compile"}
"""Arguments in config.yaml that do not change what a run computes, up to rounding."""


@dataclass(frozen=True)
class Task:
    """What a trained network was made for; with the weights, all that prediction needs.

    Attributes:
        channel_names: image channels in order.
        labels: class name to value in label files, background first.
        dimensions: 2 or 3: of the network, which may go through 3D scans slice by slice.
        patch: sides of the window.
        preprocessing: what is done to every scan.
        fingerprint: digest of all the data that the run was trained on.
    """

    channel_names: tuple[str, ...]
    labels: dict[str, int]
    dimensions: int
    patch: tuple[int, ...]
    preprocessing: Preprocessing
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        rules = [[rule.low, rule.high, rule.mean, rule.sd] for rule in self.preprocessing.normalisations]
        return {
            "channel_names": list(self.channel_names),
            "labels": self.labels,
            "dimensions": self.dimensions,
            "patch": list(self.patch),
            "spacing": list(self.preprocessing.spacing),
            "normalisations": rules,
            "foreground_only": self.preprocessing.foreground_only,
            "slice_axis": self.preprocessing.slice_axis,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Task:
        """The reverse of ``to_json``."""
        return cls(
            channel_names=tuple(content["channel_names"]),
            labels=dict(content["labels"]),
            dimensions=content["dimensions"],
            patch=tuple(content["patch"]),
            preprocessing=Preprocessing(
                spacing=tuple(content["spacing"]),
                normalisations=tuple(Normalisation(*rule) for rule in content["normalisations"]),
                foreground_only=content["foreground_only"],
                slice_axis=content["slice_axis"],
            ),
            fingerprint=content["fingerprint"],
        )


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint that was best on the validation split, where there is one."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def log(self) -> Path:
        """One row a logged step."""
        return self.path / "log.csv"

    @property
    def labels(self) -> Path:
        """Revisions of the labels, where the method rewrites them."""
        return self.path / "labels"

    @property
    def first(self) -> Run:
        """The plain training that labelled the unlabelled cases, where the method wants that."""
        return Run(self.path / "first")

    @property
    def first_labels(self) -> Path:
        """The labels that it gave them, on the scans' own grids."""
        return self.path / "first_labels"

    @property
    def finished(self) -> bool:
        """Whether the training went to its end."""
        return (self.path / "summary.json").is_file()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The arguments of the training."""
        try:
            config = yaml.safe_load(self._read("config.yaml"))
        except yaml.YAMLError:
            config = None
        if not isinstance(config, dict) or not {"method", "network"} <= set(config):
            raise InputError(self.path / "config.yaml", "is not the configuration of a run", "give the folder of a run")
        return config

    @property
    def method_class(self) -> type[Method]:
        """The class of the run's method."""
        # mypy forbids abstract classes as arguments, also where, as here, they only bound what is looked up.
        return described_class(self.config["method"], all_methods(), Method)  # type: ignore[type-abstract]

    @cached_property
    def task(self) -> Task:
        """What the run's network was made for."""
        try:
            return Task.from_json(json.loads(self._read("task.json")))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(self.path / "task.json", f"is damaged ({error!r})", "train again") from error

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What is known of a finished run."""
        content: dict[str, Any] = json.loads(self._read("summary.json"))
        return content

    def kept(self) -> AbstractContextManager[None]:
        """Keeps the folder for this process while a block runs.

        Raises:
            InputError: another process is training there, or nothing can be written there.
        """
        return locked_folder(self.path)

    def check_free_for(self, config: Mapping[str, Any]) -> None:
        """Makes sure that the folder is free, or holds a run of this configuration, and tidies it up.

        Raises:
            InputError: the folder holds a run of another configuration, or something else; or another process
                is training there.
        """
        refuse_if_written(self.path)
        remove_leftovers(self.path)  # also of a run that was killed when it had just been finished
        with writing_to(self.path):
            self._check_content(config)

    def _check_content(self, config: Mapping[str, Any]) -> None:
        if (self.path / "config.yaml").is_file():
            changed = sorted(
                name
                for name in set(config) | set(self.config)
                if name not in _MAY_DIFFER and config.get(name) != self.config.get(name)
            )
            if changed:
                was, now = ({name: side.get(name) for name in changed} for side in (self.config, config))
                raise InputError(
                    self.path, f"holds a run of another configuration: {was}, not {now}", "choose another --out"
                )
        elif self.path.exists() and (not self.path.is_dir() or content(self.path)):
            raise InputError(self.path, "holds something that is not a run", "choose another --out")

    def claim(self, config: Mapping[str, Any]) -> None:
        """Makes the folder that of a run of this configuration.

        Raises:
            InputError: as ``check_free_for``.
        """
        self.check_free_for(config)
        if not (self.path / "config.yaml").is_file():
            self._write("config.yaml", yaml.safe_dump(dict(config), sort_keys=False))

    def begin(self, config: Mapping[str, Any], task: Task) -> None:
        """Claims the folder, or makes sure that the run to be continued there has the same task.

        Raises:
            InputError: as ``check_free_for``, or the data have changed since the run was begun.
        """
        self.claim(config)
        if not (self.path / "task.json").is_file():
            self._write("task.json", json.dumps(task.to_json(), indent=1))
        elif self.task != task:
            raise InputError(self.path, "was begun with other data", "restore the data folder, or choose another --out")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes the summary, which marks the run as finished."""
        self._write("summary.json", json.dumps(dict(summary), indent=1))

    def method(self, checkpoint: Path | None = None) -> Method:
        """The method with the weights of a checkpoint, the last one by default, in evaluation mode.

        Raises:
            InputError: the folder is not a run, or there is no such checkpoint.
        """
        # The abstract classes are only bounds, which mypy forbids, as above.
        network = rebuilt(
            self.config["network"],
            all_networks(),
            Network,  # type: ignore[type-abstract]
            len(self.task.channel_names),
            len(self.task.labels),
            self.task.dimensions,
        )
        method: Method = rebuilt(self.config["method"], all_methods(), Method, network)  # type: ignore[type-abstract]
        file = checkpoint or self.last
        if not file.is_file():
            no_split = "the run has no validation split; take --checkpoint last"
            raise InputError(
                file, "does not exist", no_split if file == self.best else "let the run write its first checkpoint"
            )
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
            method.load_state_dict({name.removeprefix("method."): value for name, value in state.items()})
        except Exception as error:  # torch raises many kinds for a damaged file
            raise InputError(file, "is damaged or of another configuration", "continue or repeat the run") from error
        return method.eval()

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(self.path, f"is not a run folder: it has no {name}", "give the --out of train") from error

    def _write(self, name: str, content: str) -> None:
        with whole_file(self.path / name) as file:
            file.write_text(content, encoding="utf-8")


def configuration_of(method: Method, network: Network) -> dict[str, Any]:
    """The two entries of config.yaml that name method and network with all their arguments."""
    return {"method": described(method, all_methods()), "network": described(network, all_networks())}
