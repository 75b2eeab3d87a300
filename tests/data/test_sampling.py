from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.data.case import Case, Quality
from segmend.data.sampling import BatchPlan, Composition
from segmend.errors import InputError

CASES = [
    Case(str(number), (), None, quality=quality) for number, quality in enumerate([*Quality] * 2 + [Quality.NOISY])
]
EXPERT, NOISY, NONE = (0, 3), (1, 4, 6), (2, 5)


def plan(seed=0, **composition):
    return BatchPlan.of(CASES, Composition(**composition), seed, "method Test")


class TestComposition:
    @pytest.mark.parametrize(
        ("composition", "text"),
        [
            (Composition(expert=2, noisy=1), "2 expert + 1 noisy"),
            (Composition(unlabelled=3, mixed=4), "3 unlabelled + 4 labelled"),
            (Composition(), "nothing"),
        ],
    )
    def test_in_words(self, composition, text):
        assert str(composition) == text


class TestCasesAt:
    def test_each_quality_comes_from_its_own_cases_in_a_fixed_order(self):
        batches = plan(expert=2, noisy=1, unlabelled=3, mixed=2)
        assert batches.size == 8
        for step in range(20):
            chosen = list(batches.cases_at(step))
            assert set(chosen[:2]) == set(EXPERT)
            assert chosen[2] in NOISY
            assert set(chosen[3:6]) == set(NONE)
            assert set(chosen[6:]) <= {*EXPERT, *NOISY}

    @given(st.integers(0, 2**32), st.integers(1, 5))
    def test_no_case_comes_again_before_all_have_come(self, seed, count):
        batches = plan(seed, noisy=count)
        draws = [case for step in range(3) for case in batches.cases_at(step)]
        for first in range(0, len(draws) - 2, 3):
            assert set(draws[first : first + 3]) == set(NOISY)

    def test_rounds_are_shuffled_anew(self):
        rounds = {tuple(plan(noisy=3).cases_at(step)) for step in range(50)}
        assert len(rounds) == 6

    def test_seeds_differ(self):
        assert (
            len({tuple(case for step in range(8) for case in plan(seed, noisy=3).cases_at(step)) for seed in range(9)})
            == 9
        )

    @given(st.integers(1, 4), st.integers(1, 3))
    def test_several_processes_together_draw_what_one_would_draw_in_more_steps(self, processes, count):
        batches = plan(noisy=count)
        together = [
            case for step in range(6) for rank in range(processes) for case in batches.cases_at(step, rank, processes)
        ]
        alone = [case for step in range(6 * processes) for case in batches.cases_at(step)]
        assert together == alone

    def test_mixed_draws_from_all_labelled_cases_alike(self):
        counts = Counter(case for step in range(50) for case in plan(mixed=1).cases_at(step))
        assert counts == dict.fromkeys((*EXPERT, *NOISY), 10)


class TestErrors:
    @pytest.mark.parametrize("composition", [{}, {"expert": 1, "noisy": -1}])
    def test_an_unusable_batch(self, composition):
        with pytest.raises(InputError, match="batch: it would hold"):
            plan(**composition)

    def test_a_missing_quality(self):
        with pytest.raises(InputError) as error:
            BatchPlan.of(CASES[1:3] * 2, Composition(expert=2, noisy=1), 0, "method PLIL")
        assert str(error.value).startswith(
            "method PLIL: takes 2 expert + 1 noisy samples a batch, but there is no expert training case "
            "(0 expert, 2 noisy, 2 none). Mark cases in the 'quality' column of cases.csv"
        )
