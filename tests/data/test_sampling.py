from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import raises

from segmend.core.batch import Composition
from segmend.core.case import Case, Quality
from segmend.data.sampling import BatchPlan

QUALITIES = {"e": Quality.EXPERT, "n": Quality.NOISY, "u": Quality.NONE}
PLANS = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(0, 3))


def plan(letters: str, seed: int = 0, **counts: int) -> BatchPlan:
    """Of one case a letter: expert, noisy or unlabelled."""
    cases = [Case(f"case_{i}", (), None, quality=QUALITIES[letter]) for i, letter in enumerate(letters)]
    return BatchPlan.of(cases, Composition(**counts), seed, "method Test")


def drawn(of: BatchPlan, steps: int, rank: int = 0, processes: int = 1) -> list[list[int]]:
    return [list(of.cases_at(step, rank, processes)) for step in range(steps)]


@pytest.mark.parametrize(
    ("composition", "text", "size"),
    [
        (Composition(expert=2, noisy=2), "2 expert + 2 noisy", 4),
        (Composition(any_labelled=4), "4 labelled", 4),
        (
            Composition(expert=1, noisy=2, unlabelled=3, any_labelled=4),
            "1 expert + 2 noisy + 3 unlabelled + 4 labelled",
            10,
        ),
        (Composition(), "nothing", 0),
    ],
)
def test_composition_in_words_and_in_size(composition, text, size):
    assert str(composition) == text
    assert composition.size == size


class TestStreams:
    def test_each_sample_has_the_quality_that_was_asked_for(self):
        letters = "nenuenuunn"
        batches = plan(letters, expert=2, noisy=1, unlabelled=1, any_labelled=2)
        assert batches.size == 6
        for batch in drawn(batches, 30):
            qualities = [letters[position] for position in batch]
            assert qualities[:4] == ["e", "e", "n", "u"]
            assert set(qualities[4:]) <= {"e", "n"}

    def test_mixed_samples_come_from_all_labelled_cases_alike(self):
        counts = Counter(position for batch in drawn(plan("eennnu", any_labelled=5), 40) for position in batch)
        assert counts == dict.fromkeys(range(5), 40)

    @given(PLANS)
    def test_every_round_goes_through_all_cases_once(self, sizes):
        members, count, seed = sizes
        positions = [p for batch in drawn(plan("n" * members, seed, noisy=count), 3 * members) for p in batch]
        for start in range(0, len(positions), members):
            assert sorted(positions[start : start + members]) == list(range(members))

    def test_rounds_are_shuffled_anew(self):
        assert len({tuple(batch) for batch in drawn(plan("n" * 8, noisy=8), 10)}) == 10

    def test_streams_are_shuffled_apart(self):
        for batch in drawn(plan("n" * 12 + "u" * 12, noisy=12, unlabelled=12), 3):
            assert [position + 12 for position in batch[:12]] != batch[12:]

    def test_a_batch_holds_a_case_again_if_there_are_too_few(self):
        assert drawn(plan("en", expert=3), 2) == [[0, 0, 0], [0, 0, 0]]


class TestWeights:
    def test_cases_are_drawn_as_often_as_is_said(self):
        batches, weights = plan("eennu", any_labelled=4), [1.0, 1.0, 0.5, 0.0, 1.0]
        counts = Counter(case for step in range(1000) for case in batches.cases_at(step, weights=weights))
        assert set(counts) == {0, 1, 2}
        assert counts[0] / 4000 == pytest.approx(0.4, abs=0.03)
        assert counts[2] / 4000 == pytest.approx(0.2, abs=0.03)

    def test_within_their_stream(self):
        batches, weights = plan("ennn", expert=2, noisy=2), [0.1, 1.0, 0.0, 0.0]
        assert [list(batches.cases_at(step, weights=weights)) for step in range(5)] == [[0, 0, 1, 1]] * 5

    def test_where_all_are_0_all_are_drawn_alike(self):
        batches = plan("nnn", noisy=2)
        assert [list(batches.cases_at(step, weights=[0.0] * 3)) for step in range(9)] == drawn(batches, 9)

    @given(PLANS, st.integers(1, 4))
    def test_of_several_processes_together_as_of_one(self, sizes, processes):
        members, count, seed = sizes
        weights = [0.1 + 0.2 * position for position in range(members)]
        shared = plan("n" * members, seed, noisy=count)
        alone = plan("n" * members, seed, noisy=count * processes)
        for step in range(5):
            parts = [shared.cases_at(step, rank, processes, weights) for rank in range(processes)]
            assert list(chain.from_iterable(parts)) == list(alone.cases_at(step, weights=weights))

    def test_a_step_depends_on_nothing_but_seed_and_step(self):
        one, again, other = (plan("nnnnn", seed=seed, noisy=3) for seed in (3, 3, 4))
        weights = [0.2, 0.4, 0.6, 0.8, 1.0]
        steps = [[list(of.cases_at(step, weights=weights)) for step in range(20)] for of in (one, again, other)]
        assert steps[0] == steps[1] != steps[2]
        assert list(one.cases_at(7, weights=weights)) == steps[0][7]


