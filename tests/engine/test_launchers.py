from __future__ import annotations

import os

import pytest
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only
from refusals import raises

from segmend.engine.hardware import Hardware
from segmend.engine.launchers import launcher_of

pytestmark = pytest.mark.usefixtures("cpu_only")

JOB = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "train.sh",
    "SLURM_NTASKS": "2",
    "SLURM_NPROCS": "2",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NNODES": "1",
    "SLURM_NODELIST": "localhost",
}
"""Of a batch script of two tasks, in which nothing was started by srun."""

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "0",
    "LOCAL_RANK": "0",
    "GROUP_RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "elsewhere",
    "MASTER_PORT": "29511",
}
MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "PMI_RANK": "3", "PMI_SIZE": "4"}
LSF = {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/nowhere", "JSM_NAMESPACE_RANK": "2", "JSM_NAMESPACE_SIZE": "4"}
KUBERNETES = {"KUBERNETES_PORT": "tcp://10.0.0.1:443", "RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "worker-0"}


@pytest.fixture
def launcher(monkeypatch):
    """The launcher in an environment, of a training on some devices and nodes."""

    def decide(environment, devices="auto", nodes=1):
        monkeypatch.setattr(os, "environ", dict(environment))
        return launcher_of(Hardware(devices=devices, nodes=nodes))

    return decide


@pytest.mark.parametrize("devices", ["auto", 2])
@pytest.mark.parametrize(
    "environment",
    [
        {},
        {**JOB, "SLURM_NTASKS": "3"},
        {**JOB, "SLURM_NTASKS_PER_NODE": "2"},
        {**JOB, "SLURM_JOB_NAME": "interactive"},
        {**TORCHRUN, "WORLD_SIZE": "1"},
        {"MASTER_ADDR": "elsewhere", "LOCAL_RANK": "1", "WORLD_SIZE": "8"},
        MPI,
        LSF,
        KUBERNETES,
    ],
)
def test_what_did_not_start_this_training_is_forgotten(launcher, environment, devices, monkeypatch):
    """One process, or the first that starts the others on this machine."""
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    chosen = launcher(environment, devices)
    assert type(chosen) is LightningEnvironment
    assert not chosen.creates_processes_externally
    assert chosen.main_address == "127.0.0.1"
    assert chosen.local_rank() == chosen.node_rank() == 0
    assert rank_zero_only.rank == 0


def test_processes_that_it_starts_know_that_they_belong_to_it(launcher):
    launcher(JOB, devices=2)
    # What the trainer adds for the second process.
    child = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "4000", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
    chosen = launcher(child, devices=2)
    assert (type(chosen), chosen.local_rank(), chosen.main_port) == (LightningEnvironment, 1, 4000)
    assert chosen.creates_processes_externally


@pytest.mark.parametrize("per_node", [{}, {"SLURM_NTASKS_PER_NODE": "2"}])
@pytest.mark.parametrize("name", ["SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_SRUN_COMM_HOST"])
def test_srun_that_has_started_as_many_is_believed(launcher, name, per_node):
    environment = {
        **JOB,
        name: "4",
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "1",
    }
    chosen = launcher({**environment, "SLURM_NNODES": "2", **per_node}, devices=2, nodes=2)
    assert isinstance(chosen, SLURMEnvironment)
    assert (chosen.world_size(), chosen.global_rank(), chosen.local_rank(), chosen.node_rank()) == (4, 3, 1, 1)
    assert not chosen.auto_requeue
    chosen.validate_settings(2, 2)


def test_torchrun_that_has_started_as_many_is_believed(launcher):
    assert isinstance(launcher(TORCHRUN, devices=2), TorchElasticEnvironment)


def test_a_node_on_which_the_user_has_started_the_command_waits_for_the_others(launcher):
    environment = {"MASTER_ADDR": "node0", "MASTER_PORT": "4000", "NODE_RANK": "1", "RANK": "7"}
    chosen = launcher(environment, devices=2, nodes=2)
    assert type(chosen) is LightningEnvironment
    assert (chosen.main_address, chosen.main_port, chosen.node_rank()) == ("node0", 4000, 1)


def test_several_nodes_that_nothing_has_started_are_refused(launcher):
    with raises("environment", "nodes", match="nothing has started a process on each machine"):
        launcher({}, devices=1, nodes=2)
    with raises("environment", "nodes", match="4 processes.*2 tasks.*--nodes=2 --ntasks-per-node=2"):
        launcher(JOB, devices=2, nodes=2)
