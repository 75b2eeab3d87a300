from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
import torch
from refusals import raises

from segmend.engine.label_store import LabelStore
from segmend.engine.revision_record import Record
from segmend.methods import Revision

ZEROS, ONES, CORNER = (np.zeros((2, 3), np.uint8) for _ in range(3))
ONES[:], CORNER[0, 0] = 1, 1


def new(case, layer, label):
    """A revision of one label."""
    return Revision(case, {layer: torch.tensor(label)})


@pytest.fixture
def store(tmp_path):
    """Two cases; "b" is given as ones, and labels are rewritten before the steps 0, 5 and 9."""
    return LabelStore(tmp_path / "labels", ("first", "second"), {"a": ZEROS, "b": ONES}, (0, 5, 9))


@pytest.fixture
def filled(store):
    store.append("Some", [new("a", "first", CORNER)])
    store.append("Some", [new("a", "first", ONES), new("b", "second", CORNER)])
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
        with raises("missing-file", "0003/revision.json"):
            filled.label("a", "first", 3)


class TestAppend:
    def test_what_is_left_on_disk(self, filled, tmp_path):
        files = sorted(str(path.relative_to(tmp_path / "labels")) for path in (tmp_path / "labels").rglob("*.*"))
        first = ["0001/first/a.npy", "0001/revision.json"]
        assert files == [*first, "0002/first/a.npy", "0002/revision.json", "0002/second/b.npy"]
        content = json.loads((tmp_path / "labels" / "0002" / "revision.json").read_text())
        changed = {"first": {"a": 5}, "second": {"b": 5}}
        nothing = {"maps": {}, "values": {}, "report": [], "sampling_weights": {}}
        assert content == {"method": "Some", "step": 5, "changed": changed} | nothing

    def test_counts_and_records(self, store):
        assert store.count == 0
        store.append("Some", [])
        assert store.count == 1
        assert store.record(1) == Record("Some", 0, {"first": {}, "second": {}})

    def test_sampling_weights_are_those_of_the_revision(self, store):
        store.append("Some", [Revision("a", sampling_weight=0.25), Revision("b")])
        store.append("Some", [])
        assert [store.sampling_weights(revision) for revision in range(3)] == [{}, {"a": 0.25}, {}]

    def test_a_label_that_is_rewritten_as_it_was_counts_as_rewritten(self, store):
        store.append("Some", [new("b", "first", ONES)])
        assert store.record(1).changed["first"] == {"b": 0}
        assert store.holder("b", "first", 1) == 1

    def test_labels_are_those_before_while_new_ones_come_in(self, filled):
        def revisions():
            yield new("a", "first", ZEROS)
            np.testing.assert_array_equal(filled.label("a", "first", 2), ONES)
            assert filled.count == 2

        filled.append("Some", revisions())
        assert filled.record(3).changed["first"] == {"a": 6}

    def test_one_that_fails_leaves_nothing(self, filled, tmp_path):
        def revisions():
            yield new("a", "first", ZEROS)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            filled.append("Some", revisions())
        assert filled.count == 2
        assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["0001", "0002"]

    @pytest.mark.parametrize(
        ("case", "layer", "label", "message"),
        [
            ("a", "third", ZEROS, "there is no layer 'third' of case 'a'; layers are first, second"),
            ("c", "first", ZEROS, "there is no layer 'first' of case 'c'"),
            ("a", "first", ZEROS.T, r"layer 'first' of case 'a' is uint8 \(3, 2\), not uint8 \(2, 3\)"),
            ("a", "first", ZEROS.astype(np.int64), r"layer 'first' of case 'a' is int64 \(2, 3\), not uint8"),
        ],
    )
    def test_labels_that_do_not_fit(self, store, case, layer, label, message):
        with pytest.raises(ValueError, match=message):
            store.append("Some", [new(case, layer, label)])
        assert store.count == 0


