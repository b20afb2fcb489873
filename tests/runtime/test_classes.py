"""Packages that classify images and tiles: what is looked at, and the files of results."""

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import onnx
import pytest
import tifffile
from commands import abbe
from hypothesis import given, settings
from hypothesis import strategies as st
from made_packages import CLASSES, blobs, make_class_package, make_region_package

from abbe.errors import ConfigError, InputError, PackageError
from abbe.imaging import normalise, open_image, percentile_limits
from abbe.runtime.package import Normalisation, read_package
from abbe.runtime.package.engine import open_engine
from abbe.runtime.predictors.classification import Tiles, class_predictor
from abbe.runtime.predictors.predict import predict
from abbe.runtime.writing import class_results


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def package(tmp_path):
    return make_class_package(tmp_path / "package")


def checks(height: int, width: int, side: int = 64) -> np.ndarray:
    """(H, W) uint16: squares by turns, few and many bright px."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width] // side
    many = (rows + columns) % 2 == 1
    bright = random.random((height, width)) < np.where(many, 0.8, 0.2)
    return np.where(bright, 40_000, 1_000).astype(np.uint16)


def write(path: Path, pixels: np.ndarray, pixel_size: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 1e4 / pixel_size, 1e4 / pixel_size
    tifffile.imwrite(path, pixels, tile=(64, 64), resolution=size, resolutionunit="CENTIMETER")
    return path


def table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def probabilities(row: dict[str, str]) -> list[float]:
    return [float(row[f"probability_{name}"]) for name in CLASSES]


def test_an_image_is_seen_whole_by_its_own_percentiles(package):
    pixels = checks(50, 61)
    engine = open_engine(read_package(package))
    seen = normalise(pixels[None], percentile_limits(pixels[None]))
    found = predict(package, pixels)
    assert found.shape == (2,)
    np.testing.assert_allclose(found, engine.probabilities(seen[None])[0], atol=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 150))
def test_each_pixel_is_answered_for_once(height, width, side):
    tiles = Tiles.of((height, width), side)
    counted = np.zeros((height, width), int)
    for row in range(len(tiles.rows)):
        for column in range(len(tiles.columns)):
            top, left, bottom, right = tiles.core(row, column)
            counted[top:bottom, left:right] += 1
            window = tiles.window(row, column)
            assert window.bottom - window.top == min(side, height)
            assert window.right - window.left == min(side, width)
            assert window.top <= top
            assert bottom <= window.bottom
    assert (counted == 1).all()
    assert tiles.areas.sum() == height * width


def test_a_tile_is_an_image_of_its_own(package, tmp_path):
    pixels = checks(150, 200)
    path = write(tmp_path / "slide.tif", pixels)
    assert abbe("predict", package, path, "--out", tmp_path / "out") == 0
    rows = table(tmp_path / "out" / "slide.csv")
    tiles = class_predictor(package).cut(open_image(path))
    assert len(rows) == len(tiles) == 3 * 4
    whole = np.zeros(2)
    for number, row in enumerate(rows):
        place = divmod(number, 4)
        top, left, bottom, right = tiles.window(*place)
        alone = predict(package, pixels[top:bottom, left:right])
        np.testing.assert_allclose(probabilities(row), alone, atol=1e-5)
        assert row["class"] == CLASSES[int(alone.argmax())]
        core = tiles.core(*place)
        assert (int(row["x"]), int(row["y"])) == (core.left, core.top)
        assert float(row["width_um"]) == int(row["width"]) / 2
        whole += alone * int(row["width"]) * int(row["height"])
    assert {row["class"] for row in rows} == set(CLASSES)
    (image,) = table(tmp_path / "out" / "classes.csv")
    assert (image["image"], image["tiles"]) == ("slide.tif", "12")
    np.testing.assert_allclose(probabilities(image), whole / pixels.size, atol=1e-5)
    np.testing.assert_allclose(predict(package, path), whole / pixels.size, atol=1e-5)


def test_percentiles_may_be_those_of_the_whole_image(tmp_path):
    package = make_class_package(tmp_path / "package", format=1, normalisation=Normalisation())
    pixels = checks(64, 128)
    pixels[:, 64:] //= 4  # by itself, this tile would look like the other
    ready = class_predictor(package)
    path = write(tmp_path / "a.tif", pixels)
    assert abbe("predict", package, path, "--out", tmp_path) == 0
    dim = table(tmp_path / "a.csv")[1]
    seen = normalise(pixels[None], percentile_limits(pixels[None]))[:, :, 64:]
    expected = ready.engine.probabilities(seen[None])[0]
    np.testing.assert_allclose(probabilities(dim), expected, atol=1e-5)


def test_tiles_have_the_packages_pixel_size(tmp_path):
    package = make_class_package(tmp_path / "package", pixel_size=0.5)
    coarse = checks(128, 128)
    fine = np.kron(coarse, np.ones((2, 2), np.uint16))
    ready = class_predictor(package)
    path = write(tmp_path / "fine.tif", fine, 0.25)
    assert len(ready.cut(open_image(path))) == 4
    np.testing.assert_allclose(
        predict(ready, path), predict(ready, coarse, pixel_size=0.5), atol=0.02
    )
    with pytest.raises(InputError, match=r"pixel size is not known.*--pixel-size"):
        predict(ready, coarse)


def test_tiles_go_to_qupath_and_to_a_picture(package, tmp_path):
    path = write(tmp_path / "slide.tif", checks(150, 200))
    words = "--results", "geojson", "geojson.gz", "overview"
    assert abbe("predict", package, path, "--out", tmp_path / "out", *words) == 0
    out = tmp_path / "out"
    assert not (out / "slide.csv").exists()
    features = json.loads((out / "slide.geojson").read_text("utf-8"))["features"]
    assert len(features) == 12
    assert sum(each["properties"]["measurements"]["Area px^2"] for each in features) == 150 * 200
    for feature in features:
        properties = feature["properties"]
        measured = properties["measurements"]
        best = max(CLASSES, key=lambda name: measured[f"probability_{name}"])
        assert properties["classification"]["name"] == best
        assert properties["objectType"] == "tile"
    assert features[1]["geometry"]["coordinates"][0][0] == [64, 0]
    picture = open_image(out / "slide.overview.png")
    assert picture.shape[0] > 150
    colours = picture.read()[:, :150, :200].reshape(3, -1).T
    assert len(np.unique(colours, axis=0)) > 2  # two tints


def test_bad_images_are_listed_and_the_rest_goes_on(package, tmp_path, capsys):
    folder = tmp_path / "in"
    good = write(folder / "good.tif", checks(64, 64))
    (folder / "cut.tif").write_bytes(good.read_bytes()[:3000])
    png = imagecodecs.png_encode(blobs(64, 64))
    (folder / "torn.png").write_bytes(png[: len(png) // 2])
    assert abbe("predict", package, folder, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert "1 image, 1 tile, " in said
    assert "2 images failed" in said
    assert "cut.tif" in said
    assert [row["image"] for row in table(tmp_path / "out" / "classes.csv")] == ["good.tif"]
    assert not (tmp_path / "out" / "good.csv").exists()


def test_what_is_finished_is_not_computed_again(package, tmp_path, capsys):
    for name in ("b", "a", "deep/c"):
        write(tmp_path / "in" / f"{name}.tif", checks(64, 64, side=len(name)))
    words = "predict", package, tmp_path / "in", "--out", tmp_path / "out"
    assert abbe(*words) == 0
    first = table(tmp_path / "out" / "classes.csv")
    assert [row["image"] for row in first] == ["a.tif", "b.tif", "deep/c.tif"]
    write(tmp_path / "in" / "d.tif", checks(64, 64))
    capsys.readouterr()
    assert abbe(*words) == 0
    assert "results were there already: 3 images" in capsys.readouterr().out
    again = table(tmp_path / "out" / "classes.csv")
    assert [row["image"] for row in again] == ["a.tif", "b.tif", "d.tif", "deep/c.tif"]
    assert [row for row in again if row["image"] != "d.tif"] == first


def test_a_slide_goes_on_at_its_next_row_of_tiles(package, tmp_path, monkeypatch):
    path = write(tmp_path / "slide.tif", checks(250, 200))
    words = "predict", package, path, "--out", tmp_path / "out"

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "slide.csv")

    with monkeypatch.context() as patch:
        patch.setattr(class_results, "write_tiles", full)
        assert abbe(*words) == 1
    work = tmp_path / "out" / ".slide.abbe"
    assert len(list(work.glob("row-*"))) == 4
    (work / "row-2.zst").unlink()
    kept = (work / "row-1.zst").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(class_results, "write_tiles", full)
        assert abbe(*words) == 1
    assert (work / "row-1.zst").stat().st_mtime_ns == kept
    assert abbe(*words) == 0
    assert not work.exists()
    assert len(table(tmp_path / "out" / "slide.csv")) == 16


@pytest.mark.parametrize("make", [make_class_package, make_region_package])
def test_a_network_of_another_task_or_without_numbers_is_refused(tmp_path, make):
    from onnx import numpy_helper

    other = make_region_package if make is make_class_package else make_class_package
    network = onnx.load(other(tmp_path / "other") / "model.onnx")
    with pytest.raises(PackageError, match="answers with an array of shape"):
        predict(make(tmp_path / "shape", network=network), checks(64, 64))
    network = onnx.load(make(tmp_path / "exact") / "model.onnx")
    for tensor in network.graph.initializer:
        if tensor.name == "bias":
            broken = numpy_helper.to_array(tensor) * np.float32("nan")
            tensor.CopyFrom(numpy_helper.from_array(broken, "bias"))
    with pytest.raises(PackageError, match="NaN or infinity"):
        predict(make(tmp_path / "nan", network=network), checks(64, 64))


def test_what_such_a_package_does_not_give_is_refused(package, tmp_path, capsys):
    path = write(tmp_path / "a.tif", checks(64, 64))
    words = "predict", package, path, "--out", tmp_path / "out", "--results", "labels"
    assert abbe(*words) == 1
    assert "a classification package gives table" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="this is a regions package"):
        class_predictor(make_region_package(tmp_path / "regions"))
    strict = make_class_package(tmp_path / "strict", divisor=32)
    with pytest.raises(ConfigError, match="multiple of 32 px"):
        class_predictor(strict, tile=50)


@pytest.mark.slow
def test_classes_and_regions_need_no_torch(package, tmp_path):
    path = write(tmp_path / "a.tif", checks(130, 130))
    regions = make_region_package(tmp_path / "regions")
    code = (
        "import sys; from abbe.cli import main\n"
        "_, classes, regions, image, out = sys.argv\n"
        "words = image, '--out', out, '--results', 'geojson', 'table', 'overview'\n"
        "assert main(['predict', classes, *words]) == 0\n"
        "assert main(['predict', regions, *words, 'labels', 'zarr', 'probability']) == 0\n"
        "print({'torch', 'onnx', 'onnxruntime', 'pyarrow', 'shapely', 'matplotlib'}"
        " & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, package, regions, path, tmp_path / "out"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.stdout.endswith("set()\n"), done.stdout + done.stderr
