from __future__ import annotations

import numpy as np
import pytest
from refusals import raises

from segmend.audit import auditor as module
from segmend.audit.evidence import AuditedCase, write_evidence
from segmend.audit.examination import Examination
from segmend.audit.regions import ErrorKind
from segmend.core.masks import IGNORE
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, read_label
from segmend.data.raters import find_raters
from segmend.functional.morphology import dilate, erode, shift_surface

CASES = tuple(f"case_{number}" for number in range(6))


def rows_by_case(found, label="organ"):
    return {row.case: row for row in found.labels if row.label == label}


class TestWholeAudit:
    def test_the_corrupted_label_comes_first(self, make_data):
        data = make_data()
        data.corrupt("case_2", lambda values: dilate(values == 1, 7))
        found = data.audit()
        assert [row.rank for row in found.labels] == list(range(1, 7))
        first = found.labels[0]
        assert (first.case, first.kind) == ("case_2", ErrorKind.OVER_SEGMENTED)
        assert first.score < 0.5 < min(row.score for row in found.labels[1:])
        assert first.offset_mm > 2
        assert {row.case for row in found.regions} <= {"case_2"}

    def test_what_all_labels_of_an_annotator_have_in_common_can_be_corrected(self, make_data):
        expert, others = CASES[0], CASES[1:]
        rows = f"{expert},expert,chief\n" + "".join(f"{case},noisy,amateur\n" for case in others)
        data = make_data(table=f"case,quality,annotator\n{rows}")
        for case in others:
            # By a cube: 2 mm, 3.5 at corners; no label is worse than the others.
            data.corrupt(case, lambda values: dilate(values == 1, 5))
        found = rows_by_case(data.audit())
        assert [found[case].correction_mm for case in others] == [pytest.approx(-2.5, abs=0.8)] * 5
        assert all(0 < found[case].correction_se_mm < 1 for case in others)

    def test_without_expert_labels_it_is_taken_to_be_the_models(self, make_data):
        data = make_data()
        for case in CASES:
            data.corrupt(case, lambda values: dilate(values == 1, 5))
        assert [row.correction_mm for row in data.audit().labels] == [pytest.approx(0, abs=0.5)] * 6

    def test_expert_labels_show_the_models_own_bias(self, make_data):
        qualities = ["expert"] * 3 + ["noisy"] * 3
        data = make_data(table="case,quality\n" + "".join(f"{c},{q}\n" for c, q in zip(CASES, qualities, strict=True)))
        # The evidence is of the true labels, so to say that these are two voxels larger is to say that it is too tight.
        for case in CASES:
            data.corrupt(case, lambda values: dilate(values == 1, 5))
        rows = rows_by_case(data.audit())
        assert all(np.isnan(rows[case].correction_mm) for case in CASES[:3])
        assert all(rows[case].correction_mm == pytest.approx(0, abs=0.5) for case in CASES[3:])

    def test_proposals_and_issues_lie_over_the_label(self, make_data):
        data = make_data()
        path = data.corrupt("case_2", lambda values: np.where(np.arange(30)[:, None, None] < 15, 0, values))
        truth = data.read(data.root / "labelsTr" / "case_1.nii.gz")[0]
        found = data.audit()
        for case in CASES:
            for file in (data.place.proposal(case, data.ending), data.place.issues(case, data.ending)):
                assert read_grid(file).matches(read_grid(path))
        given = data.read(data.root / "labelsTr" / "case_1.nii.gz")[0]
        np.testing.assert_array_equal(data.read(data.place.proposal("case_1", data.ending))[0], given)
        assert truth.shape == given.shape
        row = rows_by_case(found)["case_2"]
        before = data.read(path)[0]
        after = data.read(data.place.proposal("case_2", data.ending))[0]
        assert (before != after).sum() == row.changed_voxels > 50
        issues, _ = read_label(data.place.issues("case_2", data.ending))
        sizes = {row.region: row.voxels for row in found.regions if row.case == "case_2"}
        assert {value: int((issues == value).sum()) for value in np.unique(issues) if value > 1} == sizes

    def test_several_classes_and_what_is_not_annotated(self, make_data):
        labels = {"background": 0, "wall": 3, "cavity": 7, "ignore": 9}
        data = make_data(labels=labels)
        corner = np.zeros((30, 28, 24), dtype=bool)
        corner[:8] = True
        path = data.corrupt("case_3", lambda values: np.where(corner, 9, np.where(values == 7, 3, values)))
        found = data.audit()
        both = [row for row in found.labels if row.case == "case_3"]
        assert {row.label for row in both} == {"wall", "cavity"}
        assert {row.kind for row in both} == {ErrorKind.SWAP}
        assert {row.rank for row in both} == {1, 2}
        values, _ = read_label(data.place.proposal("case_3", data.ending))
        assert (values[corner] == 9).all()
        assert set(np.unique(values)) == {0, 3, 7, 9}
        assert (data.read(path)[0] == IGNORE)[corner].all()

    @pytest.mark.parametrize("ending", [".png", ".tif"])
    def test_pictures(self, make_data, ending):
        data = make_data(shape=(60, 50), ending=ending)
        data.corrupt("case_4", lambda values: erode(values == 1, 9))
        found = data.audit()
        assert (found.labels[0].case, found.labels[0].kind) == ("case_4", ErrorKind.UNDER_SEGMENTED)
        assert data.place.proposal("case_4", ending).is_file()

    def test_an_empty_label_in_which_something_is_seen(self, make_data):
        data = make_data()
        data.corrupt("case_0", np.zeros_like)
        row = data.audit().labels[0]
        assert (row.case, row.kind, row.dice_to_prediction) == ("case_0", ErrorKind.OBJECT_MISSING, 0)

    def test_a_mirrored_label(self, make_data):
        data = make_data()
        label = np.zeros((30, 28, 24), np.uint8)
        label[3:11, 10:20, 8:18] = 1
        data.corrupt("case_5", lambda values: label[::-1])
        write_evidence(data.place.evidence("case_5"), (np.where(label == index, 0.95, 0.05) for index in (0, 1)))
        (finding,) = data.audit().findings
        assert (finding.case, finding.check) == ("case_5", "mirrored")
        assert "along axis 0" in finding.detail

    def test_what_was_memorised_sets_no_standard(self, make_data):
        data = make_data()
        for case in CASES[:2]:
            data.corrupt(case, lambda values: shift_surface(values == 1, 2.0, (1, 1, 1.5)))
        seen = dict.fromkeys(CASES[2:])
        usual, of_all = data.audit(**seen).references["organ"], data.audit().references["organ"]
        assert usual.excess > of_all.excess
        assert {row.case for row in data.audit(**seen).labels if row.in_training_set} == set(CASES[2:])

    def test_expert_labels_show_how_reliable_the_expected_dice_is(self, make_data):
        table = "case,quality\n" + "".join(f"{case},{'noisy' if case in CASES[3:] else 'expert'}\n" for case in CASES)
        data = make_data(table=table)
        data.corrupt("case_5", lambda values: shift_surface(values == 1, 2.0, (1, 1, 1.5)))
        found = data.audit()
        assert found.reliability["organ"].against == "expert labels"
        assert found.reliability["organ"].found == [1] * 3
        seen = data.audit(**dict.fromkeys(CASES[:1]))  # two are too few
        assert seen.reliability["organ"].against == "given labels"
        assert len(seen.reliability["organ"].found) == 5

    def test_enough_expert_labels_set_the_norm(self, make_data, monkeypatch):
        """Most labels have the same error: none is an outlier among all, each is one beside expert labels."""
        monkeypatch.setattr("segmend.audit.cohort.FEWEST", 3)
        table = "case,quality\n" + "".join(f"{case},{'noisy' if case in CASES[2:] else 'expert'}\n" for case in CASES)
        data = make_data(table=table)
        for case in CASES[2:]:
            data.corrupt(case, lambda values: shift_surface(values == 1, 2.0, (1, 1, 1.5)))
        of_all = data.audit().references["organ"]
        monkeypatch.setattr("segmend.audit.cohort.FEWEST", 2)
        by_experts = data.audit()
        assert by_experts.references["organ"].excess < of_all.excess
        assert {row.case for row in by_experts.labels if row.score < 0.5} == set(CASES[2:])


