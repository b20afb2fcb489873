"""The page with a promptable network behind it, in a real browser, without a window."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pages import running
from playwright.sync_api import Page, expect
from serving import HEIGHT, WIDTH, app_of, folder_of_images, session_of

from abbe.imaging import read_labels, write_png

pytestmark = pytest.mark.slow


@pytest.fixture
def served(tmp_path) -> Iterator[tuple[str, Path]]:
    """The address of a page that a fake network answers, and the folder it saves to."""
    out = tmp_path / "out"
    with running(app_of(session_of(folder_of_images(tmp_path / "images"), out))) as address:
        yield address, out


@pytest.fixture
def page(browser, served) -> Iterator[Page]:
    """The page, opened and ready, and whatever it complained about."""
    with browser.new_context(viewport={"width": 1200, "height": 800}) as context:
        opened = context.new_page()
        problems: list[str] = []
        opened.on("pageerror", lambda error: problems.append(str(error)))
        requested: list[str] = []
        opened.on("request", lambda request: requested.append(request.url))
        opened.goto(served[0])
        expect(opened.locator("#status")).to_contain_text("Ready", timeout=20_000)
        yield opened
        assert problems == []
        assert all(url.startswith((served[0], "blob:", "data:")) for url in requested)


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the image lies on the page."""
    found = page.evaluate(
        """([x, y]) => { const { view, canvas } = abbe.viewer;
        const box = canvas.getBoundingClientRect(), ratio = box.width / canvas.width;
        return [box.left + (x - view.x) * view.zoom * ratio,
                box.top + (y - view.y) * view.zoom * ratio]; }""",
        [x, y],
    )
    return found[0], found[1]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *end), steps=4)
    page.mouse.up()


