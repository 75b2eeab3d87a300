from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.core.errors import InputError
from segmend.engine.evidence import SMALLEST, Evidence, decode, encode, is_evidence, write_evidence


def test_probabilities_come_back_within_a_percent_and_in_their_order(tmp_path):
    maps = np.random.default_rng(0).dirichlet([0.3, 0.3, 0.3], (5, 4, 3)).transpose(3, 0, 1, 2).astype(np.float32)
    write_evidence(tmp_path / "deep" / "a.npz", iter(maps))
    evidence = Evidence(tmp_path / "deep" / "a.npz")
    assert evidence.classes == 3
    for index in range(3):
        back = evidence.probability(index)
        assert back.dtype == np.float32
        np.testing.assert_allclose(back, maps[index], atol=0.0085)


def test_certainty_is_stored_as_nearly_certain():
    assert encode(np.array([0.0, 0.0003, 0.5, 0.9997, 1.0])).tolist() == [0, 0, 128, 255, 255]


def test_log_odds_are_kept_evenly(tmp_path):
    write_evidence(tmp_path / "a.npz", [np.array([0.001, 0.01, 0.99, 0.999])])
    back = Evidence(tmp_path / "a.npz").probability(0)
    assert np.log(back / (1 - back)) == pytest.approx([-6.907, -4.595, 4.595, 6.907], abs=0.032)