class TestSilence:
    @pytest.fixture
    def unlearned(self, make_data):
        """A model that hardly knows the class, and a label that is half missing."""
        data = make_data(table="case,annotator\n" + "".join(f"{case},ann\n" for case in CASES))
        for case in CASES:
            truth = data.read(data.root / "labelsTr" / f"{case}.nii.gz")[0]
            inside = np.where(truth == 1, 0.52, 0.35)
            write_evidence(data.place.evidence(case), (1 - inside, inside))
        data.corrupt("case_2", lambda values: np.where(np.arange(30)[:, None, None] < 15, 0, values))
        return data

    def test_nothing_is_said_of_a_class_that_is_not_learned(self, unlearned):
        found = unlearned.audit()
        assert not found.references["organ"].competent
        assert {row.proposal for row in found.labels} == {"none"}
        assert not any(row.suspect for row in found.labels)
        assert found.regions == []
        assert found.annotators == []
        given = unlearned.read(unlearned.root / "labelsTr" / "case_2.nii.gz")[0]
        np.testing.assert_array_equal(unlearned.read(unlearned.place.proposal("case_2", unlearned.ending))[0], given)

    def test_of_one_that_is_learned_it_is(self, unlearned):
        for case in CASES:
            truth = unlearned.read(unlearned.root / "labelsTr" / f"{case}.nii.gz")[0]
            write_evidence(unlearned.place.evidence(case), (np.where(truth == i, 0.95, 0.05) for i in (0, 1)))
        unlearned.corrupt("case_4", lambda values: np.where(np.arange(28)[:, None] < 14, 0, values))
        found = unlearned.audit()
        assert rows_by_case(found)["case_4"].proposal == "regions"
        assert {row.annotator for row in found.annotators} == {"ann"}


