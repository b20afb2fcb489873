"""Pixel sizes of images and packages: known, missing, impossible, or said by the user."""

import csv

import numpy as np
import pytest
import tifffile
from commands import abbe
from made_packages import blobs, make_package
from written_tiff import write_tiff

from abbe.errors import InputError
from abbe.imaging import open_image, read_labels
from abbe.imaging.units import LARGEST, SMALLEST
from abbe.runtime.job import DICOM
from abbe.runtime.predictors.instances import predictor
from abbe.runtime.predictors.predict import predict

pytest.importorskip("shapely")  # results of all kinds


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def package(tmp_path):
    return make_package(tmp_path / "package")


def test_images_are_resampled_to_the_packages_pixel_size(tmp_path):
    package = make_package(tmp_path / "package", pixel_size=0.5)
    coarse = blobs(200, 220, radius=9)
    fine = np.kron(coarse, np.ones((2, 2), np.uint16))  # the same at 0.25 µm
    expected = predict(package, coarse, pixel_size=0.5)
    found = predict(package, fine, pixel_size=0.25)
    assert found.shape == fine.shape
    assert abs(int(found.max()) - int(expected.max())) <= 2  # resampling blurs a little
    agree = (found[::2, ::2] > 0) == (expected > 0)
    assert agree.mean() > 0.99
    np.testing.assert_array_equal(found[::2, ::2], found[1::2, 1::2])


@pytest.mark.parametrize("size", [SMALLEST, 0.5, LARGEST])
def test_results_are_written_whatever_the_pixel_size(package, tmp_path, size):
    path = write_tiff(tmp_path / "a.tif", blobs(90, 80), None)
    results = [each for each in predictor(package).results if each not in DICOM]
    words = "--pixel-size", str(size), "--results", *results
    assert abbe("predict", package, path, "--out", tmp_path, *words) == 0
    for suffix in (".labels.tif", ".labels.zarr", ".probability.tif"):
        assert open_image(tmp_path / f"a{suffix}").pixel_size == pytest.approx(size)
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    assert float(row["area_um2"]) == pytest.approx(int(row["area_px"]) * size**2)


@pytest.mark.parametrize("size", [1e-300, 2e-6, 1e9])
def test_a_pixel_size_that_no_pixel_has_is_unknown_and_the_image_predicted(
    package, tmp_path, capsys, size
):
    path, metadata = tmp_path / "a.ome.tif", {"PhysicalSizeX": size, "PhysicalSizeY": size}
    tifffile.imwrite(path, blobs(60, 60), metadata={"axes": "YX", **metadata})
    assert abbe("predict", package, path, "--out", tmp_path / "out") == 0
    assert "is none that a pixel can have: it is not known" in capsys.readouterr().out
    assert open_image(tmp_path / "out" / "a.labels.tif").pixel_size is None


def test_a_missing_pixel_size_is_asked_for(tmp_path):
    package = make_package(tmp_path / "package", pixel_size=0.5)
    with pytest.raises(InputError, match=r"pixel size is not known.*--pixel-size"):
        predict(package, blobs(50, 50))


def test_pixel_sizes_fill_gaps_override_on_request_and_are_said(tmp_path, capsys):
    package = make_package(tmp_path / "package", pixel_size=0.5)
    silent = write_tiff(tmp_path / "silent.tif", blobs(120, 130), pixel_size=None)
    fine = write_tiff(tmp_path / "fine.tif", blobs(120, 130), pixel_size=0.5)
    words = "predict", package, fine, silent, "--out"
    assert abbe(*words, tmp_path / "a", "--pixel-size", "0.377") == 0
    said = capsys.readouterr().out
    note = "The file says 0.5 µm per pixel, you said 0.377: the file's is taken, unless you give"
    assert said.count(note) == 1
    assert f"note on 1 image: {note}" in said
    expected = predict(package, fine)
    np.testing.assert_array_equal(read_labels(tmp_path / "a" / "fine.labels.tif"), expected)
    assert open_image(tmp_path / "a" / "silent.labels.tif").pixel_size == pytest.approx(0.377)
    assert abbe(*words, tmp_path / "b", "--override-pixel-size", "0.377") == 0
    assert "you said 0.377: yours is taken." in capsys.readouterr().out
    for name in ("fine", "silent"):
        assert open_image(tmp_path / "b" / f"{name}.labels.tif").pixel_size == pytest.approx(0.377)
    both = "--pixel-size", "0.4", "--override-pixel-size", "0.4"
    assert abbe(*words, tmp_path / "c", *both) == 1
    assert "give one of them" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="the file's is taken"):
        np.testing.assert_array_equal(predict(package, fine, pixel_size=0.377), expected)
    np.testing.assert_array_equal(
        predict(package, fine, override_pixel_size=0.377),
        predict(package, silent, pixel_size=0.377),
    )


def test_a_package_without_a_pixel_size_says_so_once(package, tmp_path, capsys):
    for name in "abc":
        write_tiff(tmp_path / "in" / f"{name}.tif", blobs(60, 60))
    assert abbe("predict", package, tmp_path / "in", "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert said.count("The package does not say for which pixel size it was made") == 1
    assert "note on 3 images: The package does not say" in said
