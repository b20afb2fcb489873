"""``abbe predict --prompts``: the common way of all packages, with the masks of its own calls."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from commands import abbe
from made_packages import make_package
from PIL import Image as Picture
from programs import forked_workers
from prompt_package import make_prompt_package

from abbe.imaging import open_image, read_labels
from abbe.runtime.package.promptable_networks import PromptableNetworks
from abbe.runtime.predictors import prompted
from abbe.runtime.predictors.prompt_files import read_prompts
from abbe.runtime.predictors.promptable import PromptablePredictor
from abbe.runtime.tiling.workers import PART

SIDES = {"a": (40, 60), "b": (64, 64), "c": (90, 70), "d": (50, 200)}
"""(H, W) of the images."""
BOXES = {
    "a": [(2, 3, 30, 30), (20, 5, 58, 39)],
    "b": [(0, 0, 40, 64), (10, 10, 20, 20), (30, 12, 64, 40)],
    "c": [],
    "d": [(4, 5, 120, 45), (110, 10, 199, 50)],
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def package(tmp_path) -> Path:
    return make_prompt_package(make_package, tmp_path / "package")


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, shape in SIDES.items():
        Picture.fromarray(random.integers(0, 256, shape, np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def table(tmp_path) -> Path:
    return write_table(tmp_path / "boxes.csv", BOXES)


def write_table(path: Path, boxes: dict[str, list[tuple[int, ...]]]) -> Path:
    rows = [f"{id},{','.join(map(str, box))}" for id, own in boxes.items() for box in own]
    empty = [f"{id},,,," for id, own in boxes.items() if not own]
    path.write_text("\n".join(["id,x0,y0,x1,y1", *rows, *empty]) + "\n")
    return path


def expected(package: Path, image: Path, table: Path) -> np.ndarray:
    """By the package's own calls: of masks that overlap, the higher logit has the pixel."""
    opened = open_image(image)
    predictor = PromptablePredictor(package, threads=1)
    predictor.set_channels(opened)
    best, labels = np.zeros(opened.shape, np.float32), np.zeros(opened.shape, int)
    for number, prompt in enumerate(read_prompts(table)(image.stem, opened.shape), start=1):
        logits = predictor.predict(box=prompt.box, multimask_output=False, return_logits=True)[0][0]
        labels[logits > best] = number
        best = np.maximum(best, logits)
    return labels


@contextmanager
def counted() -> Iterator[list[str]]:
    """Calls of the networks in this process."""
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("encode", "decode"):
            original = getattr(PromptableNetworks, name)

            def call(self, inputs, name=name, original=original):
                calls.append(name)
                return original(self, inputs)

            patch.setattr(PromptableNetworks, name, call)
        yield calls


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "predicted.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("part", [2048, 48], ids=["whole", "in parts"])
def test_masks_and_tables_are_those_of_its_own_calls(
    package, images, table, tmp_path, monkeypatch, part
):
    monkeypatch.setattr(prompted, "PART", part)
    out = tmp_path / "out"
    words = "--results", "labels", "table", "geojson", "overview", "--threads", 2, "--workers", 2
    assert abbe("predict", package, images, "--out", out, "--prompts", table, *words) == 0
    for name in SIDES:
        labels = read_labels(out / f"{name}.labels.tif")
        np.testing.assert_array_equal(labels, expected(package, images / f"{name}.png", table))
        areas = {n: a for n, a in enumerate(np.bincount(labels.ravel()).tolist()) if n and a}
        rows = [row.split(",") for row in (out / f"{name}.csv").read_text().splitlines()[1:]]
        assert {int(row[0]): int(row[3]) for row in rows} == areas
        outlines = json.loads((out / f"{name}.geojson").read_text())["features"]
        assert len(outlines) == len(areas)
        assert (out / f"{name}.overview.png").exists()
    counts = {line["stem"]: line["objects"] for line in lines(out)}
    assert counts == {"a": 2, "b": 2, "c": 0, "d": 2}  # one of b is below another everywhere
    assert not list(out.glob(".*"))