class TestWholeObjects:
    def test_what_erases_or_creates_a_whole_object_says_so(self, make_data):
        data = make_data()
        data.corrupt("case_1", np.zeros_like)
        truth = data.read(data.root / "labelsTr" / "case_3.nii.gz")[0]
        write_evidence(data.place.evidence("case_3"), (np.full(truth.shape, p) for p in (0.98, 0.02)))
        rows = rows_by_case(data.audit())
        assert (rows["case_1"].proposal, rows["case_3"].proposal) == ("create", "erase")
        assert rows["case_3"].changed_voxels == (truth == 1).sum()
        assert rows["case_1"].expected_dice_proposal > 0.8 > rows["case_1"].expected_dice


class TestKeptExaminations:
    @pytest.mark.parametrize(("room", "examined"), [(2**27, 6), (0, 12)])
    def test_a_label_is_examined_once_where_there_is_room(self, make_data, monkeypatch, room, examined):
        data, calls, examine = make_data(), [], Examination.of
        expected = data.audit()

        def count(*arguments):
            calls.append(arguments)
            return examine(*arguments)

        monkeypatch.setattr(module, "_KEPT_BYTES", room)
        monkeypatch.setattr(Examination, "of", count)
        found = data.audit()
        assert len(calls) == examined
        assert repr((found.labels, found.regions)) == repr((expected.labels, expected.regions))


class TestCores:
    """Results do not depend on how many processes there are."""

    def compare(self, data, files):
        found = []
        for cores in (1, 3):
            folder = DataFolder.open(data.root)
            cases = [AuditedCase(case, data.evidence(case)) for case in folder.cases]
            audit = module.Auditor(folder, cases, find_raters(folder), data.place, cores).run()
            found.append((audit, {file.name: file.read_bytes() for file in files()}))
        assert repr(found[1][0]) == repr(found[0][0])
        assert found[1][1] == found[0][1]
        return found[0][0]

    @pytest.mark.parametrize("room", [2**27, 0])
    def test_of_several_classes_and_raters(self, make_data, monkeypatch, room):
        monkeypatch.setattr(module, "_KEPT_BYTES", room)
        data = make_data(labels={"background": 0, "wall": 3, "cavity": 7}, raters=("ann", "ben"))
        data.corrupt("case_3", lambda values: np.where(values == 7, 3, values))
        data.corrupt("case_4", lambda values: np.where(dilate(values == 7, 7), 7, values))

        def files():
            return sorted([*data.place.root.glob("proposals/*"), *data.place.root.glob("issues/*")])

        found = self.compare(data, files)
        assert len(files()) == 12
        assert found.regions
        assert {row.annotator for row in found.annotators} == {"labelsTr", "ann", "ben"}

    def test_of_labels_that_fit_better_mirrored(self, make_data):
        data = make_data()
        label = np.zeros((30, 28, 24), np.uint8)
        label[3:11, 10:20, 8:18] = 1
        data.corrupt("case_5", lambda values: label[::-1])
        write_evidence(data.place.evidence("case_5"), (np.where(label == index, 0.95, 0.05) for index in (0, 1)))
        assert len(self.compare(data, list).findings) == 1

    def test_a_damaged_file_is_named_by_any_process(self, make_data):
        data = make_data()
        data.place.evidence("case_4").write_bytes(b"PK")
        folder = DataFolder.open(data.root)
        cases = [AuditedCase(case, data.evidence(case)) for case in folder.cases]
        with raises("damaged", data.place.evidence("case_4")):
            module.Auditor(folder, cases, {}, data.place, 2).run()


class TestAnnotators:
    def test_by_the_table(self, make_data):
        table = "case,annotator\n" + "".join(f"{case},{'wide' if i % 2 else 'true'}\n" for i, case in enumerate(CASES))
        data = make_data(table=table)
        for case in CASES[1::2]:
            data.corrupt(case, lambda values: dilate(values == 1, 5))
        rows = {row.annotator: row for row in data.audit().annotators}
        assert set(rows) == {"true", "wide"}
        assert rows["wide"].offset_mm > 1.5
        assert rows["wide"].volume_ratio > 1.3
        assert rows["wide"].verdict.endswith("mm too wide, all round")
        assert rows["true"].verdict == "no clear bias"
        assert rows["wide"].shared_cases == 0

    def test_by_raters_of_the_same_cases(self, make_data):
        data = make_data(raters=("ann", "ben"))
        for case in CASES:
            for rater in ("ann", "ben"):
                true, _ = read_label(data.root / "labelsTr" / f"{case}.nii.gz")
                change = erode(true == 1, 5) if rater == "ben" else true == 1
                data.corrupt(case, lambda values, change=change: change, f"labelsTr_{rater}")
        rows = {row.annotator: row for row in data.audit().annotators}
        assert set(rows) == {"labelsTr", "ann", "ben"}
        assert {row.shared_cases for row in rows.values()} == {6}
        assert rows["ben"].sensitivity < 0.7 < 0.95 < rows["ann"].sensitivity
        assert rows["ben"].offset_mm < -1
        assert abs(rows["ann"].offset_mm) < 0.5
        assert rows["ann"].specificity > 0.95
