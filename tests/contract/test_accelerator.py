"""Every method trains, revises labels and predicts on an accelerator, as far as that can be known without one."""

from __future__ import annotations

import copy
import re
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerator import CPU, DEVICE, Accelerator, AcceleratorTensor, WrongDeviceError
from labelled_case import CaseInMemory, take
from torch import Tensor

from segmend.core.case import Quality
from segmend.engine.learner import Learner, Optimisation, channels_last_batch
from segmend.inference import predict_probabilities
from segmend.methods import Method, Step, all_methods
from segmend.networks import UNet

COST = Path(__file__).parents[2] / "benchmarks" / "method_cost.py"
SCRIPT = runpy.run_path(str(COST))
make_batch, take_step, counted_step = SCRIPT["make_batch"], SCRIPT["take_step"], SCRIPT["counted_step"]

METHODS = all_methods()
REVISING = [name for name, cls in METHODS.items() if cls.revise is not Method.revise]
LAST = Step(999, 1000)


def recorded() -> dict[str, tuple[int, int, str]]:
    """Waits, copies to the device and the reason of every method, as the table holds them."""
    table = COST.with_suffix(".md").read_text(encoding="utf-8").partition(SCRIPT["COUNTS"])[2]
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (.*) \|$", table, flags=re.MULTILINE)
    return {name: (int(waits), int(copies), reason.strip()) for name, waits, copies, reason in rows}


def made(name: str, dimensions: int) -> Method:
    torch.manual_seed(0)
    network = UNet(1, 2, dimensions, width=4, stages=3)
    return Learner(METHODS[name](network), Optimisation(), 1000, 0).method


def trained(method: Method, device: torch.device, step: Step) -> tuple[dict[str, Tensor], Tensor]:
    """The terms of a step, and what the method predicts after it, both on the CPU."""
    torch.manual_seed(1)
    batch = channels_last_batch(make_batch(method, (16, 16), 2)).to(device)
    method.to(device)
    optimiser = torch.optim.SGD([each for each in method.parameters() if each.requires_grad], lr=0.01)
    terms = take_step(method, optimiser, batch, step)
    with torch.no_grad():
        predicted = method.eval().predict(batch.image)
    return {name: term.detach().cpu() for name, term in terms.items()}, predicted.cpu()


@pytest.mark.parametrize("name", METHODS)
def test_a_step_and_a_prediction_are_those_of_the_cpu(name):
    method = made(name, 2)
    terms, predicted = trained(copy.deepcopy(method), CPU, LAST)
    with Accelerator():
        there = trained(method, DEVICE, LAST)
    assert there[0].keys() == terms.keys()
    assert all(torch.equal(there[0][term], value) for term, value in terms.items())
    assert torch.equal(there[1], predicted)


@pytest.mark.parametrize("name", METHODS)
def test_no_step_waits_more_often_than_recorded(name):
    found = counted_step(METHODS[name], SCRIPT["MIDDLE"])
    waits, copies, reason = recorded()[name]
    assert sum(found.waits.values()) <= waits, dict(found.waits)
    assert sum(found.copies.values()) <= copies, dict(found.copies)
    assert reason or waits <= SCRIPT["FEW"]


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_the_record_is_the_most_of_a_run(name):
    assert SCRIPT["waits_of_step"](METHODS[name]) == recorded()[name][:2]


def test_plain_training_neither_waits_nor_copies():
    assert recorded()["Supervised"] == (0, 0, "")


def test_the_record_is_of_the_methods_that_there_are():
    assert recorded().keys() == METHODS.keys()
    assert all(waits > SCRIPT["FEW"] for name, (waits, _, _) in recorded().items() if name in SCRIPT["REASONS"])


def test_a_run_waits_once_in_a_step_and_then_reads_its_loss_freely():
    learner = Learner(made("Supervised", 2), Optimisation(), 10, 0)
    batch = make_batch(learner.method, (16, 16), 2)
    with Accelerator() as accelerator:
        learner.to(DEVICE)
        batch = batch.to(DEVICE)
        accelerator.forget()
        learner.training_step(batch, 0).backward()
        assert not accelerator.waits
        learner.on_before_optimizer_step(torch.optim.SGD(learner.parameters(), lr=0.1))
        assert [float(term) for term in learner.last_terms.values()]
    assert sum(accelerator.waits.values()) == 1
    assert not accelerator.copies


