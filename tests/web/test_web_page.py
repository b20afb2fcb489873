"""The page in a real browser, without a window, held against Python on the same images."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import imagecodecs
import numpy as np
import pytest
import shapely
import tifffile
import zarr
from playwright.sync_api import expect
from prompt_package import make_prompt_package
from visits import labels_of, look, saved, visit, wait

from abbe.imaging import Image, open_image, write_png
from abbe.runtime.predictors.instances import predictor
from abbe.runtime.predictors.predict import predict
from abbe.runtime.predictors.promptable import PromptablePredictor
from abbe.runtime.tiling.work import Work
from abbe.runtime.writing.table import measure
from abbe.web import build_site

made = import_module("made_packages")
blobs, make_package = made.blobs, made.make_package
make_class_package, make_region_package = made.make_class_package, made.make_region_package

pytestmark = pytest.mark.slow
FP32: Any = {"engine": "onnxruntime", "precision": "fp32"}


@pytest.fixture
def site(tmp_path, runtime, served):
    """Makes a site of a package and serves it."""

    def make(package, **options):
        folder = tmp_path / "site"
        build_site(package, folder, runtime=runtime, webgpu=False, **options)
        return served(folder)

    return make


def test_objects_of_an_image_larger_than_a_window_are_those_of_predict(tmp_path, site, browser):
    package, image = make_package(tmp_path / "package"), tmp_path / "blobs.tif"
    tifffile.imwrite(image, blobs(300, 410))
    wanted = predict(package, image, **FP32)
    with visit(browser, site(package, example=image)) as page:
        assert page.evaluate("crossOriginIsolated")  # so that threads compute
        page.click("#example")
        wait(page)
        np.testing.assert_array_equal(labels_of(page), wanted)
        expect(page.locator("#status")).to_contain_text(f"{wanted.max()} objects in")
        assert page.locator("#count").inner_text() == str(wanted.max())

        # A threshold is moved: the maps are kept, and the answer is the one of that threshold.
        page.evaluate(
            """() => { const slider = document.getElementById("area");
            slider.value = "120"; slider.dispatchEvent(new Event("input")); }"""
        )
        areas = np.bincount(wanted.ravel())[1:]
        expect(page.locator("#count")).to_have_text(str((areas >= 120).sum()))
        page.click("#reset")
        expect(page.locator("#count")).to_have_text(str(wanted.max()))


def test_what_is_saved_is_what_was_found(tmp_path, site, browser):
    package, image = make_package(tmp_path / "package"), tmp_path / "blobs.tif"
    tifffile.imwrite(
        image, blobs(200, 230), resolution=(2e4, 2e4), resolutionunit="CENTIMETER"
    )  # 0.5 µm
    wanted = predict(package, image, **FP32)
    with visit(browser, site(package)) as page:
        assert not page.is_visible("#example")
        look(page, image)
        labels = tifffile.imread(saved(page, "labels", tmp_path))
        np.testing.assert_array_equal(labels, wanted)
        png = imagecodecs.png_decode(saved(page, "png", tmp_path).read_bytes())
        assert png.dtype == np.uint16
        np.testing.assert_array_equal(png, wanted)
        features = json.loads(saved(page, "geojson", tmp_path).read_text())["features"]
        table = np.genfromtxt(saved(page, "csv", tmp_path), delimiter=",", names=True)
    assert len(features) == len(table) == wanted.max()
    areas = np.bincount(wanted.ravel())[1:]
    np.testing.assert_array_equal(table["area_px"], areas)
    image = open_image(image)
    with ThreadPoolExecutor(1) as pool:
        run = predictor(package, **FP32).run(image, pool, Work(None))
        measured = measure(run.labels, image, pool, 2)
    assert list(table.dtype.names or ()) == list(measured)
    for name, values in measured.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    confidence = [feature["properties"]["measurements"]["Confidence"] for feature in features]
    np.testing.assert_allclose(confidence, measured["confidence"], rtol=1e-4)
    np.testing.assert_allclose(table["area_um2"], areas * 0.25)
    drawn = np.zeros_like(wanted)
    rows, columns = np.indices(wanted.shape) + 0.5
    for number, feature in enumerate(features, 1):
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.is_valid
        assert shape.area == areas[number - 1]
        drawn[shapely.contains_xy(shape, columns, rows)] = number
    np.testing.assert_array_equal(drawn, wanted)
    rows, columns = np.nonzero(wanted == 5)
    assert table["x"][4] == pytest.approx(columns.mean())
    assert table["y"][4] == pytest.approx(rows.mean())


def test_table_picture_and_keys_show_one_choice(tmp_path, site, browser):
    package, image = make_package(tmp_path / "package"), tmp_path / "blobs.tif"
    tifffile.imwrite(image, blobs(200, 230))
    with visit(browser, site(package)) as page:
        look(page, image)
        page.click("#table .row:nth-child(3)")
        chosen = page.locator("#table .row[aria-selected=true] span").first
        expect(chosen).to_have_text("3")
        page.locator("#canvas").focus()
        page.keyboard.press("j")
        expect(chosen).to_have_text("4")
        x, y = page.evaluate(
            """() => { const { view, canvas } = abbe.viewer, box = canvas.getBoundingClientRect();
            const { columns } = abbe.results.told;
            return [box.left + (columns.get("x")[0] + 0.5 - view.x) * view.zoom,
                    box.top + (columns.get("y")[0] + 0.5 - view.y) * view.zoom]; }"""
        )
        page.mouse.click(x, y)
        expect(chosen).to_have_text("1")
        page.keyboard.press("Escape")
        expect(page.locator("#table .row[aria-selected=true]")).to_have_count(0)
        page.click("#table button[data-column=area_px]")
        areas = page.locator("#table .row span:nth-child(2)").all_inner_texts()
        assert areas == sorted(areas, key=int)

        # What was found is corrected: an object less, back, and one more by the brush.
        found, count = labels_of(page), page.locator("#count")
        page.locator("#canvas").focus()
        page.keyboard.press("j")
        page.keyboard.press("Delete")
        expect(count).to_have_text(str(found.max() - 1))
        page.keyboard.press("Control+z")
        expect(count).to_have_text(str(found.max()))
        np.testing.assert_array_equal(labels_of(page), found)
        page.keyboard.press("Escape")
        page.evaluate(
            """() => { const detail = { points: [[3, 3], [20, 3]], erase: false };
            abbe.viewer.dispatchEvent(new CustomEvent("stroke", { detail })); }"""
        )
        expect(count).to_have_text(str(found.max() + 1))
        drawn = labels_of(page)
        assert (drawn[3, 3:20] == found.max() + 1).all()
        assert (drawn == found)[drawn != found.max() + 1].all()
        table = np.genfromtxt(saved(page, "csv", tmp_path), delimiter=",", names=True)
        areas = [*np.bincount(found.ravel())[1:], (drawn == found.max() + 1).sum()]
        np.testing.assert_array_equal(table["area_px"], areas)  # also of what is drawn over


def test_the_site_works_without_a_server_once_it_was_open(tmp_path, site, browser):
    package, image = make_package(tmp_path / "package"), tmp_path / "blobs.tif"
    tifffile.imwrite(image, blobs(80, 90))
    server = site(package)
    with visit(browser, server) as page:
        kept = "caches.keys().then((n) => caches.open(n[0])).then((c) => c.keys())"
        kept = f"{kept}.then((files) => files.length)"
        every = page.evaluate("abbe.site.files.length") + 2  # the page itself, and its list
        ends = time.monotonic() + 60
        while page.evaluate(kept) < every:
            assert time.monotonic() < ends
            page.wait_for_timeout(200)
        server.shutdown()
        server.server_close()
        page.reload()
        page.wait_for_selector("body[data-ready]", timeout=60_000)
        look(page, image)
        np.testing.assert_array_equal(labels_of(page), predict(package, image, **FP32))


def test_without_a_service_worker_it_computes_in_one_thread(tmp_path, site, browser):
    package, image = make_package(tmp_path / "package"), tmp_path / "blobs.tif"
    tifffile.imwrite(image, blobs(80, 90))
    with visit(browser, site(package), service_workers="block") as page:
        look(page, image)
        np.testing.assert_array_equal(labels_of(page), predict(package, image, **FP32))
        expect(page.locator("#engine")).to_have_text("WebAssembly, 1 thread")


@pytest.mark.parametrize("kind", ["text", "broken png", "stack", "colours"])
def test_what_cannot_be_read_is_told_in_words(tmp_path, site, browser, kind):
    image = tmp_path / "image.png"
    if kind == "text":
        image.write_text("no picture")
        words = "no image that this page can read"
    elif kind == "broken png":
        write_16_bits(image, blobs(60, 60))
        image.write_bytes(image.read_bytes()[:700])
        words = "damaged or truncated PNG"
    elif kind == "stack":
        image = tmp_path / "stack.tif"
        tifffile.imwrite(image, np.zeros((4, 60, 60), "u2"), imagej=True, metadata={"axes": "ZYX"})
        words = "holds a stack"
    else:
        write_png(image, np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8))
        words = "the network sees nucleus. Choose them below"
    with visit(browser, site(make_package(tmp_path / "package"))) as page:
        look(page, image)
        expect(page.get_by_role("alert")).to_contain_text(words)
        if kind == "colours":
            page.locator("#choices select").select_option(label="green")
            page.click("#asked button")
            wait(page)
            expect(page.locator("#status")).to_contain_text("object")


def test_a_pixel_size_that_is_missing_is_asked_for(tmp_path, site, browser):
    package, image = make_package(tmp_path / "package", pixel_size=0.5), tmp_path / "blobs.tif"
    tifffile.imwrite(image, blobs(150, 170))
    with visit(browser, site(package)) as page:
        look(page, image)
        expect(page.get_by_role("alert")).to_contain_text("0.5 µm per pixel")
        page.fill("#pixel-size", "0.8")
        page.evaluate("document.body.dataset.state = 'busy'")
        page.click("#asked button")
        wait(page)
        wanted = predict(package, image, pixel_size=0.8, **FP32)
        np.testing.assert_array_equal(labels_of(page), wanted)


def write_16_bits(path, image):
    path.write_bytes(imagecodecs.png_encode(image))


IMAGES = {
    "8-bit png": lambda path, image: write_png(path.with_suffix(".png"), (image >> 8).astype("u1")),
    "16-bit png": lambda path, image: write_16_bits(path.with_suffix(".png"), image),
    "float tiff": lambda path, image: tifffile.imwrite(path, image.astype("f4") / 7),
    "tiled tiff": lambda path, image: tifffile.imwrite(
        path, image, tile=(64, 64), compression="zlib", predictor=True
    ),
    "white is 0": lambda path, image: tifffile.imwrite(
        path, 65535 - image, photometric="miniswhite"
    ),
    "two channels of ome": lambda path, image: tifffile.imwrite(
        path.with_suffix(".ome.tif"), np.stack([image[::-1], image]),
        metadata={"axes": "CYX", "Channel": {"Name": ["actin", "nucleus"]}},
    ),
    "grey in colours": lambda path, image: write_png(
        path.with_suffix(".png"), np.repeat((image >> 8).astype("u1")[..., None], 3, 2)
    ),
}  # fmt: skip


def test_images_of_many_kinds_are_read_as_python_reads_them(tmp_path, site, browser):
    package = make_package(tmp_path / "package")
    with visit(browser, site(package)) as page:
        for number, write in enumerate(IMAGES.values()):
            write(tmp_path / f"image{number}.tif", blobs(110, 140, seed=number))
            [image] = tmp_path.glob(f"image{number}.*")
            look(page, image)
            assert not page.is_visible("#problem"), page.inner_text("#problem")
            np.testing.assert_array_equal(labels_of(page), predict(package, image, **FP32))


def write_large(path, pixels, place):
    """A pyramid of 71 MP, black but for some pixels at one place."""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in range(3):
            shape = 8704 >> level, 8192 >> level

            def tiles(shape=shape, factor=1 << level):
                whole = np.zeros(shape, np.uint16)
                top, left = (start // factor for start in place)
                part = pixels[::factor, ::factor]
                whole[top : top + part.shape[0], left : left + part.shape[1]] = part
                for row in range(0, shape[0], 512):
                    for column in range(0, shape[1], 512):
                        yield whole[row : row + 512, column : column + 512]

            file.write(
                tiles(), shape=shape, dtype=np.uint16, tile=(512, 512), compression="zlib",
                subifds=2 if level == 0 else 0, subfiletype=int(level > 0),
            )  # fmt: skip


def test_of_a_large_image_the_part_that_is_seen_is_read_and_looked_at(tmp_path, site, browser):
    package, image = make_package(tmp_path / "package"), tmp_path / "large.tif"
    pixels = blobs(300, 410)
    write_large(image, pixels, (6000, 6500))
    with visit(browser, site(package)) as page:
        look(page, image)
        expect(page.locator("#status")).to_contain_text("part by part")
        facts = "[abbe.picture.planes.length, abbe.picture.tiled.levels.length]"
        assert page.evaluate(facts) == [0, 3]
        seen = page.evaluate(
            """() => { const { viewer } = abbe, { width, height } = viewer.canvas;
            const zoom = 1.5;
            viewer.view = { zoom, x: 6700 - width / 2 / zoom, y: 6150 - height / 2 / zoom };
            viewer.draw();
            return viewer.seen(); }"""
        )
        page.evaluate("document.body.dataset.state = 'busy'")
        page.click("#asked button")
        wait(page)
        part = np.zeros((8704, 8192), np.uint16)
        part[6000:6300, 6500:6910] = pixels
        part = part[seen["top"] : seen["bottom"], seen["left"] : seen["right"]]
        wanted = predict(package, part, **FP32)
        np.testing.assert_array_equal(labels_of(page), wanted)
        table = np.genfromtxt(saved(page, "csv", tmp_path), delimiter=",", names=True)
        assert table["x"][0] == pytest.approx(np.nonzero(wanted == 1)[1].mean() + seen["left"])
        # The picture is there: what is bright in the file is bright on the screen.
        lit = page.evaluate(
            """() => { const { canvas } = abbe.viewer, { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return data.filter((v, i) => i % 4 === 1 && v > 128).length / data.length * 4; }"""
        )
        assert lit > 0.02


def write_zarr(path, pixels, version):
    """An image of two channels in two levels, 0.5 µm a pixel."""
    group = zarr.open_group(path, mode="w", zarr_format=version)
    levels = [np.stack([pixels[::-1], pixels]), np.stack([pixels[::-2, ::2], pixels[::2, ::2]])]
    for number, level in enumerate(levels):
        shards = (1, 128, 128) if version == 3 else None
        group.create_array(str(number), data=level, chunks=(1, 64, 64), shards=shards)
    datasets = [
        {"path": str(n), "coordinateTransformations": [
            {"type": "scale", "scale": [1, 0.5 * 2**n, 0.5 * 2**n]}]}
        for n in range(2)
    ]  # fmt: skip
    unit = {"type": "space", "unit": "micrometer"}
    axes = [{"name": "c", "type": "channel"}, {"name": "y", **unit}, {"name": "x", **unit}]
    described = {
        "multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}],
        "omero": {"channels": [{"label": "actin"}, {"label": "nucleus"}]},
    }
    group.attrs.update({"ome": described | {"version": "0.5"}} if version == 3 else described)


def test_ome_zarr_is_read_from_an_address_and_from_a_folder(tmp_path, site, browser):
    package = make_package(tmp_path / "package", pixel_size=0.5)
    server = site(package)
    images = [tmp_path / "site" / "old.ome.zarr", tmp_path / "new.ome.zarr"]
    for image, version in zip(images, (2, 3), strict=True):
        write_zarr(image, blobs(150, 170, seed=version), version)
    wanted = [predict(package, image, **FP32) for image in images]
    with visit(browser, server) as page:
        page.evaluate("document.body.dataset.state = 'busy'")
        page.click("#open-zarr")
        page.fill("#address", "old.ome.zarr/")
        page.click("#zarr-form .main")
        wait(page)
        assert not page.is_visible("#problem"), page.inner_text("#problem")
        np.testing.assert_array_equal(labels_of(page), wanted[0])
        assert page.evaluate("[abbe.picture.pixelSize, ...abbe.picture.channels]") == [
            0.5, "actin", "nucleus",
        ]  # fmt: skip
        page.evaluate("document.body.dataset.state = 'busy'")
        page.set_input_files("#folder", images[1])
        wait(page)
        assert not page.is_visible("#problem"), page.inner_text("#problem")
        np.testing.assert_array_equal(labels_of(page), wanted[1])
        page.evaluate("document.body.dataset.state = 'busy'")
        page.evaluate("abbe.openAddress('nothing.zarr')")
        wait(page)
        expect(page.get_by_role("alert")).to_contain_text("Is the address right")


def test_regions_are_those_of_predict(tmp_path, site, browser):
    package, image = make_region_package(tmp_path / "package"), tmp_path / "blobs.tif"
    pixels = blobs(170, 190)
    pixels[40:90, 50:120] = 12000
    tifffile.imwrite(image, pixels)
    wanted = predict(package, image, **FP32)
    with visit(browser, site(package)) as page:
        look(page, image)
        labels = tifffile.imread(saved(page, "labels", tmp_path))
        np.testing.assert_array_equal(labels, wanted)
        assert page.locator("#classes .class").count() == 3
        share = re.search(r"([\d.]+) %", page.locator("#classes .class").nth(1).inner_text())
        assert share is not None
        assert float(share[1]) == pytest.approx(100 * (wanted == 1).mean(), abs=0.06)


def test_classes_of_an_image_in_tiles_are_those_of_predict(tmp_path, site, browser):
    package, image = make_class_package(tmp_path / "package"), tmp_path / "blobs.tif"
    pixels = blobs(150, 190)
    pixels[:, 90:] += 14000
    tifffile.imwrite(image, pixels)
    wanted = predict(package, image, **FP32)
    with visit(browser, site(package)) as page:
        look(page, image)
        found = page.evaluate("[...abbe.results.told.whole]")
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        expect(page.locator("#count")).to_have_text("9")


def test_clicks_and_boxes_give_the_masks_of_the_package(tmp_path, site, browser):
    package, image = tmp_path / "package", tmp_path / "blobs.tif"
    make_prompt_package(make_package, package)
    pixels = blobs(100, 130)
    tifffile.imwrite(image, pixels)
    predictor = PromptablePredictor(package, engine="onnxruntime", precision="fp32")
    predictor.set_channels(Image.from_array(pixels[None], ["nucleus"], None))
    masks, scores, _ = predictor.predict([[60, 40]], [1])
    with visit(browser, site(package)) as page:
        look(page, image)
        place = "([x, y]) => abbe.prompting.point({ imageX: x, imageY: y, outside: false })"
        page.evaluate(place, [60, 40])
        expect(page.locator("#status")).to_contain_text(f"expected IoU {scores.max():.2f}")
        page.keyboard.press("Enter")
        expect(page.locator("#count")).to_have_text("1")
        np.testing.assert_array_equal(labels_of(page) == 1, masks[scores.argmax()])
        page.evaluate("() => { abbe.viewer.box = [10, 12, 50, 40]; return abbe.prompting.ask(); }")
        page.keyboard.press("Enter")
        expect(page.locator("#count")).to_have_text("2")
        [box], _, _ = predictor.predict(box=[10, 12, 50, 40], multimask_output=False)
        np.testing.assert_array_equal(labels_of(page) == 2, box)
        page.keyboard.press("Control+z")
        expect(page.locator("#count")).to_have_text("1")
        page.get_by_role(
            "button", name="Look again"
        ).click()  # embeds it again, and leaves what was kept
        wait(page)
        expect(page.locator("#count")).to_have_text("1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phones_and_dark_rooms(tmp_path, site, browser, scheme):
    package, image = make_package(tmp_path / "package"), tmp_path / "blobs.tif"
    tifffile.imwrite(image, blobs(80, 90))
    options = {"viewport": {"width": 380, "height": 760}, "color_scheme": scheme}
    with visit(browser, site(package), **options) as page:
        look(page, image)
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 384) == (scheme == "light")
