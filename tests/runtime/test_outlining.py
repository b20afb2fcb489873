"""How outlines are written: fewer points, no small areas, a class and measurements."""

import json
from pathlib import Path

import cc3d
import numpy as np
import pytest
import tifffile
from commands import abbe
from made_packages import REGIONS, blobs, make_class_package, make_package, make_region_package
from scipy import ndimage

from abbe.imaging import Image, read_labels
from abbe.runtime.predictors.prompted import as_field
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.writing import simplified as simplifying
from abbe.runtime.writing.outlines import outlines
from abbe.runtime.writing.polygons import objects_of
from abbe.runtime.writing.simplified import simplified
from abbe.runtime.writing.table import measure

shapely = pytest.importorskip("shapely")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def features_of(path: Path) -> list[dict]:
    return json.loads(path.read_text("utf-8"))["features"]


def organic_labels(seed: int) -> np.ndarray:
    """(400, 400) smooth blobs of all sizes, some with holes."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((400, 400)), 4)
    return cc3d.connected_components(noise > 0.02, connectivity=4).astype(np.int32)


@pytest.mark.parametrize("tolerance", [0.25, 0.5, 1, 3, 50])
def test_simplified_outlines_are_valid_and_keep_their_area(tolerance):
    labels = organic_labels(1)
    before = after = 0
    for rings in outlines(as_field(labels, int(labels.max())), Inline(), 1):
        drawn = simplified(rings, tolerance)
        np.testing.assert_array_equal(drawn.number, rings.number)
        before, after = before + len(rings.points), after + len(drawn.points)
        for _, polygons, area in objects_of(rings):
            (polygon,) = polygons
            own = [drawn.points[drawn.first[r] : drawn.first[r + 1]] for r in polygon]
            shape = shapely.Polygon(own[0], own[1:])
            assert shape.is_valid
            assert shape.area == pytest.approx(area, rel=0.01)
    assert after < before * (0.75 if tolerance == 0.25 else 0.6)


def test_simplified_outlines_stay_as_near_as_was_asked():
    rows, columns = np.mgrid[:120, :120]
    disc = (np.hypot(rows - 60, columns - 60) < 45).astype(np.int32)
    (rings,) = [each for each in outlines(as_field(disc, 1), Inline(), 1) if len(each.number)]
    exact = shapely.Polygon(rings.points)
    drawn = simplified(rings, 0.5)
    assert len(drawn.points) < len(rings.points) / 4
    # Half the diagonal of a step that is cut, and what may be left out.
    assert exact.hausdorff_distance(shapely.Polygon(drawn.points)) < 0.36 + 0.5


def test_single_pixels_and_objects_in_parts_keep_their_edges():
    labels = np.zeros((40, 40), np.int32)
    labels[3, 3] = 1
    labels[10:14, 10:14] = labels[14:18, 14:18] = 2
    for rings in outlines(as_field(labels, 2), Inline(), 1):
        drawn = simplified(rings, 1)
        np.testing.assert_array_equal(drawn.points, rings.points)
        assert len(rings.number) in (0, 3)


def test_the_table_says_of_how_many_parts_an_object_is():
    labels = np.zeros((1100, 60), np.int32)
    labels[1000:1050, 5:9] = 1  # across the border of two parts of the image
    labels[10:14, 10:14] = labels[14:18, 14:18] = labels[40:44, 3:9] = 2
    labels[60:80, 20:40] = 3
    labels[65:70, 25:30] = 0  # a hole is no part
    columns = measure(as_field(labels, 3), Image.from_array(labels.astype(np.uint16)), Inline(), 1)
    assert columns["parts"].tolist() == [1, 3, 1]


def test_detections_carry_a_class_confidence_and_the_tables_measurements(tmp_path):
    package = make_package(tmp_path / "package")
    tifffile.imwrite(tmp_path / "a.tif", blobs(200, 230))
    out = tmp_path / "out"
    words = "--results", "geojson", "table", "labels", "--class-name", "Tumour “α”", "--out", out
    assert abbe("predict", package, tmp_path / "a.tif", *words, "--simplify", "0.5") == 0
    header, *rows = (out / "a.csv").read_text("utf-8").splitlines()
    names = header.split(",")
    table = {int(row.split(",")[0]): dict(zip(names, row.split(","), strict=True)) for row in rows}
    features = features_of(out / "a.geojson")
    areas = np.bincount(read_labels(out / "a.labels.tif").ravel())
    assert len(features) == len(table) > 10
    for feature in features:
        told = feature["properties"]
        number = int(told["name"])
        assert told["classification"] == {"name": "Tumour “α”"}
        measured, expected = told["measurements"], table[number]
        assert set(measured) == {
            "Area px^2", "Confidence", "x", "y", "parts", "major_axis_px", "minor_axis_px",
            "eccentricity", "mean_grey",
        }  # fmt: skip
        assert measured["Area px^2"] == areas[number]
        assert measured["Confidence"] == pytest.approx(float(expected["confidence"]), rel=1e-5)
        for name in ("x", "y", "parts", "major_axis_px", "mean_grey"):
            assert measured[name] == pytest.approx(float(expected[name]), rel=1e-5)
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.geom_type == "Polygon"
        assert shape.is_valid
        assert shape.area == pytest.approx(areas[number], rel=0.01)


def test_the_class_of_a_package_is_taken_where_none_is_named(tmp_path):
    package = make_package(tmp_path / "package", classes=("nucleus",))
    tifffile.imwrite(tmp_path / "a.tif", blobs(60, 60))
    assert (
        abbe("predict", package, tmp_path / "a.tif", "--results", "geojson", "--out", tmp_path) == 0
    )
    for feature in features_of(tmp_path / "a.geojson"):
        assert feature["properties"]["classification"] == {"name": "nucleus"}


def test_geoparquet_is_simplified_too(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    package = make_package(tmp_path / "package")
    tifffile.imwrite(tmp_path / "a.tif", blobs(200, 230))
    words = "--results", "geoparquet", "geojson", "--simplify", "0.5", "--out", tmp_path
    assert abbe("predict", package, tmp_path / "a.tif", *words) == 0
    table = parquet.read_table(tmp_path / "a.geo.parquet")
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    drawn = {f["properties"]["name"]: f["geometry"] for f in features_of(tmp_path / "a.geojson")}
    for number, shape in zip(table["label"].to_pylist(), shapes, strict=True):
        assert shape.equals_exact(shapely.geometry.shape(drawn[str(number)]), 1e-9)


@pytest.mark.parametrize("scale", [1, 2])
def test_small_areas_of_regions_are_left_out(tmp_path, scale):
    """The least area is told in px of the image, whatever the network's pixels are."""
    pixels = np.zeros((160, 160), np.uint16)
    pixels[10:20, 10:20] = pixels[40:80, 40:80] = 60000
    pixels = pixels.repeat(scale, 0).repeat(scale, 1)
    size = 1e4 / (0.5 / scale), 1e4 / (0.5 / scale)
    tifffile.imwrite(tmp_path / "a.tif", pixels, resolution=size, resolutionunit="CENTIMETER")
    package = make_region_package(tmp_path / "package", pixel_size=0.5)
    found = {}
    for least in (None, 300 * scale**2, 5000 * scale**2):
        out = tmp_path / str(least)
        words = [] if least is None else ["--minimum-area", str(least)]
        words += ["--results", "geojson", "--simplify", "1", "--out", str(out)]
        assert abbe("predict", package, tmp_path / "a.tif", *words) == 0
        features = features_of(out / "a.geojson")
        bright = [f for f in features if f["properties"]["classification"]["name"] == REGIONS[2]]
        found[least] = len(bright)
        assert all(shapely.geometry.shape(f["geometry"]).is_valid for f in features)
    assert list(found.values()) == [2, 1, 0]


