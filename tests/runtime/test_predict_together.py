"""Several predict write to one folder at the same time."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from made_packages import make_package

from abbe.files import atomic_folder, part_beside
from abbe.imaging import read_labels
from abbe.runtime.batch.finished import LOG, Finished, line_of
from abbe.runtime.batch.leftovers import Leftovers
from abbe.runtime.job import Written

STARTS = 20

TOGETHER = """
import os, random, sys, time
from abbe.cli import main
import abbe.cli.predict, abbe.runtime.batch.many, abbe.runtime.predictors.predict
import abbe.runtime.predictors.instances, abbe.runtime.tiling.field, abbe.runtime.writing.results

package, images, out, logs, starts = sys.argv[1:]
children = []
for number in range(int(starts)):
    child = os.fork()
    if child == 0:
        log = os.open(f"{logs}/{number}.txt", os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        time.sleep(random.Random(number).uniform(0, 3))
        code = 70
        try:
            code = main(["predict", package, images, "--out", out, "--threads", "1",
                         "--workers", "1", "--results", "labels", "zarr", "table"])
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
def test_twenty_starts_on_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package = make_package(tmp_path / "package")
    images, logs, out = tmp_path / "images", tmp_path / "logs", tmp_path / "out"
    images.mkdir()
    logs.mkdir()
    expected: dict[str, int] = {}
    for name, side in (("small", 90), ("other", 100), ("large", 300)):
        pixels = np.zeros((side, side), np.uint8)
        for at in range(10, side - 30, 40):
            pixels[at : at + 20, 15:45] = 200
        expected[name] = len(range(10, side - 30, 40))
        (images / f"{name}.png").write_bytes(imagecodecs.png_encode(pixels))
    words = [str(each) for each in (package, images, out, logs, STARTS)]
    done = subprocess.run(
        [sys.executable, "-c", TOGETHER, *words], capture_output=True, text=True, check=True
    )
    said = [path.read_text("utf-8") for path in sorted(logs.iterdir())]
    assert len(said) == STARTS
    assert not [text for text in said if "Traceback" in text]
    codes = json.loads(done.stdout)
    assert set(codes) <= {0, 1}
    assert 0 in codes
    for text in said:
        if "failed" in text:  # only who came while another had the large image in hand
            assert "1 image failed" in text
            assert "has this image in hand" in text
    for name, count in expected.items():
        labels = read_labels(out / f"{name}.labels.tif")
        assert labels.max() == count
        assert len((out / f"{name}.csv").read_text("utf-8").splitlines()) == count + 1
        assert (out / f"{name}.labels.zarr").is_dir()
        assert {json.loads(line)["stem"] for line in (out / LOG).read_bytes().splitlines()} == set(
            expected
        )
    assert not list(out.glob(".*"))


def test_what_another_process_writes_is_no_leftover(tmp_path: Path) -> None:
    own = part_beside(tmp_path / "a.labels.tif")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = tmp_path / f".a.labels.tif.{ended.pid}-0123456789ab.part"
    living = tmp_path / f".a.labels.tif.{os.getppid()}-0123456789ab.part"
    for path in (own, dead, living):
        path.write_bytes(b"")
    Leftovers([tmp_path / "a"]).remove(tmp_path / "a", [".labels.tif"])
    assert (own.exists(), dead.exists(), living.exists()) == (True, False, True)


def test_a_line_that_was_cut_short_goes_when_the_next_is_written(tmp_path: Path) -> None:
    task = {"image": "a", "results": ["labels"], "package": "p"}
    log = Finished(tmp_path / LOG)
    log.take(line_of("a", "a.png", task, "objects", Written(3)))
    with open(tmp_path / LOG, "ab") as file:
        file.write(b'{"objects": 5, "st')
    again = Finished(tmp_path / LOG)  # another process may be about to end this line
    assert (tmp_path / LOG).read_bytes().endswith(b'"st')
    again.take(line_of("b", "b.png", task, "objects", Written(4)))
    counts = [json.loads(line)["objects"] for line in (tmp_path / LOG).read_bytes().splitlines()]
    assert counts == [3, 4]
    assert log.find("b", task) is not None
    assert not list(tmp_path.glob(".*"))


def test_folders_that_several_put_in_one_place(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def put(number: int) -> None:
        try:
            for turn in range(30):
                with atomic_folder(tmp_path / "a.zarr") as temporary:
                    temporary.mkdir()
                    (temporary / "who").write_text(f"{number} {turn}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=put, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (tmp_path / "a.zarr" / "who").read_text().endswith(" 29")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
