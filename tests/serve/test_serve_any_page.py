"""The one page with the other engine: packages of any task behind `abbe serve`, in a browser."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from pages import serving_package
from playwright.sync_api import expect
from visits import labels_of, saved, visit, wait

from abbe.runtime.predictors.predict import predict

sys.path.append(str(Path(__file__).parents[1] / "runtime"))
made = import_module("made_packages")

pytestmark = pytest.mark.slow
FP32: Any = {"engine": "onnxruntime", "precision": "fp32"}


def test_the_page_shows_what_this_machines_engine_finds(tmp_path, browser):
    package, images = made.make_package(tmp_path / "package"), tmp_path / "images"
    images.mkdir()
    pixels = [made.blobs(200, 230), made.blobs(150, 170, seed=4)]
    for name, each in zip("ab", pixels, strict=True):
        tifffile.imwrite(images / f"{name}.tif", each)
    wanted = [predict(package, each, **FP32) for each in pixels]
    out = tmp_path / "out"
    with serving_package(package, images, out) as server, visit(browser, server) as page:
        wait(page)
        np.testing.assert_array_equal(labels_of(page), wanted[0])
        expect(page.locator("#engine")).to_contain_text("abbe serve")
        labels = tifffile.imread(saved(page, "labels", tmp_path))
        np.testing.assert_array_equal(labels, wanted[0])
        largest = np.bincount(wanted[0].ravel())[1:].max()  # up to a hundred objects, all are in
        expect(page.locator("#histogram .axis span").last).to_have_text(f"{largest} px")
        expect(page.get_by_text("open an image")).to_be_hidden()  # no key here opens a file
        assert page.evaluate("document.querySelector('dt.of-site').hidden")
        page.evaluate(
            """() => { const slider = document.getElementById("area");
            slider.value = "120"; slider.dispatchEvent(new Event("input")); }"""
        )
        areas = np.bincount(wanted[0].ravel())[1:]
        expect(page.locator("#count")).to_have_text(str((areas >= 120).sum()))
        page.click("#reset")
        expect(page.locator("#count")).to_have_text(str(wanted[0].max()))
        page.evaluate("document.body.dataset.state = 'busy'")
        page.locator("#canvas").focus()
        page.keyboard.press("PageDown")
        wait(page)
        expect(page.locator("#images")).to_have_value("1")
        np.testing.assert_array_equal(labels_of(page), wanted[1])
        # Looked at is not done: what can be corrected is done once it is saved.
        expect(page.locator("#images option").first).to_have_text("a.tif")
        page.keyboard.press("Control+s")
        count = wanted[1].max()
        expect(page.locator("#images option").nth(1)).to_have_text(f"✓ b.tif ({count} saved)")


def test_a_slide_is_shown_by_tiles_and_its_results_are_written(tmp_path, browser, monkeypatch):
    monkeypatch.setattr("abbe.serve.pixels.SENT_WHOLE", 1000)
    package, images = made.make_package(tmp_path / "package"), tmp_path / "images"
    images.mkdir()
    pixels = made.blobs(700, 900)
    with tifffile.TiffWriter(images / "slide.tif") as file:
        file.write(pixels, tile=(128, 128), subifds=1)
        file.write(pixels[::2, ::2], tile=(128, 128), subfiletype=1)
    wanted = predict(package, images / "slide.tif", **FP32)
    out = tmp_path / "out"
    with serving_package(package, images, out) as server, visit(browser, server) as page:
        wait(page)
        assert page.evaluate("[abbe.picture.planes.length, abbe.picture.tiled.levels.length]") == [
            0,
            2,
        ]
        expect(page.locator("#count")).to_have_text(f"{wanted.max():,}")
        # A click in the picture finds the object by the tiles that are shown.
        chosen = page.evaluate(
            """async () => {
            const { results, viewer } = abbe, { columns } = results.told;
            const place = { imageX: columns.get("x")[9] + 0.5, imageY: columns.get("y")[9] + 0.5 };
            viewer.centre(place.imageX, place.imageY, 200);
            for (let i = 0; i < 100 && !results.numberAt(place); i++) {
              await new Promise((resolve) => setTimeout(resolve, 50));
            }
            return results.numberAt(place); }"""
        )
        assert chosen == 10
        page.click("[data-save=geojson]")
        expect(page.locator("#status")).to_contain_text("slide.geojson")
        assert len(json.loads((out / "slide.geojson").read_text())["features"]) == wanted.max()
