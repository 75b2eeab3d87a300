from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from segmend.audit.auditor import AuditedCase, Auditor
from segmend.audit.evidence import Evidence, write_evidence
from segmend.audit.folder import AuditFolder
from segmend.audit.kinds import Kind
from segmend.audit.tables import write_audit
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, read_label
from segmend.data.raters import find_raters
from segmend.functional.morphology import dilate, erode, shift_surface

CASES = tuple(f"case_{number}" for number in range(6))


@pytest.fixture
def world(make_folder, write_scan, tmp_path):
    """A data folder, evidence for its true labels, and means to spoil what was given."""

    class World:
        def __init__(self, shape=(30, 28, 24), **options):
            self.root = make_folder(cases=CASES, shape=shape, **options)
            self.place = AuditFolder(tmp_path / "audit")
            self.place.root.mkdir()
            self.place.settings.write_text('{"evidence": {"folds": 3}}')
            folder = DataFolder.open(self.root)
            self.ending = folder.file_ending
            for number, case in enumerate(folder.cases):
                truth, _ = self.read(case.label)
                distance = sum(np.abs(np.gradient((truth == i).astype(float)))[0] for i in range(folder.classes))
                sure = np.where(distance > 0, 0.8, 0.96) + 0.01 * (number % 3)
                other = (1 - sure) / (folder.classes - 1)
                write_evidence(
                    self.place.evidence(case.name),
                    (np.where(truth == i, sure, other) for i in range(folder.classes)),
                )

        def read(self, path):
            values, grid = read_label(path)
            return DataFolder.open(self.root).to_indices(values), grid

        def spoil(self, case, change, folder="labelsTr"):
            path = self.root / folder / f"{case}{self.ending}"
            values, grid = read_label(path)
            write_scan(path, change(values).astype(values.dtype), grid.affine)
            return path

        def audit(self, **seen):
            folder = DataFolder.open(self.root)
            cases = [
                AuditedCase(case, self.evidence(case), in_training_set=case.name in seen)
                for case in folder.cases
                if case.label
            ]
            return Auditor(folder, cases, find_raters(folder), self.place).run()

        def evidence(self, case):
            return Evidence(self.place.evidence(case.name))

    return World


def rows_by_case(found, label="organ"):
    return {row.case: row for row in found.labels if row.label == label}


