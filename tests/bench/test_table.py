"""What stands below a table."""

from __future__ import annotations

import pandas as pd
import pytest

from segmend.bench.plan import Plan
from segmend.bench.table import Table
from segmend.bench.unit import Unit


@pytest.fixture
def finished(tmp_path):
    """Makes a finished unit whose test cases have this Dice."""

    def make(row: str, dice: float, seed: int = 0) -> Unit:
        unit = Unit.at(tmp_path, row, "4 expert", seed, {"row": row}, {})
        unit.write()
        cases = pd.DataFrame({"case": ["a", "b"], "label": "atrium", "dice": [dice, dice], "status": "ok"})
        columns = ("jaccard", "hd95", "asd", "assd", "mssd", "nsd", "ravd", "volume_prediction", "volume_reference")
        cases.assign(**dict.fromkeys(columns, 1.0)).to_csv(unit.folder / "scores.csv", index=False)
        (unit.folder / "result.json").write_text('{"device": "CPU", "seconds": 1, "versions": {"torch": "2"}}')
        return unit

    return make


ROWS = ("H-Sup", "HL-Sup", "CPS", "MTCL")  # published: 77.84, 77.21, 81.54, 83.36


@pytest.fixture
def notes(small, write_plan, finished):
    """The notes below a table whose rows have these Dice; those that are None are still to be run."""

    def make(*dice: float | None) -> str:
        small["labels"] = {"4 expert": {"published": ["4HQ+76LQ", "4HQ+0LQ"]}}
        small["rows"] = {row: {"method": "Supervised"} for row in ROWS}
        small["baseline"] = "HL-Sup"
        units = [finished(row, value) for row, value in zip(ROWS, dice, strict=True) if value is not None]
        return "\n".join(Table.of(Plan.read(write_plan(small)), units, {u.folder.name: "done" for u in units}).notes)

    return make


@pytest.mark.parametrize(
    ("dice", "rho"),
    [((0.2, 0.1, 0.3, 0.4), "1.00"), ((0.1, 0.2, 0.3, 0.4), "0.80"), ((0.3, 0.4, 0.2, 0.1), "-1.00")],
)
def test_tells_how_far_the_order_is_the_published_one(notes, dice, rho):
    assert f"4 expert: rank correlation (Spearman) of measured and published Dice % over 4 rows: {rho}." in notes(*dice)


def test_says_nothing_of_the_order_of_a_few_rows(notes):
    assert "rank correlation" not in notes(0.2, 0.1, 0.3, None)


def test_several_seeds_have_a_spread(small, write_plan, finished):
    small |= {"labels": {"4 expert": {}}, "rows": {"A": {"method": "Supervised"}}, "baseline": "A", "seeds": [0, 1]}
    plan = Plan.read(write_plan(small))
    both = [finished("A", 0.5, 0), finished("A", 0.6, 1)]
    text = Table.of(plan, both, {unit.folder.name: "done" for unit in both}).markdown()
    assert "| A | 55.00 (0.00) ± 5.00 | 1.00 (0.00) ± 0.00 | 2 |" in text
    assert "± sd over seeds" in text
    waiting = Unit.at(both[0].folder.parent, "A", "4 expert", 1, {"row": "not run"}, {})
    table = Table.of(plan, [both[0], waiting], {both[0].folder.name: "done", waiting.folder.name: "waiting"})
    assert "| A | 50.00 (0.00) | 1.00 (0.00) | 1 of 2 |" in table.markdown()
