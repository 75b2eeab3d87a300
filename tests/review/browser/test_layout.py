"""What is seen without scrolling, by keyboard and by screen readers."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, summary, [role]")]
  .filter((element) => element.checkVisibility())
  .filter((element) => !(element.getAttribute("aria-label") ?? element.textContent.trim()) && !element.labels?.length)
  .map((element) => element.outerHTML)"""


@pytest.mark.parametrize(("width", "height", "least"), [(1400, 900, 500), (1024, 768, 380)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_needs_no_scrolling(make_review_audit, serve_here, visit, width, height, least, scheme):
    address = serve_here(make_review_audit())
    opened = visit(address, viewport={"width": width, "height": height}, color_scheme=scheme)
    assert opened.ask("document.scrollingElement.scrollHeight") <= height
    assert opened.ask("document.scrollingElement.scrollWidth") <= width
    box = opened.page.locator("#views").bounding_box()
    assert box["height"] >= least
    for selector in ("#views", "[data-decision=accept]", "#place", "#comment", "#export"):
        place = opened.page.locator(selector).bounding_box()
        assert place["y"] + place["height"] <= height
        assert place["x"] + place["width"] <= width


def test_all_controls_have_names(small):
    opened = small()
    assert opened.page.evaluate(NAMELESS) == []
    assert opened.page.locator("#said").inner_text() == "a, organ: slices left out, expected Dice 0.40, open"


def test_a_review_by_keyboard_alone(small):
    opened = small("a")
    opened.press("?")
    opened.page.wait_for_selector("#keys[open]")
    opened.press("Escape", "c")
    opened.page.keyboard.type("by keyboard")
    opened.press("Escape", "n", "Shift+U", "a", "r")
    reached = set()
    for _ in range(60):
        opened.press("Tab")
        reached.add(opened.ask("document.activeElement.id || document.activeElement.className"))
    assert {"who", "export", "search", "list", "previous", "comment", "level"} <= reached
    opened.page.focus("#export")
    opened.press("Enter")
    opened.page.wait_for_selector("#exported[open]")
    assert "1 accepted, 1 rejected" in opened.text("#exported")


def test_remarks_fold(small):
    opened = small("a")
    assert opened.page.is_hidden("#remarks li")
    opened.page.click("#remarks summary")
    assert opened.text("#remarks li") == "Train for longer."