class TestWholeAudit:
    def test_the_spoiled_label_comes_first(self, world):
        it = world()
        it.spoil("case_2", lambda values: dilate(values == 1, 7))
        found = it.audit()
        assert [row.rank for row in found.labels] == list(range(1, 7))
        first = found.labels[0]
        assert (first.case, first.kind) == ("case_2", Kind.BOUNDARY_OUT)
        assert first.score < 0.5 < min(row.score for row in found.labels[1:])
        assert first.offset_mm > 2
        assert {row.case for row in found.regions} <= {"case_2"}

    def test_what_all_labels_of_an_annotator_have_in_common_can_be_undone(self, world):
        expert, others = CASES[0], CASES[1:]
        rows = f"{expert},expert,chief\n" + "".join(f"{case},noisy,amateur\n" for case in others)
        it = world(table=f"case,quality,annotator\n{rows}")
        for case in others:
            it.spoil(case, lambda values: dilate(values == 1, 5))  # by a cube: 2 mm, 3.5 at corners; none stands out
        found = rows_by_case(it.audit())
        assert [found[case].correction_mm for case in others] == [pytest.approx(-2.5, abs=0.8)] * 5
        assert all(0 < found[case].correction_se_mm < 1 for case in others)

    def test_without_expert_labels_it_is_taken_to_be_the_models(self, world):
        it = world()
        for case in CASES:
            it.spoil(case, lambda values: dilate(values == 1, 5))
        assert [row.correction_mm for row in it.audit().labels] == [pytest.approx(0, abs=0.5)] * 6

    def test_expert_labels_tell_the_models_own_bias(self, world):
        qualities = ["expert"] * 3 + ["noisy"] * 3
        it = world(table="case,quality\n" + "".join(f"{c},{q}\n" for c, q in zip(CASES, qualities, strict=True)))
        # The evidence is of the true labels, so to say that these are two voxels larger is to say that it is too tight.
        for case in CASES:
            it.spoil(case, lambda values: dilate(values == 1, 5))
        rows = rows_by_case(it.audit())
        assert all(np.isnan(rows[case].correction_mm) for case in CASES[:3])
        assert all(rows[case].correction_mm == pytest.approx(0, abs=0.5) for case in CASES[3:])

    def test_proposals_and_issues_lie_over_the_label(self, world):
        it = world()
        path = it.spoil("case_2", lambda values: np.where(np.arange(30)[:, None, None] < 15, 0, values))
        truth = it.read(it.root / "labelsTr" / "case_1.nii.gz")[0]
        found = it.audit()
        for case in CASES:
            for file in (it.place.proposal(case, it.ending), it.place.issues(case, it.ending)):
                assert read_grid(file).matches(read_grid(path))
        given = it.read(it.root / "labelsTr" / "case_1.nii.gz")[0]
        np.testing.assert_array_equal(it.read(it.place.proposal("case_1", it.ending))[0], given)
        assert truth.shape == given.shape
        row = rows_by_case(found)["case_2"]
        before = it.read(path)[0]
        after = it.read(it.place.proposal("case_2", it.ending))[0]
        assert (before != after).sum() == row.changed_voxels > 50
        issues, _ = read_label(it.place.issues("case_2", it.ending))
        sizes = {row.region: row.voxels for row in found.regions if row.case == "case_2"}
        assert {value: int((issues == value).sum()) for value in np.unique(issues) if value > 1} == sizes

    def test_several_classes_and_what_is_not_annotated(self, world):
        labels = {"background": 0, "wall": 3, "cavity": 7, "ignore": 9}
        it = world(labels=labels)
        corner = np.zeros((30, 28, 24), dtype=bool)
        corner[:8] = True
        path = it.spoil("case_3", lambda values: np.where(corner, 9, np.where(values == 7, 3, values)))
        found = it.audit()
        both = [row for row in found.labels if row.case == "case_3"]
        assert {row.label for row in both} == {"wall", "cavity"}
        assert {row.kind for row in both} == {Kind.SWAP}
        assert {row.rank for row in both} == {1, 2}
        values, _ = read_label(it.place.proposal("case_3", it.ending))
        assert (values[corner] == 9).all()
        assert set(np.unique(values)) == {0, 3, 7, 9}
        assert (it.read(path)[0] == IGNORE)[corner].all()

    @pytest.mark.parametrize("ending", [".png", ".tif"])
    def test_pictures(self, world, ending):
        it = world(shape=(60, 50), ending=ending)
        it.spoil("case_4", lambda values: erode(values == 1, 9))
        found = it.audit()
        assert (found.labels[0].case, found.labels[0].kind) == ("case_4", Kind.BOUNDARY_IN)
        assert it.place.proposal("case_4", ending).is_file()

    def test_an_empty_label_in_which_something_is_seen(self, world):
        it = world()
        it.spoil("case_0", np.zeros_like)
        row = it.audit().labels[0]
        assert (row.case, row.kind, row.dice_to_prediction) == ("case_0", Kind.OBJECT_MISSING, 0)

    def test_a_mirrored_label(self, world):
        it = world()
        label = np.zeros((30, 28, 24), np.uint8)
        label[3:11, 10:20, 8:18] = 1
        it.spoil("case_5", lambda values: label[::-1])
        write_evidence(it.place.evidence("case_5"), (np.where(label == index, 0.95, 0.05) for index in (0, 1)))
        (finding,) = it.audit().findings
        assert (finding.case, finding.check) == ("case_5", "mirrored")
        assert "along axis 0" in finding.detail

    def test_what_was_learned_by_heart_sets_no_standard(self, world):
        it = world()
        for case in CASES[:2]:
            it.spoil(case, lambda values: shift_surface(values == 1, 2.0, (1, 1, 1.5)))
        seen = dict.fromkeys(CASES[2:])
        usual, of_all = it.audit(**seen).usual[1], it.audit().usual[1]
        assert usual.excess > of_all.excess
        assert {row.case for row in it.audit(**seen).labels if row.in_training_set} == set(CASES[2:])


