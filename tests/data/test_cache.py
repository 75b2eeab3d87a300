from __future__ import annotations

import errno
import json
import multiprocessing
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segmend.core.case import Case, Quality
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.data import cache as module
from segmend.data.cache import PreparedCase, cached_json, default_cache, digest_of, prepare
from segmend.data.compressed import CompressedArray, write_compressed
from segmend.data.folder import DataFolder
from segmend.data.preprocess import Normalisation, Preprocessing

PREPROCESSING = Preprocessing((None, None, None), (Normalisation(),))


@pytest.fixture
def loads(monkeypatch):
    """Names of the cases that were read, in order."""
    names: list[str] = []
    load = module.load_case

    def counting(case, folder):
        names.append(case.name)
        return load(case, folder)

    monkeypatch.setattr(module, "load_case", counting)
    return names


@pytest.fixture
def prepared(tmp_path):
    def prepare_folder(root, preprocessing=PREPROCESSING):
        folder = DataFolder.open(root)
        return prepare(folder, folder.cases, preprocessing, tmp_path / "cache")

    return prepare_folder


def entries(cache: Path) -> set[str]:
    return {path.name for path in cache.glob("??/*")}


class TestPrepare:
    def test_gives_what_the_preprocessing_gives(self, make_folder, prepared, tmp_path):
        root = make_folder(cases=("a",), labels={"background": 0, "x": 3, "ignore": 9})
        folder = DataFolder.open(root)
        (case,) = prepared(root)
        loaded = module.load_case(folder.cases[0], folder)
        placement = PREPROCESSING.place(loaded.image, loaded.grid)
        np.testing.assert_array_equal(case.image, PREPROCESSING.image(loaded.image, loaded.grid, placement))
        np.testing.assert_array_equal(case.label, loaded.label)
        assert isinstance(case.image, CompressedArray)
        assert isinstance(case.label, CompressedArray)

    def test_is_done_once(self, make_folder, prepared, loads):
        root = make_folder(cases=("a", "b"))
        first = prepared(root)
        assert loads == ["a", "b"]
        again = prepared(root)
        assert loads == ["a", "b"]
        assert [case.digest for case in again] == [case.digest for case in first]

    def test_another_spacing_is_another_entry(self, make_folder, prepared, loads):
        root = make_folder(cases=("a",))
        coarse = replace(PREPROCESSING, spacing=(2.0, 2.0, None))
        digests = {case.digest for preprocessing in (PREPROCESSING, coarse) for case in prepared(root, preprocessing)}
        assert loads == ["a", "a"]
        assert len(digests) == 2
        assert prepared(root, coarse)[0].image.shape == (1, 10, 9, 16)

    def test_another_label_leaves_the_image(self, make_folder, prepared, loads, tmp_path, write_scan):
        root = make_folder(cases=("a",))
        (before,) = prepared(root)
        others = entries(tmp_path / "cache")
        path = root / "labelsTr" / "a.nii.gz"
        path.unlink()
        write_scan(path, np.asarray(before.label) * 0, np.diag([1, 1, 1.5, 1]))
        (after,) = prepared(root)
        assert loads == ["a", "a"]
        assert len(entries(tmp_path / "cache") - others) == 1
        assert after.image.file == before.image.file
        assert np.asarray(before.label).any()
        assert not np.asarray(after.label).any()
        assert after.digest != before.digest

    def test_another_image_is_another_entry(self, make_folder, prepared, write_scan):
        root = make_folder(cases=("a",))
        (before,) = prepared(root)
        image = np.random.default_rng(9).uniform(1, 2, before.image.shape[1:]).astype(np.float32)
        write_scan(root / "imagesTr" / "a_0000.nii.gz", image, np.diag([1, 1, 1.5, 1]))
        (after,) = prepared(root)
        assert after.digest != before.digest
        assert not np.array_equal(after.image, before.image)

    def test_the_same_bytes_under_another_name_are_the_same_entry(self, make_folder, prepared, loads, tmp_path):
        root = make_folder(cases=("a",))
        (before,) = prepared(root)
        for path in (root / "imagesTr" / "a_0000.nii.gz", root / "labelsTr" / "a.nii.gz"):
            path.rename(path.with_name(path.name.replace("a", "b", 1)))
        (after,) = prepared(root.rename(tmp_path / "moved"))
        assert after.case.name == "b"
        assert after.digest == before.digest
        assert loads == ["a"]

    def test_other_values_for_the_classes_are_another_entry(self, make_folder, prepared):
        root = make_folder(cases=("a",), labels={"background": 0, "x": 1, "y": 2})
        (before,) = prepared(root)
        description = json.loads((root / "dataset.json").read_text())
        description["labels"] = {"background": 0, "y": 1, "ignore": 2}
        (root / "dataset.json").write_text(json.dumps(description))
        (after,) = prepared(root)
        assert after.image.file == before.image.file
        np.testing.assert_array_equal(after.label, np.where(np.asarray(before.label) == 2, IGNORE, before.label))

    def test_a_hidden_label_is_not_looked_at(self, make_folder, prepared):
        root = make_folder(cases=("a", "b"), table="case,quality\na,none\n")
        before = prepared(root)[0]
        assert before.case.quality is Quality.NONE
        assert before.label is before.foreground is None
        (root / "labelsTr" / "a.nii.gz").write_bytes(b"not even an image")
        assert prepared(root)[0].digest == before.digest

    def test_foreground_holds_voxels_of_every_class_alike(self, make_folder, prepared, write_scan):
        root = make_folder(cases=("a",), labels={"background": 0, "x": 1, "y": 2, "ignore": 3}, shape=(32, 32, 32))
        label = np.zeros((32, 32, 32), dtype=np.uint8)
        label[2:22, 2:30, 2:30], label[24:30, 2:30, 2:30], label[31] = 1, 2, 3
        write_scan(root / "labelsTr" / "a.nii.gz", label, np.diag([1, 1, 1.5, 1]))
        (case,) = prepared(root)
        values = np.asarray(case.label)[tuple(case.foreground.T)]
        assert np.bincount(values).tolist() == [0, 2048, 2048]
        assert len(np.unique(case.foreground, axis=0)) == 4096
        assert set(case.foreground[values == 1][:, 0]) == set(range(2, 22))
        by_class = case.foreground_by_class
        assert [len(voxels) for voxels in by_class] == [2048, 2048]
        for voxels, value in zip(by_class, (1, 2), strict=True):
            assert (np.asarray(case.label)[tuple(voxels.T)] == value).all()
        np.testing.assert_array_equal(np.concatenate(by_class), case.foreground)

    def test_an_empty_label_has_no_foreground(self, make_folder, prepared, write_scan):
        root = make_folder(cases=("a",))
        write_scan(root / "labelsTr" / "a.nii.gz", np.zeros((20, 18, 16), np.uint8), np.diag([1, 1, 1.5, 1]))
        assert prepared(root)[0].foreground.shape == (0, 3)
        assert prepared(root)[0].foreground_by_class == ()

    def test_a_file_that_cannot_be_used_is_named(self, make_folder, prepared, tmp_path):
        root = make_folder(cases=("a", "b"))
        (root / "imagesTr" / "b_0000.nii.gz").write_bytes(b"nothing")
        with pytest.raises(InputError, match=r"b_0000\.nii\.gz: cannot be read"):
            prepared(root)
        assert len(entries(tmp_path / "cache")) == 2  # image and label of the first case