def test_workers_of_a_cluster_find_the_same(package, images, table, tmp_path):
    long = np.random.default_rng(1).integers(0, 256, (50, PART + 40), np.uint8)
    Picture.fromarray(long).save(images / "e.png")  # which is kept and written in two parts
    write_table(table, BOXES | {"e": [(3, 3, 60, 40), (PART - 30, 5, PART + 20, 45)]})
    words = "predict", package, images, "--prompts", table, "--threads", 1
    with forked_workers():
        assert abbe(*words, "--out", tmp_path / "out", "--cluster", "local:1") == 0
    for name in (*SIDES, "e"):
        labels = read_labels(tmp_path / "out" / f"{name}.labels.tif")
        np.testing.assert_array_equal(labels, expected(package, images / f"{name}.png", table))


def test_a_grey_image_fills_the_colours_of_a_package(images, table, tmp_path):
    package = make_prompt_package(make_package, tmp_path / "colour", ("red", "green", "blue"))
    out = tmp_path / "out"
    assert abbe("predict", package, images, "--out", out, "--prompts", table) == 0
    labels = read_labels(out / "a.labels.tif")
    np.testing.assert_array_equal(labels, expected(package, images / "a.png", table))


def test_a_second_run_asks_only_for_what_has_changed(package, images, table, tmp_path, capsys):
    words = "predict", package, images, "--out", tmp_path / "out", "--prompts", table
    assert abbe(*words) == 0
    with counted() as calls:
        assert abbe(*words) == 0
    assert calls == []
    assert "results were there already: 4 images" in capsys.readouterr().out
    write_table(table, BOXES | {"d": [(4, 5, 120, 45)]})
    with counted() as calls:
        assert abbe(*words) == 0
    assert calls == ["encode", "decode"]
    labels = read_labels(tmp_path / "out" / "d.labels.tif")
    np.testing.assert_array_equal(labels, expected(package, images / "d.png", table))


def test_several_images_are_embedded_at_once(package, images, table, tmp_path, monkeypatch):
    together = threading.Barrier(2, timeout=60)
    original = PromptableNetworks.encode

    def encode(self, image):
        together.wait()  # breaks unless another image is embedded at the same time
        return original(self, image)

    write_table(table, BOXES | {"c": [(1, 1, 9, 9)]})  # four images with prompts: two pairs
    monkeypatch.setattr(PromptableNetworks, "encode", encode)
    words = "--prompts", table, "--workers", 2, "--threads", 2
    assert abbe("predict", package, images, "--out", tmp_path / "out", *words) == 0
    assert len(lines(tmp_path / "out")) == 4


