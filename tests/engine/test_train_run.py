from __future__ import annotations

from functools import partial

from refusals import raises

from segmend.data.folder import DataFolder
from segmend.engine.options import TrainingOptions
from segmend.engine.run import Run
from segmend.engine.train_run import train_run
from segmend.methods import Supervised
from segmend.networks import UNet

SHORT = TrainingOptions(iterations=1, patch=(8, 8, 8), precision="32")
OF_ALL = {"method": Supervised, "network": partial(UNet, width=2, stages=2)}


def test_says_whether_anything_was_left_to_do(make_folder, tmp_path, cpu_only):
    folder, run = DataFolder.open(make_folder()), Run(tmp_path / "run")
    assert train_run(folder, run, options=SHORT, cache=tmp_path / "cache", **OF_ALL)
    assert run.finished
    assert not train_run(folder, Run(run.path), options=SHORT, cache=tmp_path / "cache", **OF_ALL)


def test_a_run_of_an_earlier_version_is_compared_by_its_prepared_data(make_folder, tmp_path, cpu_only):
    run = Run(tmp_path / "run")
    train_run(DataFolder.open(make_folder()), run, options=SHORT, cache=tmp_path / "cache", **OF_ALL)
    (run.path / "data.json").unlink()
    task = run.path / "task.json"
    task.write_text(task.read_text().replace(run.task.fingerprint, "0" * len(run.task.fingerprint)))
    with raises("changed-data", where=run.path):
        train_run(DataFolder.open(tmp_path / "data"), Run(run.path), options=SHORT, cache=tmp_path / "cache", **OF_ALL)
