from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.core.errors import InputError
from segmend.data.names import (
    LONGEST_NAME,
    canonical,
    check_file_name,
    check_folder_name,
    check_name,
    clashes,
    confusable,
    path_part,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
HOSTILE = st.text(st.sampled_from("./\\%:a A\0\n\ud800é\u0301~"), max_size=8)


class TestCheck:
    @pytest.mark.parametrize("name", ["organ", "GTV/CTV", "linke Niere", "Müller", "左房", "a.b", "..", "50%", "CON"])
    def test_honest_names_pass(self, name):
        assert check_name("dataset.json", "class", name) == name

    def test_the_canonical_form_comes_back(self):
        assert check_name("x", "class", unicodedata.normalize("NFD", "Müller")) == "Müller"

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            (None, "class is None, which is not a name"),
            (1, "class is 1, which is not a name"),
            (["organ"], r"class is \['organ'\], which is not a name"),
            ("", "class '' is empty"),
            ("  ", "class '  ' is empty"),
            ("organ ", "class 'organ ' begins or ends with a blank"),
            ("\u00a0organ", "begins or ends with a blank"),
            ("a\0b", r"holds the character U\+0000"),
            ("a\nb", r"holds the character U\+000A"),
            ("\x1b[31m", r"holds the character U\+001B"),
            ("a\x85b", r"holds the character U\+0085"),
            ("a\u2028b", r"holds the character U\+2028"),
            ("a\ud800", r"class 'a\\ud800' holds the character U\+D800"),
            ("a" * 5000, "has 5000 bytes"),
            ("é" * 101, "has 202 bytes"),
        ],
    )
    def test_what_is_wrong_is_said(self, name, problem):
        with pytest.raises(InputError, match=problem) as caught:
            check_name("dataset.json", "class", name)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize("name", ["a/../../victim", "..", ".", "a\\b", "c:", "a*", "NUL", "nul.x", ".hidden", "a."])
    def test_a_path_is_no_folder_name(self, name):
        with pytest.raises(InputError, match=r"annotator .* cannot be the name of a folder"):
            check_folder_name("cases.csv line 2", "annotator", name)

    @pytest.mark.parametrize("name", ["ann", "Dr. Müller", "50%", "r_1", "CONRAD", "a.b"])
    def test_a_folder_name(self, name):
        assert check_folder_name("cases.csv line 2", "annotator", name) == name

    def test_a_file_name_of_several_names_may_be_too_long(self):
        assert check_file_name("dataset.json", "a" * 215) == "a" * 215
        with pytest.raises(InputError, match=r"dataset\.json: the file name 'aaa.* would have 216 bytes"):
            check_file_name("dataset.json", "a" * 216)


class TestPathPart:
    @pytest.mark.parametrize(
        ("name", "part"),
        [
            ("left kidney", "left kidney"),
            ("Müller", "Müller"),
            ("GTV/CTV", "GTV%2FCTV"),
            ("GTV%2FCTV", "GTV%252FCTV"),
            ("..", "%2E%2E"),
            ("a\\b", "a%5Cb"),
            ("a\0", "a%00"),
            ("organ.", "organ%2E"),
            ("organ ", "organ%20"),
            ("aux", "%61ux"),
            ("Aux.left", "%41ux.left"),
            ("auxiliary", "auxiliary"),
            ("", "%"),
        ],
    )
    def test_examples(self, name, part):
        assert path_part(name) == part

    @given(name=ANY_TEXT | HOSTILE)
    def test_is_one_part_of_a_path_everywhere(self, name):
        part = path_part(name)
        part.encode()
        for flavour in (PurePosixPath, PureWindowsPath):
            path = flavour("root") / part
            assert path.parent == flavour("root")
            assert path.name == part
        assert not PureWindowsPath(part).is_reserved()
        assert "\0" not in part
        assert not part.startswith(".")
        assert not part.endswith((".", " "))

    @given(one=ANY_TEXT | HOSTILE, other=ANY_TEXT | HOSTILE)
    def test_differs_for_different_names(self, one, other):
        assert (path_part(one) == path_part(other)) == (canonical(one) == canonical(other))

    def test_the_longest_name_fits_a_file_system(self, tmp_path):
        (tmp_path / f"{'é' * (LONGEST_NAME // 2)}_0000.nii.gz").touch()


class TestClashes:
    def test_capitals_and_unicode_forms(self):
        decomposed = unicodedata.normalize("NFD", "é")
        assert list(clashes(["a", "é", "B", "A", decomposed, "c", "Straße", "STRASSE"])) == [
            ("a", "A"),
            ("é", decomposed),
            ("Straße", "STRASSE"),
        ]

    @given(name=ANY_TEXT)
    def test_upper_and_lower_case_are_confusable(self, name):
        assert confusable(confusable(name)) == confusable(name)
        assert confusable(unicodedata.normalize("NFD", name)) == confusable(name)
