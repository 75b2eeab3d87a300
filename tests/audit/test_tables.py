from __future__ import annotations

from math import nan

import pandas as pd
import pytest
from audit_rows import example_row

from segmend.audit.expected_dice import CohortStatistics
from segmend.audit.folder import AuditFolder
from segmend.audit.tables import make_remarks, write_audit
from segmend.core.errors import InputError
from segmend.data.folder import DataFolder
from segmend.functional.morphology import dilate

EXPERT = (nan, nan)
UNSEEN = (0.0, nan)


def rows(*corrections, label="organ"):
    return [example_row(label=label, correction_mm=offset, correction_se_mm=error) for offset, error in corrections]


def reference(best_dice):
    return CohortStatistics(slack=1.0, excess=0.0, spread=0.1, best_dice=best_dice, tolerance=1.0)


def test_where_most_are_surely_off_it_says_how_many_and_by_how_much():
    (said,) = make_remarks(rows((2.0, 0.5), (-3.0, 0.5), (4.0, 0.5), (0.9, 0.5), EXPERT), {}, "pixels", "")
    assert said.startswith(
        "3 of 4 noisy labels seem to be over- or under-segmented, with a median offset of 3.0 pixels."
    )


@pytest.mark.parametrize(
    "corrections",
    [
        [],
        [EXPERT, EXPERT],
        [UNSEEN],
        [(2.0, 0.5), (0.0, 0.5)],
        [(2.0, 0.5), UNSEEN],
        [(0.9, 0.5), (-0.9, 0.5)],
    ],
)
def test_otherwise_it_says_nothing(corrections):
    assert make_remarks(rows(*corrections), {"organ": reference(0.9)}, "mm", "") == []


def test_classes_with_low_model_confidence_are_reported():
    found = [*rows((0.0, 0.2), label="organ"), *rows(UNSEEN, label="vessel"), *rows((0.0, 0.2), label="bone")]
    organ, vessel = make_remarks(
        found, {"organ": reference(0.41), "vessel": reference(0.2), "bone": reference(0.8)}, "mm", "Train longer."
    )
    assert organ.startswith("The model has not learned 'organ': the median expected Dice of its own outlines is 0.41,")
    assert "Its labels are not judged" in organ
    assert "Train longer." in organ
    assert "need less, and are reported" in organ
    assert vessel.startswith("The model has not learned 'vessel'")
    assert "need less, and are reported" not in vessel


class TestFiles:
    def test_columns_and_what_is_undefined(self, make_data):
        data = make_data()
        data.corrupt("case_2", lambda values: dilate(values == 1, 7))
        found = data.audit()
        table = write_audit(data.place, DataFolder.open(data.root), found, found.findings)
        read = pd.read_csv(data.place.labels)
        assert list(read) == list(table)
        assert {"case", "label", "score", "dice_to_prediction", "flagged_voxels", "kind", "rank"} <= set(read)
        assert read["score"].is_monotonic_increasing
        assert read["proposal_score"].isna().tolist() == (read["proposal"] == "none").tolist()
        regions = pd.read_csv(data.place.regions)
        assert {"case", "label", "kind", "voxels", "mm3", "box", "centre_x_mm", "score"} <= set(regions)
        assert (regions["mm3"] / regions["voxels"]).to_numpy() == pytest.approx(1.5)
        assert data.place.read_labels()["case"].tolist() == table["case"].tolist()

    def test_names_are_not_mistaken_for_numbers_or_nothing(self, make_data, tmp_path):
        data = make_data(labels={"background": 0, "NA": 1})
        found = data.audit()
        write_audit(data.place, DataFolder.open(data.root), found, [])
        assert set(data.place.read_labels()["label"]) == {"NA"}

    def test_an_unfinished_audit(self, tmp_path):
        place = AuditFolder(tmp_path)
        with pytest.raises(InputError, match=r"audit\.csv: does not exist"):
            place.read_labels()
        place.settings.write_text("{")
        with pytest.raises(InputError, match=r"settings\.json: cannot be read"):
            place.read_settings()
        place.labels.write_text("case,label\n")
        with pytest.raises(InputError, match=r"audit\.csv: cannot be read"):
            place.read_labels()
