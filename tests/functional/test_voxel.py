from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.voxel import cross_entropy, moved_towards, one_hot, soft_cross_entropy

PROBABILITIES = torch.tensor([[0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.9, 0.1]])
LOGITS = PROBABILITIES.log().T.unsqueeze(0)  # [1, 2, 4]: four voxels in a row


class TestCrossEntropy:
    def test_by_hand(self):
        losses = cross_entropy(LOGITS, torch.tensor([[0, 1, 1, 0]]))
        assert_close(losses, torch.tensor([[0.356675, 0.223144, 0.510826, 0.105361]]), atol=1e-6, rtol=0)

    def test_ignored_voxels_cost_nothing_and_pull_nowhere(self):
        logits = LOGITS.clone().requires_grad_()
        losses = cross_entropy(logits, torch.tensor([[0, IGNORE, 1, IGNORE]]))
        losses.sum().backward()
        assert losses[0, [1, 3]].tolist() == [0, 0]
        assert not logits.grad[0, :, [1, 3]].any()
        assert logits.grad[0, :, [0, 2]].all()

    @pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
    def test_keeps_the_grid_and_works_in_float32(self, shape):
        logits = torch.randn(2, 3, *shape).bfloat16()
        losses = cross_entropy(logits, torch.zeros(2, *shape, dtype=torch.long))
        assert losses.shape == (2, *shape)
        assert_close(losses, -logits.float().log_softmax(1)[:, 0])

    def test_of_huge_logits_is_finite(self):
        logits = torch.tensor([[[1e4], [-1e4]]])
        assert cross_entropy(logits, torch.tensor([[1]])).item() == pytest.approx(2e4)


class TestOneHot:
    def test_by_hand(self):
        maps = one_hot(torch.tensor([[0, 2, IGNORE, 1]]), 3)
        assert maps.dtype == torch.float32
        assert maps.tolist() == [[[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]]

    @pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4)])
    def test_takes_any_grid_and_integer(self, shape):
        label = torch.randint(0, 3, (2, *shape), dtype=torch.uint8)
        label[0, 0] = IGNORE
        maps = one_hot(label, 3)
        assert maps.shape == (2, 3, *shape)
        assert torch.equal(maps.sum(1), (label != IGNORE).float())
        assert torch.equal(maps.argmax(1)[label != IGNORE], label[label != IGNORE].long())


class TestSoftCrossEntropy:
    def test_by_hand(self):
        target = torch.tensor([[[1, 0.5, 0.25, 0], [0, 0.5, 0.75, 0]]])
        expected = torch.tensor([[0.356675, 0.5 * (1.609438 + 0.223144), 0.25 * 0.916291 + 0.75 * 0.510826, 0]])
        assert_close(soft_cross_entropy(LOGITS, target), expected, atol=1e-6, rtol=0)

    def test_of_hard_labels_is_the_usual_one(self):
        logits, label = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
        label[0, 0] = IGNORE
        assert_close(soft_cross_entropy(logits, one_hot(label, 3)), cross_entropy(logits, label))

    def test_is_float32_and_finite_for_huge_logits(self):
        losses = soft_cross_entropy(torch.tensor([[[1e4], [-1e4]]]).bfloat16(), torch.tensor([[[0.5], [0.5]]]))
        assert losses.dtype == torch.float32
        assert losses.item() == pytest.approx(1e4, rel=0.01)


class TestMovedTowards:
    LABEL, OTHER = torch.tensor([[0, 1, IGNORE, 2]]), torch.tensor([[2, 1, IGNORE, 0]])

    def test_by_hand(self):
        soft = moved_towards(self.LABEL, self.OTHER, 0.25, 3)
        assert soft.tolist() == [[[0.75, 0, 0, 0.25], [0, 1, 0, 0], [0.25, 0, 0, 0.75]]]

    def test_by_a_share_of_each_voxels_own(self):
        soft = moved_towards(self.LABEL, self.OTHER, torch.tensor([[0.5, 0.9, 0.1, 1.0]]), 3)
        assert_close(soft, torch.tensor([[[0.5, 0, 0, 1.0], [0, 1, 0, 0], [0.5, 0, 0, 0]]]))

    @pytest.mark.parametrize(("share", "end"), [(0.0, LABEL), (1.0, OTHER)])
    def test_its_ends_are_the_labels(self, share, end):
        assert torch.equal(moved_towards(self.LABEL, self.OTHER, share, 3), one_hot(end, 3))
