from __future__ import annotations

import shutil
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from refusals import raises
from torch.nn import functional as F
from written_networks import Pointwise

from segmend.core.batch import Composition
from segmend.core.case import Case, Quality
from segmend.core.masks import IGNORE
from segmend.core.signals import Stopped
from segmend.data.augment import LEFT_ATRIUM_PROTOCOL, NO_AUGMENTATION
from segmend.data.cache import PreparedCase
from segmend.data.preprocess import Normalisation, Preprocessing
from segmend.data.sampling import BatchPlan
from segmend.engine import callbacks
from segmend.engine import fit as training
from segmend.engine.fit import Training, fit
from segmend.engine.hardware import Hardware
from segmend.engine.label_revision import RevisableCase, label_store
from segmend.engine.label_store import LabelStore
from segmend.engine.learner import Optimisation
from segmend.engine.run import Run, Task
from segmend.engine.segmenter import Segmenter
from segmend.methods import LabelledCase, Method, Revision

pytestmark = pytest.mark.usefixtures("cpu_only")

TOTAL = 8


class RandomReviser(Method):
    """Trains on labels that it rewrites before the steps 0, 3 and 6, partly at random; does what a test wants there."""

    kind = "noisy"
    needs = Composition(noisy=1, unlabelled=1)
    layers, maps, values = ("revised",), ("regions",), ("chance",)

    def __init__(self, network, events=None, steps=(0, 3, 6)):
        super().__init__(network)
        self.events, self.steps = events or {}, steps
        self.batches, self.calls = [], []
        self.register_buffer("times", torch.zeros((), dtype=torch.int64))

    def loss(self, batch, step):
        self.batches.append(batch)
        revised, weight = batch.layers["revised"], 1 + batch.values["chance"].nan_to_num(0).sum()
        weight = weight + batch.maps["regions"].clamp(min=0).float().mean() / 1000
        return {"revised": weight * F.cross_entropy(self.network(batch.image), revised, ignore_index=IGNORE)}

    def revises(self, step):
        return step.index in self.steps

    def revise(self, cases, step):
        self.events.get(("revise", step.index), lambda: None)()
        self.calls.append((step, self.training, torch.is_grad_enabled(), len(self.batches)))
        self.times += 1
        for case in cases:
            if case.name == "untouched":
                continue
            probability = case.predict_map(self.predict)[1]
            label = (probability > torch.rand(probability.shape)).to(torch.uint8)
            chance, weight = torch.rand(2).tolist()
            maps = {"regions": 1000 * label.int() + case.map("regions").clamp(min=0) + 1}
            yield Revision(case.name, {"revised": label}, maps, {"chance": chance}, sampling_weight=weight)

    def after_step(self, step):
        self.events.get(("after", step.index), lambda: None)()


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch):
    monkeypatch.setattr(training, "draw_curves", lambda *_: None)  # drawing them takes longer than all else


def make_case(name, quality=Quality.NOISY, shape=(10, 9)):
    image = np.random.default_rng(len(name)).normal(size=(1, *shape)).astype(np.float32)
    label = None if quality is Quality.NONE else (image[0] > 0.3).astype(np.uint8)
    return PreparedCase(Case(name, (), None, quality=quality), image, label, None, name, (1.0, 1.0))


CASES = [make_case("a"), make_case("bb"), make_case("untouched"), make_case("none", Quality.NONE)]
TASK = Task(
    ("MR",), {"background": 0, "organ": 1}, 2, (6, 6), Preprocessing((None, None), (Normalisation(),)), "digest"
)


def training_of(**changes):
    usual = Training(
        cases=CASES,
        validation=(),
        plan=BatchPlan.of([case.case for case in CASES], Composition(noisy=1, unlabelled=1), 0, "test"),
        task=TASK,
        augmentation=replace(LEFT_ATRIUM_PROTOCOL, rotation=20),
        foreground=0.0,
        optimisation=Optimisation(optimiser="sgd", learning_rate=0.5, schedule="constant"),
        iterations=TOTAL,
        seed=3,
        checkpoint_every=2,
    )
    return replace(usual, **changes)


@pytest.fixture
def trained(tmp_path):
    """Trains in a run folder, from where an earlier call was interrupted; gives run and method."""

    def train(out="run", events=None, workers=0, steps=(0, 3, 6), **changes):
        torch.manual_seed(0)
        method = RandomReviser(Pointwise(1, 2), events, steps)
        run = Run(tmp_path / out)
        fit(run, method, training_of(**changes), Hardware(precision="32", workers=workers))
        return run, method

    train.root = tmp_path
    return train


