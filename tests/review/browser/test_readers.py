"""Several readers: names, agreement, blinded second reading."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def cells(visitor):
    return visitor.page.locator("#agreement td").all_inner_texts()


def test_two_readers_have_decisions_of_their_own(make_review_audit, serve_here, visit):
    address = serve_here(make_review_audit())
    anna, ben = visit(address, "Anna"), visit(address, "Ben")
    anna.press("a", "r", "a", "r")
    anna.page.wait_for_selector("#name:text-is('c')")
    ben.press("a", "r", "r", "r")
    ben.page.wait_for_selector("#name:text-is('c')")
    ben.page.click("#agree")
    ben.page.wait_for_selector("#agreement td")
    # 3 of 4 agree; by chance 1/2 * 1/4 + 1/2 * 3/4 = 1/2, so kappa is (3/4 - 1/2) / (1 - 1/2).
    assert cells(ben) == ["Anna", "Ben", "4", "75 %", "0.50"]
    ben.press("Escape")
    ben.page.reload()
    ben.page.wait_for_selector("#place:not(:empty)")
    assert ben.text("#who") == "Ben"
    ben.press("k")
    assert "1 decided" in ben.text("#facts")
    ben.page.click("#who")
    ben.page.wait_for_selector("#reader[open]")
    assert ben.page.locator("#readers option").count() == 2


def test_a_blinded_reading_shows_nothing_of_others(make_review_audit, serve, visit):
    audit = make_review_audit()
    first = serve(audit)
    anna = visit(first.address, "Anna")
    with anna.page.expect_response("**/api/decisions"):
        anna.press("a")
    first.kill()
    anna.page.close()
    anna.wrong.clear()
    server = serve(audit, "--blinded", "true", "--reader", "Ben")
    ben = visit(server.address, None)  # the name is given
    ben.page.wait_for_selector("#place:not(:empty)")
    assert ben.text("#who") == "Ben"
    assert ben.page.is_hidden("#agree")
    assert ben.page.locator("#list .sign.accept").count() == 0


def test_a_name_is_needed(make_review_audit, serve_here, visit):
    opened = visit(serve_here(make_review_audit()), None)
    opened.page.wait_for_selector("#reader[open]")
    opened.press("Escape", "Enter")
    opened.page.fill("#reader-name", "   ")
    opened.press("Enter")
    opened.page.wait_for_selector("#reader[open]")
    opened.page.fill("#reader-name", "Eve")
    opened.page.click("#reader button")
    opened.page.wait_for_selector("#place:not(:empty)")
