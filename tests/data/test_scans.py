from __future__ import annotations

from pathlib import Path

import pytest
from refusals import raises

from segmend.data.scans import scans_of


@pytest.fixture
def files(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).touch()
        return [tmp_path / name for name in names]

    return make


def names_of(scans):
    return {name: [file.name for file in of_case] for name, of_case in scans.items()}


def test_a_folder(files, tmp_path):
    files("in/a_0000.png", "in/a_0001.png")
    assert names_of(scans_of(tmp_path / "in", 2)) == {"a": ["a_0000.png", "a_0001.png"]}


@pytest.mark.parametrize(
    ("name", "case"),
    [("a_0000.nii.gz", "a"), ("a.nii.gz", "a"), ("scan_2020.nii.gz", "scan_2020"), ("p_0012.png", "p_0012")],
)
def test_one_file(files, name, case):
    (file,) = files(name)
    assert scans_of(file, 1) == {case: [file]} == scans_of([file], 1)


def test_several_files_in_any_order(files):
    given = files("x/a_0001.png", "y/b_0000.png", "y/b_0001.png", "x/a_0000.png")
    assert names_of(scans_of(given, 2)) == {"a": ["a_0000.png", "a_0001.png"], "b": ["b_0000.png", "b_0001.png"]}


def test_a_file_without_a_number_may_hold_all_channels(files):
    assert names_of(scans_of(files("colour.png"), 3)) == {"colour": ["colour.png"]}


class TestBadInput:
    @pytest.mark.parametrize(
        ("names", "channels", "said"),
        [
            (("a_0000.png", "a_0001.png"), 1, "the run wants _0000|The run wants _0000"),
            (("a_0001.png",), 2, "The run wants _0000, _0001"),
            (("a_0000.png", "a_0002.png"), 3, "The run wants _0000, _0001, _0002"),
        ],
    )
    def test_channels(self, files, names, channels, said):
        with raises("mismatch", match=said):
            scans_of(files(*names), channels)

    def test_a_case_twice(self, files):
        with raises("duplicate", "y/a.png"):
            scans_of(files("x/a_0000.png", "y/a.png"), 1)
        with raises("duplicate", "images"):
            scans_of(files("A.png", "x/a.png"), 1)

    def test_what_is_no_scan(self, files, tmp_path):
        with raises("missing-file", "nowhere"):
            scans_of(tmp_path / "nowhere", 1)
        with raises("missing-file", "nowhere.png"):
            scans_of([*files("a.png"), Path("nowhere.png")], 1)
        with raises("mismatch", match="a folder among other paths"):
            scans_of([*files("a.png"), tmp_path], 1)
        with raises("unsupported", "notes.txt"):
            scans_of(files("notes.txt"), 1)
        with raises("missing-value", "images"):
            scans_of([], 1)
