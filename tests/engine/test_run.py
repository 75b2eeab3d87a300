from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from refusals import raises

from segmend.data.preprocess import Normalisation, Preprocessing
from segmend.engine.run import Run, Task, configuration_of
from segmend.methods import PLIL
from segmend.networks import VNet

TASK = Task(
    channel_names=("T1", "T2"),
    labels={"background": 0, "organ": 7},
    dimensions=3,
    patch=(16, 16, 16),
    preprocessing=Preprocessing(
        (1.0, None, 0.1 + 0.2), (Normalisation(), Normalisation(-1.5, 2.0, 0.1, 1 / 3)), True, 1
    ),
    fingerprint="abc",
)


@pytest.fixture
def method():
    torch.manual_seed(5)
    return PLIL(VNet(2, 2, width=1), passes=3)


@pytest.fixture
def config(method):
    return {**configuration_of(method, method.network), "seed": 0, "out": "somewhere", "compile": False}


@pytest.fixture
def run(tmp_path, config):
    run = Run(tmp_path / "run")
    run.begin(config, TASK)
    return run


def write_checkpoint(file, method):
    """As Lightning writes it: the learner holds the method."""
    file.parent.mkdir(exist_ok=True)
    state = {f"method.{name}": value for name, value in method.state_dict().items()}
    torch.save({"state_dict": state, "global_step": 3}, file)


class TestTask:
    def test_survives_json(self):
        assert Task.from_json(json.loads(json.dumps(TASK.to_json()))) == TASK

    @given(st.lists(st.none() | st.floats(0.01, 100), min_size=2, max_size=3), st.floats(allow_nan=False))
    def test_numbers_survive_to_the_last_digit(self, spacing, mean):
        preprocessing = Preprocessing(tuple(spacing), (Normalisation(mean=mean),))
        task = replace(TASK, preprocessing=preprocessing)
        assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task


class TestBegin:
    def test_writes_configuration_and_task(self, run, config):
        fresh = Run(run.path)
        assert fresh.config == config
        assert fresh.task == TASK
        assert not fresh.finished
        assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "task.json"]

    def test_may_be_repeated(self, run, config, contents):
        before = contents(run.path)
        Run(run.path).begin({**config, "out": "elsewhere", "compile": True}, TASK)
        assert contents(run.path) == before

    def test_an_empty_folder_is_free(self, tmp_path, config):
        run = Run(tmp_path)
        run.check_free_for(config)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"seed": 1},
                r"holds a run of another configuration: \{'seed': 0\}, not \{'seed': 1\}\. Choose another `out`",
            ),
            ({"devices": 2}, r"\{'devices': None\}, not \{'devices': 2\}"),
            (
                {"method": {"class_path": "Supervised", "init_args": {}}},
                r"\{'method': .*'PLIL'.*not \{'method': .*Supervised",
            ),
        ],
    )
    def test_another_configuration_is_refused_and_the_change_named(self, run, config, change, message, contents):
        before = contents(run.path)
        for refuse in (
            lambda it: it.begin({**config, **change}, TASK),
            lambda it: it.check_free_for({**config, **change}),
        ):
            with raises("already-exists", run.path, match=message):
                refuse(Run(run.path))
        assert contents(run.path) == before

    @pytest.mark.parametrize("name", ["photo.jpg", "task.json"])
    def test_something_else_is_refused(self, tmp_path, config, name):
        (tmp_path / name).touch()
        with raises("already-exists", tmp_path, match="not a run"):
            Run(tmp_path).begin(config, TASK)
        with raises("already-exists", tmp_path / name, match="not a run"):
            Run(tmp_path / name).check_free_for(config)

    def test_a_file_that_a_killed_run_was_writing_does_not_count(self, tmp_path, config):
        run = Run(tmp_path / "run")
        run.path.mkdir()
        (run.path / ".segmend-unfinished.config.yaml").write_text("half")
        run.check_free_for(config)
        with run.kept():
            run.begin(config, TASK)
        assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "task.json"]

    def test_what_a_run_killed_at_its_very_end_left_is_removed(self, run, config):
        run.finish({})
        (run.path / ".segmend-lock.summary.json").touch()
        run.check_free_for(config)
        assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "summary.json", "task.json"]

    @pytest.mark.parametrize(("name", "code"), [("x" * 300, "invalid-name"), ("file/run", "not-writable")])
    def test_a_place_where_there_can_be_no_folder(self, tmp_path, config, name, code):
        (tmp_path / "file").touch()
        with raises(code, name):
            Run(tmp_path / name).begin(config, TASK)

    @pytest.mark.parametrize("change", [{"fingerprint": "abd"}, {"labels": {"background": 0, "organ": 8}}])
    def test_other_data_are_refused(self, run, config, change):
        with raises("changed-data", run.path):
            Run(run.path).begin(config, replace(TASK, **change))

    def test_finish(self, run):
        run.finish({"seconds": 1.5})
        assert run.finished
        assert Run(run.path).summary == {"seconds": 1.5}


