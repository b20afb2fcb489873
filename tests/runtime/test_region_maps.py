"""Packages that say of each pixel which class it is: tiles, areas, and the files of results."""

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import abbe
from made_packages import REGIONS, blobs, make_package, make_region_package
from scipy import ndimage

from abbe.errors import ConfigError
from abbe.imaging import open_image, read_labels
from abbe.runtime.job import DICOM
from abbe.runtime.predictors.instances import predictor
from abbe.runtime.predictors.predict import predict
from abbe.runtime.predictors.regions import region_predictor
from abbe.runtime.predictors.tasks import open_predictor


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def package(tmp_path):
    return make_region_package(tmp_path / "package")


def scene(height: int = 300, width: int = 420) -> np.ndarray:
    """(H, W) uint16: bright discs, grey bands, and one grey area larger than any tile."""
    pixels = blobs(height, width)
    grey = np.zeros(pixels.shape, bool)
    grey[20:28] = grey[:, 30:40] = grey[-60:, 60:] = True
    pixels[grey & (pixels < 10_000)] = 12_000
    return pixels


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 2e4, 2e4
    tifffile.imwrite(path, pixels, tile=(64, 64), resolution=size, resolutionunit="CENTIMETER")
    return path


def count_areas(classes: np.ndarray, number: int) -> list[int]:
    """px of each 4-connected area of a class, by scipy."""
    labels = np.zeros(classes.shape, np.int32)
    ndimage.label(classes == number, output=labels)
    return sorted(np.bincount(labels.ravel())[1:].tolist())


def test_tiles_are_not_seen_in_the_result(package):
    pixels = scene()
    tiled = predict(package, pixels)
    np.testing.assert_array_equal(tiled, predict(package, pixels, tile=1024))
    assert tiled.dtype == np.int32
    assert set(np.unique(tiled)) == {0, 1, 2}


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (15, 200), (129, 127)])
def test_images_of_any_size_keep_their_size(package, shape):
    assert predict(package, blobs(*shape)).shape == shape


def test_every_result_tells_the_same(package, tmp_path):
    path = write(tmp_path / "tissue.tif", scene())
    results = [each for each in region_predictor(package).results if each not in DICOM]
    out = tmp_path / "out"
    assert abbe("predict", package, path, "--out", out, "--results", *results) == 0
    classes = predict(package, path)
    np.testing.assert_array_equal(read_labels(out / "tissue.labels.tif"), classes)
    assert open_image(out / "tissue.labels.tif").pixel_size == pytest.approx(0.5)
    np.testing.assert_array_equal(open_image(out / "tissue.labels.zarr").read()[0], classes)
    maps = open_image(out / "tissue.probability.tif")
    assert maps.channels == REGIONS
    assert np.abs(maps.read().sum(0, dtype=int) - 255).max() <= 2  # each rounded by itself
    check_table(out / "tissue.csv", classes)
    picture = open_image(out / "tissue.overview.png")
    assert picture.shape[0] > classes.shape[0]  # the legend below
    assert picture.shape[1] == classes.shape[1]
    assert sorted(each.name for each in out.iterdir() if each.name.startswith(".")) == []


def check_table(path: Path, classes: np.ndarray) -> None:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    counts = np.bincount(classes.ravel(), minlength=3)
    assert [row["class"] for row in rows] == list(REGIONS)
    assert [int(row["area_px"]) for row in rows] == counts.tolist()
    assert [float(row["area_um2"]) for row in rows] == pytest.approx(counts / 4)
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=1e-5)


def test_the_names_of_classes_travel_with_their_numbers(package, tmp_path):
    path = write(tmp_path / "a.tif", scene(90, 80))
    words = "--results", "labels", "zarr"
    assert abbe("predict", package, path, "--out", tmp_path, *words) == 0
    with tifffile.TiffFile(tmp_path / "a.labels.tif") as file:
        assert all(name in str(file.ome_metadata) for name in REGIONS)
    attributes = json.loads((tmp_path / "a.labels.zarr" / "zarr.json").read_text("utf-8"))
    label = attributes["attributes"]["ome"]["image-label"]
    assert [each["class"] for each in label["properties"]] == list(REGIONS)