class TestIdentity:
    """Digests that runs write down are those of the time before splines, where nothing is resampled."""

    def test_of_scans_that_keep_their_spacing_does_not_depend_on_interpolation(self, make_folder, prepared):
        root = make_folder(cases=("a",))
        cubic = replace(PREPROCESSING, interpolation="cubic")
        (linear,), (other,) = prepared(root), prepared(root, cubic)
        assert linear.digest == other.digest
        (same,) = prepared(root, replace(cubic, spacing=(1.0, 1.0, 1.5)))
        (as_before,) = prepared(root, replace(PREPROCESSING, spacing=(1.0, 1.0, 1.5)))
        assert same.digest == as_before.digest

    def test_of_resampled_scans_does(self, make_folder, prepared):
        root, spacing = make_folder(cases=("a",)), (2.0, 2.0, None)
        digests = [
            prepared(root, replace(PREPROCESSING, spacing=spacing, interpolation=each))[0].digest
            for each in ("linear", "cubic")
        ]
        assert len(set(digests)) == 2


def test_what_is_given_of_an_unlabelled_case_is_unknown():
    image, label = np.zeros((2, 4, 3), np.float32), np.ones((4, 3), np.uint8)
    assert PreparedCase(Case("a", (), None), image, label, None, "", (1.0, 1.0)).given is label
    given = PreparedCase(Case("a", (), None), image, None, None, "", (1.0, 1.0)).given
    assert (given.shape, given.dtype) == ((4, 3), np.uint8)
    assert (given == IGNORE).all()