class TestMethod:
    def test_is_rebuilt_with_its_weights(self, run, method):
        write_checkpoint(run.last, method)
        found = Run(run.path).method()
        assert type(found) is PLIL
        assert found.passes == 3
        assert not found.training
        assert not found.teacher.network.training
        for name, value in method.state_dict().items():
            assert torch.equal(found.state_dict()[name], value)

    def test_of_another_checkpoint(self, run, method):
        write_checkpoint(run.last, method)
        with torch.no_grad():
            method.network.head.bias.fill_(3)
        write_checkpoint(run.best, method)
        assert Run(run.path).method(run.best).network.head.bias.tolist() == [3, 3]
        assert Run(run.path).method().network.head.bias.tolist() != [3, 3]

    def test_without_a_checkpoint(self, run):
        with raises("missing-file", "last.ckpt"):
            run.method()

    def test_a_damaged_checkpoint(self, run, method):
        write_checkpoint(run.last, method)
        run.last.write_bytes(run.last.read_bytes()[:-1000])
        with raises("damaged", "last.ckpt"):
            run.method()

    def test_a_checkpoint_of_another_network(self, run):
        write_checkpoint(run.last, PLIL(VNet(2, 2, width=2)))
        with raises("damaged", "last.ckpt", match="shape"):
            run.method()

    def test_no_code_is_run_from_a_checkpoint(self, run, tmp_path):
        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "sprung"), "w"))

        run.last.parent.mkdir()
        torch.save({"state_dict": {"a": Trap()}}, run.last)
        with raises("damaged", "last.ckpt"):
            run.method()
        assert not (tmp_path / "sprung").exists()


class TestDamage:
    def test_not_a_run(self, tmp_path):
        for ask in (lambda run: run.config, lambda run: run.task, lambda run: run.method()):
            with raises("missing-file", tmp_path, match="is not a run folder"):
                ask(Run(tmp_path))

    @pytest.mark.parametrize("content", ["", "- a\n- b\n", "method: [", "seed: 1\n", "a: b: c"])
    def test_a_configuration_that_is_none(self, run, content):
        (run.path / "config.yaml").write_text(content)
        with raises("damaged", "config.yaml"):
            _ = Run(run.path).config

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"channel_names": 3}'])
    def test_a_task_that_is_none(self, run, content):
        (run.path / "task.json").write_text(content)
        with raises("damaged", "task.json"):
            _ = Run(run.path).task


def test_configuration_names_all_arguments(config, method):
    written = yaml.safe_load(yaml.safe_dump(config))
    assert written["network"] == {"class_path": "VNet", "init_args": {"width": 1, "dropout_rate": 0.5}}
    assert written["method"]["class_path"] == "PLIL"
    assert written["method"]["init_args"]["passes"] == 3
    assert "network" not in written["method"]["init_args"]


KEEP = """
import sys
from pathlib import Path
from segmend.engine.run import Run
with Run(Path(sys.argv[1])).kept():
    print("here", flush=True)
    sys.stdin.read()
"""


class TestKept:
    @pytest.fixture
    def keeper(self, run):
        command = [sys.executable, "-c", KEEP, str(run.path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"here\n"
        yield process
        process.communicate()

    def test_a_second_process_is_refused_in_words(self, run, config, keeper):
        message = rf"run: is being written by another process \(number {keeper.pid} on .*\)\. Wait until"
        with raises("in-use", run.path, match=message):
            run.check_free_for(config)
        with raises("in-use", run.path, match=message), run.kept():
            pytest.fail("both at once")

    @pytest.mark.parametrize("rank", ["LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID"])
    def test_further_processes_of_the_same_training_are_not(self, run, config, keeper, rank, monkeypatch):
        monkeypatch.setenv(rank, "1")
        run.check_free_for(config)
        with run.kept():
            run.begin(config, TASK)
        assert (run.path / ".segmend-lock").exists()

    def test_whoever_keeps_it_may_be_killed(self, run, config, keeper):
        keeper.kill()
        keeper.wait()
        run.check_free_for(config)
        with run.kept():
            pass
        assert not (run.path / ".segmend-lock").exists()
