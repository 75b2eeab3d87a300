from __future__ import annotations

import math

import pytest

from segmend.audit.folder import AuditFolder
from segmend.core.errors import InputError

COLUMNS = "case,label,score,kind,quality,proposal,proposal_score,correction_mm,correction_se_mm,in_training_set"
ROW = "007,NA,0.25,extra,noisy,regions,0.5,-1.5,,False"


@pytest.fixture
def place(tmp_path):
    place = AuditFolder(tmp_path)
    place.labels.write_text(f"{COLUMNS}\n{ROW}\n")
    return place


def test_names_stay_text_and_empty_numbers_are_unknown(place):
    (row,) = place.read_labels().to_dict("records")
    assert (row["case"], row["label"]) == ("007", "NA")
    assert (row["score"], row["correction_mm"], row["in_training_set"]) == (0.25, -1.5, 0)
    assert math.isnan(row["correction_se_mm"])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("0.25", "good", "'score' holds something that is no number"),
        ("0.25", "", "'score' is not from 0 to 1"),
        ("0.25", "nan", "'score' is not from 0 to 1"),
        ("0.25", "1.5", "'score' is not from 0 to 1"),
        ("0.25", "inf", "'score' holds a number that is not finite"),
        (",0.5,", ",x,", "'proposal_score' holds something that is no number"),
        ("-1.5", "1 mm", "'correction_mm' holds something that is no number"),
        ("regions", "os.system", "a proposal is 'os.system'"),
        ("proposal_score", "proposed", "has no column 'proposal_score'"),
        (ROW, f"{ROW}\n{ROW}", "a case has a label twice"),
    ],
)
def test_damaged_tables_are_refused(place, old, new, problem):
    place.labels.write_text(place.labels.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=r"audit\.csv: cannot be read") as error:
        place.read_labels()
    assert problem in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'"', b"\x00"])
def test_what_is_no_table_is_refused(place, content):
    place.labels.write_bytes(content)
    with pytest.raises(InputError, match=r"audit\.csv: cannot be read"):
        place.read_labels()


@pytest.mark.parametrize(
    "content", ["[]", "", "{", "null", "[" * 100_000, '{"labels": []}', '{"labels": {"a": 5}}', '{"a": 1, "a": 2}']
)
def test_damaged_settings_are_refused(place, content):
    place.settings.write_text(content)
    with pytest.raises(InputError, match=r"settings\.json: cannot be read: it is damaged"):
        place.read_settings()


@pytest.mark.parametrize("content", ["[]", "{}", '{"remarks": 5}', '{"remarks": [5]}'])
def test_a_damaged_summary_is_refused(place, content):
    place.summary.write_text(content)
    with pytest.raises(InputError, match=r"audit\.json: cannot be read: it is damaged"):
        place.read_summary()


def test_what_is_missing_is_said_to_be(tmp_path):
    place = AuditFolder(tmp_path)
    for read in (place.read_settings, place.read_summary, place.read_labels):
        with pytest.raises(InputError, match=r"does not exist\. Give the folder that 'segmend audit' writes"):
            read()
