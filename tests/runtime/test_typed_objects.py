"""Objects with types: a package that tells them, and every result that names them."""

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
from commands import abbe
from made_packages import make_package, one_convolution
from PIL import Image as Picture

from abbe.errors import PackageError
from abbe.imaging import Image, class_colour, read_labels
from abbe.object_types import type_maps
from abbe.runtime.package import read_package
from abbe.runtime.postprocess.types import majority_types, object_types
from abbe.runtime.predictors.instances import predictor
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.work import Work

TYPES = ("red one", "=green, one")
OUTPUTS = ("foreground", *type_maps(TYPES))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def network() -> onnx.ModelProto:
    """The foreground is bright in red or green; its type is the brighter of the two."""
    weight = np.zeros((3, 2, 1, 1))
    weight[:, :, 0, 0] = [[20, 20], [20, -20], [-20, 20]]
    return one_convolution(weight, np.array([-10.0, 0, 0]), pool=False)


def typed_package(folder: Path, **changes: object) -> Path:
    values = {"network": network(), "outputs": OUTPUTS, "classes": TYPES} | changes
    return make_package(folder, channels=("red", "green"), **values)  # type: ignore[arg-type]


def scene() -> tuple[np.ndarray, np.ndarray]:
    """(2, 300, 420) pixels of squares in red or in green, and (H, W) the type of each pixel."""
    pixels, types = np.zeros((2, 300, 420), np.uint16), np.zeros((300, 420), int)
    random = np.random.default_rng(0)
    for top in range(6, 280, 24):
        for left in range(6, 400, 24):
            kind = int(random.integers(2))
            square = np.s_[top : top + 15, left : left + 15]
            pixels[kind][square] = 60000
            types[square] = kind + 1
    return pixels, types


def write_scene(path: Path) -> np.ndarray:
    pixels, types = scene()
    metadata = {"axes": "CYX", "Channel": {"Name": ["red", "green"]}}
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=metadata)
    return types


@pytest.mark.parametrize("tile", [96, 1024])
def test_every_result_names_the_type(tmp_path, tile):
    package = typed_package(tmp_path / "package")
    types = write_scene(tmp_path / "a.ome.tif")
    results = "labels", "table", "geojson", "overview", "geoparquet"
    words = "--results", *results, "--tile", tile, "--out", tmp_path
    assert abbe("predict", package, tmp_path / "a.ome.tif", *words) == 0
    labels = read_labels(tmp_path / "a.labels.tif")
    truth = majority_types(labels, types, 2)
    assert labels.max() == len(truth) - 1 > 100
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # Spreadsheets must not take a name for a formula.
    written = {"red one": 1, "'=green, one": 2}
    assert [written[row["class"]] for row in rows] == truth[1:].tolist()
    for row in rows:
        shares = [float(row[f"probability_{name}"]) for name in TYPES[:1]]
        assert (shares[0] > 0.5) == (row["class"] == "red one")
    features = json.loads((tmp_path / "a.geojson").read_text("utf-8"))["features"]
    assert len(features) == labels.max()
    for feature in features:
        kind = truth[int(feature["properties"]["name"])] - 1
        told = feature["properties"]["classification"]
        assert told == {"name": TYPES[kind], "color": list(class_colour(kind))}
        shares = [feature["properties"]["measurements"][f"probability_{n}"] for n in TYPES]
        assert sum(shares) == pytest.approx(1, abs=1e-4)
        assert int(np.argmax(shares)) == kind
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(tmp_path / "a.geo.parquet")
    kinds = [TYPES[truth[label] - 1] for label in table["label"].to_pylist()]
    assert table["class"].to_pylist() == kinds
    picture = np.asarray(Picture.open(tmp_path / "a.overview.png"))
    assert picture.shape[0] > 300  # a legend below
    rows_, columns = np.nonzero(types == 1)
    assert tuple(picture[rows_[0], columns[0]]) == class_colour(0)


def test_types_do_not_depend_on_how_the_image_is_cut(tmp_path):
    package, (pixels, _) = typed_package(tmp_path / "package"), scene()
    image = Image.from_array(pixels, ["red", "green"])
    found = []
    for tile in (96, 512):
        ready = predictor(package, tile=tile, precision="fp32")
        types = ready.run(image, Inline(), Work(None)).labels.numbering.types
        assert types is not None
        found.append(types)
    np.testing.assert_allclose(*found, atol=1e-5)
    np.testing.assert_allclose(found[0].sum(1), 1)


def test_in_a_coarser_image_an_object_keeps_its_type(tmp_path):
    package, (pixels, types) = typed_package(tmp_path / "package", pixel_size=0.5), scene()
    coarse = Image.from_array(pixels[:, ::2, ::2], ["red", "green"], 1.0)
    labels = predictor(package, precision="fp32").run(coarse, Inline(), Work(None)).labels
    shares = labels.numbering.types
    assert shares is not None
    truth = majority_types(labels.read(), types[::2, ::2], 2)
    np.testing.assert_array_equal(shares[1:].argmax(1) + 1, truth[1:])


def test_a_class_of_the_users_is_refused_where_types_are_told(tmp_path, capsys):
    package = typed_package(tmp_path / "package")
    write_scene(tmp_path / "a.ome.tif")
    words = "--results", "geojson", "--class-name", "x", "--out", tmp_path / "out"
    assert abbe("predict", package, tmp_path / "a.ome.tif", *words) == 1
    assert "this package names the classes itself" in capsys.readouterr().err


def test_maps_and_classes_must_name_the_same_types(tmp_path):
    folder = typed_package(tmp_path / "package", classes=("other", "red one"))
    with pytest.raises(PackageError, match="both must name the same, in one order"):
        read_package(folder)


def test_the_type_of_an_object_is_the_mean_of_its_pixels():
    labels = np.array([[1, 1, 0], [2, 2, 0]])
    maps = np.array([[[0.9, 0.5, 1], [0, 0, 1]], [[0.1, 0.3, 1], [0, 0, 1]]])
    np.testing.assert_allclose(object_types(labels, maps), [[0.5, 0.5], [7 / 9, 2 / 9], [0.5, 0.5]])


def test_the_type_of_a_true_object_is_that_of_most_of_its_pixels():
    labels = np.array([[1, 1, 1, 2, 2, 3, -1]])
    types = np.array([[2, 2, 1, 0, -1, 1, 2]])
    assert majority_types(labels, types, 2).tolist() == [0, 2, 0, 1]