@dataclass
class CaseOfARun(CaseInMemory):
    """A case whose functions are given windows on a device, and whose maps come back to the CPU."""

    device: torch.device = CPU

    def predict_map(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        window = tuple(self.image.shape[1:-1])
        patch, stride = (*window, 8), (*window, 4)
        return torch.from_numpy(
            predict_probabilities(self.image, function, patch=patch, stride=stride, batch=2, device=self.device)
        )


def cases(device: torch.device) -> list[CaseOfARun]:
    """Two expert cases, and six that two annotators have drawn: balls in noise, each a little larger than the last."""
    random = torch.Generator().manual_seed(0)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, side) for side in (12, 16, 12)], indexing="ij")
    distance = torch.stack([axis.square() for axis in axes]).sum(0).sqrt()
    made = []
    for turn in range(8):
        label = (distance < 0.5 + 0.04 * turn).to(torch.uint8)
        image = 2.0 * (distance < 0.6) + 0.3 * torch.randn(distance.shape, generator=random)
        quality = Quality.EXPERT if turn < 2 else Quality.NOISY
        annotator = "" if turn < 2 else "ab"[turn % 2]
        of_scan = {"annotator": annotator, "spacing": (1.0, 1.0, 1.0), "device": device}
        made.append(CaseOfARun(f"case_{turn}", image.unsqueeze(0), label, quality, **of_scan))
    return made


def revised(method: Method, device: torch.device) -> list[CaseOfARun]:
    """All cases when the first two revisions of a run and the last have been taken."""
    method.to(device).eval()
    of_run = cases(device)
    steps = [step for step in (Step(index, 20) for index in range(20)) if method.revises(step)]
    changes = 0
    for step in dict.fromkeys([*steps[:2], steps[-1]]):
        torch.manual_seed(step.index)
        with torch.no_grad():
            changes += len(take(method.revise(of_run, step), of_run))
    assert changes
    return of_run


@pytest.mark.parametrize("name", REVISING)
def test_revisions_are_those_of_the_cpu(name):
    method = made(name, 3)
    here = revised(copy.deepcopy(method), CPU)
    with Accelerator():
        there = revised(method, DEVICE)
    for mine, other in zip(here, there, strict=True):
        assert all(np.array_equal(label, other.layers[layer].cpu()) for layer, label in mine.layers.items())
        assert all(np.array_equal(numbers, other.maps[kept].cpu()) for kept, numbers in mine.maps.items())
        assert mine.values == other.values


