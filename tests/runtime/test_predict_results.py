"""The files that `abbe predict` writes: all tell the same, and others read them."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import abbe
from made_packages import blobs, make_package
from skimage.measure import regionprops_table
from written_tiff import write_tiff

from abbe.imaging import open_image, read_labels
from abbe.runtime.job import DICOM, SUFFIXES
from abbe.runtime.predictors.predict import predict

shapely = pytest.importorskip("shapely")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def package(tmp_path):
    return make_package(tmp_path / "package")


def test_every_result_tells_the_same(package, tmp_path):
    pixels = np.stack([blobs(310, 290), blobs(310, 290, seed=1)])
    path = tmp_path / "in" / "tissue.ome.tif"
    path.parent.mkdir()
    tifffile.imwrite(
        path, pixels, ome=True, photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": ["nucleus", "membrane"]},
                  "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm",
                  "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"},
    )  # fmt: skip
    results = [each for each in SUFFIXES if each not in DICOM]
    out = tmp_path / "out"
    assert abbe("predict", package, path, "--out", out, "--results", *results) == 0
    labels = predict(package, path)
    areas = np.bincount(labels.ravel())
    np.testing.assert_array_equal(read_labels(out / "tissue.labels.tif"), labels)
    assert open_image(out / "tissue.labels.tif").pixel_size == pytest.approx(0.5)
    zarr = open_image(out / "tissue.labels.zarr")
    np.testing.assert_array_equal(zarr.read()[0], labels)
    assert zarr.pixel_size == pytest.approx(0.5)
    maps = open_image(out / "tissue.probability.tif")
    assert maps.channels == ("foreground", "boundary")
    assert ((maps.read(channels=["foreground"])[0] >= 128) >= (labels > 0)).all()
    features = json.loads((out / "tissue.geojson").read_text("utf-8"))["features"]
    text = gzip.decompress((out / "tissue.geojson.gz").read_bytes())
    compressed = json.loads(text)["features"]
    assert [f["geometry"] for f in compressed] == [f["geometry"] for f in features]
    assert len(features) == labels.max() == len({f["id"] for f in features})
    for feature in features:
        shape = shapely.geometry.shape(feature["geometry"])
        number = int(feature["properties"]["name"])
        assert shape.is_valid
        assert shape.area == areas[number]
        assert feature["properties"]["objectType"] == "detection"
        assert feature["properties"]["measurements"]["Area µm^2"] == areas[number] / 4
    check_table(out / "tissue.csv", labels, pixels)
    from pyarrow import parquet

    table = parquet.read_table(out / "tissue.geo.parquet")
    certain = read_columns(out / "tissue.csv")["confidence"]
    foreground = maps.read(channels=["foreground"])[0] / 255
    np.testing.assert_allclose(certain, means_of(foreground, labels), atol=0.002)
    assert 0.5 < certain.min() < certain.max() <= 1
    told = [feature["properties"]["measurements"]["Confidence"] for feature in features]
    order = [int(feature["properties"]["name"]) - 1 for feature in features]
    np.testing.assert_allclose(told, certain[order], atol=1e-4)
    order = np.array(table["label"].to_pylist()) - 1
    np.testing.assert_allclose(table["confidence"].to_pylist(), certain[order], rtol=1e-6)
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    assert [shape.area for shape in shapes] == areas[table["label"].to_pylist()].tolist()
    assert json.loads(table.schema.metadata[b"geo"])["version"] == "1.1.0"
    assert open_image(out / "tissue.overview.png").shape == labels.shape
    assert sorted(each.name for each in out.iterdir() if each.name.startswith(".")) == []


def means_of(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of values over the pixels of each object, 1 first."""
    sums = np.bincount(labels.ravel(), values.ravel())
    return sums[1:] / np.bincount(labels.ravel())[1:]


def read_columns(path: Path) -> dict[str, np.ndarray]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def test_an_objects_confidence_does_not_depend_on_how_the_image_is_cut(package, tmp_path):
    path = write_tiff(tmp_path / "a.tif", blobs(300, 420))
    found = []
    for tile in (96, 1024):
        out = tmp_path / str(tile)
        words = "--results", "table", "--tile", tile, "--precision", "fp32", "--out", out
        assert abbe("predict", package, path, *words) == 0
        found.append(read_columns(out / "a.csv")["confidence"])
    assert len(found[0]) > 30
    np.testing.assert_allclose(*found, atol=1e-5)


def test_in_a_coarser_image_an_object_keeps_its_confidence(tmp_path):
    """The mean over the network's pixels, of which the image has a quarter."""
    package = make_package(tmp_path / "package", pixel_size=0.5)
    path = write_tiff(tmp_path / "a.tif", blobs(150, 160, radius=9), pixel_size=1.0)
    words = "--results", "table", "labels", "probability", "--out", tmp_path / "out"
    assert abbe("predict", package, path, *words) == 0
    labels = read_labels(tmp_path / "out" / "a.labels.tif")
    maps = open_image(tmp_path / "out" / "a.probability.tif").read(channels=["foreground"])[0]
    certain = read_columns(tmp_path / "out" / "a.csv")["confidence"]
    assert len(certain) == labels.max() > 10
    np.testing.assert_allclose(certain, means_of(maps / 255, labels), atol=0.05)
    assert np.corrcoef(certain, means_of(maps / 255, labels))[0, 1] > 0.5


def check_table(path: Path, labels: np.ndarray, pixels: np.ndarray) -> None:
    """Every column against scikit-image."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("label", "centroid", "area", "eccentricity", "axis_major_length", "axis_minor_length",
             "mean_intensity")  # fmt: skip
    expected = regionprops_table(labels, np.moveaxis(pixels, 0, -1), properties=names)
    columns = {
        "label": "label", "y": "centroid-0", "x": "centroid-1", "area_px": "area",
        "eccentricity": "eccentricity", "major_axis_px": "axis_major_length",
        "minor_axis_px": "axis_minor_length", "mean_nucleus": "mean_intensity-0",
        "mean_membrane": "mean_intensity-1",
    }  # fmt: skip
    for ours, theirs in columns.items():
        values = [float(row[ours]) for row in rows]
        np.testing.assert_allclose(values, expected[theirs], rtol=1e-6, atol=1e-5, err_msg=ours)
    np.testing.assert_allclose([float(row["area_um2"]) for row in rows], expected["area"] / 4)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_labels_have_a_pyramid_that_others_read(package, tmp_path, version):
    ome_zarr = pytest.importorskip("ome_zarr.io")
    reader = pytest.importorskip("ome_zarr.reader")
    path = write_tiff(tmp_path / "a.tif", blobs(1100, 130))
    out = tmp_path / "out"
    words = "--results", "zarr", "--zarr-version", version, "--tile", 1024
    assert abbe("predict", package, path, "--out", out, *words) == 0
    labels = predict(package, path, tile=1024)
    node = next(iter(reader.Reader(ome_zarr.parse_url(str(out / "a.labels.zarr")))()))
    assert [tuple(level.shape) for level in node.data] == [(1100, 130), (550, 65)]
    np.testing.assert_array_equal(np.asarray(node.data[0]), labels)
    np.testing.assert_array_equal(np.asarray(node.data[1]), labels[::2, ::2])