class TestSafety:
    def test_two_processes_at_once(self, make_folder, tmp_path):
        folder = DataFolder.open(make_folder())
        arguments = (folder, folder.cases, PREPROCESSING, tmp_path / "cache")
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            first, second = pool.starmap(prepare, [arguments, arguments])
        for one, other in zip(first, second, strict=True):
            assert one.digest == other.digest
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.label, other.label)
        assert len(entries(tmp_path / "cache")) == 6

    def test_whoever_comes_second_takes_the_entry_of_the_first(self, tmp_path):
        def overtaken():
            assert cached_json(tmp_path, "abcd", lambda: {"by": "the other"}) == {"by": "the other"}
            return {"by": "me"}

        assert cached_json(tmp_path, "abcd", overtaken) == {"by": "the other"}
        assert not list((tmp_path / "unfinished").iterdir())

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), SystemExit(1)])
    def test_a_stopped_run_leaves_no_entry(self, make_folder, prepared, tmp_path, monkeypatch, error):
        root = make_folder(cases=("a",))

        def save_half(path, array):
            write_compressed(path, array[:, : len(array[0]) // 2])
            raise error

        monkeypatch.setattr(module, "write_compressed", save_half)
        with pytest.raises(type(error)):
            prepared(root)
        assert not entries(tmp_path / "cache")
        assert not list((tmp_path / "cache" / "unfinished").iterdir())
        monkeypatch.undo()
        assert prepared(root)[0].label.shape == (20, 18, 16)

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device"),
            OSError("1000 requested and 12 written"),  # of numpy, without a number
        ],
    )
    def test_a_full_disk_is_said(self, make_folder, prepared, tmp_path, monkeypatch, error):
        def save(path, content):
            raise error

        monkeypatch.setattr(Path, "write_bytes", save)
        with pytest.raises(InputError, match=r"cache: the disk is full"):
            prepared(make_folder())
        assert not entries(tmp_path / "cache")

    def test_a_cache_that_is_a_file(self, make_folder, tmp_path):
        (tmp_path / "cache").touch()
        folder = DataFolder.open(make_folder())
        with pytest.raises(InputError, match=r"cache: cannot be written"):
            prepare(folder, folder.cases, PREPROCESSING, tmp_path / "cache")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def turn(file: Path) -> None:
    """The same values, in another shape."""
    if file.suffix == ".npy":
        np.save(file, np.load(file).T.copy())
    else:
        write_compressed(file, np.asarray(CompressedArray(file)).T.copy())


def make_float64(file: Path) -> None:
    if file.suffix == ".npy":
        np.save(file, np.load(file).astype(np.float64))
    else:
        write_compressed(file, np.asarray(CompressedArray(file)).astype(np.float64))


def pickle(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, np.array([{"a": "trap"}], dtype=object), allow_pickle=True)


