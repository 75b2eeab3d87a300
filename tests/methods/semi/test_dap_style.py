from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from segmend.core.batch import Batch, Composition
from segmend.core.case import Quality
from segmend.core.masks import IGNORE
from segmend.methods import DAPStyle, Step
from segmend.methods.components.patch_critic import likeness_loss
from segmend.networks import Network

START, LATER = Step(0, 100), Step(50, 100)
EXPERT, NONE = Quality.EXPERT, Quality.NONE


class Shown(Network):
    """Logits are the image's channels times a gain."""

    def __init__(self, in_channels: int = 2, classes: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        return self.gain * image


def method(**arguments: Any) -> DAPStyle:
    torch.manual_seed(0)
    return DAPStyle(Shown(), critic_width=4, **arguments)


def batch(*quality: Quality) -> Batch:
    """Two voxels a sample, predicted as (0.8, 0.3 | 0.2, 0.7) and labelled 0."""
    image = torch.tensor([[[0.8, 0.3]], [[0.2, 0.7]]]).log().unsqueeze(0).repeat(len(quality), 1, 1, 1)
    label = torch.tensor([0 if each is EXPERT else IGNORE for each in quality]).view(-1, 1, 1).expand(-1, 1, 2)
    return Batch(image, label, quality, tuple(map(str, range(len(quality)))))


class TestExpert:
    @pytest.mark.parametrize(("combine", "expected"), [("product", 0.177430), ("mean", 0.335893)])
    def test_counts_by_atlas_and_likelihood(self, combine, expected, monkeypatch):
        made = method(combine=combine)
        monkeypatch.setattr(made.atlas, "prior", lambda *_: torch.tensor([[[0.9, 0.4]]]))
        assert made.loss(batch(EXPERT), START)["expert"].item() == pytest.approx(expected, abs=1e-6)

    def test_unknown_voxels_do_not_count(self):
        of = batch(EXPERT)
        of = Batch(of.image, torch.tensor([[[0, IGNORE]]]), of.quality, of.cases)
        expected = (0.5 + 0.04) / 2 * 0.223144
        assert method().loss(of, START)["expert"].item() == pytest.approx(expected, abs=1e-6)

    def test_atlas_grows_by_the_labels_of_expert_samples_after_they_were_used(self):
        made = method()
        first = made.loss(batch(EXPERT, NONE), START)["expert"]
        assert made.atlas.counts.sum(0).tolist() == [2, 0]
        assert made.loss(batch(EXPERT, NONE), START)["expert"] < first

    def test_atlas_is_saved(self):
        made = method()
        made.loss(batch(EXPERT), START)
        assert made.state_dict()["atlas.counts"].sum() == 2


class TestAdversarial:
    def test_terms_have_their_weights(self):
        of, made = batch(EXPERT, NONE), method(labelled=0.3, unlabelled=0.2)
        judged = likeness_loss(made.critic.judged(of.image.softmax(1)))
        assert_close(made.loss(of, START)["adversarial"], 0.3 * judged[0].mean() + 0.2 * judged[1].mean())

    def test_critic_learns_from_its_own_term_only(self):
        made = method()
        terms = made.loss(batch(EXPERT, NONE), LATER)
        for name, term in terms.items():
            made.zero_grad()
            term.backward(retain_graph=True)
            learned = any(each.grad is not None and each.grad.any() for each in made.critic.parameters())
            assert learned is (name == "critic")
            assert (made.network.gain.grad is None) is (name == "critic")


class TestPseudo:
    def test_starts_after_the_warm_up(self):
        assert "pseudo" not in method().loss(batch(EXPERT, NONE), START)
        assert "pseudo" in method().loss(batch(EXPERT, NONE), LATER)

    def test_learns_from_the_prediction_where_the_critic_takes_it_for_a_label(self, monkeypatch):
        made = method(pseudo=2.0, threshold=0.3)
        monkeypatch.setattr(made.critic, "judged", lambda maps: torch.tensor([[[1.5, -1.0]]]))
        found = made.loss(batch(NONE), LATER)["pseudo"]
        assert found.item() == pytest.approx(2 * 0.223144, abs=1e-6)

    def test_is_nothing_if_it_never_does(self):
        assert method(threshold=1.0).loss(batch(NONE), LATER)["pseudo"].item() == 0


@pytest.mark.parametrize(
    ("quality", "terms"),
    [([EXPERT], {"expert", "adversarial", "critic"}), ([NONE], {"adversarial", "pseudo"})],
)
def test_samples_of_a_kind_may_be_absent(quality, terms):
    assert set(method().loss(batch(*quality), LATER)) == terms


def test_takes_expert_and_unlabelled_samples():
    assert DAPStyle.needs == Composition(expert=2, unlabelled=2)
