from __future__ import annotations

from segmend.audit.selection.candidates import Candidate, Shortfall
from segmend.audit.selection.features import CaseFeatures
from segmend.audit.selection.ranking import select_cases


def case(name, gain, kind="ok", annotator="", labelled=True):
    return Candidate(name, (Shortfall("organ", 0.9 - gain, 0.9, kind),), labelled, annotator)


def test_similar_cases_wait():
    candidates = [case("a", 0.5, annotator="x"), case("b", 0.45, annotator="x"), case("c", 0.3, annotator="y")]
    features = [CaseFeatures(volumes={"organ": volume}) for volume in (10, 10, 1000)]
    assert [each.case for each in select_cases(candidates, features, 3, 0.0)] == ["a", "b", "c"]
    chosen = select_cases(candidates, features, 3, 0.5)
    assert [each.case for each in chosen] == ["a", "c", "b"]
    assert chosen[2].similarity == 1
    assert chosen[2].most_similar == "a"


def test_reasons_say_what_is_new():
    candidates = [
        case("a", 0.5, "missing", annotator="x"),
        case("b", 0.4, "over_segmented", annotator="y"),
        case("c", 0.0),
        case("u", 0.2, labelled=False),
    ]
    features = [CaseFeatures(domain) for domain in ("one", "two", "", "")]
    a, b, u, c = select_cases(candidates, features, 4, 0.5)
    assert a.reason == "organ: expected Dice 0.40, missing; largest expected gain"
    assert "first of annotator y" in b.reason
    assert "first of domain two" in b.reason
    assert "first with over-segmented (organ)" in b.reason
    assert (u.case, u.task, c.case, c.task) == ("u", "annotate", "c", "check")
    assert "mean of the unlabelled cases" in u.reason
    assert c.reason.startswith("no class is expected to fall short")
    assert (c.labels, b.labels) == ("", "organ")


def test_many_classes_are_counted():
    many = Candidate("a", tuple(Shortfall(f"c{number}", 0.4, 0.9 + number / 1000) for number in range(6)))
    (row,) = select_cases([many], [CaseFeatures()], 1, 0.5)
    assert "3 more classes fall short" in row.reason
    assert row.labels.startswith("c5;c4;")
