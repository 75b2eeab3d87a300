"""The picture: slices, planes, outlines, window, zoom, presets, channels, volume rendering."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from review_pages import expected

pytestmark = pytest.mark.slow

ORANGE, BLUE, PURPLE, YELLOW = (230, 159, 0), (86, 180, 233), (204, 121, 167), (240, 228, 66)
LARGE = ".view.large canvas"


def drawn(visitor):
    """Until the next frame is on the screen."""
    visitor.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pixels(visitor, selector=LARGE):
    drawn(visitor)
    picture = visitor.page.locator(selector).screenshot()
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def count(visitor, colour):
    """Pixels of about a colour, but for those of the slider below."""
    return int((np.abs(pixels(visitor)[:-40] - colour).sum(-1) < 60).sum())


def titles(visitor):
    return visitor.page.locator(".view button").all_inner_texts()


def settle(visitor, *texts):
    """Until the planes show these slices, and their numbers are those of the pictures."""
    for text in texts:
        visitor.page.wait_for_selector(f".view button:text-is('{text}')")
    visitor.page.wait_for_timeout(300)


def test_the_first_slice_is_where_the_proposal_changes_most(small):
    opened = small()
    # x of the scan runs to the left, y to the back and z to the head: as stored, and only z upside down.
    settle(opened, "axial 6 / 8")
    assert opened.text("#place").startswith("voxel 4, 5, 5 · RAS -4.0, -7.5, 15.0 mm")
    opened.press("j")
    settle(opened, "axial 3 / 8")  # the first of the largest slices of an object without a proposal


def test_keys_wheel_slider_and_clicks_move_through_the_scan(small):
    opened = small()
    settle(opened, "axial 6 / 8")
    opened.press("ArrowDown")
    settle(opened, "axial 7 / 8")
    opened.press("PageDown")
    settle(opened, "axial 8 / 8")
    opened.page.hover(LARGE)
    opened.page.mouse.wheel(0, -120)
    settle(opened, "axial 7 / 8")
    opened.page.focus(".view.large input")
    opened.press("Home")
    settle(opened, "axial 1 / 8")
    opened.press("p")
    settle(opened, "coronal 6 / 10")
    assert opened.page.locator(".view.large button").inner_text().startswith("coronal")
    box = opened.page.locator(LARGE).bounding_box()
    opened.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 3)
    settle(opened, "axial 8 / 8")  # the head is above
    opened.page.click("#regions .look")
    settle(opened, "axial 7 / 8", "coronal 5 / 10", "sagittal 5 / 12")


def test_one_plane_or_three(small):
    opened = small()
    settle(opened, "axial 6 / 8")
    assert opened.page.locator(".view:visible").count() == 3
    opened.press("f")
    assert opened.page.locator(".view:visible").count() == 1
    assert opened.page.locator(LARGE).bounding_box()["width"] > 600
    opened.page.click("#single")
    assert opened.page.locator(".view:visible").count() == 3


def test_modes_and_outlines(small):
    opened = small()
    settle(opened, "axial 6 / 8")
    assert count(opened, BLUE) > 20  # the proposal adds an object to this slice
    assert count(opened, ORANGE) == 0
    opened.press("2")
    assert count(opened, BLUE) == 0
    opened.press("2", "b")  # before: the given label alone
    assert count(opened, BLUE) == 0
    opened.press("b")  # after
    assert count(opened, BLUE) > 20
    assert opened.page.locator("[data-mode=after]").get_attribute("aria-pressed") == "true"
    opened.press("d")
    assert count(opened, BLUE) > 500  # hatched
    opened.press("o", "ArrowUp", "ArrowUp")
    settle(opened, "axial 4 / 8")
    assert count(opened, ORANGE) > 20
    opened.press("h")
    assert count(opened, ORANGE) == 0
    opened.press("h")
    assert count(opened, ORANGE) > 20


def test_after_leaves_out_rejected_regions(small):
    opened = small()
    opened.press("b", "b")
    settle(opened, "axial 6 / 8")
    assert count(opened, BLUE) > 20
    opened.press("n")
    settle(opened, "axial 7 / 8")
    opened.press("Shift+R")
    opened.page.wait_for_timeout(300)
    assert count(opened, BLUE) == 0


@pytest.mark.parametrize(
    ("decided", "result"),
    [
        ({"label": "", "regions": {}}, [1, 2, 2, 2]),  # the proposal
        ({"label": "accept", "regions": {2: "reject"}}, [1, 2, 1, 2]),
        ({"label": "", "regions": {2: "accept"}}, [1, 1, 2, 1]),  # this region alone
        ({"label": "", "regions": {2: "reject"}}, [1, 2, 1, 2]),
        ({"label": "reject", "regions": {}}, [1, 1, 1, 1]),
        ({"label": "reject", "regions": {3: "accept"}}, [1, 1, 1, 2]),
        ({"label": "unsure", "regions": {2: "unsure"}}, [1, 1, 1, 1]),
    ],
)
def test_the_result_follows_decisions_on_label_and_regions(small, decided, result):
    opened = small("a")
    # Of four voxels, the first does not change, and two of those that do lie in the regions 2 and 3.
    found = opened.page.evaluate(
        """async ({ label, regions }) => {
            const { resultOf } = await import("/static/draw.js");
            const numbered = Object.entries(regions).map(([key, value]) => [Number(key), value]);
            const decided = { label, regions: new Map(numbered) };
            return [[1, 1, 0], [1, 2, 0], [1, 2, 2], [1, 2, 3]].map(([given, proposal, issue]) =>
              resultOf(given, proposal, issue, decided));
        }""",
        {"label": decided["label"], "regions": {str(key): value for key, value in decided["regions"].items()}},
    )
    assert found == result


def test_every_filter_of_png_is_understood(small):
    opened = small("a")
    values = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    values[2] = values[1]
    found = opened.page.evaluate(
        """async (files) => {
            const { unpackPng } = await import("/static/png.js");
            return Promise.all(files.map(async (file) => [...(await unpackPng(new Uint8Array(file).buffer)).values]));
        }""",
        [list(png(values, kind)) for kind in range(5)],
    )
    assert found == [values.ravel().tolist()] * 5


def png(values, kind):
    """A PNG file of colours, all rows of which are filtered in one way (PNG specification, section 9)."""
    height, width, channels = values.shape
    padded = np.zeros((height + 1, width + 1, channels), int)
    padded[1:, 1:] = values
    left, above, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    guess = left + above - corner
    distances = np.stack([np.abs(guess - left), np.abs(guess - above), np.abs(guess - corner)])
    paeth = np.choose(distances.argmin(0), [left, above, corner])
    predicted = [np.zeros_like(left), left, above, (left + above) // 2, paeth][kind]
    rows = ((values.astype(int) - predicted) % 256).astype(np.uint8).reshape(height, -1)
    data = b"".join(bytes([kind]) + row.tobytes() for row in rows)

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_the_window_changes_what_is_grey(small):
    opened = small()
    settle(opened, "axial 6 / 8")
    opened.press("h")
    first, words = pixels(opened), opened.text("#window")
    opened.press("+", "+", "+", "+")
    assert pixels(opened).std() > first.std() + 2  # at once
    opened.page.wait_for_timeout(500)
    assert pixels(opened).std() > first.std() + 2  # and from the server
    opened.press("0")
    opened.page.wait_for_timeout(500)
    np.testing.assert_array_equal(pixels(opened), first)
    box = opened.page.locator(LARGE).bounding_box()
    opened.page.mouse.move(box["x"] + 100, box["y"] + 100)
    opened.page.mouse.down(button="right")
    opened.page.mouse.move(box["x"] + 100, box["y"] + 200)
    opened.page.mouse.up(button="right")
    assert opened.text("#window") != words
    assert pixels(opened).mean() < first.mean() - 20  # down raises the level
    opened.page.click("#reset")
    opened.page.wait_for_timeout(500)
    assert opened.text("#window") == words


def test_zoom_and_panning(small):
    opened = small()
    settle(opened, "axial 6 / 8")
    opened.press("h")
    first = pixels(opened)
    opened.press("x")
    drawn(opened)
    assert opened.page.input_value("#zoom") == "3"
    near = pixels(opened)
    assert not np.array_equal(near, first)
    box = opened.page.locator(LARGE).bounding_box()
    opened.page.keyboard.down("Shift")
    opened.page.mouse.move(box["x"] + 200, box["y"] + 200)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 150, box["y"] + 200)
    opened.page.mouse.up()
    opened.page.keyboard.up("Shift")
    moved = pixels(opened)
    assert np.abs(moved[80:300, 60:250] - near[80:300, 110:300]).mean() < 3  # by fifty pixels
    assert opened.page.locator(".view.large button").inner_text() == "axial 6 / 8"
    opened.page.mouse.move(box["x"] + 200, box["y"] + 200)
    opened.page.keyboard.down("Control")
    opened.page.mouse.wheel(0, 120)
    opened.page.keyboard.up("Control")
    opened.page.wait_for_timeout(300)
    assert opened.page.input_value("#zoom") == "2.5"


def test_presets_of_ct_stay_for_the_next_scan(small):
    opened = small("a", "b", channels=("CT",))
    assert "lung" in opened.page.locator("#preset option").all_inner_texts()
    opened.page.select_option("#preset", "lung")
    drawn(opened)
    low_high = opened.text("#window")
    opened.press("j", "j")
    opened.page.wait_for_selector("#name:text-is('b')")
    opened.page.wait_for_timeout(500)
    assert opened.text("#window") == low_high
    assert opened.page.input_value("#preset") == "lung"


def test_other_scans_have_no_presets_and_windows_of_their_own(small):
    opened = small()
    assert opened.page.is_hidden("#preset")
    assert opened.page.is_hidden("#channel")


def test_channels_are_switched(small):
    opened = small("a", channels=("T1", "T2"))
    settle(opened, "axial 6 / 8")
    words = opened.text("#window")
    opened.page.select_option("#channel", label="T2")
    opened.page.wait_for_selector(f"#window:not(:text-is('{words}'))")
    opened.page.wait_for_timeout(500)
    assert any("channel=1" in url for url in opened.asked)


def test_neighbours_and_the_next_case_are_fetched_ahead(small):
    opened = small()
    settle(opened, "axial 6 / 8")
    opened.page.wait_for_timeout(2000)
    opened.press("j")  # the next label is of the same case; behind it comes the next one
    opened.page.wait_for_timeout(2000)
    scans = [url for url in opened.asked if "/scan?axis=2" in url]
    assert any("/cases/a/" in url and "index=6" in url for url in scans)
    assert any("/cases/b/" in url for url in scans)
    before = len(opened.asked)
    opened.press("j")
    opened.page.wait_for_selector("#name:text-is('b')")
    opened.page.wait_for_timeout(1000)
    again = [url for url in opened.asked[before:] if url in opened.asked[:before]]
    assert [url for url in again if "/scan" in url or "/masks" in url] == []  # nothing is asked for twice


def test_many_slices_at_once_need_few_requests(small):
    opened = small("a")
    settle(opened, "axial 6 / 8")
    opened.press("h", *["ArrowUp", "ArrowDown"] * 20)
    opened.page.wait_for_timeout(1000)
    # All slices of this axis at most, and one of each other.
    assert len([url for url in opened.asked if "/scan" in url]) <= 8 + 2


def test_no_picture_of_another_case_is_left(make_review_audit, serve_here, visit):
    audit = make_review_audit()
    opened = visit(serve_here(audit))
    settle(opened, "axial 6 / 8")
    (audit.data / "imagesTr" / "b_0000.nii.gz").unlink()
    with expected(opened, "409", "404"):
        opened.press("j", "j")
        opened.page.wait_for_selector("#failed:has-text('b_0000.nii.gz')")
        assert opened.text("#name") == "b"
        assert pixels(opened, ".view.large")[50:150].max() == 0  # black, above the message
        opened.press("o", "p", "+", "ArrowDown", "x", "0", "v", "v", "j", "j")
        opened.page.wait_for_selector("#name:text-is('c')")
        settle(opened, "axial 6 / 8")
        assert opened.page.is_hidden("#failed")
    assert opened.wrong == []


def test_pictures_in_two_dimensions(make_review_audit, serve_here, visit, flat_audit):
    opened = visit(serve_here(flat_audit))
    assert opened.text("#place") == "pixel 10, 4"
    assert opened.page.locator(".view:visible").count() == 1
    assert opened.page.is_hidden("#solid")
    assert count(opened, BLUE) > 20
    opened.press("v", "f", "p", "ArrowDown", "j")
    opened.page.wait_for_selector("#name:text-is('b')")


def test_the_program_for_3d_is_loaded_when_it_is_wanted(small):
    opened = small()
    settle(opened, "axial 6 / 8")
    assert not any("niivue" in url for url in opened.asked)
    opened.press("v")
    opened.page.wait_for_selector("#volume[data-shown=a]")
    assert any("niivue" in url for url in opened.asked)
    assert {url.rsplit("/", 1)[1].split(".")[0] for url in opened.asked if "/volume/" in url} == {
        "scan",
        "label",
        "proposal",
    }
    label = count_volume(opened)
    opened.page.click("#volume >> text=Proposal")
    opened.page.wait_for_timeout(2000)
    assert count_volume(opened) > label + 100  # the proposal is larger
    opened.press("v")
    assert opened.page.is_visible(LARGE)


def count_volume(visitor):
    """Pixels of the colour of the first class, whatever the light."""
    picture = pixels(visitor, "#volume canvas")
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    return int(((red > 90) & (red > green + 20) & (green > blue + 20)).sum())
