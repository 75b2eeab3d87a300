from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from segmend.core.errors import InputError
from segmend.engine.label_store import LabelStore, Record

ZEROS, ONES, CORNER = (np.zeros((2, 3), np.uint8) for _ in range(3))
ONES[:], CORNER[0, 0] = 1, 1


@pytest.fixture
def store(tmp_path):
    """Two cases; "b" is given as ones, and labels are rewritten before the steps 0, 5 and 9."""
    return LabelStore(tmp_path / "labels", ("first", "second"), {"a": ZEROS, "b": ONES}, (0, 5, 9))


@pytest.fixture
def filled(store):
    store.append("Some", [("a", "first", CORNER)])
    store.append("Some", [("a", "first", ONES), ("b", "second", CORNER)])
    return store


class TestSteps:
    def test_a_step_sees_the_revision_made_before_it(self, store):
        assert [store.due(step) for step in range(11)] == [1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3]

    def test_without_a_schedule_all_labels_are_the_given_ones(self, tmp_path):
        assert LabelStore(tmp_path, ("first",), {"a": ZEROS}).due(100) == 0


class TestLabels:
    def test_are_the_given_ones_before_any_revision(self, store):
        for layer in ("first", "second"):
            assert store.label("b", layer, 0) is ONES
            assert store.holder("b", layer, 0) == 0

    def test_are_those_of_the_newest_revision_that_rewrote_them(self, filled):
        expected = {
            ("a", "first"): [(0, ZEROS), (1, CORNER), (2, ONES)],
            ("a", "second"): [(0, ZEROS), (0, ZEROS), (0, ZEROS)],
            ("b", "first"): [(0, ONES), (0, ONES), (0, ONES)],
            ("b", "second"): [(0, ONES), (0, ONES), (2, CORNER)],
        }
        for (case, layer), holders in expected.items():
            for revision, (holder, label) in enumerate(holders):
                assert filled.holder(case, layer, revision) == holder
                np.testing.assert_array_equal(filled.label(case, layer, revision), label)

    def test_are_memory_mapped_and_cannot_be_written_to(self, filled):
        label = filled.label("a", "first", 2)
        assert isinstance(label, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            label[0, 0] = 3

    def test_a_revision_that_is_not_there(self, filled):
        with pytest.raises(InputError, match=r"0003/revision\.json: cannot be read .* Restore the run folder"):
            filled.label("a", "first", 3)


class TestAppend:
    def test_what_is_left_on_disk(self, filled, tmp_path):
        files = sorted(str(path.relative_to(tmp_path / "labels")) for path in (tmp_path / "labels").rglob("*.*"))
        first = ["0001/first/a.npy", "0001/revision.json"]
        assert files == [*first, "0002/first/a.npy", "0002/revision.json", "0002/second/b.npy"]
        content = json.loads((tmp_path / "labels" / "0002" / "revision.json").read_text())
        changed = {"first": {"a": 5}, "second": {"b": 5}}
        assert content == {"method": "Some", "step": 5, "changed": changed, "offsets": [], "sampling_weights": {}}

    def test_counts_and_records(self, store):
        assert store.count == 0
        store.append("Some", [])
        assert store.count == 1
        assert store.record(1) == Record("Some", 0, {"first": {}, "second": {}})

    def test_sampling_weights_are_those_of_the_revision(self, store):
        store.append("Some", [], sampling_weights={"a": 0.25})
        store.append("Some", [])
        assert [store.sampling_weights(revision) for revision in range(3)] == [{}, {"a": 0.25}, {}]

    def test_a_label_that_is_rewritten_as_it_was_counts_as_rewritten(self, store):
        store.append("Some", [("b", "first", ONES)])
        assert store.record(1).changed["first"] == {"b": 0}
        assert store.holder("b", "first", 1) == 1

    def test_labels_are_those_before_while_new_ones_come_in(self, filled):
        def new():
            yield "a", "first", ZEROS
            np.testing.assert_array_equal(filled.label("a", "first", 2), ONES)
            assert filled.count == 2

        filled.append("Some", new())
        assert filled.record(3).changed["first"] == {"a": 6}

    def test_one_that_fails_leaves_nothing(self, filled, tmp_path):
        def new():
            yield "a", "first", ZEROS
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            filled.append("Some", new())
        assert filled.count == 2
        assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["0001", "0002"]

    @pytest.mark.parametrize(
        ("case", "layer", "label", "message"),
        [
            ("a", "third", ZEROS, "there is no layer 'third' of case 'a'; layers are first, second"),
            ("c", "first", ZEROS, "there is no layer 'first' of case 'c'"),
            ("a", "first", ZEROS.T, r"label of case 'a' is uint8 \(3, 2\), not uint8 \(2, 3\)"),
            ("a", "first", ZEROS.astype(np.int64), r"label of case 'a' is int64 \(2, 3\), not uint8"),
        ],
    )
    def test_labels_that_do_not_fit(self, store, case, layer, label, message):
        with pytest.raises(ValueError, match=message):
            store.append("Some", [(case, layer, label)])
        assert store.count == 0


class TestRewind:
    @pytest.mark.parametrize(("done", "kept"), [(0, 0), (1, 1), (4, 1), (5, 2), (6, 2)])
    def test_drops_what_lies_beyond_the_checkpoint(self, filled, tmp_path, done, kept):
        filled.rewind(done)
        assert filled.count == kept
        assert LabelStore(tmp_path / "labels", (), {}).count == kept

    @pytest.mark.parametrize(("done", "kept"), [(1, 1), (4, 1), (5, 1), (6, 2)])
    def test_drops_the_revision_that_came_after_the_checkpoint_of_its_step(self, filled, done, kept):
        filled.rewind(done, revised=False)
        assert filled.count == kept

    def test_a_dropped_revision_is_forgotten(self, filled):
        assert filled.record(2).changed["first"] == {"a": 5}
        filled.rewind(1)
        filled.append("Some", [("b", "first", ZEROS)])
        assert filled.record(2).changed["first"] == {"b": 6}

    def test_drops_what_a_killed_run_left_half_written(self, filled, tmp_path):
        (tmp_path / "labels" / ".12345678.0003" / "first").mkdir(parents=True)
        filled.rewind(6)
        assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["0001", "0002"]

    def test_before_there_is_anything(self, store):
        store.rewind(0)
        assert store.count == 0

    def test_one_that_is_due_at_the_checkpoint_may_still_be_missing(self, filled):
        filled.rewind(9)
        assert filled.count == 2

    def test_one_that_was_used_may_not(self, filled):
        with pytest.raises(InputError, match=r"labels/0003: is missing\. Restore it, or delete the checkpoints"):
            filled.rewind(10)


class TestWaiting:
    def test_for_what_is_there_takes_no_time(self, filled, monkeypatch):
        monkeypatch.setattr(time, "sleep", None)
        for revision in range(3):
            filled.wait_for(revision)

    def test_ends_when_the_revision_appears(self, filled):
        timer = threading.Timer(0.3, lambda: filled.append("Some", []))
        timer.start()
        filled.wait_for(3)
        assert filled.count == 3
        timer.join()


def cut(file):
    file.write_bytes(file.read_bytes()[:-2])


def empty(file):
    file.write_bytes(b"")


def widen(file):
    np.save(file, np.zeros((2, 4), np.uint8))


def make_signed(file):
    np.save(file, np.zeros((2, 3), np.int8))


def pickle(file):
    np.save(file, np.array([{"a": "trap"}], dtype=object), allow_pickle=True)


class TestDamage:
    @pytest.mark.parametrize("damage", [cut, empty, widen, make_signed, pickle])
    def test_of_a_label_is_named_before_the_run_goes_on(self, filled, tmp_path, damage):
        damage(tmp_path / "labels" / "0002" / "second" / "b.npy")
        for use in (lambda: filled.label("b", "second", 2), lambda: filled.rewind(7)):
            with pytest.raises(InputError, match=r"0002/second/b\.npy: is damaged \(.*\)\. Restore the run folder"):
                use()

    def test_a_label_that_is_gone(self, filled, tmp_path):
        (tmp_path / "labels" / "0001" / "first" / "a.npy").unlink()
        with pytest.raises(InputError, match=r"first/a\.npy: is damaged \(.*No such file"):
            filled.rewind(7)

    @pytest.mark.parametrize(
        "change",
        [
            {"changed": {}},
            {"changed": []},
            {"changed": {"first": 3, "second": {}}},
            {"changed": {"first": {"a": "many"}, "second": {}}},
            {"step": "five"},
            {"step": None},
            {"offsets": {"case": "a"}},
            {"offsets": [3]},
            {"offsets": [{"case": "a"}]},
            {"sampling_weights": [1]},
            {"sampling_weights": {"a": "often"}},
            {"sampling_weights": {"a": float("nan")}},
            {"unknown": 1},
        ],
    )
    def test_of_a_record_is_named(self, filled, tmp_path, change):
        file = tmp_path / "labels" / "0002" / "revision.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        with pytest.raises(InputError, match=r"0002/revision\.json: is damaged \(.*\)\. Restore the run folder"):
            filled.record(2)

    @pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{}", b"\xff\xfe", b"[" * 50000])
    def test_a_record_that_is_none(self, filled, tmp_path, content):
        (tmp_path / "labels" / "0001" / "revision.json").write_bytes(content)
        with pytest.raises(InputError, match=r"0001/revision\.json: is damaged"):
            filled.rewind(7)

    def test_a_lock_that_a_killed_run_left_is_removed(self, filled, tmp_path):
        (tmp_path / "labels" / ".segmend-lock.0003").touch()
        filled.rewind(7)
        assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["0001", "0002"]