class TestDamage:
    @pytest.mark.parametrize("damage", [cut, empty, Path.unlink, turn, make_float64, pickle])
    @pytest.mark.parametrize("name", ["image.b2nd", "label.b2nd", "foreground.npy"])
    def test_an_entry_is_made_anew(self, make_folder, prepared, tmp_path, damage, name):
        root = make_folder(cases=("a",))
        (before,) = prepared(root)
        expected = [np.array(part) for part in (before.image, before.label, before.foreground)]
        (file,) = (tmp_path / "cache").glob(f"??/*/{name}")
        damage(file)
        (after,) = prepared(root)
        for found, array in zip((after.image, after.label, after.foreground), expected, strict=True):
            np.testing.assert_array_equal(found, array)
        assert not list((tmp_path / "cache" / "unfinished").iterdir())

    @pytest.mark.parametrize("text", ["", "[1, 2", "[]", "{}", "null", "{'values': 1}"])
    @pytest.mark.parametrize("name", ["value.json", "marks.json"])
    def test_a_value_is_made_anew(self, tmp_path, name, text):
        cached_json(tmp_path, "key", lambda: {"values": 1})
        (tmp_path / "ke" / "key" / name).write_text(text)
        assert cached_json(tmp_path, "key", lambda: {"values": 1}) == {"values": 1}
        assert cached_json(tmp_path, "key", lambda: pytest.fail("made twice")) == {"values": 1}

    def test_an_entry_that_lost_everything(self, tmp_path):
        (tmp_path / "ke" / "key").mkdir(parents=True)
        assert cached_json(tmp_path, "key", lambda: {"values": 1}) == {"values": 1}

    def test_a_whole_entry_needs_no_right_to_write(self, tmp_path, monkeypatch):
        cached_json(tmp_path, "key", lambda: {"values": 1})
        monkeypatch.setattr(Path, "mkdir", lambda *_, **__: pytest.fail("written"))
        assert cached_json(tmp_path, "key", lambda: pytest.fail("made twice")) == {"values": 1}

    def test_what_a_killed_process_left_is_removed(self, tmp_path):
        code = f"""
import os, signal
from pathlib import Path
from segmend.data.cache import cached_json
cached_json(Path({str(tmp_path)!r}), "key", lambda: os.kill(os.getpid(), signal.SIGKILL))
"""
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
        cached_json(tmp_path, "other", lambda: {"values": 1})
        (tmp_path / "unfinished" / ".segmend-lock.gone").touch()
        cached_json(tmp_path, "other", lambda: pytest.fail("made twice"))
        assert not list((tmp_path / "unfinished").iterdir())

    def test_a_place_that_cannot_be_written_to_names_the_argument(self, tmp_path, monkeypatch):
        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "unfinished"))

        monkeypatch.setattr(Path, "mkdir", refuse)
        with pytest.raises(
            InputError, match=r"cannot be written to\. Choose .*; or give .* by `cache` or .* SEGMEND_C"
        ):
            cached_json(tmp_path, "key", dict)


class TestRemember:
    def test_makes_a_value_once(self, tmp_path):
        made = []

        def make():
            made.append(1)
            return {"values": [0.1, None, "text"]}

        assert [cached_json(tmp_path, "key", make) for _ in range(3)] == [{"values": [0.1, None, "text"]}] * 3
        assert len(made) == 1
        assert cached_json(tmp_path, "other", lambda: {}) == {}


class TestDigest:
    def test_a_file_counts_by_its_content(self, tmp_path):
        first, second = tmp_path / "a", tmp_path / "b"
        first.write_text("same")
        second.write_text("same")
        assert digest_of("x", first) == digest_of("x", second)
        second.write_text("other")
        assert digest_of("x", first) != digest_of("x", second)

    def test_everything_counts(self, tmp_path):
        parts = [("a", 1), ("a", 2), ("b", 1), ("a", 1, None), (("a", 1),), ("a1",)]
        assert len({digest_of(*given) for given in parts}) == len(parts)


@pytest.mark.skipif(sys.platform != "linux", reason="paths of other systems differ")
def test_default_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("SEGMEND_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "segmend"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache() == tmp_path / "home" / ".cache" / "segmend"
    monkeypatch.setenv("SEGMEND_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
    for name in ("XDG_CACHE_HOME", "SEGMEND_CACHE"):  # empty is as good as not set
        monkeypatch.setenv(name, "")
    assert default_cache() == tmp_path / "home" / ".cache" / "segmend"


def test_without_a_home_the_argument_is_named(monkeypatch):
    monkeypatch.delenv("SEGMEND_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(InputError, match=r"^cache: .* no home folder\. Give a folder .* SEGMEND_CACHE"):
        default_cache()