class TestTheAcceleratorItself:
    """What a GPU refuses is refused, and what the host waits for is counted."""

    @pytest.fixture(autouse=True)
    def accelerator(self):
        with Accelerator() as accelerator:
            yield accelerator

    @pytest.fixture
    def there(self, accelerator) -> Tensor:
        tensor = torch.arange(6.0).view(2, 3).to(DEVICE)
        accelerator.forget()
        return tensor

    def test_tensors_are_made_where_they_are_asked_for(self, there):
        assert there.device == DEVICE
        made = [torch.zeros(2, device=DEVICE), torch.tensor([1, 2], device=there.device), torch.ones_like(there)]
        assert there.new_tensor([1, 2]).tolist() == [1, 2]
        assert all(isinstance(each, AcceleratorTensor) and each.device == DEVICE for each in made)
        assert not isinstance(torch.zeros(2), AcceleratorTensor)

    @pytest.mark.parametrize(
        "mixed",
        [
            lambda there: there + torch.ones(2, 3),
            lambda there: torch.ones(2, 3) * there,
            lambda there: torch.cat([there, torch.ones(2, 3)]),
            lambda there: torch.stack([there[0, 0], torch.tensor(1.0)]),
            lambda there: there @ torch.ones(3, 2),
            lambda there: torch.ones(2, 3)[there > 1],
            lambda there: torch.ones(2, 3).add_(there),
            lambda there: torch.tensor(1.0).add_(there.sum()),
            lambda there: there.gather(1, torch.zeros(2, 1, dtype=torch.long)),
            lambda there: there.masked_fill(torch.ones(2, 3, dtype=torch.bool), 0.0),
            lambda there: torch.rand(2, device=there.device, generator=torch.Generator()),
        ],
    )
    def test_tensors_of_two_devices_are_refused(self, there, mixed):
        with pytest.raises(WrongDeviceError):
            mixed(there)

    def test_numpy_cannot_read_it(self, there):
        with pytest.raises(WrongDeviceError, match="NumPy"):
            there.numpy()
        with pytest.raises(WrongDeviceError, match="NumPy"):
            np.asarray(there)

    def test_scalars_and_indices_may_be_on_the_cpu(self, there):
        assert (there + torch.tensor(1.0)).sum().item() == 21
        assert torch.where(there > 2, there, torch.tensor(0.0)).sum().item() == 12
        assert there[torch.tensor([1])].tolist() == [[3, 4, 5]]

    @pytest.mark.parametrize(
        ("read", "waits"),
        [
            (lambda x: x.sum().item(), 1),
            (lambda x: bool(x.any()), 1),
            (lambda x: x.cpu().numpy(), 1),
            (lambda x: x.tolist(), 1),
            (lambda x: x.to("cpu"), 1),
            (lambda x: x[x > 1], 1),
            (lambda x: x.masked_select(x > 1), 1),
            (lambda x: (x > 1).nonzero(), 1),
            (lambda x: x.unique(), 1),
            (lambda x: x.flatten().long().bincount(), 1),
            (lambda x: torch.equal(x, x), 1),
            (lambda x: torch.zeros(2, 3).copy_(x), 1),
            (lambda x: x.long()[:, 0].repeat_interleave(x.long()[:, 0]), 1),
            (lambda x: x.masked_fill(x > 1, 0.0).where(x > 0, 1.0).sort().values.sum(), 0),
            (lambda x: x[[1, 0]], 0),
            (lambda x: x[1:, 0], 0),
            (lambda x: x.clone().__setitem__(x > 1, 0.0), 0),
            (lambda x: x.clone().__setitem__(x > 1, x[0, 0]), 1),
        ],
    )
    def test_what_the_host_waits_for_is_counted(self, accelerator, there, read, waits):
        read(there)
        assert sum(accelerator.waits.values()) == waits

    @pytest.mark.parametrize(
        ("copied", "count"),
        [
            (lambda x: torch.ones(3).to(x.device), 1),
            (lambda x: torch.tensor([1, 2], device=x.device), 1),
            (lambda x: x.new_tensor([1, 2]), 1),
            (lambda x: x[[1, 0]], 1),
            (lambda x: x[torch.tensor([1, 0])], 1),
            (lambda x: torch.ones(3).to(x), 1),
            (lambda x: x.clone().__setitem__(slice(None), torch.ones(3)), 1),
            (lambda x: x + torch.arange(3, device=x.device), 0),
            (lambda x: x.to(x.device), 0),
        ],
    )
    def test_copies_to_it_are_counted(self, accelerator, there, copied, count):
        copied(there)
        assert sum(accelerator.copies.values()) == count

    def test_a_mask_is_waited_for_again_in_the_backward_pass(self, accelerator, there):
        there.requires_grad_()[there.detach() > 1].sum().backward()
        assert sum(accelerator.waits.values()) == 2
        assert there.grad.tolist() == [[0, 0, 1], [1, 1, 1]]

    def test_changes_in_place_reach_what_is_a_view_of_it(self, there):
        row = there[1]
        there.add_(1)
        assert row.tolist() == [4, 5, 6]
        assert there.add_(1) is there


def test_nothing_computes_when_the_accelerator_is_gone():
    with Accelerator():
        tensor = torch.ones(2).to(DEVICE)
    with pytest.raises(WrongDeviceError, match="outside"):
        tensor + 1