def run_elsewhere(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """A process that does ``code``, then ``abbe WORDS``."""
    whole = f"import sys\n{code}\nfrom abbe.cli import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", whole, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


KILLED_AT_FOURTH_PROMPT = """
import os, signal, time
from abbe.runtime.package.promptable_networks import PromptableNetworks
original, seen = PromptableNetworks.decode, []
def decode(self, inputs):
    seen.append(1)
    if len(seen) == 4:
        time.sleep(1)  # the first image's line is written meanwhile
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, inputs)
PromptableNetworks.decode = decode
"""


def test_a_kill_between_prompts_repeats_only_the_image_in_hand(package, images, table, tmp_path):
    out = tmp_path / "out"
    words = "predict", package, images, "--out", out, "--prompts", table, "--workers", 1
    done = run_elsewhere(KILLED_AT_FOURTH_PROMPT, *words)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [line["stem"] for line in lines(out)] == ["a"]
    with counted() as calls:
        assert abbe(*words) == 0
    assert (calls.count("encode"), calls.count("decode")) == (2, 5)  # of b and d
    assert {line["stem"] for line in lines(out)} == set(SIDES)
    for name in SIDES:
        labels = read_labels(out / f"{name}.labels.tif")
        np.testing.assert_array_equal(labels, expected(package, images / f"{name}.png", table))


KILLED_WHILE_WRITING = """
import os, signal
from abbe.runtime.predictors import prompted
from abbe.runtime.writing.tiff import pyramid as pyramid_tiff
prompted.PART = 48
pyramid_tiff.Level.encoded = lambda self, tile: os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_while_a_large_image_is_written_asks_for_nothing_again(
    package, images, table, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    words = "predict", package, images / "d.png", "--out", out, "--prompts", table
    done = run_elsewhere(KILLED_WHILE_WRITING, *words)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (out / ".d.abbe").is_dir()
    monkeypatch.setattr(prompted, "PART", 48)
    with counted() as calls:
        assert abbe(*words) == 0
    assert calls == []
    labels = read_labels(out / "d.labels.tif")
    np.testing.assert_array_equal(labels, expected(package, images / "d.png", table))
    assert sorted(path.name for path in out.iterdir()) == ["d.labels.tif", "predicted.jsonl"]


STARTS = 6
TOGETHER = """
import os, random, sys, time
from abbe.cli import main
import abbe.cli.predict, abbe.runtime.batch.many
from abbe.runtime.predictors import prompted

prompted.PART = 48
package, images, table, out, logs, starts = sys.argv[1:]
children = []
for number in range(int(starts)):
    child = os.fork()
    if child == 0:
        log = os.open(f"{logs}/{number}.txt", os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        time.sleep(random.Random(number).uniform(0, 0.5))
        code = 70
        try:
            code = main(["predict", package, images, "--out", out, "--threads", "1",
                         "--workers", "1", "--prompts", table])
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts by forking")
def test_several_processes_on_one_folder(package, images, table, tmp_path):
    logs, out = tmp_path / "logs", tmp_path / "out"
    logs.mkdir()
    words = [str(each) for each in (package, images, table, out, logs, STARTS)]
    done = subprocess.run(
        [sys.executable, "-c", TOGETHER, *words], capture_output=True, text=True, check=True
    )
    codes = json.loads(done.stdout)
    said = [path.read_text("utf-8") for path in sorted(logs.iterdir())]
    assert not [text for text in said if "Traceback" in text]
    assert (len(codes), set(codes) <= {0, 1}, 0 in codes) == (STARTS, True, True), said
    for code, text in zip(codes, said, strict=True):
        assert code == 0 or "has this image in hand" in text
    for name in SIDES:
        labels = read_labels(out / f"{name}.labels.tif")
        np.testing.assert_array_equal(labels, expected(package, images / f"{name}.png", table))
    assert {line["stem"] for line in lines(out)} == set(SIDES)
    assert not list(out.glob(".*"))


def test_prompts_and_packages_that_do_not_go_together(package, images, table, tmp_path, capsys):
    words = "predict", package, images, "--out", tmp_path / "out"
    other = make_package(tmp_path / "other")
    for wrong, said in (
        (words, "give --prompts FILE.csv"),
        ((*words, "--prompts", table, "--tile", 64), "sees each image whole"),
        ((*words, "--prompts", table, "--results", "probability"), "package gives labels"),
        (("predict", other, *words[2:], "--prompts", table), "finds objects by itself"),
    ):
        assert abbe(*wrong) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_images_without_prompts_are_listed_and_the_others_go_on(
    package, images, table, tmp_path, capsys
):
    write_table(table, {"a": BOXES["a"], "b": [(0, 0, 65, 9)]})
    out = tmp_path / "out"
    assert abbe("predict", package, images, "--out", out, "--prompts", table) == 1
    said = capsys.readouterr().out
    assert "line 4: box (0, 0, 65, 9) reaches outside the image" in said
    assert "no row for the image 'd'" in said
    assert [line["stem"] for line in lines(out)] == ["a"]
