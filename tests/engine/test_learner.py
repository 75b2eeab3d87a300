from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusals import raises
from torch import nn

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.engine.learner import CHANNELS_LAST, Learner, Optimisation, channels_last, channels_last_batch
from segmend.methods import MeanTeacher, Method, Step
from segmend.methods.components.ema import EMATeacher
from segmend.networks import VNet


class Dice(Method):
    """Throws dice, and records its calls."""

    kind = "supervised"
    needs = Composition(any_labelled=1)

    def __init__(self, network):
        super().__init__(network)
        self.steps, self.layouts = [], []

    def loss(self, batch, step):
        self.steps.append(step)
        self.layouts.append(batch.image.is_contiguous(memory_format=CHANNELS_LAST[batch.image.ndim]))
        return {"first": torch.rand(()), "second": torch.rand((), dtype=torch.bfloat16)}

    def after_step(self, step):
        self.steps.append(step)


class Idle(Dice):
    """Finds nothing to learn from."""

    def loss(self, batch, step):
        return {}


@pytest.fixture
def learner_at(monkeypatch):
    """A learner in the middle of a run."""

    def make(step, rank=0, seed=0):
        monkeypatch.setattr(Learner, "global_step", property(lambda self: step))
        monkeypatch.setattr(Learner, "global_rank", property(lambda self: rank))
        return Learner(Dice(VNet(1, 2, width=1)), Optimisation(optimiser="sgd"), iterations=100, seed=seed)

    return make


@pytest.fixture
def batch():
    image = torch.rand(2, 3, 4, 5, 6)
    return Batch(image, torch.zeros(2, 4, 5, 6, dtype=torch.long), (Quality.EXPERT, Quality.NOISY), ("a", "b"))


def test_a_batch_without_anything_to_learn_from_is_an_error(learner_at, batch):
    learner = learner_at(0)
    learner.method = Idle(VNet(1, 2, width=1))
    with raises("mismatch", "method Idle", match="a batch of expert samples and noisy"):
        learner.training_step(batch, 0)


class TestOptimisation:
    @pytest.mark.parametrize(
        ("schedule", "factors"),
        [
            ("poly", [1, 0.7**0.9, 0.5**0.9, 0.1**0.9, 0, 0]),
            ("step", [1, 1, 0.1, 0.01, 0.01, 0.01]),
            ("constant", [1, 1, 1, 1, 1, 1]),
        ],
    )
    def test_schedules_by_hand(self, schedule, factors):
        optimisation = Optimisation(schedule=schedule)
        found = [optimisation.factor(progress) for progress in (0, 0.3, 0.5, 0.9, 1, 1.01)]
        assert found == pytest.approx(factors)

    @given(st.integers(1, 10**6))
    def test_steps_fall_on_the_very_thirds(self, third):
        factor = Optimisation(schedule="step").factor
        found = [factor(step / (3 * third)) for step in (third - 1, third, 2 * third - 1, 2 * third)]
        assert found == pytest.approx([1, 0.1, 0.1, 0.01])

    def test_sgd(self):
        assert type(Optimisation().optimiser_of(nn.Linear(2, 2))) is torch.optim.AdamW
        optimiser = Optimisation(optimiser="sgd").optimiser_of(nn.Linear(2, 2))
        assert type(optimiser) is torch.optim.SGD
        assert [optimiser.defaults[name] for name in ("lr", "momentum", "weight_decay")] == [0.01, 0.9, 1e-4]
        assert (
            Optimisation(optimiser="sgd", learning_rate=0.3, momentum=0).optimiser_of(nn.Linear(2, 2)).defaults["lr"]
            == 0.3
        )

    def test_nesterov_looks_ahead_along_the_momentum(self):
        """As nnU-Net trains. By hand: with gradient 1, v = 1 and then 1.99; a step is 0.01 (1 + 0.99 v)."""
        weight = nn.ParameterList([nn.Parameter(torch.zeros(()))])
        as_nnunet = Optimisation(optimiser="sgd", momentum=0.99, nesterov=True, weight_decay=0)
        optimiser = as_nnunet.optimiser_of(weight)
        for moved in (0.0199, 0.0199 + 0.029701):
            weight[0].grad = torch.ones(())
            optimiser.step()
            assert weight[0].item() == pytest.approx(-moved)

    @pytest.mark.parametrize("given", [{}, {"optimiser": "sgd", "momentum": 0}])
    def test_nesterov_needs_momentum(self, given):
        with raises("mismatch", "optimisation.nesterov", match="needs SGD with momentum, got"):
            Optimisation(nesterov=True, **given)

    def test_adamw(self):
        optimiser = Optimisation(optimiser="adamw", weight_decay=0.05).optimiser_of(nn.Linear(2, 2))
        assert type(optimiser) is torch.optim.AdamW
        assert [optimiser.defaults[name] for name in ("lr", "weight_decay")] == [1e-3, 0.05]
        assert Optimisation(optimiser="adamw", learning_rate=0.3).optimiser_of(nn.Linear(2, 2)).defaults["lr"] == 0.3

    def test_teachers_are_not_optimised(self):
        method = MeanTeacher(VNet(1, 2, width=1))
        (group,) = Optimisation().optimiser_of(method).param_groups
        assert list(map(id, group["params"])) == list(map(id, method.network.parameters()))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("learning_rate", 0),
            ("learning_rate", -1),
            ("clip", 0),
            ("momentum", 1),
            ("momentum", -0.1),
            ("weight_decay", -1),
        ],
    )
    def test_numbers_that_cannot_work(self, name, value):
        with raises("invalid-value", f"optimisation.{name}", match=str(value)):
            Optimisation(**{name: value})


