"""How large a site is, how soon it shows the first mask, and how fast it is thereafter.

    python benchmarks/web.py [PACKAGE] [--real FOLDER]

Needs Chromium and playwright. The time to the first mask is from opening the page, with nothing
kept by the browser, to the objects of the example; it is a headless browser without a graphics
processor. Speed is that of a large image: time from "open" to objects, with reading and watershed.
Of a promptable package, times are those of embedding an image once and of a click thereafter.
--real names the folder of DSB-2018: what the page of `nuclei` finds on 60 of its images is held
against `abbe predict`.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from playwright.sync_api import sync_playwright

from abbe.imaging import open_image
from abbe.runtime.package import read_package
from abbe.web import build_site

sys.path.append(str(Path(__file__).parents[1] / "tests"))
sys.path.append(str(Path(__file__).parents[1] / "tests" / "web"))
shared = import_module("sites")

SIDE = 2048
"""px of the large image."""


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast the page of a package is.")
    parser.add_argument("package", nargs="?", default="nuclei")
    parser.add_argument("--real", type=Path, help="DSB-2018, to compare 60 images")
    arguments = parser.parse_args()
    package = read_package(arguments.package)
    prompted = package.description.traits.prompted
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch)
        site = build_site(package, folder / "site")
        image = folder / "large.tif"
        tifffile.imwrite(image, large(package.file("test_image")))
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=found, args=list(shared.FLAGS))
        with shared.serving(site.folder) as server:
            address = f"http://localhost:{server.server_port}/"
            measured = (click if prompted else visit)(browser, address, image)
            if arguments.real:
                compared = import_module("real_images").compared
                print(compared(browser, server, arguments.real, 60))
        browser.close()
    print(f"{package.description.name}, {os.cpu_count()} cores, {measured['engine']}")
    print(f"site            {site.size / 1e6:6.1f} MB in {len(site.files)} files (at most 30)")
    print(f"ready           {measured['ready']:6.2f} s after opening")
    if prompted:
        print(f"embedded once   {measured['embedded']:6.2f} s, {SIDE} px")
        print(f"a click         {measured['click']:6.1f} ms (at most 100), {SIDE} px")
        return
    print(f"first mask      {measured['first']:6.2f} s after opening (at most 5)")
    print(
        f"large image     {SIDE**2 / 1e6 / measured['large']:6.2f} MP/s, {SIDE} px (at least 0.5)"
    )
    print(f"a threshold     {measured['threshold']:6.2f} s, {measured['objects']} objects")


def large(path: Path) -> np.ndarray:
    """The package's test image side by side, every second one mirrored."""
    pixels = open_image(path).read()[0]
    pair = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    tile = np.concatenate([pair, pair[::-1]])
    count = -(-SIDE // min(tile.shape))
    return np.tile(tile, (count, count))[:SIDE, :SIDE]


def visit(browser: Any, address: str, image: Path) -> dict[str, Any]:
    """One visit with nothing kept; times in s."""
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    begun = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    ready = time.perf_counter() - begun
    page.click("#example")
    done = "body[data-state=done]"
    page.wait_for_selector(done, timeout=120_000)
    first = time.perf_counter() - begun
    page.evaluate("document.body.dataset.state = 'busy'")
    begun = time.perf_counter()
    page.set_input_files("#file", str(image))
    page.wait_for_selector(done, timeout=300_000)
    took = time.perf_counter() - begun
    begun = time.perf_counter()
    page.evaluate("""async () => {
      const rule = { ...abbe.rules.rule(), minimumArea: 40 };
      await abbe.change(rule);
    }""")
    return {
        "engine": page.inner_text("#engine"), "ready": ready, "first": first, "large": took,
        "threshold": time.perf_counter() - begun, "objects": page.inner_text("#count"),
    }  # fmt: skip


def click(browser: Any, address: str, image: Path) -> dict[str, Any]:
    """One visit to the page of a promptable package: the median of nine clicks."""
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    begun = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    ready = time.perf_counter() - begun
    begun = time.perf_counter()
    page.set_input_files("#file", str(image))
    page.wait_for_selector("body[data-state=done]", timeout=300_000)
    embedded = time.perf_counter() - begun
    times = page.evaluate(
        """async (side) => {
      const times = [];
      for (let i = 0; i < 9; i++) {
        const prompt = { points: [[(side * (i + 1)) / 10, side / 2]], labels: [1], box: null };
        const begun = performance.now();
        await abbe.asking.ask("prompt", { prompt });
        times.push(performance.now() - begun);
      }
      return times;
    }""",
        SIDE,
    )
    return {
        "engine": page.inner_text("#engine"), "ready": ready, "embedded": embedded,
        "click": float(np.median(times)),
    }  # fmt: skip


if __name__ == "__main__":
    main()
