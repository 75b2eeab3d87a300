from __future__ import annotations

import torch
from torch.testing import assert_close

from segmend.core.masks import IGNORE
from segmend.functional.label_isolation import confirmed_by_prototypes, prototype_weights


def passes(*p: list[float]) -> torch.Tensor:
    """Logits ``[K, 1, 2, voxels]`` of passes with these probabilities of the object."""
    object_ = torch.tensor(p).unsqueeze(1)
    return torch.stack([1 - object_, object_], 2).log()


class TestPrototypeWeights:
    def test_are_the_probabilities_of_confident_voxels(self):
        weights = prototype_weights(passes([0.01, 0.02, 0.6, 0.98, 0.99]), "entropy", 0.3)
        assert_close(weights, torch.tensor([[[0.99, 0.98, 0, 0, 0], [0, 0, 0, 0.98, 0.99]]]), atol=1e-6, rtol=0)

    def test_are_of_the_mean_of_the_passes(self):
        weights = prototype_weights(passes([0.0001, 0.0001, 0.98, 0.98], [0.0001, 0.0001, 1.0, 1.0]), "entropy", 0.3)
        assert_close(weights[0, 1], torch.tensor([0, 0, 0.99, 0.99]), atol=1e-6, rtol=0)

    def test_by_the_spread_what_is_uncertain_in_all_channels_is_background(self):
        agreed, apart = [0.9, 0.9, 0.1, 0.1], [0.9, 0.2, 0.1, 0.1]
        weights = prototype_weights(passes(agreed, apart), "spread", 0.1)
        assert_close(weights[0, 0], torch.tensor([0, 0.1, 0.9, 0.9]), atol=1e-6, rtol=0)

    def test_a_class_without_confident_voxels_takes_all_voxels_predicted_as_it(self):
        weights = prototype_weights(passes([0.01, 0.01, 0.6, 0.7]), "entropy", 0.3)
        assert_close(weights[0, 1], torch.tensor([0, 0, 0.6, 0.7]), atol=1e-6, rtol=0)


class TestConfirmed:
    WEIGHTS = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 1]]])
    NEAR, FAR = torch.tensor([[[0.0, 0, 1, 1]]]), torch.tensor([[[0.0, 1, 0, 1]]])

    def test_by_the_nearest_prototype_at_most_scales(self):
        label = torch.tensor([[0, 1, 1, IGNORE]])
        assert confirmed_by_prototypes([self.NEAR], self.WEIGHTS, label).tolist() == [[True, False, True, False]]
        scales = [self.NEAR, self.FAR, self.NEAR]
        assert confirmed_by_prototypes(scales, self.WEIGHTS, label).tolist() == [[True, False, True, False]]
        assert not confirmed_by_prototypes([self.FAR, self.FAR, self.NEAR], self.WEIGHTS, label).any()

    def test_nothing_where_one_class_alone_was_found(self):
        weights = self.WEIGHTS * torch.tensor([1.0, 0.4]).view(1, 2, 1)
        assert not confirmed_by_prototypes([self.NEAR], weights, torch.tensor([[0, 0, 1, 1]])).any()
