from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from segmend.core.case import Case, Quality, Split
from segmend.core.errors import InputError
from segmend.data.cases_table import write_cases
from segmend.data.copying import copy_files
from segmend.data.folder import DataFolder


@pytest.fixture
def data(make_folder: Callable[..., Path]) -> Path:
    root = make_folder(cases=("a", "b"), test_cases=("t",), raters=("ann",))
    (root / "imagesTr" / ".hidden").write_text("of no use")
    (root / "notes").mkdir()
    (root / "notes" / "todo.txt").write_text("not data")
    return root


def test_images_are_links_and_labels_are_files_of_their_own(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    copy_files(data, copy, DataFolder.open(data).cases)
    files = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert files == {
        *(f"{folder}/{case}.nii.gz" for folder in ("labelsTr", "labelsTr_ann") for case in "ab"),
        *(f"imagesTr/{case}_0000.nii.gz" for case in "ab"),
        "imagesTs/t_0000.nii.gz",
        "labelsTs/t.nii.gz",
    }
    for name in files:
        assert (copy / name).read_bytes() == (data / name).read_bytes()
        assert (copy / name).samefile(data / name) == name.startswith("images")


def test_images_are_copied_where_there_are_no_links(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    copy_files(data, tmp_path, DataFolder.open(data).cases)
    image = tmp_path / "imagesTr" / "a_0000.nii.gz"
    assert image.read_bytes() == (data / "imagesTr" / "a_0000.nii.gz").read_bytes()
    assert not image.samefile(data / "imagesTr" / "a_0000.nii.gz")


def test_links_in_the_data_are_followed(data: Path, tmp_path: Path) -> None:
    image = data / "imagesTr" / "a_0000.nii.gz"
    image.rename(data / "elsewhere.nii.gz")
    image.symlink_to(Path("..") / "elsewhere.nii.gz")
    copy = tmp_path / "far" / "away"
    copy.mkdir(parents=True)
    copy_files(data, copy, DataFolder.open(data).cases)
    assert not (copy / "imagesTr" / image.name).is_symlink()
    assert (copy / "imagesTr" / image.name).samefile(data / "elsewhere.nii.gz")


@pytest.mark.parametrize("name", ["imagesTr/b_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/t_0000.nii.gz"])
def test_a_file_that_has_gone_meanwhile_is_named(data: Path, tmp_path: Path, name: str) -> None:
    cases = DataFolder.open(data).cases
    (data / name).unlink()
    copy = tmp_path / "copy"
    copy.mkdir()
    with pytest.raises(InputError, match=rf"{name}: is no longer there\. Restore it"):
        copy_files(data, copy, cases)


def test_cases_are_read_as_they_were_written(data: Path) -> None:
    cases = DataFolder.open(data).cases
    changed = [Case(c.name, c.images, c.label, Split.VAL, Quality.EXPERT, "centre, Ä", "nobody") for c in cases]
    write_cases(data / "cases.csv", changed)
    assert DataFolder.open(data).cases == tuple(changed)
