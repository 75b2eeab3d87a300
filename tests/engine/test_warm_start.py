"""Training that starts from an earlier run: by weights that are known, and not by how well it trains."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import yaml
from refusals import raises

import segmend
from segmend.cli import main
from segmend.data.folder import DataFolder
from segmend.engine.options import TrainingOptions
from segmend.engine.preparation import prepare_training
from segmend.engine.run import Run
from segmend.engine.warm_start import WarmStart
from segmend.methods import CPS, MeanTeacher, Supervised
from segmend.networks import PlannedUNet, UNet, VNet

QUALITIES = "case,quality\ncase_1,expert\ncase_2,expert\n"
TWO = {"background": 0, "organ": 1}
THREE = {"background": 0, "organ": 1, "vessel": 2}
TINY = partial(UNet, width=2, stages=2)


@pytest.fixture(autouse=True)
def cpu_only(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("SEGMEND_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def train(make_folder, tmp_path):
    """Trains a step or two on a folder of these classes, and gives the run."""

    def call(out="earlier", name="data", labels=TWO, shape=(24, 20, 12), **options):
        root = tmp_path / name
        if not root.exists():
            make_folder(name, shape=shape, table=QUALITIES, labels=labels)
        settings = {"iterations": 2, "precision": "32", "width": 2, "memory": 1} | options
        return segmend.train(data=root, out=tmp_path / out, **settings)

    return call


@pytest.fixture
def prepared(make_folder, tmp_path):
    """The training that would start from a run, untrained."""

    def call(weights, method=Supervised, network=None, name="data", labels=TWO, **options):
        root = tmp_path / name
        if not root.exists():
            make_folder(name, shape=(24, 20, 12), table=QUALITIES, labels=labels)
        settings = TrainingOptions(iterations=2, precision="32", weights=weights, **options)
        return prepare_training(
            DataFolder.open(root), settings, method=method, network=network, run=Run(tmp_path / "new")
        )

    return call


def weights_of(run):
    return run.method().network.state_dict()


def assert_same(one, other, names=None):
    for name in names or one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


class TestWeights:
    def test_all_are_those_of_the_earlier_run(self, train, prepared):
        earlier = train()
        setup = prepared(earlier.path)
        assert isinstance(setup.method.network, PlannedUNet)
        assert_same(weights_of(earlier), setup.method.network.state_dict())
        assert_same(weights_of(earlier), setup.make_network().state_dict())

    def test_a_checkpoint_by_itself_with_its_network(self, train, prepared, tmp_path):
        earlier = train(network=TINY, patch=(8, 8, 8), width=None)
        loose = tmp_path / "loose.ckpt"
        loose.write_bytes(earlier.last.read_bytes())
        assert_same(weights_of(earlier), prepared(loose, network=TINY).method.network.state_dict())

    def test_teachers_start_as_copies_and_peers_stay_random(self, train, prepared):
        earlier = train()
        teacher = prepared(earlier.path, method=MeanTeacher, expert=1, noisy=1).method.teacher
        assert_same(weights_of(earlier), teacher.network.state_dict())
        peers = prepared(earlier.path, method=CPS, expert=1, noisy=1).method
        assert_same(weights_of(earlier), peers.network.state_dict())
        first, second = (each.encoder[0].conv1.conv.weight for each in (peers.network, peers.peer))
        assert not torch.equal(first, second)

    def test_of_two_networks_the_first_is_taken(self, train, prepared):
        earlier = train(method=CPS, expert=1, noisy=1)
        assert_same(weights_of(earlier), prepared(earlier.path).method.network.state_dict())

    def test_only_the_last_layer_is_drawn_new_where_the_classes_differ(self, train, prepared, capsys):
        earlier = train()
        network = prepared(earlier.path, name="other", labels=THREE).method.network.state_dict()
        before = weights_of(earlier)
        head = {name for name in before if name.startswith("head.")}
        assert_same(before, network, set(before) - head)
        assert {network[name].shape[0] for name in head} == {3}
        said = capsys.readouterr().err
        assert (
            "last layer of the network starts from random weights: the classes are organ, vessel, there organ" in said
        )

    def test_as_many_classes_of_other_names_are_other_classes(self, train, prepared):
        earlier = train()
        network = prepared(earlier.path, name="other", labels={"background": 0, "tumour": 1}).method.network
        before, after = weights_of(earlier), network.state_dict()
        assert not torch.equal(before["head.conv.conv.weight"], after["head.conv.conv.weight"])
        assert_same(before, after, ["encoder.0.conv1.conv.weight"])

    @pytest.mark.parametrize(
        "network",
        [
            partial(VNet, width=2),
            partial(
                segmend.networks.DynUNet,
                **{
                    "kernel_size": [3, 3, 3],
                    "strides": [1, 2, 2],
                    "upsample_kernel_size": [2, 2],
                    "filters": [2, 4, 8],
                },
            ),
        ],
    )
    def test_the_last_layer_of_any_network(self, train, prepared, network):
        earlier = train(network=network, patch=(16, 16, 16), width=None)
        after = prepared(earlier.path, network=network, name="other", labels=THREE).method.network.state_dict()
        before = weights_of(earlier)
        new = {name for name in before if before[name].shape != after[name].shape}
        assert 0 < len(new) < 8
        assert_same(before, after, set(before) - new)


class TestFollowedRun:
    def test_spacing_patch_and_network_are_those_of_the_run(self, train, tmp_path, capsys):
        earlier = train(patch=(16, 16, 8), spacing=(1.2, 1.0, 1.5))
        later = train("later", "larger", shape=(40, 36, 20), weights=earlier.path, width=None, memory=None)
        assert (later.task.patch, later.task.preprocessing.spacing) == ((16, 16, 8), (1.2, 1.0, 1.5))
        assert later.config["network"] == earlier.config["network"]
        assert later.plan.entries["network"].reason == f"as in {earlier.path}"
        assert f"the network starts from the weights in {earlier.path}" in capsys.readouterr().err

    def test_a_named_network_of_an_earlier_run_is_followed_too(self, train, prepared):
        earlier = train(network=TINY, patch=(8, 8, 8), width=None)
        assert isinstance(prepared(earlier.last).method.network, UNet)

    def test_slices_stay_slices(self, train, prepared):
        setup = prepared(train(dimensions=2).path)
        assert (setup.dimensions, setup.slices) == (2, True)

    @pytest.mark.parametrize(
        ("option", "value"), [("patch", (8, 8, 8)), ("spacing", (2.0, 2.0, 2.0)), ("dimensions", 2), ("width", 3)]
    )
    def test_arguments_that_contradict_it(self, train, prepared, option, value):
        earlier = train()
        with raises("mismatch", option, match="must be that of the run in `weights`, .*, got"):
            prepared(earlier.path, **{option: value})

    def test_arguments_that_agree_with_it(self, train, prepared):
        earlier = train()
        prepared(earlier.path, patch=earlier.task.patch, dimensions=3, width=2)


class TestRefused:
    def test_another_architecture_by_name_and_shape(self, train, prepared):
        earlier = train(network=TINY, patch=(8, 8, 8), width=None)
        with raises("mismatch", earlier.path, match=r"UNet: '.*' must have the shape 3x1x3x3x3, got 2x1x3x3x3, and"):
            prepared(earlier.path, network=partial(UNet, width=3, stages=2))
        with raises("mismatch", earlier.path, match="does not fit the network VNet: it has no 'x1"):
            prepared(earlier.path, network=partial(VNet, width=2))

    def test_other_channels(self, train, make_folder, tmp_path):
        earlier = train()
        root = make_folder("two", shape=(24, 20, 12), channels=("MR", "CT"))
        with raises("mismatch", earlier.path, match="must have the shape 2x2x.*, got 2x1x"):
            segmend.train(data=root, out=tmp_path / "new", weights=earlier)
        assert not (tmp_path / "new").exists()

    def test_what_is_no_checkpoint(self, prepared, tmp_path):
        (tmp_path / "empty").mkdir()
        for given, code in ((tmp_path / "missing", "missing-file"), (tmp_path / "empty", "missing-file")):
            with raises(code, given):
                prepared(given)
        (tmp_path / "text.ckpt").write_text("text")
        with raises("damaged", tmp_path / "text.ckpt"):
            prepared(tmp_path / "text.ckpt")

    def test_code_in_a_checkpoint_is_not_run(self, prepared, tmp_path):
        torch.save({"state_dict": {"method.network.a": partial(print, "run")}}, tmp_path / "code.ckpt")
        with raises("damaged", tmp_path / "code.ckpt"):
            prepared(tmp_path / "code.ckpt")

    def test_the_run_itself(self, train, tmp_path):
        earlier = train()
        with raises("mismatch", earlier.path, match="belongs to the run that is to be trained"):
            train(weights=earlier)


class TestRun:
    def test_starts_there_ends_elsewhere_and_says_where_from(self, train, tmp_path, capsys):
        earlier = train()
        words = ["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "later"), "--iterations", "1"]
        words += ["--precision", "32", "--weights", str(earlier.path), "--optimisation.learning_rate", "1e-12"]
        assert main(words) == 0
        later = Run(tmp_path / "later")
        for name, value in weights_of(earlier).items():
            torch.testing.assert_close(weights_of(later)[name], value, rtol=0, atol=1e-6)
        assert later.config["weights"] == str(earlier.path.resolve())
        assert main(words) == 0
        assert "finished already" in capsys.readouterr().err

    def test_weights_that_have_changed_since_are_refused_and_moved_ones_are_not(self, train, tmp_path):
        earlier = train()
        later = train("later", weights=str(earlier.path), width=None)
        earlier.path.rename(tmp_path / "moved")
        assert train("later", weights=Run(tmp_path / "moved"), width=None).path == later.path
        train("other", seed=1)
        (tmp_path / "moved" / "checkpoints" / "last.ckpt").write_bytes(Run(tmp_path / "other").last.read_bytes())
        with raises("damaged"):  # the checkpoint of another run
            train("later", weights=tmp_path / "moved", width=None)
        with raises("already-exists", later.path, match="weights_digest"):
            train("later", weights=tmp_path / "other", width=None)
        with raises("already-exists", later.path, match="weights_digest"):
            train("later")

    def test_is_repeated_from_its_configuration(self, train, tmp_path):
        earlier = train()
        later = train("later", weights=earlier, width=None)
        words = ["train", "--config", str(later.path / "config.yaml"), "--out", str(tmp_path / "again")]
        assert main(words) == 0
        again = Run(tmp_path / "again")
        assert_same(weights_of(later), weights_of(again))
        ours, theirs = (yaml.safe_load((run.path / "config.yaml").read_text()) for run in (later, again))
        assert {**ours, "out": ""} == {**theirs, "out": ""}

    def test_a_plan_shows_what_would_be_followed(self, train, tmp_path):
        earlier = train()
        shown = segmend.plan(data=tmp_path / "data", weights=earlier, memory=2)
        assert shown.patch == earlier.task.patch
        assert shown.entries["spacing"].reason == f"as in {earlier.path}"


class TestAudit:
    def test_models_that_know_the_labels_they_would_judge_are_refused(self, train, tmp_path):
        earlier = train()
        with raises(
            "mismatch", earlier.path, match=r"was trained on 3 of the cases to judge \(case_1, case_2, case_3\)"
        ):
            segmend.audit(data=tmp_path / "data", out=tmp_path / "audit", weights=earlier, iterations=1)
        assert not (tmp_path / "audit").exists()

    def test_by_the_scans_and_not_by_their_names(self, train, make_folder, tmp_path):
        start = WarmStart.of(train().path, Run(tmp_path / "new"))
        same, other = make_folder("same", shape=(24, 20, 12)), make_folder("small", shape=(8, 8, 8))
        assert start.trained_on(DataFolder.open(same).cases) == ["case_1", "case_2", "case_3"]
        assert start.trained_on(DataFolder.open(other).cases) == []

    def test_of_a_file_by_itself_it_is_not_known(self, train, tmp_path):
        (tmp_path / "loose.ckpt").write_bytes(train().last.read_bytes())
        assert WarmStart.of(tmp_path / "loose.ckpt", Run(tmp_path / "new")).trained_on([]) is None