class TestMapsAndValues:
    @pytest.fixture
    def store(self, tmp_path):
        given = {"a": ZEROS, "b": ONES}
        return LabelStore(tmp_path / "labels", ("first",), given, (0, 5, 9), maps=("regions",), values=("chance",))

    @pytest.fixture
    def regions(self):
        return torch.tensor([[1, 2, 70_000], [1, 2, 3]], dtype=torch.int32)

    def test_before_there_are_any(self, store):
        store.append("Some", [])
        for revision in (0, 1):
            np.testing.assert_array_equal(store.map("a", "regions", revision), np.full((2, 3), -1))
            np.testing.assert_array_equal(store.value("a", "chance", revision), [np.nan])
            assert store.holder("a", "regions", revision) == 0

    def test_stay_until_they_are_revised_again(self, store, regions):
        store.append("Some", [Revision("a", maps={"regions": regions}, values={"chance": 0.25})])
        store.append("Some", [Revision("b", values={"chance": (0.5, 1, 0.1)})])
        store.append("Some", [Revision("a", {"first": torch.tensor(ONES)}, {"regions": regions + 1}, {"chance": 1})])
        for revision, shift in ((1, 0), (2, 0), (3, 1)):
            np.testing.assert_array_equal(store.map("a", "regions", revision), regions + shift)
        assert isinstance(store.map("a", "regions", 1), np.memmap)
        assert [store.value("a", "chance", revision) for revision in (1, 2, 3)] == [[0.25], [0.25], [1]]
        assert [store.value("b", "chance", revision) for revision in (2, 3)] == [[0.5, 1, 0.1]] * 2
        assert store.holder("a", "regions", 3) == 3
        assert store.record(3).changed == {"first": {"a": 6}}

    def test_several_revisions_of_a_case_add_up(self, store, regions):
        parts = [Revision("a", {"first": torch.tensor(ONES)}), Revision("a", maps={"regions": regions})]
        store.append("Some", [*parts, Revision("a", report=[{"why": "so"}]), Revision("a", sampling_weight=2.0)])
        record = store.record(1)
        assert (record.changed, record.maps) == ({"first": {"a": 6}}, {"regions": ["a"]})
        assert (record.report, record.sampling_weights) == ([{"case": "a", "why": "so"}], {"a": 2.0})

    @pytest.mark.parametrize(
        ("revision", "message"),
        [
            ({"maps": {"others": torch.ones(2, 3).int()}}, "there is no map 'others' of case 'a'; maps are regions"),
            (
                {"maps": {"regions": torch.ones(3, 2).int()}},
                r"map 'regions' of case 'a' is int32 \(3, 2\), not of an int",
            ),
            ({"maps": {"regions": torch.ones(2, 3)}}, r"map 'regions' of case 'a' is float32 \(2, 3\), not of an int"),
            ({"values": {"other": 1.0}}, "there is no value 'other' of case 'a'; values are chance"),
            ({"values": {"chance": float("nan")}}, "value 'chance' of case 'a' is not one finite number"),
            ({"values": {"chance": [1.0, 2.0]}}, "value 'chance' of case 'a' is not one finite number, or one of each"),
        ],
    )
    def test_that_do_not_fit(self, store, revision, message):
        with pytest.raises(ValueError, match=message):
            store.append("Some", [Revision("a", **revision)])
        assert store.count == 0

    def test_a_name_is_of_a_layer_or_a_map(self, tmp_path):
        with pytest.raises(ValueError, match="'first' is the name of a layer and of a map"):
            LabelStore(tmp_path, ("first",), {}, maps=("first",))

    @pytest.mark.parametrize("array", [np.zeros((2, 3), np.float32), np.zeros((3, 2), np.int32)])
    def test_damage_of_a_map_is_named_before_the_run_goes_on(self, store, regions, tmp_path, array):
        store.append("Some", [Revision("a", maps={"regions": regions})])
        np.save(tmp_path / "labels" / "0001" / "regions" / "a.npy", array)
        for use in (lambda: store.map("a", "regions", 1), lambda: store.rewind(3)):
            with raises("damaged", "0001/regions/a.npy"):
                use()

    def test_values_that_do_not_fit_the_case_are_damage(self, store, tmp_path):
        store.append("Some", [Revision("a", values={"chance": 0.25})])
        file = tmp_path / "labels" / "0001" / "revision.json"
        file.write_text(file.read_text().replace("0.25", "0.25, 0.5"))
        for use in (lambda: store.value("a", "chance", 1), lambda: store.rewind(3)):
            with raises("damaged", "0001/revision.json", match="2 values 'chance' of case 'a'"):
                use()


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
        filled.append("Some", [new("b", "first", ZEROS)])
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
        with raises("missing-file", "labels/0003"):
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
            with raises("damaged", "0002/second/b.npy"):
                use()

    def test_a_label_that_is_gone(self, filled, tmp_path):
        (tmp_path / "labels" / "0001" / "first" / "a.npy").unlink()
        with raises("damaged", "first/a.npy", match="No such file"):
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
            {"report": {"case": "a"}},
            {"report": [3]},
            {"report": [{"label": 1}]},
            {"maps": ["a"]},
            {"maps": {"regions": "a"}},
            {"maps": {"regions": [3]}},
            {"values": {"chance": 1}},
            {"values": {"chance": {"a": 0.5}}},
            {"values": {"chance": {"a": [float("nan")]}}},
            {"values": {"chance": {"a": ["high"]}}},
            {"sampling_weights": [1]},
            {"sampling_weights": {"a": "often"}},
            {"sampling_weights": {"a": float("nan")}},
            {"unknown": 1},
        ],
    )
    def test_of_a_record_is_named(self, filled, tmp_path, change):
        file = tmp_path / "labels" / "0002" / "revision.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        with raises("damaged", "0002/revision.json"):
            filled.record(2)

    @pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{}", b"\xff\xfe", b"[" * 50000])
    def test_a_record_that_is_none(self, filled, tmp_path, content):
        (tmp_path / "labels" / "0001" / "revision.json").write_bytes(content)
        with raises("damaged", "0001/revision.json"):
            filled.rewind(7)

    def test_a_lock_that_a_killed_run_left_is_removed(self, filled, tmp_path):
        (tmp_path / "labels" / ".segmend-lock.0003").touch()
        filled.rewind(7)
        assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["0001", "0002"]
