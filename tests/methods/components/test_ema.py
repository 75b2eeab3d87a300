from __future__ import annotations

import copy

import torch
from torch import nn
from torch.testing import assert_close

from segmend.methods.components.ema import EMATeacher, follow_students
from segmend.networks import UNet, VNet


def student() -> UNet:
    return UNet(1, 2, 2, width=2, stages=2)


def fill(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)


def values(network: nn.Module) -> list[float]:
    return [parameter.mean().item() for parameter in network.parameters()]


class TestStart:
    def test_is_a_copy_that_shares_nothing(self):
        network = student()
        teacher = EMATeacher(network).network
        assert type(teacher) is UNet
        for mine, theirs in zip(teacher.state_dict().values(), network.state_dict().values(), strict=True):
            assert torch.equal(mine, theirs)
            assert mine.data_ptr() != theirs.data_ptr()

    def test_learns_nothing_by_gradient(self):
        network = student()
        teacher = EMATeacher(network)
        assert not any(parameter.requires_grad for parameter in teacher.parameters())
        assert all(parameter.requires_grad for parameter in network.parameters())


class TestFollow:
    def test_follows_as_the_table_says(self):
        network = student()
        teacher = EMATeacher(network)
        fill(teacher.network, 100.0)
        fill(network, 0.0)
        for step, share_kept in [(0, 0.0), (1, 0.5), (9, 0.9), (99, 0.99), (10_000, 0.99)]:
            fill(teacher.network, 100.0)
            teacher.follow(step)
            assert_close(values(teacher.network), [100 * share_kept] * len(values(network)), rtol=1e-5, atol=1e-5)

    def test_of_many_steps_equals_the_plain_recursion(self):
        network = student()
        teacher = EMATeacher(network, decay=0.7)
        expected = None
        for step in range(8):
            fill(network, float(step**2 % 5))
            share = min(1 - 1 / (step + 1), 0.7)
            expected = float(step**2 % 5) if expected is None else share * expected + (1 - share) * (step**2 % 5)
            teacher.follow(step)
        assert_close(values(teacher.network), [expected] * len(values(network)), rtol=1e-5, atol=1e-5)

    def test_leaves_the_student_and_its_gradients_alone(self):
        network = student()
        teacher = EMATeacher(network)
        fill(teacher.network, 1.0)
        network(torch.randn(2, 1, 4, 4)).sum().backward()
        before = [(parameter.clone(), parameter.grad.clone()) for parameter in network.parameters()]
        teacher.follow(5)
        for parameter, (value, gradient) in zip(network.parameters(), before, strict=True):
            assert torch.equal(parameter, value)
            assert torch.equal(parameter.grad, gradient)
        assert all(parameter.grad is None for parameter in teacher.parameters())

    def test_batch_norm_statistics_are_the_teachers_own(self):
        network = student()
        teacher = EMATeacher(network)
        network(torch.randn(2, 1, 8, 8) + 10)
        own = {name: buffer.clone() for name, buffer in teacher.network.named_buffers()}
        teacher.follow(0)
        for name, buffer in teacher.network.named_buffers():
            assert torch.equal(buffer, own[name]), name
        teacher.network(torch.randn(2, 1, 8, 8) + 10)
        assert any(not torch.equal(buffer, own[name]) for name, buffer in teacher.network.named_buffers())

    def test_copied_statistics_are_the_students(self):
        network = student()
        teacher = EMATeacher(network, copy_statistics=True)
        network(torch.randn(2, 1, 8, 8) + 10)
        teacher.follow(3)
        pairs = zip(teacher.network.buffers(), network.buffers(), strict=True)
        assert all(torch.equal(mine, theirs) for mine, theirs in pairs)

    def test_of_a_copied_method_is_the_copied_student(self):
        owner = nn.ModuleDict({"network": student()})
        owner["teacher"] = EMATeacher(owner["network"], decay=0.0)
        copied = copy.deepcopy(owner)
        fill(copied["network"], 3.0)
        copied["teacher"].follow(5)
        assert set(values(copied["teacher"].network)) == {3.0}
        assert set(values(owner["teacher"].network)) != {3.0}

    def test_all_teachers_within_a_module_do(self):
        networks = [student(), student()]
        inner = nn.ModuleDict({"teacher": EMATeacher(networks[1], decay=0.5)})
        owner = nn.ModuleDict({"teacher": EMATeacher(networks[0], decay=0.5), "inner": inner})
        for network, teacher in zip(networks, (owner["teacher"], inner["teacher"]), strict=True):
            fill(network, 1.0)
            fill(teacher.network, 0.0)
        follow_students(owner, 100)
        assert set(values(owner["teacher"].network)) == set(values(inner["teacher"].network)) == {0.5}


class TestPrediction:
    def test_is_a_probability_without_gradient(self):
        teacher, image = EMATeacher(student()).eval(), torch.randn(2, 1, 8, 8, requires_grad=True)
        assert_close(teacher.predict(image), teacher.network(image).softmax(1))
        assert not teacher.predict(image).requires_grad

    def test_inconsistency_is_the_squared_difference_of_probabilities(self):
        teacher, image = EMATeacher(student()).eval(), torch.randn(2, 1, 8, 8)
        logits = torch.randn(2, 2, 8, 8, requires_grad=True)
        found = teacher.inconsistency(logits, image, 0.0)
        assert_close(found, (logits.softmax(1) - teacher.predict(image)).square().mean(1))
        assert found.requires_grad


class TestPerturbedPasses:
    def test_without_randomness_are_alike(self):
        teacher, image = EMATeacher(student()).eval(), torch.randn(2, 1, 8, 8)
        passes = teacher.perturbed_passes(image, 3, noise=0.0)
        assert_close(passes, teacher.network(image).expand(3, 2, 2, 8, 8))

    def test_each_has_noise_of_its_own(self):
        teacher, image = EMATeacher(student()).eval(), torch.randn(2, 1, 8, 8)
        seen: list[torch.Tensor] = []
        teacher.network.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0] - image))
        teacher.perturbed_passes(image, 3, noise=0.5)
        assert len(seen) == 3
        assert not torch.allclose(seen[0], seen[1])
        for noise in seen:
            assert 0.3 < noise.std() < 0.6
            assert noise.abs().max() <= 1.0 + 1e-6

    def test_each_has_dropout_of_its_own(self):
        torch.manual_seed(0)
        teacher, image = EMATeacher(VNet(1, 2, 2, width=4)), torch.randn(2, 1, 32, 32)
        first, second = teacher.perturbed_passes(image, 2, noise=0.0)
        assert not torch.allclose(first, second)

    def test_lead_no_gradient_away(self):
        image = torch.randn(2, 1, 8, 8, requires_grad=True)
        assert not EMATeacher(student()).perturbed_passes(image, 2).requires_grad

    def test_are_in_the_format_of_the_network(self):
        with torch.autocast("cpu", torch.bfloat16):
            assert EMATeacher(student()).perturbed_passes(torch.randn(2, 1, 8, 8), 2).dtype == torch.bfloat16


def test_is_saved_with_the_method_that_owns_it():
    teacher, other = EMATeacher(student()), EMATeacher(student())
    other.load_state_dict(teacher.state_dict())
    assert values(other.network) == values(teacher.network)
    assert len(teacher.state_dict()) == len(student().state_dict())