@pytest.fixture
def whole(trained):
    """A run that nothing interrupts."""
    return trained("whole")[0]


def state_of(run):
    return torch.load(run.last, weights_only=True)["state_dict"]


def assert_same_run(one, other, contents):
    """The same weights, labels and tables, bit by bit."""
    torch.testing.assert_close(state_of(one), state_of(other), rtol=0, atol=0)
    assert bytes_of(one, contents) == bytes_of(other, contents)
    assert (one.path / "labels.csv").read_bytes() == (other.path / "labels.csv").read_bytes()


def bytes_of(run, contents):
    return {name: data for name, (data, _) in contents(run.labels).items()}


def stored(run):
    return LabelStore(run.labels, ("revised",), {case.case.name: case.given for case in CASES})


class TestRevisions:
    def test_are_made_before_the_steps_that_the_method_names(self, trained):
        run, method = trained()
        assert [(step.index, step.total, done) for step, *_, done in method.calls] == [
            (0, TOTAL, 0),
            (3, TOTAL, 3),
            (6, TOTAL, 6),
        ]
        labels = stored(run)
        assert [labels.record(revision).step for revision in (1, 2, 3)] == [0, 3, 6]
        assert labels.count == 3

    def test_are_made_in_evaluation_mode_without_gradients(self, trained):
        _, method = trained()
        assert not any(training or grad for _, training, grad, _ in method.calls)
        assert method.training

    def test_are_what_the_next_steps_see(self, trained):
        """Crops larger than the scans, 10 x 9, hold all of them."""
        whole, plain = replace(TASK, patch=(20, 20)), NO_AUGMENTATION
        run, method = trained(task=whole, augmentation=plain)
        labels = stored(run)
        for index, batch in enumerate(method.batches):
            for name, revised in zip(batch.cases, batch.layers["revised"], strict=True):
                expected = labels.label(name, "revised", 1 + (index >= 3) + (index >= 6))
                np.testing.assert_array_equal(revised[5:15, 5:14], expected)
        assert {name for batch in method.batches for name in batch.cases} == {case.case.name for case in CASES}

    def test_the_batches_carry_layers_of_untouched_cases_as_given(self, trained):
        _, method = trained()
        seen = [
            torch.equal(batch.layers["revised"][row], batch.label[row])
            for batch in method.batches
            for row, name in enumerate(batch.cases)
            if name == "untouched"
        ]
        assert seen
        assert all(seen)

    def test_a_revision_that_changes_nothing_is_written_too(self, trained, monkeypatch):
        monkeypatch.setattr(RandomReviser, "revise", lambda *_: ())
        run, _ = trained()
        assert stored(run).count == 3


def crash():
    raise RuntimeError("killed")


