"""Packages and label images, opened in napari."""

import numpy as np
import pytest
from commands import abbe
from napari.layers import Image, Labels

from abbe.errors import PackageError
from abbe.imaging import read_labels
from abbe.napari.reader import labels_reader, package_layers, package_reader
from abbe.runtime.predictors.predict import predict


def test_a_package_opens_as_its_test_image_and_the_objects_expected(
    tmp_path, viewer, make_package, with_test_image, blobs
):
    folder = make_package(tmp_path / "p", channels=("nucleus", "membrane"), pixel_size=0.5)
    pixels = np.stack([blobs(100, 120), blobs(100, 120, 1)])
    with_test_image(folder, pixels)
    viewer.open(str(folder), plugin="abbe")
    nucleus, membrane, expected = viewer.layers
    assert [layer.name for layer in viewer.layers] == [
        "brightness nucleus", "brightness membrane", "brightness expected",
    ]  # fmt: skip
    assert isinstance(nucleus, Image)
    assert isinstance(expected, Labels)
    np.testing.assert_array_equal(membrane.data, pixels[1])
    np.testing.assert_array_equal(expected.data, predict(folder, pixels, pixel_size=0.5))
    for layer in viewer.layers:
        assert tuple(layer.scale) == (0.5, 0.5)
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
        assert layer.metadata == {"abbe package": str(folder)}


def test_its_package_json_opens_it_too_and_another_folder_does_not(
    package, with_test_image, blobs, tmp_path
):
    with_test_image(package, blobs(64, 64)[None])
    (tmp_path / "empty").mkdir()
    reader = package_reader(str(package / "package.json"))
    assert reader is not None
    assert [kind for _, _, kind in reader("")] == ["image", "labels"]
    assert package_reader(str(tmp_path / "empty")) is None
    assert package_reader([str(package), str(package)]) is None


def test_colours_open_as_colours(tmp_path, viewer, make_package, with_test_image):
    folder = make_package(tmp_path / "p", channels=("red", "green", "blue"))
    pixels = np.random.default_rng(0).integers(0, 255, (3, 48, 40)).astype(np.uint8)
    with_test_image(folder, pixels)
    viewer.open(str(folder), plugin="abbe")
    assert viewer.layers[0].rgb
    np.testing.assert_array_equal(viewer.layers[0].data, pixels.transpose(1, 2, 0))


def test_a_package_without_a_test_image_says_where_to_choose_it(package):
    with pytest.raises(PackageError, match=r"no test image.*choose this folder in the widget"):
        package_layers(package)


def test_expected_objects_of_another_size_are_refused(package, with_test_image, blobs):
    with_test_image(package, blobs(64, 64)[None], expected=np.zeros((64, 63), np.int32))
    with pytest.raises(PackageError, match="no label image of the test image's size"):
        package_layers(package)


def test_labels_open_with_their_measurements(package, viewer, tmp_path, blobs):
    np.save(tmp_path / "cells.npy", blobs(90, 70))
    words = "--out", tmp_path / "out", "--results", "labels", "table", "--pixel-size", "0.25"
    assert abbe("predict", package, tmp_path / "cells.npy", *words) == 0
    path = tmp_path / "out" / "cells.labels.tif"
    viewer.open(str(path), plugin="abbe")
    (layer,) = viewer.layers
    assert isinstance(layer, Labels)
    np.testing.assert_array_equal(layer.data, read_labels(path))
    assert tuple(layer.scale) == (0.25, 0.25)
    table = layer.features
    assert list(table["index"]) == list(range(1, np.asarray(layer.data).max() + 1))
    assert "mean_grey" in table
    assert table["area_px"][2] == np.sum(np.asarray(layer.data) == 3)


def test_other_tiffs_are_left_to_others():
    assert labels_reader("cells.tif") is None
    assert labels_reader(["a.labels.tif", "b.labels.tif"]) is None
