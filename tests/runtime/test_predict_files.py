"""From images to files: which are found, what fails, and what a stopped `abbe predict` leaves."""

import os
import signal
import subprocess
import sys
import time

import imagecodecs
import numpy as np
import pytest
import tifffile
from commands import abbe
from made_packages import blobs, make_package
from written_tiff import write_tiff

from abbe.errors import ConfigError, InputError
from abbe.imaging import Image, open_image, read_labels
from abbe.runtime.batch.find_images import find_images
from abbe.runtime.package import read_package
from abbe.runtime.predictors.instances import predictor
from abbe.runtime.predictors.predict import predict


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def package(tmp_path):
    return make_package(tmp_path / "package")


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
