"""A server that is killed, comes back, or does not know the visitor."""

from __future__ import annotations

import pytest
from review_pages import expected

pytestmark = pytest.mark.slow

AWAY = ("ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_SOCKET")


def test_the_page_goes_on_when_the_server_is_back(make_review_audit, serve, visit):
    audit = make_review_audit()
    server = serve(audit)
    opened = visit(server.address)
    with expected(opened, *AWAY):
        with opened.page.expect_response("**/api/decisions"):
            opened.press("a")
        server.kill()
        opened.press("r")
        opened.page.wait_for_selector("#banner:has-text('Server not reachable: decisions are not saved')")
        opened.press("c")
        opened.page.keyboard.type("typed while it was away")
        opened.press("Escape")
        opened.page.wait_for_selector("#banner:has-text('2 steps wait in this browser')")
        server.start()
        opened.page.wait_for_selector("#banner", state="hidden")
        opened.page.reload()
        opened.page.wait_for_selector("#place:not(:empty)")
        signs = opened.page.locator("#list .sign").all_inner_texts()
        assert [sign.strip() for sign in signs[:3]] == ["✓", "✗", "✎"]
        assert opened.page.input_value("#comment") == "typed while it was away"


def test_nothing_is_lost_if_the_page_is_closed_meanwhile(make_review_audit, serve, visit):
    audit = make_review_audit()
    server = serve(audit)
    opened = visit(server.address)
    with expected(opened, *AWAY):
        server.kill()
        opened.press("u", "c")
        opened.page.keyboard.type("and closed at once")
        page, opened.page = opened.page, opened.page.context.new_page()
        page.close()
        opened.watch()
        server.start()
        opened.page.goto(server.address)
        opened.page.wait_for_selector("#reader[open]")
        opened.press("Enter")  # the name is there
        opened.page.wait_for_selector("#place:not(:empty)")
        opened.page.wait_for_selector("#list .sign.unsure")
        assert opened.text("#what") == "lesion: ok"
        assert opened.page.input_value("#comment") == "and closed at once"


def test_a_wrong_token_is_refused(make_review_audit, serve, visit):
    server = serve(make_review_audit())
    with expected(opened := visit(server.address[:-3] + "xxx", None), "403"):
        assert "Open the address" in opened.text("body")
        assert opened.page.locator("#list").count() == 0


def test_a_page_of_an_ended_server_says_so(make_review_audit, serve, visit):
    audit = make_review_audit()
    server = serve(audit)
    opened = visit(server.address)
    with expected(opened, *AWAY, "403"):
        opened.page.context.clear_cookies()
        opened.press("a")
        opened.page.wait_for_selector("#banner:has-text('Decisions are not saved. Open the address')")
        assert "1 step wait" in opened.text("#banner").replace("waits", "wait")
        opened.page.goto(server.address)
        opened.page.wait_for_selector("#list .sign.accept")
        opened.page.wait_for_selector("#banner", state="hidden")
