from __future__ import annotations

import threading
import time

import nibabel
import numpy as np
import pytest
from refusals import raises

from segmend.review.volumes import Mapped, VolumeCache, file_key, open_volume

ARRAY = np.random.default_rng(0).integers(-1000, 1000, (7, 6, 5)).astype(np.int16)
PLANE = (slice(None), 2, slice(None))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_slices_are_those_of_the_array(tmp_path, write_scan, ending):
    volume = open_volume(write_scan(tmp_path / f"a{ending}", ARRAY))
    assert volume.shape == ARRAY.shape
    assert (volume.part(PLANE) == ARRAY[PLANE]).all()
    assert (volume.part((slice(None, None, 2),) * 3) == ARRAY[::2, ::2, ::2]).all()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", ["<i2", ">i2"])
def test_scale_and_byte_order(tmp_path, ending, order):
    image = nibabel.Nifti1Image(ARRAY.astype(order), np.eye(4), nibabel.Nifti1Header(endianness=order[0]))
    image.header.set_slope_inter(0.5, 10)
    path = tmp_path / f"a{ending}"
    with nibabel.openers.Opener(path, "wb") as file:
        image.header.set_data_dtype(order)
        image.header["magic"], image.header["vox_offset"] = b"n+1", 352
        file.write(image.header.binaryblock + b"\0" * 4 + ARRAY.astype(order).tobytes("F"))
    assert open_volume(path).part(PLANE) == pytest.approx(ARRAY[PLANE] * 0.5 + 10)


def test_uncompressed_files_are_mapped_whatever_their_size(tmp_path):
    """A file of a terabyte of holes: what reads it all would not end."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((8192, 8192, 8192))
    header["magic"], header["vox_offset"] = b"n+1", 352
    path = tmp_path / "large.nii"
    with path.open("wb") as file:
        file.write(header.binaryblock + b"\0" * 4)
        try:
            file.truncate(352 + 2 * 8192**3)
        except OSError:
            pytest.skip("no files with holes here")
    volume = open_volume(path)
    assert isinstance(volume, Mapped)
    assert volume.part((slice(0, 3), slice(0, 3), 8000)).tolist() == [[0] * 3] * 3


def test_channels_of_a_picture_in_colours(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for channel in range(3):
        assert (open_volume(tmp_path / "a.png", channel).part((slice(None),) * 2) == pixels[..., channel].T).all()
    with raises("mismatch", "a.png"):
        open_volume(tmp_path / "a.png", 3)


def test_a_truncated_file(tmp_path, write_scan):
    path = write_scan(tmp_path / "a.nii", ARRAY)
    path.write_bytes(path.read_bytes()[:-10])
    with raises("damaged", path):
        open_volume(path)


class TestCache:
    def test_reads_once(self):
        cache, reads = VolumeCache(), []

        def read():
            reads.append(1)
            return b"xx"

        assert [cache.get("a", read, len) for _ in range(3)] == [b"xx"] * 3
        assert len(reads) == 1

    def test_what_was_used_least_recently_goes_first(self):
        cache = VolumeCache(10)
        for key in ("a", "b"):
            cache.get(key, lambda: b"x" * 5, len)
        cache.get("a", lambda: pytest.fail("is kept"), len)
        cache.get("c", lambda: b"x" * 5, len)
        assert cache.nbytes == 10
        cache.get("a", lambda: pytest.fail("is kept"), len)
        assert cache.get("b", lambda: b"new", len) == b"new"

    def test_one_larger_than_all_is_kept_alone(self):
        cache = VolumeCache(10)
        cache.get("a", lambda: b"x" * 5, len)
        cache.get("b", lambda: b"x" * 50, len)
        assert cache.nbytes == 50
        cache.get("c", lambda: b"x", len)
        assert cache.nbytes == 1

    def test_threads_that_want_the_same_wait_for_one(self):
        cache, reads, found = VolumeCache(), [], []

        def read():
            reads.append(1)
            time.sleep(0.2)
            return b"x"

        threads = [threading.Thread(target=lambda: found.append(cache.get("a", read, len))) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(reads), found) == (1, [b"x"] * 5)

    def test_an_error_is_not_kept(self):
        cache = VolumeCache()
        with pytest.raises(ZeroDivisionError):
            cache.get("a", lambda: 1 // 0, len)
        assert cache.get("a", lambda: b"x", len) == b"x"

    def test_a_file_that_was_written_again_is_another_one(self, tmp_path):
        (tmp_path / "a").write_text("x")
        before = file_key(tmp_path / "a")
        (tmp_path / "a").write_text("xy")
        assert file_key(tmp_path / "a") != before
        (tmp_path / "a").unlink()
        with raises("missing-file", tmp_path / "a"):
            file_key(tmp_path / "a")