def test_areas_are_outlined_whole_with_the_names_of_their_classes(package, tmp_path):
    shapely = pytest.importorskip("shapely")
    path = write(tmp_path / "a.tif", scene())
    words = "--results", "geojson"
    assert abbe("predict", package, path, "--out", tmp_path, *words) == 0
    classes = predict(package, path)
    features = json.loads((tmp_path / "a.geojson").read_text("utf-8"))["features"]
    by_class: dict[str, list[int]] = {"grey": [], "bright": []}
    for feature in features:
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        assert feature["properties"]["objectType"] == "annotation"
        by_class[feature["properties"]["classification"]["name"]].append(int(shape.area))
    # Tiles are 128 px: areas across them are one, as scipy finds them in the whole image.
    assert sorted(by_class["grey"]) == count_areas(classes, 1)
    assert sorted(by_class["bright"]) == count_areas(classes, 2)
    assert max(by_class["grey"]) > 128**2


def test_small_areas_are_not_outlined(tmp_path):
    from abbe.runtime.package import InstanceRule

    rule = InstanceRule(rule="components", minimum_area=200)
    package = make_region_package(tmp_path / "package", instances=rule)
    path = write(tmp_path / "a.tif", scene())
    assert abbe("predict", package, path, "--out", tmp_path, "--results", "geojson") == 0
    features = json.loads((tmp_path / "a.geojson").read_text("utf-8"))["features"]
    areas = [feature["properties"]["measurements"]["Area px^2"] for feature in features]
    classes = predict(package, path)
    expected = [a for number in (1, 2) for a in count_areas(classes, number) if a >= 200]
    assert sorted(areas) == sorted(expected)


def test_images_are_resampled_to_the_packages_pixel_size(tmp_path):
    package = make_region_package(tmp_path / "package", pixel_size=0.5)
    coarse = scene()
    fine = np.kron(coarse, np.ones((2, 2), np.uint16))
    found = predict(package, fine, pixel_size=0.25)
    assert found.shape == fine.shape
    assert np.mean(found[::2, ::2] == predict(package, coarse, pixel_size=0.5)) > 0.98


def test_what_such_a_package_does_not_give_is_refused(package, tmp_path, capsys):
    path = write(tmp_path / "a.tif", scene(60, 60))
    words = "predict", package, path, "--out", tmp_path / "out", "--results", "geoparquet"
    assert abbe(*words) == 1
    assert "a regions package gives labels" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="this is a regions package"):
        predictor(package)
    with pytest.raises(ConfigError, match="this is a segmentation package"):
        region_predictor(make_package(tmp_path / "objects"))


def test_a_full_disk_stops_the_run_and_loses_nothing(package, tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", scene())
    words = "predict", package, path, "--out", tmp_path / "out"
    from abbe.runtime.writing import label_files

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.labels.tif")

    with monkeypatch.context() as patch:
        patch.setattr(label_files, "write_class_tiff", full)
        assert abbe(*words) == 1
    kept = list((tmp_path / "out" / ".a.abbe").glob("classes-*"))
    assert len(kept) == open_predictor(package).tiles(open_image(path))
    before = {each.name: each.stat().st_mtime_ns for each in kept}
    with monkeypatch.context() as patch:
        patch.setattr(label_files, "write_class_tiff", full)
        assert abbe(*words) == 1
    assert before == {each.name: each.stat().st_mtime_ns for each in kept}
    assert abbe(*words) == 0
    np.testing.assert_array_equal(
        read_labels(tmp_path / "out" / "a.labels.tif"), predict(package, path)
    )
    assert not (tmp_path / "out" / ".a.abbe").exists()
