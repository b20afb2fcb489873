"""The page in a real browser, without a window."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Page, expect
from serving import HEIGHT, WIDTH, folder_of_images, session_of

from abbe.imaging import read_labels
from abbe.serve import address_of, application, listen

pytestmark = pytest.mark.slow


@pytest.fixture
def served(tmp_path) -> Iterator[tuple[str, Path]]:
    """The address of a page that a fake network answers, and the folder it saves to."""
    out = tmp_path / "out"
    listening = listen()
    app = application(session_of(folder_of_images(tmp_path / "images"), out))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield address_of(listening), out
    server.should_exit = True
    thread.join(10)


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
        expect(opened.get_by_role("status")).to_contain_text("Ready", timeout=20_000)
        yield opened
        assert problems == []
        assert all(url.startswith((served[0], "blob:", "data:")) for url in requested)


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the image lies on the page."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"] / WIDTH, box["y"] + y * box["height"] / HEIGHT


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *end), steps=4)
    page.mouse.up()


def colour(page: Page, x: float, y: float) -> list[int]:
    return page.evaluate(
        """([x, y]) => { const canvas = document.getElementById("canvas");
        return [...canvas.getContext("2d").getImageData(
          x * canvas.width, y * canvas.height, 1, 1).data].slice(0, 3); }""",
        [x / WIDTH, y / HEIGHT],
    )


def test_clicks_and_boxes_become_saved_masks(page, served):
    status, objects = page.get_by_role("status"), page.locator("#objects li")
    before = colour(page, 70, 50)
    page.mouse.click(*at(page, 60, 50))
    expect(status).to_contain_text("expected IoU 0.90")  # the best of three
    page.keyboard.press("3")
    expect(status).to_contain_text("expected IoU 0.70")
    assert colour(page, 70, 50) != before  # the mask is seen
    page.mouse.click(*at(page, 60, 41), button="right")  # outside
    expect(page.locator("#prompts")).to_have_text("2 points")
    page.keyboard.press("Control+z")
    expect(page.locator("#prompts")).to_have_text("1 point")
    expect(status).to_contain_text("expected IoU 0.70")  # the choice came back as well
    page.keyboard.press("Enter")
    expect(objects).to_have_count(1)

    drag(page, (100, 20), (140, 50))
    expect(status).to_contain_text("Enter accepts")
    page.keyboard.press("Enter")
    expect(objects).to_have_count(2)
    drag(page, (10, 90), (30, 110))
    expect(status).to_contain_text("Enter accepts")
    page.keyboard.press("Delete")
    expect(page.locator("#prompts")).to_have_text("")

    page.keyboard.press("Control+s")
    expect(status).to_contain_text("Saved")
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
    status, objects = page.get_by_role("status"), page.locator("#objects li")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#images")).to_have_value("1")
    expect(status).to_contain_text("Ready")
    page.get_by_text("Place by numbers").focus()
    page.keyboard.press("Enter")
    page.locator("#coordinates").fill("10, 20, 40, 30")
    page.keyboard.press("Enter")
    expect(status).to_contain_text("300 px")
    page.locator("#coordinates").fill("10, 500")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("outside the image of 160 × 120")
    page.locator("#canvas").focus()
    page.keyboard.press("Enter")
    expect(objects).to_have_count(1)
    page.keyboard.press("ArrowUp")
    expect(page.locator("#objects .name")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Delete")
    expect(objects).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(objects).to_have_count(1)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    expect(status).to_contain_text("second.labels.png")
    page.keyboard.press("ArrowLeft")
    expect(status).to_contain_text("Ready")
    expect(objects).to_have_count(0)
    page.reload()
    page.locator("#images").select_option("1")
    expect(objects).to_have_count(1)  # what was saved is there again


def test_what_is_not_saved_outlives_the_page(page, served):
    objects = page.locator("#objects li")
    for left in (20, 100):
        drag(page, (left, 20), (left + 20, 50))
        expect(page.get_by_role("status")).to_contain_text("Enter accepts")
        with page.expect_response("**/unsaved"):
            page.keyboard.press("Enter")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(objects).to_have_count(2)
    expect(page.locator("#saved")).to_have_text("Not saved yet")
    assert not served[1].exists()
    page.keyboard.press("Control+s")
    expect(page.locator("#saved")).to_have_text("All saved")
    assert read_labels(served[1] / "first.labels.png").max() == 2