class TestAnnotators:
    def test_by_the_table(self, world):
        table = "case,annotator\n" + "".join(f"{case},{'wide' if i % 2 else 'true'}\n" for i, case in enumerate(CASES))
        it = world(table=table)
        for case in CASES[1::2]:
            it.spoil(case, lambda values: dilate(values == 1, 5))
        rows = {row.annotator: row for row in it.audit().biases}
        assert set(rows) == {"true", "wide"}
        assert rows["wide"].offset_mm > 1.5
        assert rows["wide"].volume_ratio > 1.3
        assert rows["wide"].verdict.endswith("mm too wide, all round")
        assert rows["true"].verdict == "no clear bias"
        assert rows["wide"].shared_cases == 0

    def test_by_raters_of_the_same_cases(self, world):
        it = world(raters=("ann", "ben"))
        for case in CASES:
            for rater in ("ann", "ben"):
                true, _ = read_label(it.root / "labelsTr" / f"{case}.nii.gz")
                change = erode(true == 1, 5) if rater == "ben" else true == 1
                it.spoil(case, lambda values, change=change: change, f"labelsTr_{rater}")
        rows = {row.annotator: row for row in it.audit().biases}
        assert set(rows) == {"labelsTr", "ann", "ben"}
        assert {row.shared_cases for row in rows.values()} == {6}
        assert rows["ben"].sensitivity < 0.7 < 0.95 < rows["ann"].sensitivity
        assert rows["ben"].offset_mm < -1
        assert abs(rows["ann"].offset_mm) < 0.5
        assert rows["ann"].specificity > 0.95


class TestTables:
    def test_columns_and_what_is_undefined(self, world):
        it = world()
        it.spoil("case_2", lambda values: dilate(values == 1, 7))
        found = it.audit()
        table = write_audit(it.place, DataFolder.open(it.root), found, found.findings)
        read = pd.read_csv(it.place.labels)
        assert list(read) == list(table)
        assert {"case", "label", "score", "dice_to_prediction", "flagged_voxels", "kind", "rank"} <= set(read)
        assert read["score"].is_monotonic_increasing
        assert read["proposal_score"].isna().tolist() == (read["proposal"] == "none").tolist()
        regions = pd.read_csv(it.place.regions)
        assert {"case", "label", "kind", "voxels", "mm3", "box", "centre_x_mm", "score"} <= set(regions)
        assert (regions["mm3"] / regions["voxels"]).to_numpy() == pytest.approx(1.5)
        assert it.place.read_labels()["case"].tolist() == table["case"].tolist()

    def test_names_are_not_mistaken_for_numbers_or_nothing(self, world, tmp_path):
        it = world(labels={"background": 0, "NA": 1})
        found = it.audit()
        write_audit(it.place, DataFolder.open(it.root), found, [])
        assert set(it.place.read_labels()["label"]) == {"NA"}

    def test_an_unfinished_audit(self, tmp_path):
        place = AuditFolder(tmp_path)
        with pytest.raises(InputError, match=r"audit\.csv: does not exist"):
            place.read_labels()
        place.settings.write_text("{")
        with pytest.raises(InputError, match=r"settings\.json: cannot be read"):
            place.read_settings()
        place.labels.write_text("case,label\n")
        with pytest.raises(InputError, match=r"audit\.csv: cannot be read"):
            place.read_labels()
