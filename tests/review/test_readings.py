from __future__ import annotations

import pytest

from segmend.review.decisions import Decision, Subject
from segmend.review.readings import agreement, combine, expanded, progress

LABELS_OF = {"a": ["organ", "lesion"], "b": ["organ"], "c": ["organ"]}
ROWS = {("a", "organ"): 0, ("a", "lesion"): 1, ("b", "organ"): 2, ("c", "organ"): 3}


def of(reader, decision, case="a", label="organ", region=None, comment="", time="", file=""):
    return Decision(Subject(case, label, region), reader, decision, comment, time, file)


def rows(combined):
    return [(each.subject.case, each.subject.label, each.subject.region, each.decision) for each in combined.decisions]


class TestCombine:
    def test_what_all_agree_on(self):
        combined = combine(
            [of("Anna", "accept", comment="x", time="1"), of("Ben", "accept", comment="y", time="2")], LABELS_OF
        )
        (row,) = combined.decisions
        assert (row.decision, row.reader, row.time) == ("accept", "Anna; Ben", "2")
        assert row.comment == "Anna: x; Ben: y"
        assert combined.disagreed == 0

    def test_a_single_reader_keeps_the_comment_as_it_is(self):
        assert combine([of("Anna", "reject", comment="x")], LABELS_OF).decisions[0].comment == "x"

    def test_otherwise_unsure_with_what_each_said(self):
        combined = combine([of("Anna", "accept"), of("Ben", "reject", comment="no")], LABELS_OF)
        (row,) = combined.decisions
        assert (row.decision, row.comment) == ("unsure", "Anna accept, Ben reject; Ben: no")
        assert combined.disagreed == 1

    def test_labels_and_regions_apart(self):
        combined = combine(
            [of("Anna", "accept"), of("Anna", "reject", region=2), of("Ben", "accept"), of("Ben", "accept", region=2)],
            LABELS_OF,
        )
        assert rows(combined) == [("a", "organ", None, "accept"), ("a", "organ", 2, "unsure")]

    def test_a_new_label_of_the_case_is_kept_whole(self):
        combined = combine([of("Anna", "accept"), of("Anna", "replace", label="", file="f")], LABELS_OF)
        (row,) = combined.decisions
        assert (row.subject, row.decision, row.file) == (Subject("a", ""), "replace", "f")

    def test_the_same_new_label_of_two(self):
        combined = combine([of(name, "replace", label="", file="f") for name in ("Anna", "Ben")], LABELS_OF)
        assert [(row.decision, row.reader, row.file) for row in combined.decisions] == [("replace", "Anna; Ben", "f")]

    def test_two_new_labels_are_unsure(self):
        combined = combine([of(name, "replace", label="", file=name) for name in ("Anna", "Ben")], LABELS_OF)
        assert rows(combined) == [("a", "organ", None, "unsure"), ("a", "lesion", None, "unsure")]
        assert all(row.file == "" for row in combined.decisions)
        assert combined.disagreed == 2

    def test_a_new_label_against_another_decision_is_unsure(self):
        combined = combine([of("Anna", "replace", label="", file="f"), of("Ben", "reject")], LABELS_OF)
        assert rows(combined) == [("a", "organ", None, "unsure"), ("a", "lesion", None, "unsure")]
        assert combined.decisions[0].comment == "Anna replace, Ben reject"
        assert combined.disagreed == 1


def test_a_new_label_decides_on_all_labels_of_the_case():
    found = expanded([of("Anna", "reject"), of("Anna", "replace", label="", file="f"), of("Ben", "accept")], LABELS_OF)
    assert [(each.reader, each.subject.label, each.decision) for each in found] == [
        ("Anna", "organ", "replace"),
        ("Anna", "lesion", "replace"),
        ("Ben", "organ", "accept"),
    ]


def test_progress_counts_labels():
    decisions = [of("Anna", "accept"), of("Anna", "unsure", case="b"), of("Anna", "accept", case="c", region=2)]
    assert progress(decisions, ROWS, [True, True, False, True]) == {
        "decided": 2,
        "accepted": 1,
        "rejected": 0,
        "unsure": 1,
        "replaced": 0,
        "open": 2,
        "share_of_suspect_decided": pytest.approx(1 / 3),
    }
    assert progress([], ROWS, [False] * 4)["share_of_suspect_decided"] == 1.0


class TestAgreement:
    def test_kappa_by_hand(self):
        """20 labels: 8 both accept, 6 both reject, 4 accept/reject, 2 reject/accept.

        p_o = 14/20. Anna accepts 12/20, Ben 10/20: p_e = 12*10/400 + 8*10/400 = 1/2. kappa = (0.7 - 0.5) / 0.5.
        """
        pairs = [("accept", "accept")] * 8 + [("reject", "reject")] * 6
        pairs += [("accept", "reject")] * 4 + [("reject", "accept")] * 2
        decisions = [
            of(reader, said, case=f"{number}")
            for number, both in enumerate(pairs)
            for reader, said in zip(("Anna", "Ben"), both, strict=True)
        ]
        (pair,) = agreement([*decisions, of("Anna", "accept", case="only one"), of("Ben", "reject", region=2)])
        assert pair == {"first": "Anna", "second": "Ben", "labels": 20, "agreement": 0.7, "kappa": pytest.approx(0.4)}

    def test_is_unknown_where_both_always_say_the_same(self):
        (pair,) = agreement([of(reader, "accept", case=case) for reader in ("Anna", "Ben") for case in "abc"])
        assert (pair["agreement"], pair["kappa"]) == (1.0, None)

    def test_is_unknown_without_a_common_label(self):
        (pair,) = agreement([of("Anna", "accept"), of("Ben", "accept", case="b")])
        assert (pair["labels"], pair["agreement"], pair["kappa"]) == (0, None, None)

    def test_of_three_readers_each_pair(self):
        pairs = agreement([of(reader, "accept") for reader in ("Anna", "Ben", "Cem")])
        assert [(pair["first"], pair["second"]) for pair in pairs] == [("Anna", "Ben"), ("Anna", "Cem"), ("Ben", "Cem")]
