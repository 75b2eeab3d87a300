from __future__ import annotations

import numpy as np

from segmend.audit.cross_validation import held_out_cases, without_evidence
from segmend.audit.evidence import write_evidence
from segmend.audit.folder import AuditFolder
from segmend.core.case import Case, Quality, Split
from segmend.data.folder import DataFolder


def test_damaged_evidence_and_that_of_another_grid_is_made_anew(make_folder, tmp_path):
    folder = DataFolder.open(make_folder(cases=("a", "b", "c", "d"), shape=(6, 5, 4)))
    cases, place = folder.select(Split.TRAIN), AuditFolder(tmp_path / "audit")
    for case, shape in zip(cases, [(6, 5, 4), (6, 5, 4), (5, 6, 4)], strict=False):
        write_evidence(place.evidence(case.name), [np.full(shape, 0.5)] * folder.classes)
    content = place.evidence("b").read_bytes()
    place.evidence("b").write_bytes(content[:-30])
    assert [case.name for case in without_evidence(cases, folder, place)] == ["b", "c", "d"]


def case(name, quality=Quality.NOISY, split=Split.TRAIN, annotator="", tmp="x"):
    return Case(name, (), None if quality is Quality.NONE else tmp, split, quality, "", annotator)


CASES = [case(f"c{number:02d}") for number in range(20)]


def test_a_few_experts_are_held_out_only_if_there_is_nobody_else():
    noisy, experts = CASES[:2], [case(f"e{number}", Quality.EXPERT) for number in range(4)]
    others = [case("n", Quality.NONE), case("v", split=Split.VAL), case("t", Quality.EXPERT, Split.TEST)]
    assert held_out_cases([*noisy, *experts[:3], *others]) == noisy
    assert held_out_cases([*experts[:3], *others]) == experts[:3]
    assert held_out_cases([*noisy, *experts, *others]) == [*noisy, *experts]