def test_other_outlines_are_written_anew(tmp_path):
    package = make_package(tmp_path / "package")
    tifffile.imwrite(tmp_path / "a.tif", blobs(100, 100))
    base = "predict", package, tmp_path / "a.tif", "--results", "geojson", "--out", tmp_path
    assert abbe(*base) == 0
    exact = (tmp_path / "a.geojson").read_bytes()
    assert abbe(*base, "--simplify", "0.5") == 0
    assert (tmp_path / "a.geojson").read_bytes() != exact
    assert abbe(*base) == 0
    assert (tmp_path / "a.geojson").read_bytes() == exact


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("objects", ["--simplify", "-1"], "--simplify -1: give px"),
        ("objects", ["--simplify", "nan"], "--simplify nan: give px"),
        ("objects", ["--minimum-area", "5"], "--minimum-area: is for packages of regions"),
        ("objects", ["--class-name", "  "], "--class-name: give a name"),
        (
            "objects",
            ["--simplify", "1", "--results", "labels"],
            "--simplify: outlines are not asked",
        ),
        ("regions", ["--class-name", "a"], "--class-name: this package names the classes itself"),
        ("regions", ["--minimum-area", "0"], "--minimum-area 0: give px"),
        ("classes", ["--simplify", "1"], "--simplify: a classification package outlines tiles"),
        ("classes", ["--minimum-area", "9"], "--minimum-area: is for packages of regions"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(tmp_path, capsys, kind, words, message):
    make = {"objects": make_package, "regions": make_region_package, "classes": make_class_package}
    package = make[kind](tmp_path / "package")
    tifffile.imwrite(tmp_path / "a.tif", blobs(60, 60))
    if "--results" not in words:
        words = [*words, "--results", "geojson"]
    assert abbe("predict", package, tmp_path / "a.tif", "--out", tmp_path / "out", *words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_shapely_the_extra_is_named_before_any_work(tmp_path, capsys, monkeypatch):
    package = make_package(tmp_path / "package")
    tifffile.imwrite(tmp_path / "a.tif", blobs(60, 60))
    monkeypatch.setattr(simplifying.importlib.util, "find_spec", lambda name: None)
    words = "--results", "geojson", "--simplify", "0.5", "--out", tmp_path / "out"
    assert abbe("predict", package, tmp_path / "a.tif", *words) == 1
    assert "pip install 'abbe[geo]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
