"""The list of labels: any number of rows, filters, search, order."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

ROWS = "#list [role=option]"
HOSTILE = "<img src=x onerror=alert(1)>"


def names(visitor):
    return visitor.page.locator(f"{ROWS} .case").all_inner_texts()


@pytest.fixture
def opened(many, serve_here, visit):
    for name in ("review.sqlite", "review.sqlite-wal", "review.sqlite-shm"):
        (many.place.root / name).unlink(missing_ok=True)
    return visit(serve_here(many))


def test_only_rows_in_sight_are_elements(opened):
    assert opened.text("#range") == "5000 labels"
    assert opened.page.locator(ROWS).count() < 60
    opened.page.focus("#list")
    opened.press("End")
    opened.page.wait_for_selector("#list [aria-posinset='5000'][aria-selected=true]")
    assert opened.text("#name") == "case_2499"
    assert opened.page.locator(ROWS).count() < 60
    opened.press("PageUp", "Home")
    opened.page.wait_for_selector("#list [aria-posinset='1'][aria-selected=true]")
    assert opened.page.get_attribute("#list", "aria-activedescendant") == "row-0"


def test_rows_far_below_are_reached_by_the_wheel(opened):
    opened.page.hover("#list")
    opened.page.mouse.wheel(0, 46 * 3000)
    opened.page.wait_for_selector("#list [aria-posinset='3005']")
    opened.page.click("#list [aria-posinset='3005']")
    assert opened.text("#name") == "case_1502"


def test_filters_search_and_order(opened):
    page = opened.page
    page.select_option("#label", "lesion")
    assert opened.text("#range") == "2500 of 5000 labels"
    page.check("#suspect")
    assert opened.text("#range") == "0 of 5000 labels"
    page.select_option("#label", "")
    assert opened.text("#range") == "2500 of 5000 labels"
    page.uncheck("#suspect")
    page.select_option("#annotator", "B")
    assert opened.text("#range") == "2500 of 5000 labels"
    page.select_option("#kind", "slices")
    opened.press("/")
    page.keyboard.type("Case_01")  # the letters decide nothing
    assert opened.text("#range") == "50 of 5000 labels"
    assert names(opened)[0] == "case_0101"
    assert opened.text("#counts").startswith("0 of")
    page.select_option("#order", "dice")
    page.select_option("#annotator", "")
    page.select_option("#kind", "ok")
    page.fill("#search", "")
    assert names(opened)[:2] == ["case_0001", "case_0002"]  # the first has an expected Dice of 0.4
    page.select_option("#order", "case")
    assert names(opened)[0] == "case_0000"


def test_decided_labels_are_found(opened):
    page = opened.page
    page.uncheck("#onward")
    opened.press("a", "j", "u")
    page.select_option("#state", "decided")
    assert opened.text("#range") == "2 of 5000 labels"
    page.select_option("#state", "accept")
    assert names(opened) == ["case_0000"]
    page.select_option("#state", "open")
    assert opened.text("#range") == "4998 of 5000 labels"


def test_hostile_names_are_only_text(small):
    opened = small(HOSTILE, "(b) & 'c'", "$(touch x) ../d".replace("/", "%2F"))
    assert names(opened)[::2] == [HOSTILE, "(b) & 'c'", "$(touch x) ..%2Fd"]
    for _ in range(5):
        opened.press("j")
        opened.page.wait_for_timeout(100)
    assert opened.text("#name") == "$(touch x) ..%2Fd"
    opened.press("k", "k", "k", "k", "k")
    opened.page.wait_for_selector(f'#name:text-is("{HOSTILE}")')
    assert opened.ask("document.images.length") == 0