class TestResume:
    def test_a_run_that_is_interrupted_anywhere_ends_as_if_nothing_had_happened(self, trained, whole, contents):
        """While labels are rewritten, before the next checkpoint, and after it."""
        events = {("revise", 0): 0, ("after", 1): 0, ("revise", 3): 2, ("after", 3): 2, ("revise", 6): 4}
        for event, saved in events.items():
            with pytest.raises(RuntimeError):
                trained("parts", events={event: crash})
            last = Run(trained.root / "parts").last
            assert (torch.load(last, weights_only=True)["global_step"] if last.exists() else 0) == saved
        with pytest.raises(RuntimeError):
            trained("parts", events={("after", 6): crash})
        run, method = trained("parts")
        assert len(method.batches) == TOTAL - 6
        assert state_of(whole)["method.times"] == 3
        assert_same_run(run, whole, contents)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_signal_while_labels_are_rewritten_ends_it_at_once_and_loses_no_step(
        self, trained, whole, contents, monkeypatch, workers
    ):
        """What the method has learned in the half revision is forgotten with it."""

        def interrupt(self, cases, step):
            for made in revise(self, cases, step):
                yield made
                if step.index == 3:
                    signal.raise_signal(signal.SIGTERM)
                    pytest.fail("went on")

        revise = RandomReviser.revise
        monkeypatch.setattr(RandomReviser, "revise", interrupt)
        with pytest.raises(Stopped):
            trained("parts", workers=workers)
        monkeypatch.setattr(RandomReviser, "revise", revise)
        run = Run(trained.root / "parts")
        assert torch.load(run.last, weights_only=True)["global_step"] == 3
        assert [path.name for path in run.labels.iterdir()] == ["0001"]
        assert [path.name for path in run.last.parent.iterdir()] == ["last.ckpt"]
        run, method = trained("parts", workers=workers)
        assert [step.index for step, *_ in method.calls] == [3, 6]
        assert_same_run(run, whole, contents)

    def test_a_signal_in_the_first_revision_starts_again(self, trained, whole, contents):
        with pytest.raises(Stopped):
            trained("parts", events={("revise", 0): lambda: signal.raise_signal(signal.SIGINT)})
        run = Run(trained.root / "parts")
        assert not run.last.exists()
        assert_same_run(trained("parts")[0], whole, contents)

    def test_processes_that_load_data_see_the_same_labels(self, trained, whole, contents):
        """They ask for batches ahead, before labels are rewritten, and after a crash what is on disk may be too new."""
        with pytest.raises(RuntimeError):
            trained("parts", events={("after", 3): crash}, workers=2)
        assert_same_run(trained("parts", workers=2)[0], whole, contents)

    def test_a_revision_whose_checkpoint_was_not_written_is_made_again(self, trained, monkeypatch, whole, contents):
        def save(trainer, path):
            if trainer.global_step == 6:
                crash()
            real(trainer, path)

        real = callbacks._save
        monkeypatch.setattr(callbacks, "_save", save)
        with pytest.raises(RuntimeError):
            trained("parts")
        assert stored(Run(trained.root / "parts")).count == 3
        monkeypatch.undo()
        run, method = trained("parts")
        assert [step.index for step, *_ in method.calls] == [6]
        assert_same_run(run, whole, contents)

    def test_a_revision_that_is_missing_at_the_checkpoint_is_made_up_for(self, trained, whole, contents):
        with pytest.raises(RuntimeError):
            trained("parts", events={("after", 6): crash})
        shutil.rmtree(trained.root / "parts" / "labels" / "0003")
        run, method = trained("parts")
        assert [step.index for step, *_ in method.calls] == [6]
        assert bytes_of(run, contents) == bytes_of(whole, contents)

    def test_a_revision_that_was_used_cannot_be_made_up_for(self, trained):
        with pytest.raises(RuntimeError):
            trained("parts", events={("after", 6): crash})
        shutil.rmtree(trained.root / "parts" / "labels" / "0002")
        with raises("missing-file", "labels/0002"):
            trained("parts")


class TestChance:
    def test_rewriting_leaves_that_of_the_steps_alone(self, trained, monkeypatch):
        def noisy_loss(self, batch, step):
            draws.append(torch.rand(()).item())
            return {"nothing": 0 * self.network.head.weight.sum()}

        monkeypatch.setattr(RandomReviser, "loss", noisy_loss)
        draws: list[float] = []
        trained("with")
        trained("without", steps=())
        assert draws[:TOTAL] == draws[TOTAL:]
        assert len(set(draws)) == TOTAL

    def test_seed_and_step_decide_it(self, trained):
        first, again, other = (stored(trained(out, seed=seed)[0]) for out, seed in (("a", 1), ("b", 1), ("c", 2)))
        assert np.array_equal(first.label("a", "revised", 1), again.label("a", "revised", 1))
        assert not np.array_equal(first.label("a", "revised", 1), other.label("a", "revised", 1))


