"""The run folder: all that a training leaves behind, and all that is needed to use it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from segmend.core.config import described, described_class, rebuilt, stated
from segmend.core.documents import DamagedError, read_yaml
from segmend.core.errors import InputError
from segmend.core.folders import locked_folder, refuse_if_written
from segmend.core.io import atomic_file, content, remove_leftovers
from segmend.core.os_errors import explain_os_errors
from segmend.core.own_classes import import_declared
from segmend.core.paths import is_file, read_json
from segmend.core.unallocated import build_unallocated
from segmend.data.state import DataState
from segmend.engine.checkpoints import check_origin, check_weights, read_checkpoint, weights_in
from segmend.engine.plan import TrainingPlan
from segmend.engine.task import Task as Task
from segmend.engine.task import check_task
from segmend.engine.trained import Trained
from segmend.methods import Method, all_methods
from segmend.networks import Network, all_networks
from segmend.networks.fitting import check_window

_MAY_DIFFER = {"out", "compile", "weights"}
"""Arguments in config.yaml that do not change what a run computes, up to rounding; weights have their digest."""

_OF_A_RUN = "give the folder of a run"


@dataclass(frozen=True)
class Run(Trained):
    """A run folder, with which scans can be segmented (``predict``) and data folders scored (``evaluate``).

    Attributes:
        path: the folder.
    """

    path: Path

    def __fspath__(self) -> str:
        """The folder, so that a run may be given where a path is wanted."""
        return str(self.path)

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint that was best on the validation split, where there is one."""
        return self.path / "checkpoints" / "best.ckpt"

    def checkpoint(self, which: Literal["last", "best"]) -> Path:
        """The file of a checkpoint."""
        return self.best if which == "best" else self.last

    @property
    def log(self) -> Path:
        """One row a logged step."""
        return self.path / "log.csv"

    @property
    def labels(self) -> Path:
        """Revisions of the labels, where the method rewrites them."""
        return self.path / "labels"

    @property
    def initial(self) -> Run:
        """The plain training that labelled the unlabelled cases, where the method wants that."""
        return Run(self.path / "initial")

    @property
    def initial_labels(self) -> Path:
        """The labels that it gave them, on the scans' own grids."""
        return self.path / "initial_labels"

    @property
    def finished(self) -> bool:
        """Whether the training went to its end; a summary that is damaged is written again by the same command."""
        try:
            return bool(self.summary)
        except InputError:
            return False

    @cached_property
    def config(self) -> dict[str, Any]:
        """The arguments of the training."""
        file = self._file("config.yaml")
        try:
            config, _ = read_yaml(file)
        except InputError as error:
            raise InputError(
                file, f"is not the configuration of a run ({error.problem})", _OF_A_RUN, code="damaged"
            ) from error
        if not isinstance(config, dict) or not {"method", "network"} <= set(config):
            raise InputError(file, "is not the configuration of a run", _OF_A_RUN, code="damaged")
        for part in ("method", "network"):
            if isinstance(config[part], dict) and isinstance(config[part].get("class_path"), str):
                import_declared(config[part]["class_path"])
        for name in ("data", "cases"):
            if not isinstance(config.get(name), (str, type(None))) or "\0" in (config.get(name) or ""):
                raise InputError(
                    file, f"is damaged ({name} is no path)", "restore it from a copy, or train again", code="damaged"
                )
        return config

    @property
    def method_class(self) -> type[Method]:
        """The class of the run's method."""
        # mypy forbids abstract classes as arguments, also where, as here, they only bound what is looked up.
        return described_class(self.config["method"], all_methods(), Method, where=self._file("config.yaml"))  # type: ignore[type-abstract]

    @property
    def network_class(self) -> type[Network]:
        """The class of the run's network."""
        return described_class(self.config["network"], all_networks(), Network, where=self._file("config.yaml"))  # type: ignore[type-abstract]

    @cached_property
    def task(self) -> Task:
        """What the run's network was made for."""
        file = self._file("task.json")
        try:
            return Task.from_json(check_task(read_json(file)))
        except (DamagedError, InputError) as error:
            raise InputError(file, f"is damaged ({_reason(error)})", "train again", code="damaged") from error

    @property
    def plan(self) -> TrainingPlan | None:
        """What was chosen from the data when the run was begun; None where network and patch were given.

        Raises:
            InputError: the file is damaged.
        """
        file = self.path / "plan.json"
        if not is_file(file):
            return None
        try:
            return TrainingPlan.from_json(read_json(file))
        except (InputError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                file, f"is damaged ({error})", "restore it from a copy, or train again", code="damaged"
            ) from error

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What is known of a finished run."""
        file = self._file("summary.json")
        try:
            return read_json(file)
        except InputError as error:
            remedy = "run the same 'segmend train' again, which writes it again"
            raise InputError(file, f"is damaged ({_reason(error)})", remedy, code="damaged") from error

    @property
    def mark(self) -> str | None:
        """Digest of what the weights of this run belong to, for its checkpoints; None before the run is begun."""
        if not all((self.path / name).is_file() for name in ("config.yaml", "task.json")):
            return None
        parts = {name: self.config.get(name) for name in ("method", "network", "seed")}
        text = json.dumps([parts, self.task.to_json()], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

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
        with explain_os_errors(self.path):
            self._check_content(config)

    def _check_content(self, config: Mapping[str, Any]) -> None:
        if (self.path / "config.yaml").is_file():
            changed = sorted(
                name
                for name in set(config) | set(self.config)
                if name not in _MAY_DIFFER and stated(config.get(name)) != stated(self.config.get(name))
            )
            if changed:
                was, now = ({name: side.get(name) for name in changed} for side in (self.config, config))
                raise InputError(
                    self.path,
                    f"holds a run of another configuration: {was}, not {now}",
                    "choose another `out`",
                    code="already-exists",
                )
        elif self.path.exists() and (not self.path.is_dir() or content(self.path)):
            raise InputError(
                self.path, "holds something that is not a run", "choose another `out`", code="already-exists"
            )

    @property
    def data_state(self) -> DataState | None:
        """The state of the data that the run learned from; None for runs of versions that did not write it down.

        Raises:
            InputError: the file is damaged.
        """
        return DataState.read(self.path / "data.json") if is_file(self.path / "data.json") else None

    def check_data(self, data: DataState) -> None:
        """Makes sure that the data are those that the run was begun with. Nothing is written.

        Raises:
            InputError: they have changed; it names the cases.
        """
        before = self.data_state
        changes = data.changes_since(before) if before else ""
        if changes and self.finished:
            problem = f"was trained on other data: {changes}"
            raise InputError(
                self.path, problem, "choose another `out`, or restore the data folder", code="changed-data"
            )
        if changes:
            remedy = f"restore the data folder ({changes}), or choose another `out`"
            raise InputError(self.path, "was begun with other data", remedy, code="changed-data")

    def claim(self, config: Mapping[str, Any]) -> None:
        """Makes the folder that of a run of this configuration.

        Raises:
            InputError: as ``check_free_for``.
        """
        self.check_free_for(config)
        if not (self.path / "config.yaml").is_file():
            self._write("config.yaml", yaml.safe_dump(dict(config), sort_keys=False))

    def begin(
        self, config: Mapping[str, Any], task: Task, data: DataState | None = None, plan: TrainingPlan | None = None
    ) -> None:
        """Claims the folder, or makes sure that the run to be continued there has the same task.

        Args:
            config: the configuration.
            task: what is trained for.
            data: what is learned from, written down for ``check_data``.
            plan: what was chosen from the data, written down for those who continue the run.

        Raises:
            InputError: as ``check_free_for``, or the data have changed since the run was begun.
        """
        self.claim(config)
        if not (self.path / "task.json").is_file():
            self._write("task.json", json.dumps(task.to_json(), indent=1))
        elif self.task != task:
            raise InputError(
                self.path,
                "was begun with other data",
                "restore the data folder, or choose another `out`",
                code="changed-data",
            )
        if plan and not is_file(self.path / "plan.json"):
            self._write("plan.json", json.dumps(plan.to_json(), indent=1))
        if data and self.data_state is None:
            data.write(self.path / "data.json")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes the summary, which marks the run as finished."""
        self._write("summary.json", json.dumps(dict(summary), indent=1))

    def method(self, checkpoint: Path | None = None) -> Method:
        """The method with the weights of a checkpoint, the last one by default, in evaluation mode.

        Raises:
            InputError: the folder is not a run, there is no such checkpoint, or a file is damaged. Nothing is run
                from these files, and nothing is allocated before they agree.
        """
        file = checkpoint or self.last
        try:
            trial = build_unallocated(self._built)
        except InputError as error:
            raise error.but(where=self._file("config.yaml")) from error
        try:
            check_window(trial.network, len(self.task.channel_names), len(self.task.labels), self.task.patch)
        except InputError as error:
            raise InputError(
                self._file("task.json"), f"is damaged ({error.problem})", "train again", code="damaged"
            ) from error
        if not os.path.lexists(file):
            no_split = "the run has no validation split; take `checkpoint last`"
            raise InputError(
                file,
                "does not exist",
                no_split if file == self.best else "let the run write its first checkpoint",
                code="missing-file",
            )
        try:
            content = read_checkpoint(file)
            check_origin(content, self.mark)
            weights = weights_in(content)
            check_weights(weights, trial)
            method = self._built()
            method.load_state_dict(weights)
        except InputError:
            raise
        except Exception as error:  # also: what modules refuse of their own state
            reason = f" ({error})" if isinstance(error, DamagedError) and str(error) else ""
            problem = f"is damaged or of another configuration{reason}"
            raise InputError(file, problem, "continue or repeat the run", code="damaged") from error
        return method.eval()

    def _built(self) -> Method:
        # The abstract classes are only bounds, which mypy forbids, as above.
        file = self._file("config.yaml")
        network = rebuilt(
            self.config["network"],
            all_networks(),
            Network,  # type: ignore[type-abstract]
            len(self.task.channel_names),
            len(self.task.labels),
            self.task.dimensions,
            where=file,
        )
        return rebuilt(self.config["method"], all_methods(), Method, network, where=file)  # type: ignore[type-abstract]

    def _file(self, name: str) -> Path:
        file = self.path / name
        if not file.is_file():
            of_folds = is_file(self.path / "folds.json")
            raise InputError(
                self.path,
                f"is not a run folder: it has no {name}",
                "give the run of one fold, such as fold_1"
                if of_folds
                else "give the folder that 'segmend train' wrote",
                code="missing-file",
            )
        return file

    def _write(self, name: str, content: str) -> None:
        with atomic_file(self.path / name) as file:
            file.write_text(content, encoding="utf-8")


def _reason(error: Exception) -> str:
    return error.problem if isinstance(error, InputError) else str(error)


def configuration_of(method: Method, network: Network) -> dict[str, Any]:
    """The two entries of config.yaml that name method and network with all their arguments."""
    return {"method": described(method, all_methods()), "network": described(network, all_networks())}
