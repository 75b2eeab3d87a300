from __future__ import annotations

from segmend.data.dicom.case_names import case_names
from segmend.data.dicom.objects import ImageFiles
from segmend.data.names import check_name


def series(uid, patient="P1", date="20240131", number="3"):
    return ImageFiles(uid, "1.1", "CT", patient, date, number)


def test_names_of_patient_date_and_series():
    found = case_names([series("1.2"), series("1.3", "Müller/Jörg ^ 7", "", "")], anonymous=False)
    assert found == {"1.2": "P1_20240131_s3", "1.3": "Müller-Jörg-7_s0"}


def test_every_name_is_unique_whatever_the_order():
    several = [series("1.4"), series("1.2"), series("1.3", "p1")]
    found = case_names(several, anonymous=False)
    assert found == {"1.2": "P1_20240131_s3", "1.3": "p1_20240131_s3_b", "1.4": "P1_20240131_s3_c"}
    assert case_names(several[::-1], anonymous=False) == found


def test_many_series_of_one_name():
    found = case_names([series(f"1.{number:03}") for number in range(60)], anonymous=False)
    assert list(found.values())[24:28] == [f"P1_20240131_s3_{end}" for end in ("y", "z", "aa", "ab")]
    assert len(set(found.values())) == 60


def test_hostile_attributes_give_usable_names():
    for patient in ("../../etc/passwd", "a\\b", "\x00\x1b[31m", "   ", "x" * 300, "..", "?*<>|:"):
        (name,) = case_names([series("1.2", patient)], anonymous=False).values()
        assert check_name("file", "case", name) == name
        assert not set(name) & set("/\\\x00\x1b?*<>|:")
        assert len(name) < 100
    assert name.startswith("patient_")


def test_numbers_follow_the_uids():
    found = case_names([series("1.9", "A"), series("1.2", "B")], anonymous=True)
    assert found == {"1.2": "case_001", "1.9": "case_002"}
