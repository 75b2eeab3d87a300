from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from segmend.core.errors import InputError
from segmend.data.finding import (
    find_labels,
    find_scans,
    image_files,
    is_truth,
    label_of,
    meant,
    misnamed_folders,
    rater_folders,
    stray_labels,
)

DECOMPOSED = unicodedata.normalize("NFD", "Müller")


@pytest.fixture
def place(tmp_path):
    """A folder with empty files of some names."""

    def make(*names: str, folder: str = "imagesTr") -> Path:
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / folder

    return make


def scans(folder, ending=".nii.gz"):
    problems: list[InputError] = []
    found = find_scans(folder, ending, problems)
    return {name: [path.name for path in paths] for name, paths in found.items()}, [str(p) for p in problems]


class TestScans:
    def test_by_case_and_channel(self, place):
        folder = place("b_0000.nii.gz", "a_0001.nii.gz", "a_0000.nii.gz", ".DS_Store", "._a_0000.nii.gz", "Thumbs.db")
        assert scans(folder) == ({"a": ["a_0000.nii.gz", "a_0001.nii.gz"], "b": ["b_0000.nii.gz"]}, [])

    def test_of_any_ending(self, place):
        assert scans(place("a_0000.nii", "b_0000.mha"), None)[0] == {"a": ["a_0000.nii"], "b": ["b_0000.mha"]}

    def test_names_are_composed(self, place):
        assert list(scans(place(f"{DECOMPOSED}_0000.nii.gz"))[0]) == ["Müller"]

    @pytest.mark.parametrize(
        ("names", "problem"),
        [
            (["a_0000.nii.gz", "A_0000.nii.gz"], "has the cases 'A' and 'a', whose names differ in capitals only"),
            (["a_0000.nii.gz", "a_0000.nii"], "a_0000.nii: is not named CASE_0000.nii.gz"),
            (["a_0000.NII.GZ"], "a_0000.NII.GZ: is not named CASE_0000.nii.gz"),
            (["a\n_0000.nii.gz"], "holds the character U+000A"),
            (["a _0000.nii.gz"], "begins or ends with a blank"),
            (["site/a_0000.nii.gz"], "site/a_0000.nii.gz: lies in a sub-folder, which is not read"),
            (["a_0000.nii.gz/slice.dcm"], "a_0000.nii.gz: is a folder, but a file is expected"),
        ],
    )
    def test_what_is_wrong_is_said(self, place, names, problem):
        (found,) = scans(place(*names))[1]
        assert problem in found

    def test_a_copy_in_a_sub_folder_is_left_alone(self, place):
        assert scans(place("a_0000.nii.gz", "old/a_0000.nii.gz", "notes/a.txt"))[1] == []

    def test_names_that_are_no_text(self, place):
        folder = place("a_0000.nii.gz")
        Path(os.fsdecode(os.fsencode(folder) + b"/M\xfcller_0000.nii.gz")).touch()
        found, (problem,) = scans(folder)
        assert list(found) == ["a"]
        assert "holds the character U+DCFC" in problem
        assert "M\\xfcller_0000.nii.gz" in problem

    @pytest.mark.parametrize("kind", ["dangling", "loop", "pipe"])
    def test_what_is_no_file_is_named_and_the_others_found(self, place, kind):
        folder = place("a_0000.nii.gz")
        odd = folder / "b_0000.nii.gz"
        if kind == "pipe":
            os.mkfifo(odd)
        else:
            odd.symlink_to(odd.name if kind == "loop" else "../.git/annex/objects/b")
        found, (problem,) = scans(folder)
        assert list(found) == ["a"]
        assert problem.startswith(f"{odd}: is a pipe" if kind == "pipe" else f"{odd}: does not exist; it is a link")

    def test_links_to_files_are_files(self, place):
        folder = place("store/x.nii.gz", folder="elsewhere").parent / "imagesTr"
        folder.mkdir()
        (folder / "a_0000.nii.gz").symlink_to("../elsewhere/store/x.nii.gz")
        assert list(scans(folder)[0]) == ["a"]


