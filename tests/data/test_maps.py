from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.core.errors import InputError
from segmend.data.maps import check_map_names, map_name

NAMES = st.sets(st.text("ab_%", min_size=1, max_size=5), min_size=1, max_size=6)


def test_a_name_is_case_and_class():
    assert map_name("case_1", "organ") == "case_1_organ.nii.gz"
    assert map_name("a", "left_kidney") == "a_left_kidney.nii.gz"


def test_a_case_and_a_class_that_would_share_a_file_are_refused_by_name():
    message = "case 'p1' with class 'left_kidney' and case 'p1_left' with class 'kidney' need maps of one file name"
    with pytest.raises(InputError, match=rf"^data: {message}, p1_left_kidney\.nii\.gz\. Rename a case or a class\."):
        check_map_names("data", ("p1", "p1_left"), ("background", "kidney", "left_kidney"))
    check_map_names("data", ("p1", "p2"), ("background", "kidney", "left_kidney"))


@given(cases=NAMES, labels=NAMES)
def test_names_that_pass_are_all_different(cases, labels):
    names = [map_name(case, label) for case in cases for label in labels]
    try:
        check_map_names("data", cases, labels)
    except InputError:
        return
    assert len({name.lower() for name in names}) == len(names)


@given(cases=NAMES, labels=NAMES)
def test_only_names_that_clash_are_refused(cases, labels):
    names = {map_name(case, label).lower() for case in cases for label in labels}
    if len(names) == len(cases) * len(labels):
        check_map_names("data", cases, labels)


def test_names_are_no_paths():
    assert map_name("a", "../../GTV/CTV") == "a_%2E.%2F..%2FGTV%2FCTV.nii.gz"


@pytest.mark.parametrize(("cases", "labels"), [(("a",), ("Liver", "liver")), (("a", "A"), ("organ",))])
def test_names_that_differ_in_capitals_only_are_refused(cases, labels):
    with pytest.raises(InputError, match=r"case 'a' with class .* and case .* need maps of one file name"):
        check_map_names("data", cases, labels)
