from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.core.batch import Batch
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.functional.losses import cross_entropy
from segmend.methods import Bootstrapping, Step

LAST = Step(9, 10)


def of_object(*probabilities: float) -> Tensor:
    p = torch.tensor(probabilities)
    return torch.stack([1 - p, p]).log().unsqueeze(0)


def loss_and_gradient(image: Tensor, label: list[int], step: Step = LAST, **arguments) -> tuple[float, Tensor]:
    """The loss and its gradient by the logits."""
    image = image.clone().requires_grad_()
    given = Batch(image, torch.tensor([label]), (Quality.NOISY,), ("only",))
    loss = Bootstrapping(ImageAsLogits(), **arguments).loss(given, step)["bootstrapped"]
    return loss.item(), torch.autograd.grad(loss, image)[0]


class TestHard:
    def test_by_hand(self):
        # The second label is the class that is predicted, so only the first is replaced in part.
        loss, gradient = loss_and_gradient(of_object(0.2, 0.3), [1, 0])
        assert loss == pytest.approx((-0.8 * math.log(0.2) - 0.2 * math.log(0.8) - math.log(0.7)) / 2)
        # Half of prediction minus target.
        assert_close(gradient[0, 1], torch.tensor([0.2 - 0.8, 0.3 - 0.0]) / 2)

    def test_of_fitting_labels_is_cross_entropy(self):
        image = of_object(0.2, 0.7, 0.9)
        assert loss_and_gradient(image, [0, 1, 1])[0] == pytest.approx(
            cross_entropy(image, torch.tensor([[0, 1, 1]])).mean().item()
        )


class TestSoft:
    IMAGE, LABEL = of_object(0.2, 0.7), [1, 1]

    def entropy(self) -> float:
        return -sum(p * math.log(p) for p in (0.2, 0.8, 0.7, 0.3)) / 2

    def test_is_cross_entropy_and_entropy(self):
        expected = 0.95 * -(math.log(0.2) + math.log(0.7)) / 2 + 0.05 * self.entropy()
        assert loss_and_gradient(self.IMAGE, self.LABEL, variant="soft")[0] == pytest.approx(expected)
        assert loss_and_gradient(self.IMAGE, self.LABEL, variant="soft", detach=True)[0] == pytest.approx(expected)

    def test_gradients_pass_through_the_prediction_unless_detached(self):
        image = self.IMAGE.clone().requires_grad_()
        p = image.softmax(1)
        objective = 0.95 * cross_entropy(image, torch.tensor([self.LABEL])) - 0.05 * (p * p.log()).sum(1)
        (expected,) = torch.autograd.grad(objective.mean(), image)
        assert_close(loss_and_gradient(self.IMAGE, self.LABEL, variant="soft")[1], expected)
        pulled = loss_and_gradient(self.IMAGE, self.LABEL, variant="soft", detach=True)[1]
        assert_close(pulled[0, 1], 0.95 * torch.tensor([0.2 - 1, 0.7 - 1]) / 2)


@pytest.mark.parametrize("variant", ["hard", "soft"])
class TestBoth:
    def test_belief_in_itself_rises_in_the_warm_up(self, variant):
        plain, full = (
            loss_and_gradient(of_object(0.2), [1], variant=variant, warm_up=0.0, beta=beta)[0] for beta in (1.0, 0.6)
        )
        assert plain == pytest.approx(-math.log(0.2))
        for index, share in ((0, 0), (2, 0.5), (4, 1), (9, 1)):
            loss, _ = loss_and_gradient(of_object(0.2), [1], Step(index, 10), variant=variant, warm_up=0.4, beta=0.6)
            assert loss == pytest.approx(plain + share * (full - plain))

    def test_unknown_voxels_and_samples_take_no_part(self, variant):
        loss, gradient = loss_and_gradient(of_object(0.2, 0.3), [1, IGNORE], variant=variant)
        assert loss == pytest.approx(loss_and_gradient(of_object(0.2), [1], variant=variant)[0])
        assert gradient.any(1).tolist() == [[True, False]]
        without = Batch(of_object(0.2), torch.tensor([[IGNORE]]), (Quality.NONE,), ("only",))
        assert Bootstrapping(ImageAsLogits(), variant=variant).loss(without, LAST) == {}


def test_wrong_labels_are_not_memorised(right_after_training):
    assert right_after_training(Bootstrapping, beta=1.0) < 0.8
    assert right_after_training(Bootstrapping, beta=0.4, warm_up=0.2) > 0.95
