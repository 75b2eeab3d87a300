from __future__ import annotations

import pytest

from segmend.core.case import Case, Quality, Split
from segmend.engine.building import build_method, chosen_method, recommended
from segmend.methods import PLIL, Supervised
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