def test_a_crash_leaves_no_file(tmp_path):
    def maps():
        yield np.zeros((2, 2))
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_evidence(tmp_path / "a.npz", maps())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 60, 300])
def test_a_damaged_file_is_named(tmp_path, keep):
    path = tmp_path / "a.npz"
    write_evidence(path, [np.random.default_rng(0).random((20, 20)) for _ in range(2)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a\.npz: is damaged\. Delete it"):
        Evidence(path).probability(1)


def test_a_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    write_evidence(path, [np.random.default_rng(0).random((40, 40))])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        Evidence(path).probability(0)


class TestIsEvidence:
    @pytest.fixture
    def path(self, tmp_path):
        write_evidence(tmp_path / "a.npz", [np.random.default_rng(0).random((20, 18)) for _ in range(2)])
        return tmp_path / "a.npz"

    def test_of_the_scan_and_its_classes(self, path):
        assert is_evidence(path, (20, 18), 2)
        assert not is_evidence(path, (20, 19), 2)
        assert not is_evidence(path, (360,), 2)
        assert not is_evidence(path, (20, 18), 3)

    @pytest.mark.parametrize("keep", [0, 60, 300])
    def test_not_if_it_is_cut(self, path, keep):
        path.write_bytes(path.read_bytes()[:keep])
        assert not is_evidence(path, (20, 18), 2)

    def test_not_if_a_byte_is_flipped(self, path):
        content = bytearray(path.read_bytes())
        content[200] ^= 0xFF
        path.write_bytes(content)
        assert not is_evidence(path, (20, 18), 2)

    @pytest.mark.parametrize(
        "content",
        [np.zeros((20, 18)), np.zeros((20, 18), object), np.zeros((20, 18), "U4"), np.zeros((2000, 1800), np.uint8)],
    )
    def test_not_of_other_arrays(self, tmp_path, content):
        np.savez_compressed(tmp_path / "b.npz", **{"0": content, "1": content})
        assert not is_evidence(tmp_path / "b.npz", (20, 18), 2)

    def test_not_what_is_no_file(self, tmp_path):
        assert not is_evidence(tmp_path, (20, 18), 2)
        assert not is_evidence(tmp_path / "none.npz", (20, 18), 2)

    def test_pickles_are_never_read(self, tmp_path):
        np.savez(tmp_path / "b.npz", **{"0": np.array([{"a": 1}], object)})
        with pytest.raises(InputError, match="is damaged"):
            Evidence(tmp_path / "b.npz").probability(0)


def test_the_label_is_the_most_probable_class_and_of_equal_ones_the_first(tmp_path):
    maps = np.array([[0.5, 0.2, 0.1, 0.4], [0.5, 0.7, 0.3, 0.2], [0.0, 0.1, 0.6, 0.4]], np.float32)
    write_evidence(tmp_path / "a.npz", maps)
    assert Evidence(tmp_path / "a.npz").label().tolist() == [0, 1, 2, 0]


class TestBoxes:
    """Maps that are the smallest probability in most of a scan are stored as the box around the rest."""

    @pytest.fixture
    def maps(self):
        organ = np.full((12, 10, 8), 1e-6, np.float32)
        organ[3:6, 2:9, 1:4] = np.random.default_rng(0).uniform(0.1, 0.9, (3, 7, 3))
        return np.stack([1 - organ, organ, np.zeros_like(organ)])

    @pytest.fixture
    def path(self, maps, tmp_path):
        write_evidence(tmp_path / "a.npz", maps)
        return tmp_path / "a.npz"

    def test_they_are_what_the_whole_map_would_be(self, path, maps):
        evidence = Evidence(path)
        assert evidence.classes == 3
        assert is_evidence(path, (12, 10, 8), 3)
        for index in range(3):
            np.testing.assert_array_equal(evidence.probability(index), decode(encode(maps[index])))
        with np.load(path) as file:
            assert file["1"].shape == (3, 7, 3)
            assert file["1.box"].tolist() == [[3, 2, 1], [6, 9, 4], [12, 10, 8]]
            assert file["2"].size == 0
            assert "0.box" not in file.files
        np.testing.assert_array_equal(evidence.label(), maps.argmax(0))

    @given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 8)), min_size=3, max_size=3))
    def test_any_part_of_them(self, path, maps, sides):
        box = tuple(slice(start, min(start + length, 8)) for start, length in sides)
        for index in range(3):
            whole = decode(encode(maps[index]))
            (found,) = Evidence(path).within(index, box)
            np.testing.assert_array_equal(found, whole[box])
            voxels = np.arange(sides[0][0], 900, 7)
            np.testing.assert_array_equal(Evidence(path).at(index, voxels), whole.reshape(-1)[voxels])

    def test_the_rest_is_the_smallest_probability(self, path, maps):
        box, probability = Evidence(path).concentrated(1)
        whole = np.full(maps.shape[1:], SMALLEST)
        whole[box] = probability
        np.testing.assert_array_equal(whole, Evidence(path).probability(1))

    def test_files_of_whole_maps_are_read(self, tmp_path, maps):
        """As they were written before there were boxes."""
        np.savez_compressed(tmp_path / "b.npz", **{str(index): encode(of_class) for index, of_class in enumerate(maps)})
        assert is_evidence(tmp_path / "b.npz", (12, 10, 8), 3)
        box, probability = Evidence(tmp_path / "b.npz").concentrated(1)
        assert box == (slice(3, 6), slice(2, 9), slice(1, 4))
        np.testing.assert_array_equal(probability, decode(encode(maps[1]))[box])

    @pytest.mark.parametrize(
        "place",
        [
            np.array([[3, 2, 1], [6, 9, 4], [12, 10, 9]]),
            np.array([[3, 2, 1], [6, 9, 5], [12, 10, 8]]),
            np.array([[10, 2, 1], [13, 9, 4], [12, 10, 8]]),
            np.array([[-1, 2, 1], [2, 9, 4], [12, 10, 8]]),
            np.array([[3, 2], [6, 9], [12, 10]]),
            np.array([[3, 2, 1], [6, 9, 4], [12, 10, 8]], np.float64),
        ],
    )
    def test_a_box_that_does_not_fit_is_none(self, tmp_path, maps, place):
        codes = {str(index): encode(of_class) for index, of_class in enumerate(maps)}
        np.savez_compressed(tmp_path / "b.npz", **codes | {"1": codes["1"][3:6, 2:9, 1:4], "1.box": place})
        assert not is_evidence(tmp_path / "b.npz", (12, 10, 8), 3)

    def test_an_array_that_belongs_to_no_class_is_noticed(self, tmp_path, maps):
        codes = {str(index): encode(of_class) for index, of_class in enumerate(maps)}
        np.savez_compressed(tmp_path / "b.npz", **codes, **{"3.box": np.zeros((3, 3), np.int64)})
        assert not is_evidence(tmp_path / "b.npz", (12, 10, 8), 3)


def test_a_box_without_ends_is_the_whole_scan(tmp_path):
    scan = np.zeros((9, 8), np.float32)
    scan[3:5, 2:4] = 0.9
    write_evidence(tmp_path / "a.npz", [1 - scan, scan])
    evidence = Evidence(tmp_path / "a.npz")
    (whole, part) = evidence.within(1, (slice(None), slice(None)), (slice(4, None), slice(3)))
    np.testing.assert_array_equal(whole, evidence.probability(1))
    np.testing.assert_array_equal(part, evidence.probability(1)[4:, :3])
