"""Decisions by label and region, comments, and taking them back."""

from __future__ import annotations

import csv

import pytest

pytestmark = pytest.mark.slow

LABEL, LESION = "#what:text-is('organ: slices left out')", "#what:text-is('lesion: ok')"


def signs(visitor):
    return [text.strip() for text in visitor.page.locator("#list .sign").all_inner_texts()]


def test_keys_and_clicks_decide(small):
    opened = small()
    opened.press("a")
    opened.page.wait_for_selector(LESION)  # on to the next
    assert opened.page.is_disabled("[data-decision=accept]")  # which has no proposal
    opened.press("a")
    assert opened.text("#what") == "lesion: ok"
    opened.page.click("[data-decision=reject]")
    opened.page.uncheck("#onward")
    opened.press("u")
    assert signs(opened) == ["✓", "✗", "?", "", "", ""]
    assert opened.text("#counts") == "2 of 3 suspect labels decided"
    opened.press("u")  # again: open
    assert signs(opened) == ["✓", "✗", "", "", "", ""]
    assert opened.page.get_attribute("#progress", "title") == "1 accepted, 1 rejected, 0 unsure, 4 open"


def test_steps_are_taken_back_one_by_one(small):
    opened = small()
    assert opened.page.is_disabled("#back")
    opened.press("a", "r")
    opened.page.click("#back")
    opened.page.wait_for_selector("#note:has-text('a, lesion is open again')")
    assert opened.text("#what") == "lesion: ok"
    opened.press("z")
    opened.page.wait_for_selector("#note:has-text('a, organ is open again')")
    assert signs(opened) == [""] * 6
    opened.page.wait_for_selector("#back:disabled")


def test_decisions_and_comments_are_there_again(small):
    opened = small()
    opened.press("c")
    opened.page.keyboard.type("two <b>slices</b> are missing, a r u z")
    opened.press("Escape", "a", "r")
    opened.page.reload()
    opened.page.wait_for_selector("#place:not(:empty)")
    assert signs(opened)[:2] == ["✓\n✎", "✗"]
    assert opened.text("#name") == "b"  # the first that is open
    opened.press("k", "k")
    assert opened.page.input_value("#comment") == "two <b>slices</b> are missing, a r u z"
    opened.press("r")
    assert opened.page.locator("#list .sign").first.inner_text().startswith("✗")


def test_a_region_is_decided_on_its_own(small):
    opened = small()
    opened.press("n", "Shift+A")
    opened.page.wait_for_selector("#regions [data-region=accept][aria-pressed=true]")
    assert opened.text("#regioned") == "1 of 1 decided"
    assert opened.text("#counts").startswith("0 of 3")
    opened.page.click("#regions [data-region=reject]")
    opened.page.wait_for_selector("#regions [data-region=reject][aria-pressed=true]")
    opened.press("z")
    opened.page.wait_for_selector("#note:has-text('region 2 of organ is accepted again')")
    opened.page.reload()
    opened.page.wait_for_selector("#regions [data-region=accept][aria-pressed=true]")


def test_the_export_shows_the_next_command(small, audit_folder):
    opened = small()
    opened.press("n", "Shift+R", "a", "r")
    opened.page.click("#export")
    opened.page.wait_for_selector("#exported[open]")
    text = opened.text("#exported")
    assert "segmend correct --data" in text
    assert "--decisions" in text
    with (audit_folder / "decisions.csv").open(newline="", encoding="utf-8") as lines:
        table = {(row["case"], row["label"], row["region"]): row["decision"] for row in csv.DictReader(lines)}
    assert table == {("a", "organ", ""): "accept", ("a", "organ", "2"): "reject", ("a", "lesion", ""): "reject"}
    opened.press("Escape", "j")
    assert opened.text("#name") == "b"


def test_what_the_server_refuses_is_shown_and_not_kept(small, audit_folder):
    opened = small()
    opened.page.route(
        "**/api/decisions", lambda route: route.fulfill(status=400, json={"error": "decision: is refused. Wait."})
    )
    opened.press("c")
    opened.page.keyboard.type("keep me")
    opened.press("Escape")
    opened.page.wait_for_selector("#note:has-text('is refused. Wait.')")
    opened.press("a")
    opened.page.wait_for_selector(LESION)
    opened.page.wait_for_selector("#list .sign.accept", state="detached")
    opened.press("k")
    assert opened.page.input_value("#comment") == "keep me"
    opened.wrong.clear()


def test_a_saved_file_becomes_the_new_label(small, audit_folder):
    opened = small()
    opened.page.click("#tools summary")
    opened.page.select_option("#begin", "proposal")
    opened.page.click("[data-tool=itksnap]")
    opened.page.wait_for_selector("#opened:has-text('edited.nii.gz')")
    opened.page.click("#replace")
    opened.page.wait_for_selector("#note:has-text('a has a new label: 32 voxels changed.')")
    assert signs(opened)[:3] == ["⇄", "⇄", ""]
    assert opened.page.is_disabled("[data-decision=reject]")
    opened.page.click("#unreplace")
    opened.page.wait_for_selector("#unreplace", state="hidden")
    assert signs(opened)[:3] == ["", "", ""]
    opened.page.fill("#file", str(audit_folder / "none.nii.gz"))
    opened.page.click("#replace")
    opened.page.wait_for_selector("#note:has-text('none.nii.gz')")
    opened.wrong.clear()
