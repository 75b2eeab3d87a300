"""What stands below a table."""

from __future__ import annotations

import pandas as pd
import pytest

from segmend.bench.plan import Plan
from segmend.bench.table import Table, _cell, _tex
from segmend.bench.unit import Unit


@pytest.fixture
def finished(tmp_path):
    """Makes a finished unit whose test cases have this Dice."""

    def make(row: str, dice: float, seed: int = 0, cases: int = 2) -> Unit:
        unit = Unit.at(tmp_path, row, "4 expert", seed, {"row": row}, {})
        unit.write()
        every = [dice + 0.001 * case for case in range(cases)] if cases > 2 else [dice] * cases
        table = pd.DataFrame({"case": range(cases), "label": "atrium", "dice": every, "status": "ok"})
        columns = ("jaccard", "asd", "assd", "mssd", "nsd", "ravd", "volume_prediction", "volume_reference")
        table.assign(**dict.fromkeys(columns, 1.0), hd95=[10 * (1 - each) for each in every]).to_csv(
            unit.folder / "scores.csv", index=False
        )
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
    assert "| A | 55.00 (0.00) ± 5.00 | 4.50 (0.00) ± 0.50 | 2 |" in text
    assert "± sd over seeds" in text
    waiting = Unit.at(both[0].folder.parent, "A", "4 expert", 1, {"row": "not run"}, {})
    table = Table.of(plan, [both[0], waiting], {both[0].folder.name: "done", waiting.folder.name: "waiting"})
    assert "| A | 50.00 (0.00) | 5.00 (0.00) | 1 of 2 |" in table.markdown()


def test_marks_tell_better_from_worse(small, write_plan, finished):
    small["labels"] = {"4 expert": {}, "80 expert": {}}  # where the baseline is not
    small["rows"] = {row: {"method": "Supervised", "labels": ["4 expert"]} for row in ("base", "good", "bad")}
    small["rows"]["bound"] = {"method": "Supervised", "labels": ["80 expert"]}
    plan = Plan.read(write_plan(small | {"baseline": "base"}))
    units = [finished(row, dice, cases=20) for row, dice in (("base", 0.5), ("good", 0.6), ("bad", 0.4))]
    bound = Unit.at(units[0].folder.parent, "bound", "80 expert", 0, {"row": "bound"}, {})
    states = {unit.folder.name: "done" for unit in units} | {bound.folder.name: "waiting"}
    text = Table.of(plan, [*units, bound], states).markdown()
    assert "| bound |" in text
    marks = {row: text.split(f"| {row} |")[1].split("|")[:2] for row in ("base", "good", "bad")}
    assert all("†" not in cell and "‡" not in cell for cell in marks["base"])
    assert all("†" in cell and "*" in cell for cell in marks["good"])
    assert all("‡" in cell for cell in marks["bad"])
    assert "† better and ‡ worse than base" in text


def test_names_leave_tables_as_they_are():
    assert _cell("a|b \\ <i> \x1b") == r"a\|b \\ &lt;i> \\x1b"
    assert _tex("a_b & 50 % {x} ~^\\") == r"a\_b \& 50 \% \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}"
