from __future__ import annotations

from dataclasses import fields

import pytest
from refusals import raises

from segmend.bench.plan import PLANS, Plan
from segmend.bench.published import published_value
from segmend.core.errors import InputError
from segmend.data.augment import Augmentation

SHIPPED = sorted(path.stem for path in PLANS.glob("*.yaml"))


def test_a_plan_says_what_is_run(small, write_plan):
    small["rows"]["Mixed"]["train"] = {"iterations": 7, "optimisation": {"optimiser": "adamw"}}
    plan = Plan.read(write_plan(small))
    row = plan.rows["Mixed"]
    assert set(row.labels) == {"some noisy", "as given"}
    assert row.train["iterations"] == 7
    assert row.train["any_labelled"] == 2
    assert plan.labels["some noisy"].corruption == {"recipe": "CubeMorphology", "expert": 2}
    assert plan.labels["some noisy"].audit is None
    assert plan.labels["as given"].corruption is None
    assert plan.rows["PNL"].method is None


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_plans_leave_no_training_setting_to_the_defaults(name):
    """Published protocols must not change when the defaults of 'segmend train' do."""
    plan = Plan.read(name)
    trainings = [row.train for row in plan.rows.values() if row.method]
    trainings += [labels.audit for labels in plan.labels.values() if labels.audit]
    # What is None by default is off where the network is named, and chosen where it is planned.
    decided = {"quarter_turns", "flips"}  # by the number of classes
    augmentation = {field.name for field in fields(Augmentation) if field.default is not None or field.name in decided}
    for training in trainings:
        assert {"foreground", "optimisation", "augmentation", "network", "iterations", "spacing"} <= set(training)
        assert set(training["augmentation"]) == augmentation
        assert "optimiser" in training["optimisation"]


def test_a_plan_may_be_built_on_another(small, write_plan):
    write_plan(small, "below.yaml")
    plan = Plan.read(write_plan({"base": "below", "train": {"iterations": 9}, "rows": {"PNL": None}}))
    assert plan.rows["Mixed"].train["iterations"] == 9
    assert plan.rows["Mixed"].train["patch"] == [16, 16, 16]
    assert list(plan.rows) == ["Mixed"]
    assert plan.title == "Small"
    with pytest.raises(InputError, match="is built on another plan"):
        Plan.read(write_plan({"base": "plan"}, "third.yaml"))


def test_selection_on_test_cases_stands_in_the_title(small, write_plan):
    assert Plan.read(write_plan(small)).title == "Small"
    assert "SELECTED ON THE TEST SET" in Plan.read(write_plan({**small, "select": "test"})).title


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("trian",), {}, "line .*'trian' is not known.*train"),
        (("train", "iteratons"), 3, "'iteratons' is not an argument of 'train'.*iterations"),
        (("train", "out"), "x", "'out' is not an argument"),
        (("rows", "Mixed", "method"), "Supervized", "no method 'Supervized'.*Supervised"),
        (("rows", "Mixed", "arguments"), {"passes": 3}, "'passes' is not an argument of Supervised"),
        (("rows", "Mixed", "batch"), {"experts": 1}, "'experts' is not a quality"),
        (("rows", "Mixed", "labels"), ["some noise"], "no labels 'some noise'.*some noisy"),
        (("rows", "Mixed", "colour"), 1, "'colour' is not known of a row"),
        (("labels", "some noisy", "recipe"), "Cube", "no recipe 'Cube'.*CubeMorphology"),
        (("labels", "some noisy", "arguments"), {"sides": 1}, "'sides' is not an argument of CubeMorphology"),
        (("labels", "some noisy", "audit"), {"fold": 2}, "'fold' is not an argument of 'audit'.*folds"),
        (("labels", "some noisy", "correct"), {"score": 1}, "'score' is not an argument of 'correct'.*minimum_score"),
        (("metrics",), ["dice", "dise"], "'dise' is not a column"),
        (("select",), "first", "'first' is unknown"),
        (("baseline",), "Mixd", "no row 'Mixd'"),
        (("seeds",), [-1], "no seeds"),
    ],
)
def test_what_is_not_known_is_named_with_its_line(small, write_plan, place, value, message):
    content = small
    for key in place[:-1]:
        content = content[key]
    content[place[-1]] = value
    with pytest.raises(InputError, match=message) as error:
        Plan.read(write_plan(small))
    assert "plan.yaml line" in str(error.value)


def test_an_unknown_plan_is_an_error():
    with raises("unknown-name", match="plil_table1"):
        Plan.read("plil_tabel1")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_plans_can_be_read_and_their_published_rows_found(name):
    plan = Plan.read(name)
    assert plan.rows
    published = plan.published
    found = [
        published_value(published["paper"], published["table"], plan.labels[labels].published, row.published, metric)[0]
        for row in plan.rows.values()
        for labels in row.labels
        for metric in published.get("metrics", {}).values()
    ]
    if published:
        assert any(value == value for value in found)
