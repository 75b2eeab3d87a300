from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.core.errors import InputError
from segmend.data.maps import MapNames

KIDNEYS = ("background", "kidney", "left_kidney")
CASES = ("p1", "p1_left", "p2", "p2_left")
NAMES = st.sets(st.text("ab_%", min_size=1, max_size=5), min_size=1, max_size=6)


def test_a_name_is_case_and_class():
    names = MapNames(("case_1", "a"), ("background", "left_kidney", "kidney"))
    assert names.name("case_1", "kidney") == "case_1_kidney.nii.gz"
    assert names.name("a", "left_kidney") == "a_left_kidney.nii.gz"


def test_a_case_and_a_class_that_would_share_a_name_have_two():
    names = MapNames(CASES, KIDNEYS)
    assert names.name("p1", "left_kidney") == "p1_left%5Fkidney.nii.gz"
    assert names.name("p1_left", "kidney") == "p1_left_kidney.nii.gz"
    assert names.name("p1_left", "left_kidney") == "p1_left_left_kidney.nii.gz"
    assert len({names.name(*pair) for pair in itertools.product(CASES, KIDNEYS)}) == 12


@given(cases=NAMES, labels=NAMES)
def test_no_two_cases_and_classes_share_a_name(cases, labels):
    names = MapNames(cases, labels)
    assert len({names.name(*pair) for pair in itertools.product(cases, labels)}) == len(cases) * len(labels)


def test_names_are_no_paths():
    assert MapNames(("a",), ("../../GTV/CTV",)).name("a", "../../GTV/CTV") == "a_%2E.%2F..%2FGTV%2FCTV.nii.gz"


@pytest.mark.parametrize(("cases", "labels"), [(("a",), ("Liver", "liver")), (("a", "A"), ("organ",))])
def test_names_that_differ_in_capitals_only_are_refused(cases, labels):
    with pytest.raises(InputError, match=r"case 'a' with class .* and case .* need maps of one file name"):
        MapNames(cases, labels).check("data")


def test_maps_of_more_cases_than_are_asked_for_are_not_confused(tmp_path):
    """The map of p1 is not that of p1_left, even for who does not know of p1_left."""
    for pair in itertools.product(CASES, KIDNEYS):
        (tmp_path / MapNames(CASES, KIDNEYS).name(*pair)).touch()
    few = MapNames(("p1", "p2"), KIDNEYS)
    assert few.file(tmp_path, "p1", "left_kidney").name == "p1_left%5Fkidney.nii.gz"
    assert few.file(tmp_path, "p1", "kidney").name == "p1_kidney.nii.gz"


def test_maps_of_fewer_cases_than_are_asked_for_are_missed_not_confused(tmp_path):
    for label in KIDNEYS:
        (tmp_path / MapNames(("p1",), KIDNEYS).name("p1", label)).touch()
    assert not MapNames(CASES, KIDNEYS).file(tmp_path, "p1", "left_kidney").is_file()