class TestHistory:
    def test_table_and_picture(self, trained):
        truth = {"a": (CASES[0].image[0] > 0).astype(np.uint8)}
        run, _ = trained(truth=truth)
        rows = pd.read_csv(run.path / "labels.csv")
        assert len(rows) == 4 * len(CASES)
        assert rows.groupby("revision")["step"].first().tolist() == [0, 0, 3, 6]
        assert set(rows[rows["dice_to_truth"].notna()]["case"]) == {"a"}
        assert (rows[rows["case"] == "untouched"]["changed_from_given"] == 0).all()
        assert (run.path / "labels.png").is_file()

    def test_the_truth_changes_nothing_that_is_learned(self, trained):
        one, _ = trained("one", truth={"a": np.ones_like(CASES[0].label)})
        other, _ = trained("other")
        torch.testing.assert_close(state_of(one), state_of(other), rtol=0, atol=0)

    def test_a_method_whose_layers_hold_no_labels_has_neither(self, trained, monkeypatch):
        monkeypatch.setattr(RandomReviser, "layers", ())
        monkeypatch.setattr(RandomReviser, "revise", lambda self, cases, step: self.calls.append(step) or ())
        monkeypatch.setattr(RandomReviser, "loss", lambda self, *_: {"nothing": 0 * self.network.head.weight.sum()})
        run, method = trained()
        assert method.calls
        assert run.finished
        assert not [path for path in run.path.iterdir() if path.name.startswith("labels.")]

    def test_a_method_that_keeps_nothing_has_neither(self, trained, monkeypatch):
        for kept in ("layers", "maps", "values"):
            monkeypatch.setattr(RandomReviser, kept, ())
        monkeypatch.setattr(RandomReviser, "loss", lambda self, *_: {"nothing": 0 * self.network.head.weight.sum()})
        run, method = trained()
        assert not method.calls
        assert not [path for path in run.path.iterdir() if path.name.startswith("labels")]


class TestCases:
    @pytest.fixture
    def case_of(self, tmp_path):
        """A case as the method sees it, after one revision."""

        def make(prepared, patch=(6, 6)):
            method = RandomReviser(Pointwise(1, 2)).eval()
            name = prepared.case.name
            labels = label_store(tmp_path / "labels", method, [prepared], TOTAL)
            if name == "a":
                labels.append("RandomReviser", [Revision(name, {"revised": torch.ones(10, 9).byte()})])
            segmenter = Segmenter(method, replace(TASK, patch=patch), precision="bf16")
            return RevisableCase(prepared, labels, labels.count, segmenter)

        return make

    def test_are_labelled_cases(self, case_of):
        case: LabelledCase = case_of(CASES[0])
        assert (case.name, case.quality, case.sliced) == ("a", Quality.NOISY, False)
        np.testing.assert_array_equal(case.given, CASES[0].label)
        assert case.given.dtype == case.layer("revised").dtype == torch.uint8
        assert case.layer("revised").eq(1).all()
        assert case.was_revised("revised")

    def test_without_a_label(self, case_of):
        case = case_of(CASES[3])
        assert case.given.shape == (10, 9)
        assert case.given.eq(IGNORE).all()
        assert case.layer("revised").eq(IGNORE).all()
        assert not case.was_revised("revised")

    def test_maps_go_window_by_window_in_the_precision_of_the_run(self, case_of):
        case, seen = case_of(CASES[0]), []

        def shifted(image):
            seen.append((tuple(image.shape[1:]), torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()))
            return torch.cat([image, image + 1, image + 2], 1)

        maps = case.predict_map(shifted)
        assert set(seen) == {((1, 6, 6), True, False)}
        assert maps.shape == (3, 10, 9)
        assert maps.dtype == torch.float32
        assert not maps.is_inference()
        torch.testing.assert_close(maps[2], torch.from_numpy(CASES[0].image[0]) + 2)

    def test_volumes_may_be_mapped_slice_by_slice(self, case_of):
        volume, seen = make_case("volume", shape=(7, 6, 5)), []
        case = case_of(volume, patch=(6, 6))
        assert case.sliced
        torch.testing.assert_close(
            case.predict_map(lambda image: seen.append(image.shape[1:]) or image), torch.from_numpy(volume.image)
        )
        assert set(seen) == {(1, 6, 6)}

    def test_the_images_of_a_case_are_its_slices_or_itself(self, case_of):
        volume = make_case("volume", shape=(7, 6, 5))
        for patch, count in (((6, 6), 5), ((6, 6, 4), 1)):
            case = case_of(volume, patch=patch)
            images = case.images(case.given)
            assert images.shape == (count, 7, 6) if count > 1 else (1, 7, 6, 5)
            assert torch.equal(case.from_images(list(images)), case.given)
            maps = torch.randn(3, 7, 6, 5)
            assert torch.equal(case.from_images(case.images(maps)), maps)
            assert case.map("regions").eq(-1).all()

    def test_the_schedule_is_the_methods(self, tmp_path):
        store = label_store(tmp_path, RandomReviser(Pointwise(1, 2), steps=(1, 2, 50)), CASES, TOTAL)
        assert store.steps == (1, 2)
        assert (store.layers, store.maps, store.values) == (("revised",), ("regions",), ("chance",))