class TestLabels:
    def test_by_case(self, place):
        folder = place("a.nii.gz", f"{DECOMPOSED}.nii.gz", "b.nii", "c.txt", folder="labelsTr")
        assert {name: path.name for name, path in find_labels(folder, ".nii.gz").items()} == {
            "a": "a.nii.gz",
            "Müller": f"{DECOMPOSED}.nii.gz",
        }

    def test_both_unicode_forms_at_once(self, place):
        folder = place("Müller.nii.gz", f"{DECOMPOSED}.nii.gz", folder="labelsTr")
        with pytest.raises(InputError, match="in another Unicode form"):
            find_labels(folder, ".nii.gz")

    def test_of_one_case(self, place):
        folder = place("a.nii.gz", f"{DECOMPOSED}.nii.gz", folder="labelsTr")
        assert label_of("a", folder, ".nii.gz") == folder / "a.nii.gz"
        assert label_of("Müller", folder, ".nii.gz") == folder / f"{DECOMPOSED}.nii.gz"
        assert label_of("b", folder, ".nii.gz") is None
        assert label_of("é", folder, ".nii.gz") is None
        (folder / "b.nii.gz").symlink_to("gone")
        with pytest.raises(InputError, match="does not exist; it is a link to gone"):
            label_of("b", folder, ".nii.gz")

    @pytest.mark.parametrize(
        ("name", "remedy"),
        [
            ("case_1.nii", "Save it as case_1.nii.gz, or remove it"),
            ("case_1.NII.GZ", "Rename it case_1.nii.gz"),
            ("Case_1.nii.gz", "Rename it case_1.nii.gz"),
            ("case_1_0000.nii.gz", "Rename it case_1.nii.gz"),
            ("case_1_seg.nii.gz", "Rename it case_1.nii.gz"),
            ("case_1.seg.nrrd", "Save it as case_1.nii.gz"),
            ("case_01.nii.gz", "Rename it case_1.nii.gz"),
            ("case-1.nii.gz", "Rename it case_1.nii.gz"),
            ("case_1.mgz", "Save it as case_1.nii.gz"),
            ("case_1.hdr", "Save it as case_1.nii.gz"),
            ("case_12.nii.gz", "Did you mean case_2.nii.gz or case_1.nii.gz?"),
        ],
    )
    def test_labels_of_no_case(self, place, name, remedy):
        folder = place("case_2.nii.gz", "notes.txt", "other.jpg", name, folder="labelsTr")
        (found,) = [str(problem) for problem in stray_labels(folder, ".nii.gz", ["case_1", "case_2"])]
        assert f"labelsTr/{name}: is the label of no case, so it is not used. {remedy}" in found

    def test_thousands_of_strays_take_no_time_to_explain(self, place):
        folder = place(*[f"x{number}.nii.gz" for number in range(300)], folder="labelsTr")
        names = [f"a_case_with_a_long_name_{number}" for number in range(3000)]
        assert len(list(stray_labels(folder, ".nii.gz", names))) == 300


@pytest.mark.parametrize(
    ("given", "names", "expected"),
    [
        ("CASE_1", ["case_1", "case_2"], "case_1"),
        ("1", ["001", "002"], "001"),
        ("case_0001_0000", ["case_0001", "case_0002"], "case_0001"),
        ("case_0003", ["case_0001", "case_0002"], None),
        ("case_0001.nii.gz", ["case_0001", "case_0002"], "case_0001"),
        ("a", ["A", "á"], "A"),
        ("b", ["a", "aa"], None),
    ],
)
def test_the_name_that_is_meant(given, names, expected):
    assert meant(given, names) == expected


class TestFolders:
    def test_raters_are_all_but_the_truth(self, tmp_path):
        for name in ("labelsTr", "labelsTr_ann", "labelsTr_clean", "labelsTr_Clean", "labelsTs", "labelsTr_"):
            (tmp_path / name).mkdir()
        (tmp_path / "labelsTr_notes.txt").touch()
        assert rater_folders(tmp_path) == {"ann": tmp_path / "labelsTr_ann"}

    @pytest.mark.parametrize("name", ["clean", "Clean", "CLEAN"])
    def test_the_truth_has_one_name(self, name):
        assert is_truth(name)
        assert not is_truth(name + "er")

    @pytest.mark.parametrize("others", [("Ann", "ann"), ("labelsTr",), ("Müller", DECOMPOSED)])
    def test_raters_that_cannot_be_told_apart(self, tmp_path, others):
        for name in others:
            (tmp_path / f"labelsTr_{name}").mkdir()
        with pytest.raises(InputError, match="names the same annotator as labelsTr"):
            rater_folders(tmp_path)

    def test_a_rater_that_leads_nowhere(self, tmp_path):
        (tmp_path / "labelsTr_ann").symlink_to("gone")
        with pytest.raises(InputError, match="labelsTr_ann: does not exist; it is a link to gone"):
            rater_folders(tmp_path)

    @pytest.mark.parametrize(
        ("name", "remedy"),
        [
            ("LabelsTr", "Rename it labelsTr."),
            ("labelstr", "Rename it labelsTr."),
            ("labels_Tr", "Rename it labelsTr."),
            ("labelTr", "Rename it labelsTr."),
            ("imagesTS", "Rename it imagesTs."),
            ("labelstr_ann", "Rename it labelsTr_ann."),
        ],
    )
    def test_folders_that_would_not_be_found(self, tmp_path, name, remedy):
        (tmp_path / name).mkdir()
        (found,) = misnamed_folders(tmp_path)
        assert str(found).endswith(remedy)

    def test_other_folders_are_left_alone(self, tmp_path):
        for name in ("imagesTr", "labelsTr", "labelsTr_old", "labelsTr2", "images", "disagreement"):
            (tmp_path / name).mkdir()
        (tmp_path / "LabelsTr").touch()
        assert list(misnamed_folders(tmp_path)) == []


def test_sub_folders_of_predictions_are_no_problem(place):
    folder = place("a.nii.gz", "probabilities/a_organ.nii.gz", folder="predictions")
    problems: list[InputError] = []
    assert [path.name for path in image_files(folder, problems, nested=False)] == ["a.nii.gz"]
    assert not problems
