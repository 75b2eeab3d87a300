from __future__ import annotations

from functools import partial

import pytest
from refusals import raises

from segmend.core.case import Case, Quality, Split
from segmend.engine.building import build_method, chosen_method, recommended
from segmend.methods import PLIL, AnnotatorConfusion, Supervised
from segmend.networks import UNet


@pytest.mark.parametrize(
    ("qualities", "method", "batch"),
    [
        ({"expert"}, "Supervised", "4 labelled"),
        ({"expert", "none"}, "Supervised", "4 labelled"),
        ({"noisy"}, "OffsetCorrection", "4 labelled"),
        ({"noisy", "none"}, "OffsetCorrection", "4 labelled"),
        ({"expert", "noisy", "none"}, "OffsetCorrection", "4 labelled"),
    ],
)
def test_depends_on_whose_labels_there_are(qualities, method, batch):
    cases = [Case(name, (), None, Split.TRAIN, Quality(name)) for name in sorted(qualities)]
    best = recommended(cases)
    assert (best.method.__name__, str(best.method.needs)) == (method, batch)


def test_what_the_user_names_is_taken_with_its_own_batch(capsys):
    method = build_method(chosen_method(PLIL, []), UNet(1, 2, 2, width=2, stages=2))
    assert isinstance(method, PLIL)
    assert method.needs == PLIL.needs
    assert capsys.readouterr().err == ""


def test_otherwise_the_choice_is_printed(capsys):
    assert chosen_method(None, [Case("a", (), None, Split.TRAIN, Quality.EXPERT)]) is Supervised
    assert "method: Supervised, as all labels are expert ones" in capsys.readouterr().err


class TestAnnotators:
    cases = (
        Case("a", (), None, Split.TRAIN, Quality.NOISY, annotator="ben"),
        Case("b", (), None, Split.TRAIN, Quality.NOISY, annotator="ann"),
        Case("c", (), None, Split.TRAIN, Quality.NOISY, annotator="ben"),
        Case("d", (), None, Split.TRAIN, Quality.EXPERT, annotator="expert"),
    )

    def built(self, method):
        return build_method(method, UNet(1, 2, 2, width=2, stages=2), self.cases)

    @pytest.mark.parametrize("method", [AnnotatorConfusion, lambda network: AnnotatorConfusion(network, trace=0.2)])
    def test_of_noisy_labels_are_told_to_a_method_that_models_them(self, method):
        made = self.built(method)
        assert made.arguments["annotators"] == ["ann", "ben"]
        assert made.confusion().shape == (2, 2, 2)
        assert made.trace == method(made.network).trace

    def test_that_the_user_names_stay(self):
        assert self.built(partial(AnnotatorConfusion, annotators=["ben", "cay", "ann"])).annotators == (
            "ben",
            "cay",
            "ann",
        )

    def test_that_the_user_names_are_all(self):
        with raises("mismatch", "method.annotators", match="leaves out 'ann', by whom"):
            self.built(partial(AnnotatorConfusion, annotators=["ben"]))

    def test_are_nothing_to_other_methods(self):
        assert "annotators" not in self.built(PLIL).arguments
