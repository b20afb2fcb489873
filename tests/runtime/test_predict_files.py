"""From images to files: `abbe predict` and the writers behind it."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from commands import abbe
from made_packages import blobs, make_package
from PIL import Image as Picture
from skimage.measure import regionprops_table

from abbe.errors import ConfigError, InputError
from abbe.imaging import Image, open_image, read_labels
from abbe.imaging.units import LARGEST, SMALLEST
from abbe.runtime.batch.find_images import find_images
from abbe.runtime.job import DICOM, SUFFIXES
from abbe.runtime.package import read_package
from abbe.runtime.predictors.instances import predictor
from abbe.runtime.predictors.predict import predict

shapely = pytest.importorskip("shapely")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def package(tmp_path):
    return make_package(tmp_path / "package")


def write_tiff(path: Path, pixels: np.ndarray, pixel_size: float | None = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixel_size:
        size = 1e4 / pixel_size, 1e4 / pixel_size
        tifffile.imwrite(path, pixels, tile=(64, 64), resolution=size, resolutionunit="CENTIMETER")
    else:
        tifffile.imwrite(path, pixels, tile=(64, 64))
    return path


def test_tiles_are_not_seen_in_the_result(package):
    pixels = blobs(300, 420)
    tiled = predict(package, pixels)
    np.testing.assert_array_equal(tiled, predict(package, pixels, tile=1024))
    assert tiled.max() > 30
    assert tiled.dtype == np.int32


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (15, 200), (16, 16), (129, 127)])
def test_images_of_any_size_keep_their_size(package, shape):
    assert predict(package, blobs(*shape)).shape == shape


def test_a_path_an_array_and_an_image_are_one(package, tmp_path):
    pixels = blobs(150, 140)
    path = write_tiff(tmp_path / "a.tif", pixels)
    ready = predictor(package)
    expected = predict(package, pixels)
    for given in (path, str(path), pixels[None], Image.from_array(pixels), open_image(path)):
        np.testing.assert_array_equal(predict(ready, given), expected)


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


def test_missing_channels_are_named(tmp_path):
    package = make_package(tmp_path / "package", channels=("nucleus", "membrane"))
    with pytest.raises(InputError, match="the package sees nucleus, membrane, but the image has"):
        predict(package, blobs(50, 50))
    with pytest.raises(InputError, match="the package sees nucleus, membrane"):
        predict(package, np.stack([blobs(50, 50)] * 3))


def test_channels_are_found_by_name_in_any_order(tmp_path):
    package = make_package(tmp_path / "package")
    bright, other = blobs(80, 80), blobs(80, 80, seed=5)
    image = Image.from_array(np.stack([other, bright]), ["membrane", "nucleus"])
    np.testing.assert_array_equal(predict(package, image), predict(package, bright))


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


def test_bad_images_are_listed_and_the_rest_goes_on(package, tmp_path, capsys):
    folder = tmp_path / "in"
    good = write_tiff(folder / "good.tif", blobs(100, 90))
    (folder / "cut.tif").write_bytes(good.read_bytes()[:5000])
    (folder / "empty.png").write_bytes(b"")
    png = imagecodecs.png_encode(blobs(64, 64))
    (folder / "torn.png").write_bytes(png[: len(png) // 2])
    tifffile.imwrite(folder / "many.tif", np.stack([blobs(30, 30)] * 4), photometric="minisblack")
    assert abbe("predict", package, folder, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert "1 image, " in said
    assert "4 images failed" in said
    for name in ("cut.tif", "empty.png", "torn.png", "many.tif"):
        assert name in said
    written = [path.name for path in (tmp_path / "out").iterdir()]
    assert sorted(written) == ["good.labels.tif", "predicted.jsonl"]


def test_what_is_finished_is_not_computed_again(package, tmp_path, capsys):
    write_tiff(tmp_path / "in" / "a.tif", blobs(60, 60))
    write_tiff(tmp_path / "in" / "deep" / "b.tif", blobs(60, 60, seed=1))
    words = "predict", package, tmp_path / "in", "--out", tmp_path / "out"
    assert abbe(*words) == 0
    assert (tmp_path / "out" / "deep" / "b.labels.tif").exists()
    first = (tmp_path / "out" / "a.labels.tif").stat().st_mtime_ns
    capsys.readouterr()
    assert abbe(*words) == 0
    assert "results were there already: 2 images" in capsys.readouterr().out
    assert (tmp_path / "out" / "a.labels.tif").stat().st_mtime_ns == first
    write_tiff(tmp_path / "in" / "a.tif", blobs(60, 61))
    assert abbe(*words) == 0
    assert read_labels(tmp_path / "out" / "a.labels.tif").shape == (60, 61)
    assert abbe(*words, "--results", "table") == 0
    assert (tmp_path / "out" / "a.csv").exists()


def test_a_log_line_that_was_cut_short_is_left_out(package, tmp_path):
    write_tiff(tmp_path / "in" / "a.tif", blobs(60, 60))
    words = "predict", package, tmp_path / "in", "--out", tmp_path / "out"
    assert abbe(*words) == 0
    log = tmp_path / "out" / "predicted.jsonl"
    log.write_text(log.read_text()[:-5])
    assert abbe(*words) == 0
    assert len(log.read_text().splitlines()) == 1


def test_names_are_checked_before_any_work(package, tmp_path):
    write_tiff(tmp_path / "one" / "a.tif", blobs(20, 20))
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "a.png").write_bytes(imagecodecs.png_encode(blobs(20, 20)))
    for folder in ("one", "two"):
        write_tiff(tmp_path / folder / "b.tif", blobs(20, 20))
    with pytest.raises(
        ConfigError, match=r"both be written to 'a…', .*both be written to 'b…': give"
    ):
        find_images([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(InputError, match="no such image"):
        find_images([tmp_path / "three"])
    (tmp_path / "four").mkdir()
    with pytest.raises(InputError, match="no image in this folder"):
        find_images([tmp_path / "four"])
    assert list(find_images([str(tmp_path / "*" / "a.tif")])) == [tmp_path / "one" / "a.tif"]


def test_an_image_that_shows_nothing_is_told(package, tmp_path, capsys):
    write_tiff(tmp_path / "in" / "flat.tif", np.full((64, 64), 7, np.uint8))
    write_tiff(tmp_path / "in" / "good.tif", blobs(60, 61))
    assert abbe("predict", package, tmp_path / "in", "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "note on 1 image: Nothing can be found by its channel" in said
    assert "it is 7 in all pixels.\n" in said


def test_a_link_to_nothing_and_a_page_called_png_say_what_they_are(package, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.png").symlink_to("nowhere.png")
    (tmp_path / "in" / "page.png").write_text("<html>404</html>")
    assert abbe("predict", package, tmp_path / "in", "--out", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert "link.png: it is a link to what is not there. Mend or remove the link." in said
    assert "page.png: this kind of file is not supported, going by what is in it" in said


def test_a_full_disk_stops_the_run_and_loses_nothing(package, tmp_path, monkeypatch):
    write_tiff(tmp_path / "a.tif", blobs(300, 300))
    words = "predict", package, tmp_path / "a.tif", "--out", tmp_path / "out"
    import errno

    from abbe.runtime.writing import label_files

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.labels.tif")

    with monkeypatch.context() as patch:
        patch.setattr(label_files, "write_tiff", full)
        assert abbe(*words) == 1
    assert not (tmp_path / "out" / "a.labels.tif").exists()
    kept = list((tmp_path / "out" / ".a.abbe").glob("labels-*"))
    assert len(kept) == 16
    assert abbe(*words) == 0
    np.testing.assert_array_equal(
        read_labels(tmp_path / "out" / "a.labels.tif"), predict(package, tmp_path / "a.tif")
    )
    assert not (tmp_path / "out" / ".a.abbe").exists()


@pytest.mark.slow
def test_a_killed_slide_goes_on_where_it_was(package, tmp_path):
    path = write_tiff(tmp_path / "slide.tif", blobs(900, 900))
    command = [sys.executable, "-m", "abbe", "predict", str(package), str(path), "--out"]
    process = subprocess.Popen([*command, str(tmp_path / "out")], stdout=subprocess.DEVNULL)
    work = tmp_path / "out" / ".slide.abbe"
    until = time.monotonic() + 60
    while len(list(work.glob("labels-*"))) < 20 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {each.name: each.stat().st_mtime_ns for each in work.glob("labels-*.zst")}
    assert 20 <= len(done) < 14**2
    assert not (tmp_path / "out" / "slide.labels.tif").exists()
    subprocess.run([*command, str(tmp_path / "out")], check=True, stdout=subprocess.DEVNULL)
    np.testing.assert_array_equal(
        read_labels(tmp_path / "out" / "slide.labels.tif"), predict(package, path, tile=2048)
    )
    assert not work.exists()


def test_other_tasks_are_refused_in_words(tmp_path):
    package = make_package(tmp_path / "package", task="classification", classes=("a", "b"))
    with pytest.raises(ConfigError, match="this is a classification package"):
        predictor(package)
    assert read_package(package).description.task == "classification"


@pytest.mark.slow
def test_predict_needs_no_torch(package, tmp_path):
    path = write_tiff(tmp_path / "a.tif", blobs(60, 60))
    code = (
        "import sys; from abbe.cli import main\n"
        "results = ['labels', 'zarr', 'probability', 'geojson', 'table', 'overview']\n"
        "words = ['predict', *sys.argv[1:3], '--out', sys.argv[3], '--results', *results]\n"
        "assert main(words) == 0\n"
        "print({'torch', 'onnx', 'onnxruntime', 'pyarrow', 'shapely', 'matplotlib'}"
        " & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(package), str(path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("set()\n"), done.stdout + done.stderr


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


def test_a_grey_image_that_was_saved_in_colours_is_grey(tmp_path, capsys):
    package = make_package(tmp_path / "package")
    grey = blobs(80, 80).astype(np.uint8)
    write_tiff(tmp_path / "in" / "grey.tif", grey)
    Picture.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "in" / "saved.png")
    off = np.stack([grey] * 3, -1)
    off[79, 79, 2] ^= 1  # one pixel is coloured
    Picture.fromarray(off).save(tmp_path / "in" / "coloured.png")
    assert abbe("predict", package, tmp_path / "in", "--out", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert (
        "note on 1 image: It is grey, though saved in colours: red, green and blue are alike"
        in said
    )
    assert "1 image failed" in said
    assert "coloured.png: the package sees nucleus, but this is a colour image" in said
    np.testing.assert_array_equal(
        read_labels(tmp_path / "out" / "saved.labels.tif"),
        read_labels(tmp_path / "out" / "grey.labels.tif"),
    )


def test_channels_are_mapped_and_renamed(tmp_path, capsys):
    package = make_package(tmp_path / "package")
    grey = write_tiff(tmp_path / "grey.tif", blobs(80, 80))
    two = tmp_path / "two.ome.tif"
    pixels = np.stack([blobs(80, 80, seed=5), blobs(80, 80)])
    metadata = {"axes": "CYX", "Channel": {"Name": ["actin", "DAPI"]}}
    tifffile.imwrite(two, pixels, metadata=metadata, photometric="minisblack")
    assert abbe("predict", package, grey, "--out", tmp_path / "a") == 0
    assert (
        "note on 1 image: Its one channel, grey, is taken for nucleus." in capsys.readouterr().out
    )
    assert abbe("predict", package, two, "--out", tmp_path / "b") == 1
    assert "such as nucleus=actin" in capsys.readouterr().out
    assert abbe("predict", package, two, "--out", tmp_path / "b", "--channels", "nucleus=DAPI") == 0
    np.testing.assert_array_equal(
        read_labels(tmp_path / "b" / "two.labels.tif"),
        read_labels(tmp_path / "a" / "grey.labels.tif"),
    )
    rgb = make_package(tmp_path / "rgb", channels=("red", "green", "blue"))
    with pytest.raises(InputError, match=r"this is a grey image \(one channel, grey\)"):
        predict(rgb, grey)
    tifffile.imwrite(
        tmp_path / "rgb.tif",
        np.tile([[[9, 8, 7]]], (20, 20, 1)).astype(np.uint8),
        photometric="rgb",
    )
    with pytest.raises(InputError, match=r"this is a colour image \(red, green, blue\)"):
        predict(package, tmp_path / "rgb.tif")


def test_image_files_that_are_not_read_are_said(package, tmp_path, capsys):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    write_tiff(tmp_path / "in" / "a.tif", blobs(60, 60))
    for name in ("b.dcm", "sub/c.dcm", "d.nd2", "e.txt"):
        (tmp_path / "in" / name).write_bytes(b"x")
    assert abbe("predict", package, tmp_path / "in", "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert said.count("3 image files of kinds that Abbe does not read are left out (2 .dcm") == 1
    with pytest.raises(InputError, match=r"1 image file of kinds that Abbe does not read is"):
        find_images([tmp_path / "in" / "sub"])
