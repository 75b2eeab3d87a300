from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.data.maps import MapFiles, check_map_names, map_name
from segmend.errors import InputError

KIDNEYS = ("background", "kidney", "left_kidney")
CASES = ("p1", "p1_left", "p2", "p2_left")


def test_a_name_is_case_and_class():
    assert map_name("case_1", "organ", ("background", "organ")) == "case_1_organ.nii.gz"
    assert map_name("a", "left_kidney", ("background", "left_kidney", "right_kidney")) == "a_left_kidney.nii.gz"


def test_a_case_and_a_class_that_would_share_a_name_have_two():
    names = {map_name(case, label, KIDNEYS) for case, label in itertools.product(CASES, KIDNEYS)}
    assert len(names) == 12
    check_map_names("data", CASES, KIDNEYS)


@given(
    cases=st.sets(st.text("ab_%", min_size=1, max_size=5), min_size=1, max_size=6),
    labels=st.sets(st.text("ab_%", min_size=1, max_size=5), min_size=1, max_size=6),
)
def test_no_two_cases_and_classes_share_a_name(cases, labels):
    names = [map_name(case, label, labels) for case in cases for label in labels]
    assert len(set(names)) == len(names)


def test_names_are_no_paths():
    assert map_name("a", "../../GTV/CTV", ("background",)) == "a_%2E.%2F..%2FGTV%2FCTV.nii.gz"


@pytest.mark.parametrize(("cases", "labels"), [(("a",), ("Liver", "liver")), (("a", "A"), ("organ",))])
def test_names_that_differ_in_capitals_only_are_refused(cases, labels):
    with pytest.raises(InputError, match=r"case 'a' with class .* and case .* need maps of one file name"):
        check_map_names("data", cases, labels)


class TestFiles:
    def test_the_file_of_each_class(self, tmp_path):
        files = MapFiles(tmp_path, CASES, KIDNEYS).files("p1")
        assert [file.name for file in files] == ["p1_background.nii.gz", "p1_kidney.nii.gz", "p1_left%5Fkidney.nii.gz"]

    def test_a_plain_name_is_taken_where_it_can_be_of_one_case_only(self, tmp_path):
        (tmp_path / "p1_left_kidney.nii.gz").touch()
        assert MapFiles(tmp_path, ("p1", "p2"), KIDNEYS).files("p1")[2].name == "p1_left_kidney.nii.gz"
        assert MapFiles(tmp_path, CASES, KIDNEYS).files("p1")[2].name == "p1_left%5Fkidney.nii.gz"
        (tmp_path / "p1_left%5Fkidney.nii.gz").touch()
        assert MapFiles(tmp_path, ("p1", "p2"), KIDNEYS).files("p1")[2].name == "p1_left%5Fkidney.nii.gz"
