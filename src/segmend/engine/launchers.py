"""Who starts the processes of a training: a launcher such as srun or torchrun, or the first of them.

Clusters leave variables in the environment of every process of a job, also where nothing was launched: an interactive
shell, or a script that calls segmend directly. A launcher is believed if it started as many processes as the training
is to have; otherwise its variables are forgotten, for they would make the training wait for processes that never come.
"""

from __future__ import annotations

import os

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.mpi import MPIEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from segmend.core.errors import InputError
from segmend.engine.hardware import Hardware

_STARTED_BY_SRUN = ("SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NUM_TASKS", "SLURM_SRUN_COMM_HOST")
_OWN = "SEGMEND_PROCESSES"
"""Set for the processes that the first one starts: their number."""

_RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
_LAUNCHED = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"),
    *("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
    *("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_SIZE", "LSB_DJOB_RANKFILE"),
    *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE"),
)
"""Variables by which a process would take itself for one of several."""


class Srun(SLURMEnvironment):
    """Processes that srun has started, whose number was checked; segmend itself answers the signals of the job."""

    def __init__(self) -> None:
        super().__init__(auto_requeue=False)

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Asks for nothing more than that the number of processes is right."""

    @staticmethod
    def _validate_srun_variables() -> None:
        """Lets --ntasks do where Lightning insists on --ntasks-per-node."""


def launcher_of(hardware: Hardware) -> ClusterEnvironment:
    """The launcher that has started this process, or the one that is to start the others.

    Variables of launchers that have not started this training are removed from the environment.

    Raises:
        InputError: there are to be processes on several nodes, and nothing has started them.
    """
    wanted = hardware.processes
    if wanted > 1:
        if _number(_OWN) == wanted:
            return LightningEnvironment()
        found = _launched(wanted)
        if found is not None:
            return found
        if hardware.nodes > 1:
            return _started_by_hand(hardware)
    _forget(*_LAUNCHED, *_RENDEZVOUS, _OWN)
    if wanted > 1:
        os.environ[_OWN] = str(wanted)
    setattr(rank_zero_only, "rank", 0)  # noqa: B010 -- its type hides that it has one
    return LightningEnvironment()


def _launched(wanted: int) -> ClusterEnvironment | None:
    """The launcher that has started as many processes as are wanted."""
    if _number("WORLD_SIZE") == wanted and TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if _number("SLURM_NTASKS") == wanted and any(name in os.environ for name in _STARTED_BY_SRUN):
        return Srun()
    if _number("JSM_NAMESPACE_SIZE") == wanted and LSFEnvironment.detect():
        return LSFEnvironment()
    if _number("OMPI_COMM_WORLD_SIZE", "PMI_SIZE") == wanted and MPIEnvironment.detect():
        return MPIEnvironment()
    if _number("WORLD_SIZE") == wanted and "LOCAL_RANK" in os.environ:
        return LightningEnvironment()
    return None


def _started_by_hand(hardware: Hardware) -> ClusterEnvironment:
    """The launcher of this node, where the user has started the command on each."""
    if "MASTER_ADDR" in os.environ:
        _forget(*_LAUNCHED)
        return LightningEnvironment()
    each = hardware.processes_on_a_node
    if "SLURM_JOB_ID" in os.environ:
        tasks = _number("SLURM_NTASKS") or 1
        raise InputError(
            "nodes",
            f"{hardware.nodes} nodes need {hardware.processes} processes, "
            f"but srun has not started them (the job has {tasks} tasks)",
            f"submit with '#SBATCH --nodes={hardware.nodes} --ntasks-per-node={each}', and begin the command with srun",
            code="environment",
        )
    raise InputError(
        "nodes",
        f"are {hardware.nodes}, but nothing has started a process on each machine",
        "start the command by srun or torchrun, or on each machine with MASTER_ADDR, MASTER_PORT and NODE_RANK set",
        code="environment",
    )


def _number(*names: str) -> int | None:
    """The first of some variables that is there, if it is a number."""
    value = next((os.environ[name] for name in names if name in os.environ), "")
    return int(value) if value.isdigit() else None


def _forget(*names: str) -> None:
    for name in names:
        os.environ.pop(name, None)
