from __future__ import annotations

import bz2
import errno
import gzip
import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from refusals import raises

from segmend.core.errors import InputError
from segmend.data.container import (
    explained,
    kind_of,
    opened,
    require_deflated,
    require_length,
    require_possible,
    require_room,
)
from segmend.data.image import ENDINGS, read_grid, read_image, read_label

FOREIGN = {
    "a DICOM file": bytes(128) + b"DICM" + bytes(99),
    "an HTML or XML file": b"\n <!DOCTYPE html><html><body>404 Not Found",
    "a JPEG file": b"\xff\xd8\xff\xe0" + bytes(99),
    "a zip file": b"PK\x03\x04" + bytes(99),
    "a bzip2 file": bz2.compress(bytes(999)),
    "a JSON file": b'{"message": "rate limit exceeded"}',
    "a NumPy file": b"\x93NUMPY\x01\x00",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "a git-annex pointer": b"/annex/objects/SHA256E-s1--4d7a.nii.gz\n",
}


class TestKinds:
    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize("kind", FOREIGN)
    def test_a_file_of_another_kind_is_named(self, tmp_path, kind, ending):
        path = tmp_path / f"scan{ending}"
        path.write_bytes(FOREIGN[kind])
        for read in (read_image, read_label, read_grid):
            with pytest.raises(InputError, match=rf"scan{ending}: is {kind}"):
                read(path)

    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize(("content", "detail"), [(b"", "it is empty"), (bytes(5000), "begins with zeros only")])
    def test_a_file_without_content_is_named(self, tmp_path, ending, content, detail):
        (tmp_path / f"scan{ending}").write_bytes(content)
        with pytest.raises(InputError, match=detail):
            read_image(tmp_path / f"scan{ending}")

    def test_what_is_compressed_is_looked_at_too(self, tmp_path):
        (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(FOREIGN["a DICOM file"]))
        with pytest.raises(InputError, match="is a DICOM file"):
            read_image(tmp_path / "scan.nii.gz")

    def test_a_picture_under_the_name_of_another_format(self, tmp_path, write_scan):
        png = write_scan(tmp_path / "scan.png", np.eye(9, dtype=np.uint8))
        png.rename(tmp_path / "scan.tif")
        with pytest.raises(InputError, match=r"scan\.tif: is a PNG file named \.tif\. Convert it to \.tif"):
            read_image(tmp_path / "scan.tif")

    def test_nothing_is_said_of_unknown_bytes(self):
        assert kind_of(b"some text") is None


class TestOpening:
    def test_a_folder(self, tmp_path):
        (tmp_path / "scan.nii.gz").mkdir()
        with pytest.raises(InputError, match=r"scan\.nii\.gz: is a folder, not a file"):
            read_image(tmp_path / "scan.nii.gz")

    def test_a_pipe_does_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / "scan.nii.gz")
        with pytest.raises(InputError, match="is not a regular file, but a pipe or device"):
            read_image(tmp_path / "scan.nii.gz")

    @pytest.mark.parametrize(("target", "remedy"), [("gone", "Restore"), (".git/annex/objects/gone", "git annex get")])
    def test_a_dangling_link(self, tmp_path, target, remedy):
        (tmp_path / "scan.mha").symlink_to(target)
        with pytest.raises(InputError, match=rf"is a link to a file that does not exist \({target}\)\. .*{remedy}"):
            read_image(tmp_path / "scan.mha")

    def test_a_circle_of_links(self, tmp_path):
        (tmp_path / "scan.nii").symlink_to("scan.nii")
        with pytest.raises(InputError, match=r"scan\.nii: cannot be read \(.*links\)"):
            read_image(tmp_path / "scan.nii")

    @pytest.mark.parametrize(
        ("code", "said"),
        [(errno.EACCES, "may not be read by you"), (errno.EIO, r"cannot be read \(Input/output error")],
    )
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_the_system_says_why(self, tmp_path, write_scan, monkeypatch, ending, code, said):
        path = write_scan(tmp_path / f"scan{ending}", np.eye(9, dtype=np.uint8))

        def refuse(*arguments, **options):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(InputError, match=said):
            read_image(path)

    @pytest.mark.parametrize("error", [MemoryError(), RecursionError(), OverflowError(), KeyError(3)])
    def test_whatever_a_reader_raises_names_the_file(self, tmp_path, error):
        with pytest.raises(InputError, match=r"scan\.nii: cannot be read"), explained(tmp_path / "scan.nii"):
            raise error

    def test_an_open_file_is_closed_again(self, tmp_path):
        (tmp_path / "scan.nii").write_bytes(b"content")
        with opened(tmp_path / "scan.nii") as file:
            assert file.read() == b"content"
        assert file.closed


class TestClaims:
    path = Path("scan.nii")

    def test_no_compression_makes_more_of_a_byte(self):
        require_possible(self.path, 1032 * 10**6, 10**6)
        with pytest.raises(InputError, match="claims 1200000000 bytes of voxels, too many for 1000000 comp"):
            require_possible(self.path, 12 * 10**8, 10**6)

    @pytest.mark.parametrize(
        ("held", "said"), [(99, "describes 100 bytes, but it holds 99"), (101, "more than the 100")]
    )
    def test_a_length_must_be_exact(self, held, said):
        require_length(self.path, 100, 100)
        with pytest.raises(InputError, match=said):
            require_length(self.path, 100, held)

    def test_more_memory_than_is_free(self):
        require_room(self.path, 1)
        with pytest.raises(InputError, match=r"cannot be read: it takes 1048576\.0 GiB of memory, and .* GiB are free"):
            require_room(self.path, 2**50)

    @pytest.mark.parametrize("length", [0, 1, 2**20, 3 * 2**20 + 5])
    def test_deflated_data_of_the_claimed_length(self, length):
        packed = zlib.compress(bytes(length))
        require_deflated(self.path, io.BytesIO(packed), len(packed), length)

    @pytest.mark.parametrize(
        ("content", "claimed"),
        [
            pytest.param(zlib.compress(bytes(100)), 99, id="more"),
            pytest.param(zlib.compress(bytes(100)), 101, id="less"),
            pytest.param(zlib.compress(bytes(2**22)), 2**21, id="much more"),
            pytest.param(zlib.compress(bytes(100)) + b"tail", 100, id="a tail"),
            pytest.param(zlib.compress(bytes(100)) + bytes(2**21), 100, id="a long tail"),
            pytest.param(zlib.compress(bytes(range(100)))[:-4], 100, id="cut off"),
            pytest.param(b"", 100, id="nothing"),
        ],
    )
    def test_deflated_data_of_another_length(self, content, claimed):
        with raises("damaged"):
            require_deflated(self.path, io.BytesIO(content), len(content), claimed)