def box(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.keyboard.down("Shift")
    drag(page, start, end)
    page.keyboard.up("Shift")
    expect(page.locator("#status")).to_contain_text("Enter keeps it")


def test_clicking_boxing_undoing_and_saving(page, served):
    status, count = page.locator("#status"), page.locator("#count")
    page.mouse.click(*at(page, 60, 50))
    expect(status).to_contain_text("expected IoU 0.90")  # the best of three
    page.keyboard.press("2")
    expect(status).to_contain_text("expected IoU 0.70")
    page.mouse.click(*at(page, 60, 41), button="right")  # outside
    expect(page.locator("#prompts")).to_have_text("2 points")
    page.keyboard.press("Control+z")
    expect(page.locator("#prompts")).to_have_text("1 point")
    expect(status).to_contain_text("of 3")
    page.keyboard.press("2")
    expect(status).to_contain_text("expected IoU 0.70")
    page.keyboard.press("Enter")
    expect(count).to_have_text("1")

    box(page, (100, 20), (140, 50))
    page.keyboard.press("Enter")
    expect(count).to_have_text("2")
    box(page, (10, 90), (30, 110))
    page.keyboard.press("Delete")
    expect(page.locator("#prompts")).to_have_text("")

    page.keyboard.press("Control+s")
    expect(status).to_contain_text("first.labels.png")
    labels = read_labels(served[1] / "first.labels.png")
    assert labels.shape == (HEIGHT, WIDTH)
    assert (labels == 1).sum() == pytest.approx(804, rel=0.05)  # π · 16²
    assert labels[50, 60] == 1
    assert (labels == 2).sum() == pytest.approx(40 * 30, rel=0.05)
    assert labels[35, 120] == 2
    written = json.loads((served[1] / "annotations.json").read_text())
    assert len(written["annotations"]) == 2
    left, top, width, height = written["annotations"][1]["bbox"]
    assert [left, top, width, height] == pytest.approx([100, 20, 40, 30], abs=1)


def test_by_keyboard_alone(page, served):
    status, count = page.locator("#status"), page.locator("#count")
    page.locator("#canvas").focus()
    page.keyboard.press("PageDown")
    expect(page.locator("#images")).to_have_value("1")
    expect(status).to_contain_text("Ready")
    page.get_by_text("Place by numbers").focus()
    page.keyboard.press("Enter")
    page.locator("#coordinates").fill("10, 20, 40, 30")
    page.keyboard.press("Enter")
    expect(status).to_contain_text("Enter keeps it")
    page.locator("#coordinates").fill("10, 500")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("outside the image")
    page.locator("#canvas").focus()
    page.keyboard.press("Enter")
    expect(count).to_have_text("1")
    page.keyboard.press("j")
    expect(page.locator("#table .row[aria-selected=true]")).to_have_count(1)
    page.keyboard.press("Delete")
    expect(count).to_have_text("0")
    page.keyboard.press("Control+z")
    expect(count).to_have_text("1")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    expect(status).to_contain_text("second.labels.png")
    page.keyboard.press("PageUp")
    expect(status).to_contain_text("Ready")
    expect(count).to_have_text("0")
    page.reload()
    expect(page.locator("#images option").nth(1)).to_contain_text("✓ more/second.png (1 saved)")
    page.locator("#images").select_option("1")
    expect(count).to_have_text("1")  # what was saved is there again


def test_what_is_not_saved_outlives_the_page(page, served):
    for left in (20, 100):
        box(page, (left, 20), (left + 20, 50))
        with page.expect_response("**/unsaved"):
            page.keyboard.press("Enter")
    expect(page.locator("#images option").first).to_contain_text("● first.png (not saved)")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(page.locator("#count")).to_have_text("2")
    expect(page.locator("#saved")).to_have_text("Not saved yet")
    assert not served[1].exists()
    page.keyboard.press("Control+s")
    expect(page.locator("#saved")).to_have_text("All saved")
    assert read_labels(served[1] / "first.labels.png").max() == 2


def test_masks_of_a_file_are_corrected_and_given_classes(page, served, tmp_path):
    masks = np.zeros((HEIGHT, WIDTH), np.uint8)
    masks[10:40, 10:40], masks[60:90, 100:130] = 1, 2
    write_png(tmp_path / "masks.png", masks)
    page.set_input_files("#masks-file", tmp_path / "masks.png")
    count = page.locator("#count")
    expect(count).to_have_text("2")

    page.evaluate("abbe.results.choose(1)")
    page.evaluate("abbe.editing.resize(8)")
    page.locator("#canvas").focus()
    page.keyboard.press("b")
    drag(page, (35, 25), (60, 25))  # the first grows to the right
    area = page.locator("#table .row[aria-selected=true] span").nth(1)
    expect(area).not_to_have_text("900")
    page.evaluate("abbe.results.choose(0)")
    drag(page, (120, 20), (140, 20))  # a third, drawn by hand
    expect(count).to_have_text("3")
    page.evaluate("abbe.results.choose(2)")
    page.locator("#canvas").focus()
    page.keyboard.press("e")
    drag(page, (100, 75), (130, 75))  # the second loses a line
    page.keyboard.press("v")
    page.fill("#new-class", "tumour")
    page.click("#add-class")  # and is given a class
    expect(page.locator("#table .row:nth-child(2) span").nth(2)).to_have_text("tumour")
    page.evaluate("abbe.results.choose(1)")
    page.locator("#canvas").focus()
    page.keyboard.press("Delete")
    expect(count).to_have_text("2")
    page.keyboard.press("Control+z")
    expect(count).to_have_text("3")

    page.keyboard.press("Control+s")
    expect(page.locator("#status")).to_contain_text("first.labels.png")
    labels = read_labels(served[1] / "first.labels.png")
    assert (labels[25, 10:62] == 1).all()
    assert 900 < (labels == 1).sum() < 900 + 30 * 9
    assert (labels[20, 120:140] == 3).all()
    assert (labels[75, 102:128] == 0).all()
    assert (labels[65, 100:130] == 2).all()
    written = json.loads((served[1] / "annotations.json").read_text())
    names = {each["id"]: each["name"] for each in written["categories"]}
    found = [names[each["category_id"]] for each in written["annotations"]]
    assert found == ["object", "tumour", "object"]
    with page.expect_download() as told:
        page.click("[data-save=geojson]")
    features = json.loads(told.value.path().read_text())["features"]
    assert [each["properties"].get("classification", {}).get("name") for each in features] == [
        None, "tumour", None,
    ]  # fmt: skip


def test_of_an_image_that_is_shown_by_tiles_masks_are_clicked_too(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("abbe.serve.pixels.SENT_WHOLE", 1000)
    out = tmp_path / "out"
    app = app_of(session_of(folder_of_images(tmp_path / "images"), out))
    with running(app) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        status, count = page.locator("#status"), page.locator("#count")
        expect(status).to_contain_text("Ready", timeout=20_000)
        assert page.evaluate("abbe.picture.planes.length") == 0
        box(page, (100, 20), (140, 50))
        page.keyboard.press("Enter")
        expect(count).to_have_text("1")
        columns = "['x', 'y', 'area_px'].map((name) => abbe.results.told.columns.get(name)[0])"
        assert page.evaluate(columns) == pytest.approx([119.5, 34.5, 1200], rel=0.05)
        shown = page.evaluate(
            """async () => {
            const at = () => abbe.results.numberAt({ imageX: 120, imageY: 35 });
            for (let i = 0; i < 100 && !at(); i++) await new Promise((ok) => setTimeout(ok, 50));
            return at(); }"""
        )
        assert shown == 1
        page.keyboard.press("Control+s")
        expect(status).to_contain_text("first.labels.png")
        assert read_labels(out / "first.labels.png")[35, 120] == 1
