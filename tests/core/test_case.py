from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from segmend.core.case import Case, Quality, Split

LABEL = Path("labelsTr/a.nii.gz")


def test_values_are_the_words_of_the_table():
    assert [quality.value for quality in Quality] == ["expert", "noisy", "none"]
    assert [split.value for split in Split] == ["train", "val", "test"]


def test_without_a_table_a_labelled_case_is_for_training_and_noisy():
    case = Case("a", (Path("imagesTr/a_0000.nii.gz"),), LABEL)
    assert (case.split, case.quality, case.domain, case.annotator) == (Split.TRAIN, Quality.NOISY, "", "")


@pytest.mark.parametrize(("quality", "shown"), [(Quality.EXPERT, LABEL), (Quality.NOISY, LABEL), (Quality.NONE, None)])
def test_a_label_that_the_table_hides_is_not_shown(quality, shown):
    assert Case("a", (), LABEL, quality=quality).shown_label == shown
    assert Case("a", (), None, quality=quality).shown_label is None


def test_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Case("a", (), None).quality = Quality.EXPERT
