from __future__ import annotations

import gzip

import numpy as np
import pytest
from refusals import raises

from segmend.core.errors import InputError
from segmend.data import headers
from segmend.data.headers import check_scan, collected, raise_all

ARRAY = np.random.default_rng(0).uniform(1, 200, (9, 8, 7)).astype(np.float32)


@pytest.fixture
def read(monkeypatch):
    """The files that are read in full."""
    paths = []
    real = headers.read_image
    monkeypatch.setattr(headers, "read_image", lambda path: (paths.append(path), real(path))[1])
    return paths


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_voxels_of_whole_files_are_not_read(tmp_path, write_scan, read, ending):
    check_scan([write_scan(tmp_path / f"a_0000{ending}", ARRAY)], 3)
    assert not read


@pytest.mark.parametrize(
    ("ending", "missing"),
    [(".nii.gz", 1), (".nii.gz", 200), (".nii", 1), (".nii", 200), (".mha", 1), (".mha", 200), (".nrrd", 200)],
)
def test_files_that_were_cut_off_are_found(tmp_path, write_scan, ending, missing):
    path = write_scan(tmp_path / f"a_0000{ending}", ARRAY)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(InputError, match="a_0000"):
        check_scan([path], 3)


def test_a_file_of_several_gzip_members_is_whole(tmp_path, write_scan, read):
    """As parallel programs write them; the length at their end is that of the last member."""
    path = write_scan(tmp_path / "a_0000.nii.gz", ARRAY)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))
    check_scan([path], 3)
    assert read == [path]


def test_all_problems_are_raised_as_one(tmp_path):
    def check(number):
        if number % 2:
            raise InputError(f"scan {number}", "is odd", "even it")

    problems = list(collected(map(check, range(5))))
    with raises("invalid-value") as raised:
        raise_all(tmp_path, "scans", problems)
    assert "has 2 scans that cannot be used. Repair them or take them out.\n  scan 1: is odd\n  scan 3: is odd" in str(
        raised.value
    )
    with pytest.raises(InputError, match=r"^scan 1: is odd, alas\. Even it\.$"):
        raise_all(tmp_path, "scans", problems[:1], ", alas")
    raise_all(tmp_path, "scans", [])