class TestLearner:
    def test_adds_up_the_terms_in_float32(self, learner_at, batch):
        learner = learner_at(7)
        total = learner.training_step(batch, 0)
        assert set(learner.last_terms) == {"first", "second"}
        assert total.dtype == torch.float32
        assert float(total) == pytest.approx(sum(float(term) for term in learner.last_terms.values()), rel=1e-6)
        assert learner.method.steps == [Step(7, 100)]

    def test_chance_is_a_function_of_seed_step_and_process(self, learner_at, batch):
        def thrown(*place):
            torch.manual_seed(len(seen))
            learner = learner_at(*place)
            torch.rand(5)  # whatever happened before
            return float(learner.training_step(batch, 0))

        seen: dict[tuple[int, int, int], float] = {}
        for place in [(step, rank, seed) for step in range(3) for rank in range(3) for seed in range(3)]:
            seen[place] = thrown(*place)
        assert len(set(seen.values())) == 27
        assert all(thrown(*place) == total for place, total in seen.items())

    def test_the_method_sees_images_channels_last(self, learner_at, batch):
        learner = learner_at(0)
        learner.training_step(batch, 0)
        assert not batch.image.is_contiguous(memory_format=torch.channels_last_3d)
        assert learner.method.layouts == [True]

    def test_the_method_follows_when_the_weights_have_moved(self, learner_at):
        learner = learner_at(7)
        calls = learner.method.steps

        class Optimiser(torch.optim.SGD):
            def step(self, closure=None):
                calls.append("moved")

        learner.optimizer_step(0, 0, Optimiser(learner.method.parameters()), lambda: None)
        assert calls == ["moved", Step(7, 100)]

    def test_teachers_follow_before_the_method_hears_of_the_step(self, learner_at, monkeypatch):
        learner = learner_at(9)
        teacher = learner.method.teacher = EMATeacher(learner.method.network, decay=0.5)
        seen = []
        monkeypatch.setattr(EMATeacher, "follow", lambda self, step: seen.append((self is teacher, step)))
        monkeypatch.setattr(Dice, "after_step", lambda self, step: seen.append(step))
        learner.optimizer_step(0, 0, torch.optim.SGD(learner.method.network.parameters()), lambda: None)
        assert seen == [(True, 9), Step(9, 100)]

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_loss_that_is_not_finite_is_named(self, learner_at, value):
        learner = learner_at(41)
        learner.last_terms = {"expert": torch.tensor(1.0), "clean": torch.tensor(value)}
        message = "training step 41: the loss term clean is not finite. Lower `optimisation.learning_rate`, set `opt"
        with raises("not-finite", match=message):
            learner.on_before_optimizer_step(None)
        learner.last_terms["clean"] = torch.tensor(2.0)
        learner.on_before_optimizer_step(None)

    def test_the_loader_is_that_of_its_process(self, learner_at, monkeypatch):
        learner = learner_at(0, rank=1)
        monkeypatch.setattr(Learner, "trainer", SimpleNamespace(world_size=3))
        learner.make_loader = lambda rank, processes: (rank, processes)
        assert learner.train_dataloader() == (1, 3)

    def test_the_schedule_steps_with_every_batch(self, learner_at):
        learner = learner_at(0)
        configured = learner.configure_optimizers()
        schedule = configured["lr_scheduler"]["scheduler"]
        assert configured["lr_scheduler"]["interval"] == "step"
        rates = []
        for _ in range(3):
            rates += schedule.get_last_lr()
            configured["optimizer"].step()
            schedule.step()
        assert rates == pytest.approx([0.01, 0.01 * 0.99**0.9, 0.01 * 0.98**0.9])


class TestChannelsLast:
    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_numbers_and_names_stay(self, dimensions):
        method = MeanTeacher(VNet(2, 2, dimensions, width=2))
        before = {name: value.clone() for name, value in method.state_dict().items()}
        after = channels_last(method).state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(after[name], before[name]) for name in before)
        kernels = [value for value in after.values() if value.ndim == dimensions + 2]
        assert kernels
        assert all(kernel.is_contiguous(memory_format=CHANNELS_LAST[dimensions + 2]) for kernel in kernels)

    @pytest.mark.parametrize("sides", [(5, 6), (4, 5, 6)])
    def test_of_a_batch(self, sides):
        image = torch.rand(2, 3, *sides)
        given = Batch(image, torch.zeros(2, *sides), (Quality.NOISY,) * 2, ("a", "b"))
        made = channels_last_batch(given)
        assert made.image.is_contiguous(memory_format=CHANNELS_LAST[image.ndim])
        assert torch.equal(made.image, image)
        assert (made.label is given.label, made.quality, made.cases) == (True, given.quality, given.cases)
