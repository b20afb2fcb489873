"""`abbe predict` where results lie already, or another process writes them."""

import csv
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from commands import abbe
from made_packages import blobs, make_class_package, make_package

from abbe import progress
from abbe.errors import InputError
from abbe.imaging import read_labels
from abbe.runtime.batch.find_images import find_images
from abbe.runtime.batch.finished import Finished
from abbe.runtime.batch.image_lock import image_lock
from abbe.runtime.package import Thresholds
from abbe.runtime.predictors.predict import predict


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def package(tmp_path) -> Path:
    return make_package(tmp_path / "package")


def write(path: Path, side: int = 60, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(blobs(side, side, seed=seed)))
    return path


def names(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*.*"))


@pytest.mark.parametrize("below", [".", "results", "deep/results"])
@pytest.mark.parametrize("pattern", ["", "*.png"])
def test_results_are_no_images(package, tmp_path, capsys, below, pattern):
    folder = tmp_path / "in"
    write(folder / "a.png")
    write(folder / "b.png")
    words = "--out", folder / below, "--results", "labels", "overview"
    assert abbe("predict", package, folder / pattern, *words) == 0
    once = names(folder)
    capsys.readouterr()
    assert abbe("predict", package, folder / pattern, *words) == 0
    assert "results were there already: 2 images" in capsys.readouterr().out
    assert names(folder) == once
    assert len(once) == 7


def test_results_are_known_by_where_they_would_lie(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    image, result = write(two / "a.png"), write(one / "a.overview.png")
    lone = write(one / "lone.overview.png")
    assert set(find_images([one, two])) == {image, result, lone}
    assert set(find_images([one, two], one)) == {image, lone}
    assert set(find_images([one, two, result], one)) == {image, result, lone}
    write(one / "a.png")
    assert set(find_images([one])) == {one / "a.png", lone}
    assert set(find_images([one], tmp_path)) == {one / "a.png", lone}


def test_notes_on_images_are_told_once_a_kind_and_kept_for_each(package, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for seed in range(3):
        pixels = blobs(60, 60, seed=seed)
        tifffile.imwrite(folder / f"w{seed}.tif", 255 - pixels, photometric="miniswhite")
    write(folder / "plain.png")
    said = "note on 3 images: In this file 0 is white"
    for _ in range(2):  # the second time, all results are there already
        assert abbe("predict", package, folder, "--out", out) == 0
        printed = capsys.readouterr().out
        assert printed.count("0 is white") == 1
        assert said in printed
    lines = [json.loads(line) for line in (out / "predicted.jsonl").read_text().splitlines()]
    notes = {line["stem"]: line.get("notes", []) for line in lines}
    grey = "Its one channel, grey, is taken for nucleus."
    assert notes.pop("plain") == [grey]
    assert len(notes) == 3
    assert all("0 is white" in own[0] and own[1:] == [grey] for own in notes.values())


def test_what_cellpose_leaves_beside_an_image_is_no_image(tmp_path):
    image = write(tmp_path / "a.png")
    masks, other = write(tmp_path / "a_cp_masks.png"), write(tmp_path / "b_cp_masks.png")
    (tmp_path / "a_seg.npy").write_bytes(b"pickled")
    assert set(find_images([tmp_path])) == {image, other}  # there is no image b
    assert set(find_images([tmp_path, masks])) == {image, masks, other}


@pytest.mark.parametrize(
    "mask",
    ["a_masks.png", "a_mask.tif", "a_labels.png", "a_label.npy", "a.labels.png", "a.labels.tif"],
)
def test_masks_beside_an_image_are_no_images(tmp_path, mask):
    image = write(tmp_path / "sub" / "a.png")
    beside = write(tmp_path / "sub" / mask)
    elsewhere = write(tmp_path / mask)  # beside no image
    assert set(find_images([tmp_path])) == {image, elsewhere}
    assert set(find_images([tmp_path / "sub", beside])) == {image, beside}


def test_of_a_data_set_the_images_alone_are_predicted_and_it_is_said(package, tmp_path, capsys):
    data = tmp_path / "sets" / "one"
    images = {write(data / "images" / f"{name}.png") for name in "ab"}
    for kind in ("labels/expert", "labels", "Masks", "types"):
        write(data / kind / "a.png")
    lone = write(tmp_path / "sets" / "masks" / "c.png")  # beside no folder images
    assert set(find_images([data])) == images
    assert set(find_images([tmp_path / "sets"])) == {*images, lone}
    assert set(find_images([data / "labels"])) == {
        data / "labels" / "a.png", data / "labels" / "expert" / "a.png"
    }  # fmt: skip
    assert abbe("predict", package, data, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "4 files are taken for masks of images and left out, such as Masks/a.png" in printed
    assert "2 images" in printed
    assert abbe("predict", package, data / "images", "--out", tmp_path / "other") == 0
    assert "left out" not in capsys.readouterr().out


def test_results_beside_the_images_are_left_out_without_a_word(package, tmp_path, capsys):
    write(tmp_path / "in" / "a.png")
    for _ in range(2):
        assert abbe("predict", package, tmp_path / "in", "--out", tmp_path / "in") == 0
        printed = capsys.readouterr().out
        assert "1 image" in printed
        assert "left out" not in printed


def test_a_name_that_cannot_be_is_no_image(tmp_path):
    with pytest.raises(InputError, match="no such image"):
        find_images([tmp_path / ("n" * 300)])


def test_an_empty_name_is_not_the_folder_that_one_is_in(package, tmp_path, monkeypatch, capsys):
    write(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert abbe("predict", package, "", "--out", tmp_path / "out") == 1
    assert "an image's name is empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def table(folder: Path) -> dict[str, str]:
    with open(folder / "classes.csv", encoding="utf-8", newline="") as file:
        return {row["image"]: row["probability_mostly dark"] for row in csv.DictReader(file)}


def test_the_table_of_classes_keeps_the_images_of_earlier_runs(tmp_path):
    package = make_class_package(tmp_path / "package")
    out = tmp_path / "out"
    for seed, name in enumerate(("a/y.png", "a/x.png", "b.png")):
        write(tmp_path / name, seed=seed)
    assert abbe("predict", package, tmp_path / "a", "--out", out) == 0
    first = table(out)
    assert list(first) == ["x.png", "y.png"]
    assert abbe("predict", package, tmp_path / "b.png", "--out", out) == 0
    both = table(out)
    assert list(both) == ["b.png", "x.png", "y.png"]
    assert both.items() > first.items()
    torn = write(tmp_path / "torn.png")
    torn.write_bytes(torn.read_bytes()[:500])
    assert abbe("predict", package, torn, "--out", out) == 1
    assert table(out) == both
    write(tmp_path / "b.png").write_bytes(b"no image any more")
    assert abbe("predict", package, tmp_path / "b.png", "--out", out) == 1
    assert table(out) == first
    assert abbe("predict", package, tmp_path / "a" / "x.png", "--out", out, "--tile", 128) == 0
    assert list(table(out)) == ["x.png"]  # answers of another tile are not of one table with it


def test_who_wrote_a_result_last_counts(package, tmp_path, capsys):
    """Two images of one name: the results of the first are not taken for there still."""
    first, second = write(tmp_path / "1" / "a.png"), write(tmp_path / "2" / "a.png", side=70)
    out = tmp_path / "out"
    for image in (first, second, first):
        assert abbe("predict", package, image, "--out", out) == 0
    assert read_labels(out / "a.labels.tif").shape == (60, 60)
    assert abbe("predict", package, first, "--out", out, "--results", "table") == 0
    assert "already" not in capsys.readouterr().out
    words = "predict", package, first, "--out", out, "--results", "table", "labels"
    assert abbe(*words) == 0
    assert "results were there already: 1 image\n" in capsys.readouterr().out


def test_an_image_that_another_process_has_in_hand_is_left_to_it(package, tmp_path, capsys):
    slide = write(tmp_path / "in" / "slide.png", side=300)
    write(tmp_path / "in" / "small.png")
    out = tmp_path / "out"
    hidden = out / ".slide.abbe"
    part = out / ".slide.labels.tif.77.part"
    words = "predict", package, slide.parent, "--out", out
    with image_lock(hidden):
        hidden.mkdir()
        (hidden / "maps-0-0.npy").touch()
        part.touch()
        assert abbe(*words) == 1
        said = capsys.readouterr().out
        assert f"{hidden}: process {os.getpid()} on " in said
        assert "1 image failed" in said
        assert (hidden / "maps-0-0.npy").exists()
        assert part.exists()
    assert abbe(*words) == 0
    assert names(out) == ["predicted.jsonl", "slide.labels.tif", "small.labels.tif"]


TAKE = """
import os, sys
from pathlib import Path
from abbe.runtime.batch.finished import Finished
from abbe.runtime.batch.image_lock import image_lock
with image_lock(Path(sys.argv[1])):
    print("taken", flush=True)
    sys.stdin.read()
"""


def test_a_lock_ends_with_its_process(tmp_path):
    folder = tmp_path / "out" / ".slide.abbe"
    command = [sys.executable, "-c", TAKE, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        with (
            pytest.raises(InputError, match=f"process {process.pid} on .* in hand"),
            image_lock(folder),
        ):
            pass
        process.kill()
        process.wait()
    assert names(folder.parent) == [".slide.abbe.lock"]
    with image_lock(folder):
        assert str(os.getpid()) in (folder.parent / ".slide.abbe.lock").read_text()
    assert names(folder.parent) == []


def test_an_ome_zarr_is_known_by_its_chunks(package, tmp_path, capsys):
    made = "predict", package, write(tmp_path / "a.png"), "--out", tmp_path, "--results", "zarr"
    assert abbe(*made) == 0
    zarr = (tmp_path / "a.labels.zarr").rename(tmp_path / "image.zarr")
    words = "predict", package, zarr, "--out", tmp_path / "out"
    before = zarr.stat().st_mtime_ns
    for again in (False, True):
        capsys.readouterr()
        assert abbe(*words) == 0
        assert ("already" in capsys.readouterr().out) is again
    chunk = max(zarr.rglob("*"), key=lambda path: (path.is_file(), path.stat().st_size))
    time = chunk.stat().st_mtime_ns + 10**9
    os.utime(chunk, ns=(time, time))
    assert zarr.stat().st_mtime_ns == before
    assert abbe(*words) == 0
    assert "already" not in capsys.readouterr().out


@pytest.mark.parametrize("side", [60, 300])
def test_a_name_that_is_too_long_for_its_results_is_the_images_fault(
    package, tmp_path, capsys, side
):
    long = write(tmp_path / "in" / f"{'n' * 245}.png", side)
    write(tmp_path / "in" / "z.png")
    for _ in range(2):
        assert abbe("predict", package, long.parent, "--out", tmp_path / "out") == 1
        said = capsys.readouterr().out
        assert "1 image failed" in said
        assert f"{long}: its name is too long" in said
    assert names(tmp_path / "out") == ["predicted.jsonl", "z.labels.tif"]
    np.testing.assert_array_equal(
        read_labels(tmp_path / "out" / "z.labels.tif"), predict(package, tmp_path / "in" / "z.png")
    )


def test_a_full_disk_is_no_images_fault(package, tmp_path, monkeypatch, capsys):
    from abbe.runtime.writing import label_files

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.labels.tif")

    monkeypatch.setattr(label_files, "write_tiff", full)
    assert abbe("predict", package, write(tmp_path / "a.png"), "--out", tmp_path / "out") == 1
    assert "Free the disk" in capsys.readouterr().err


def test_without_a_terminal_a_line_now_and_then(package, tmp_path, monkeypatch, capsys):
    for number in range(3):
        write(tmp_path / "in" / f"{number}.png", seed=number)
    words = "predict", package, tmp_path / "in", "--workers", 1, "--out"
    assert abbe(*words, tmp_path / "quick") == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    assert abbe(*words, tmp_path / "slow") == 0
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"predict: 3/3 images \(100%\), 2\.png; [\d.]+ images/s, 0:00:00 left", lines[-1]
    )
    assert lines[0].startswith("predict: 0/3 images (")


def test_results_that_a_stopped_run_of_another_package_replaced_are_not_kept(
    package, tmp_path, monkeypatch, capsys
):
    other = make_package(tmp_path / "other", thresholds=Thresholds(foreground=0.999))
    image, out = write(tmp_path / "a.png"), tmp_path / "out"
    assert abbe("predict", package, image, "--out", out) == 0
    expected = read_labels(out / "a.labels.tif")
    with monkeypatch.context() as patch:

        def stop(*arguments, **options):
            raise KeyboardInterrupt

        patch.setattr(Finished, "take", stop)
        assert abbe("predict", other, image, "--out", out) == 130
    assert not np.array_equal(read_labels(out / "a.labels.tif"), expected)
    capsys.readouterr()
    assert abbe("predict", package, image, "--out", out) == 0
    assert "results were there already" not in capsys.readouterr().out
    np.testing.assert_array_equal(read_labels(out / "a.labels.tif"), expected)
    assert abbe("predict", package, image, "--out", out) == 0
    assert "results were there already: 1 image\n" in capsys.readouterr().out