class TestReproducibility:
    def test_a_step_depends_on_nothing_but_seed_and_step(self):
        sequence = drawn(plan("eennnn", seed=3, expert=1, noisy=2), 20)
        again = plan("eennnn", seed=3, expert=1, noisy=2)
        assert [list(again.cases_at(step)) for step in reversed(range(20))] == sequence[::-1]
        assert drawn(plan("eennnn", seed=4, expert=1, noisy=2), 20) != sequence

    def test_the_values_stay_what_they_were(self):
        # A run that is resumed by a newer version must see the cases that the older one would have drawn.
        expected = [[0, 5, 3], [2, 6, 4], [1, 3, 6], [0, 5, 4]]
        assert drawn(plan("eeennnn", seed=7, expert=1, noisy=2), 4) == expected


class TestProcesses:
    @given(PLANS, st.integers(1, 4))
    def test_together_draw_what_one_process_draws(self, sizes, processes):
        members, count, seed = sizes
        shared = plan("n" * members, seed, noisy=count)
        together = [list(shared.cases_at(step, rank, processes)) for step in range(6) for rank in range(processes)]
        assert together == drawn(shared, 6 * processes)

    def test_share_out_a_round_without_overlap(self):
        shared = plan("e" * 3 + "n" * 12, noisy=2, expert=1)
        batches = [drawn(shared, 2, rank, 3) for rank in range(3)]
        assert sorted(position for of_rank in batches for _, *noisy in of_rank for position in noisy) == [*range(3, 15)]
        assert sorted(first_step[0] for first_step, _ in batches) == [0, 1, 2]


class TestErrors:
    @pytest.mark.parametrize(
        ("letters", "counts", "takes", "missing", "present"),
        [
            ("nnu", {"expert": 2, "noisy": 2}, "2 expert + 2 noisy", "expert", "0 expert, 2 noisy, 1 none"),
            ("eu", {"expert": 2, "noisy": 2}, "2 expert + 2 noisy", "noisy", "1 expert, 0 noisy, 1 none"),
            (
                "en",
                {"expert": 1, "unlabelled": 3},
                "1 expert + 3 unlabelled",
                "unlabelled",
                "1 expert, 1 noisy, 0 none",
            ),
            ("uu", {"any_labelled": 4}, "4 labelled", "labelled", "0 expert, 0 noisy, 2 none"),
            ("", {"any_labelled": 1}, "1 labelled", "labelled", "0 expert, 0 noisy, 0 none"),
        ],
    )
    def test_a_missing_quality_is_named(self, letters, counts, takes, missing, present):
        with raises("no-data") as error:
            plan(letters, **counts)
        assert str(error.value).startswith(
            f"method Test: takes {takes} samples a batch, but there is no {missing} training case ({present}). "
            "Mark cases in the 'quality' column of cases.csv"
        )

    @pytest.mark.parametrize(("counts", "text"), [({}, "nothing"), ({"expert": -1, "noisy": 2}, "-1 expert + 2 noisy")])
    def test_an_empty_or_negative_batch_is_refused(self, counts, text):
        with raises("invalid-value") as error:
            plan("en", **counts)
        assert str(error.value) == f"batch: it would hold {text}. Ask for at least one sample."

    def test_a_quality_that_is_not_asked_for_may_be_missing(self):
        assert drawn(plan("e", expert=1), 1) == [[0]]
