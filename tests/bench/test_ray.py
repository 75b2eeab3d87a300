"""A Ray cluster of two machines, one of which goes down midway."""

from __future__ import annotations

import math

import pytest

from segmend.bench.executors import RayExecutor
from segmend.bench.unit import Unit
from segmend.demo.phantom import write_phantoms

TRAIN = {
    "network": {"name": "UNet", "width": 2, "stages": 2},
    "iterations": 20,
    "patch": [16, 16, 16],
    "any_labelled": 2,
}


@pytest.mark.slow
def test_no_run_is_lost_or_repeated_when_a_machine_goes_down(tmp_path, own_cache, monkeypatch):
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data = tmp_path / "data"
    write_phantoms(data, train=3, test=1, shape=(24, 24, 16))
    what = {"method": "Supervised", "arguments": {}, "train": {**TRAIN, "checkpoint_every": 5}, "select": "last"}
    where = {"data": data, "cases": None, "images": data / "imagesTs", "references": data / "labelsTs"}
    places = {name: str(path) if path else None for name, path in where.items()}
    what |= {"predict": {}, "evaluate": {}}
    units = [Unit.at(tmp_path / "runs", "row", "labels", seed, what, places) for seed in range(4)]
    for unit in units:
        unit.write()
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    finished: dict[str, int] = {}
    try:
        second = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)

        def take_one_down(states):
            done = [unit for unit in units if states[unit.folder.name] == "done"]
            if done and not finished and "running" in states.values():
                finished.update({str(unit.folder): (unit.folder / "result.json").stat().st_mtime_ns for unit in done})
                cluster.remove_node(second, allow_graceful=False)

        states = RayExecutor().run(units, take_one_down, math.inf)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert finished
    assert set(states.values()) == {"done"}
    for unit in units:
        assert len(unit.scores) > 0
        assert unit.log.read_text().count("training 20/20") == 1
        if before := finished.get(str(unit.folder)):
            assert (unit.folder / "result.json").stat().st_mtime_ns == before
