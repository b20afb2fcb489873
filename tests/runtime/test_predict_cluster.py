"""predict on workers of dask: as on one machine, whoever is killed."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import pytest
import tifffile
from distributed import Client, LocalCluster
from distributed.diagnostics.plugin import WorkerPlugin
from made_packages import blobs, make_package
from programs import forked_workers

import abbe
from abbe.cluster import opening
from abbe.errors import ClusterError, ConfigError
from abbe.runtime.batch import on_workers
from abbe.runtime.batch.finished import LOG
from abbe.runtime.batch.on_workers import TRIES

RESULTS = ("labels", "table", "geojson")


@pytest.fixture
def cluster(own_cache) -> Iterator[Any]:
    """A scheduler with two workers in processes of their own."""
    with (
        forked_workers(),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=":0",
            silence_logs=50,
            env={"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]},
        ) as started,
    ):
        yield started


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return make_package(tmp_path_factory.mktemp("package") / "package")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def make_images(folder: Path, count: int, large: int = 1) -> Path:
    (folder / "deep").mkdir(parents=True)
    for number in range(count):
        side = 60 + 4 * number
        pixels = imagecodecs.png_encode(blobs(side, side))
        (folder / ("deep" if number % 2 else "") / f"{number}.png").write_bytes(pixels)
    for number in range(large):
        tifffile.imwrite(folder / f"large{number}.tif", blobs(300, 300), tile=(64, 64))
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n, and then nothing")
    return folder


def files_of(out: Path) -> dict[str, bytes]:
    """Results by name, without the log, and without the number that each OME-TIFF makes up."""
    return {
        path.relative_to(out).as_posix(): re.sub(rb"urn:uuid:[0-9a-f-]+", b"", path.read_bytes())
        for path in out.rglob("*")
        # What a kill cut short lies hidden beside them.
        if path.is_file() and path.name != LOG and path.suffix != ".part"
    }


def lines_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / LOG).read_text("utf-8").splitlines()]


def same(lines: list[dict]) -> list[str]:
    return sorted(json.dumps(line, sort_keys=True) for line in lines)


def run(package: Path, images: Path, out: Path, **options) -> "abbe.runtime.batch.many.Outcome":
    words = {"results": RESULTS, "threads": 1, "precision": "fp32", "progress": False}
    return abbe.predict(package, [images], out, **{**words, **options})


def test_results_tables_and_failures_are_those_of_one_machine(
    package, cluster, tmp_path, monkeypatch
):
    images = make_images(tmp_path / "images", 6)
    tifffile.imwrite(images / "slide.tif", blobs(150, 1800), tile=(64, 64))
    divided = []
    original = on_workers._Giving._divide
    monkeypatch.setattr(
        on_workers._Giving,
        "_divide",
        lambda self, item: (divided.append(item), original(self, item)),
    )
    alone = run(package, images, tmp_path / "alone")
    together = run(package, images, tmp_path / "cluster", cluster=cluster.scheduler_address)
    assert files_of(tmp_path / "cluster") == files_of(tmp_path / "alone")
    assert len(files_of(tmp_path / "alone")) == 8 * len(RESULTS)
    assert [item.below.name for item in divided] == ["slide.tif"]
    assert together.done == alone.done
    assert sum(together.done.values()) > 0
    assert together.failed == alone.failed
    assert list(together.failed) == [str(images / "bad.png")]
    assert together.notes == alone.notes
    assert together.megapixels == pytest.approx(alone.megapixels)
    assert together.timings.seconds["network"] > 0
    assert same(lines_of(tmp_path / "cluster")) == same(lines_of(tmp_path / "alone"))
    assert not (tmp_path / "cluster" / TRIES).exists()
    again = run(package, images, tmp_path / "cluster", cluster=cluster.scheduler_address)
    assert sorted(again.kept) == sorted(alone.done)
    assert not again.done
    one = run(package, images, tmp_path / "cluster")  # and the other way round
    assert sorted(one.kept) == sorted(alone.done)


class Lingering(WorkerPlugin):
    """Has every tile take longer, and tells who works on the slide."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def setup(self, worker) -> None:
        from abbe.runtime.batch.one_image import OneImage
        from abbe.runtime.tiling.tiles import _Job

        notes, original, compute = self.notes, OneImage.compute, _Job.compute_labels

        def compute_labels(self, tile):
            time.sleep(0.1)
            compute(self, tile)

        def compute_block(self, block, pool):
            with open(notes, "a") as file:
                file.write(f"{os.getpid()} {block}\n")
            original(self, block, pool)

        OneImage.compute, _Job.compute_labels = compute_block, compute_labels


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_at_a_deadline_a_worker_ends_between_two_tiles_and_leaves(
    package, cluster, tmp_path, number
):
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "slide.tif", blobs(150, 1800), tile=(64, 64))
    notes, said = tmp_path / "notes", []

    def send() -> None:
        while not notes.exists():
            time.sleep(0.02)
        time.sleep(0.3)
        os.kill(int(notes.read_text().split()[0]), number)

    with Client(cluster.scheduler_address, set_as_default=False) as client:
        client.register_plugin(Lingering(notes), name="lingering")
        sending = threading.Thread(target=send)
        sending.start()
        outcome = run(
            package, tmp_path / "images", tmp_path / "out", cluster=cluster.scheduler_address,
            say=said.append,
        )  # fmt: skip
        sending.join()
    run(package, tmp_path / "images", tmp_path / "alone")
    assert not outcome.failed
    assert files_of(tmp_path / "out") == files_of(tmp_path / "alone")
    first, block = notes.read_text().splitlines()[0].split()
    workers_of = [
        line.split()[0] for line in notes.read_text().splitlines() if line.endswith(block)
    ]
    assert len(workers_of) == 2  # another went on with it
    assert workers_of[1] != first
    assert any("time is up; another goes on with it" in line for line in said)


def kill_workers(cluster: Any, times: int, stop: threading.Event, seed: int) -> list[int]:
    """Kill workers at random moments; gives the numbers of those killed."""
    drawn, killed = random.Random(seed), []
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        while len(killed) < times and not stop.is_set():
            stop.wait(drawn.uniform(0.02, 0.4))
            # A worker may go away while it is asked: it is left out, and asked again later.
            running: Any = client.run(os.getpid, on_error="ignore")
            pids = [each for each in running.values() if each not in killed]
            if pids:
                killed.append(drawn.choice(pids))
                os.kill(killed[-1], signal.SIGKILL)
    return killed


@pytest.mark.parametrize("kills", [pytest.param(n, marks=pytest.mark.slow) for n in (3, 20)])
def test_killed_workers_cost_their_items_and_nothing_is_doubled(
    package, cluster, tmp_path, monkeypatch, kills
):
    images = make_images(tmp_path / "images", 4 * kills, large=2)
    run(package, images, tmp_path / "alone")
    # Kills are at random here: an image that is hit three times is not to blame.
    monkeypatch.setattr(on_workers.Elsewhere, "__init__", patient(on_workers.Elsewhere.__init__))
    stop, killed = threading.Event(), []
    killer = threading.Thread(
        target=lambda: killed.extend(kill_workers(cluster, kills, stop, seed=kills))
    )
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        client.register_plugin(Slow(), name="slow")
        killer.start()
        try:
            outcome = run(package, images, tmp_path / "out", cluster=cluster.scheduler_address)
        finally:
            stop.set()
            killer.join()
            wait_until_all_answer(client)
            client.unregister_worker_plugin("slow")
    assert len(killed) == kills
    assert list(outcome.failed) == [str(images / "bad.png")]
    assert files_of(tmp_path / "out") == files_of(tmp_path / "alone")
    assert same(lines_of(tmp_path / "out")) == same(lines_of(tmp_path / "alone"))


def wait_until_all_answer(client: Client) -> None:
    """One that was killed a moment ago is still listed, and closes the line when it is told."""
    while True:
        with contextlib.suppress(OSError):
            client.run(os.getpid)
            return
        time.sleep(0.1)


def patient(original):
    def begin(self, *given, **named):
        original(self, *given, **{**named, "most_tries": 1000})

    return begin


class Slow(WorkerPlugin):
    """Has every image take longer, so that kills meet it."""

    def setup(self, worker) -> None:
        from abbe.runtime.batch.one_image import OneImage

        original = OneImage.write

        def write(self, pool):
            time.sleep(0.15)
            return original(self, pool)

        OneImage.write = write


class Poison(WorkerPlugin):
    """Has the worker die of one image, as by the system for its memory."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def setup(self, worker) -> None:
        from abbe.runtime.batch.one_image import Batch

        notes, original = self.notes, Batch.open

        def open_(self, path, below, task=None):
            if path.name == "3.png":
                with open(notes, "a") as file:
                    file.write(f"{os.getpid()}\n")
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, path, below, task)

        Batch.open = open_


def test_an_image_that_kills_workers_three_times_is_listed_and_the_rest_goes_on(
    package, cluster, tmp_path
):
    images = make_images(tmp_path / "images", 8, large=0)
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        client.register_plugin(Poison(tmp_path / "notes"), name="poison")
        outcome = run(package, images, tmp_path / "out", cluster=cluster.scheduler_address)
        client.unregister_worker_plugin("poison")
    deaths = (tmp_path / "notes").read_text().split()
    assert len(deaths) == len(set(deaths)) == 3
    bad, poison = str(images / "bad.png"), str(images / "deep" / "3.png")
    assert set(outcome.failed) == {bad, poison}
    assert "3 workers died while they had this image in hand" in outcome.failed[poison]
    assert len(outcome.done) == 7


CLIENT = """
import sys
import abbe
from abbe.cluster import opening
from abbe.errors import AbbeError
if __name__ == "__main__":
    package, images, out, cluster = sys.argv[1:]
    try:
        abbe.predict(package, [images], out, cluster=cluster, threads=1, precision="fp32",
                     results=("labels", "table", "geojson"), progress=False, say=print)
    except AbbeError as error:
        sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.mark.parametrize("place", ["tcp", pytest.param("local", marks=pytest.mark.slow)])
def test_a_killed_client_goes_on_and_computes_nothing_twice(package, cluster, tmp_path, place):
    images = make_images(tmp_path / "images", 30, large=0)
    notes, out = tmp_path / "notes", tmp_path / "out"
    address = "local:2" if place == "local" else cluster.scheduler_address
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        client.register_plugin(Counting(notes), name="counting")
        words = [sys.executable, "-c", CLIENT, str(package), str(images), str(out), address]
        client_process = subprocess.Popen(words, env={**os.environ, "ABBE_TEST_NOTES": str(notes)})
        until = time.monotonic() + 60
        while not (out / LOG).exists() or len(lines_of_whole(out)) < 5:
            assert client_process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        client_process.kill()
        client_process.wait()
        first = {line["name"] for line in lines_of_whole(out)}
        outcome = run(package, images, out, cluster=cluster.scheduler_address)
        client.unregister_worker_plugin("counting")
    run(package, images, tmp_path / "alone")
    assert files_of(out) == files_of(tmp_path / "alone")
    assert same(lines_of(out)) == same(lines_of(tmp_path / "alone"))
    assert len(outcome.kept) >= len(first) >= 5
    assert len(outcome.kept) + len(outcome.done) == 30
    if place == "tcp":  # where the workers outlive the client
        counts = Counter(notes.read_text("utf-8").split())
        assert len(counts) == 30
        assert set(counts.values()) == {1}


def lines_of_whole(out: Path) -> list[dict]:
    text = (out / LOG).read_text("utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


class Counting(WorkerPlugin):
    """Notes each image whose results are computed; it takes a little longer."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def setup(self, worker) -> None:
        from abbe.runtime.batch.one_image import OneImage

        notes, original = self.notes, OneImage.write

        def write(self, pool):
            time.sleep(0.1)
            with open(notes, "a") as file:
                file.write(f"{self.stem}\n")
            return original(self, pool)

        OneImage.write = write


def test_a_scheduler_that_goes_away_is_told_in_words(package, cluster, tmp_path):
    images = make_images(tmp_path / "images", 40, large=0)

    def end() -> None:
        while not (tmp_path / "out" / LOG).exists():
            time.sleep(0.02)
        cluster.close()

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(ClusterError, match=r"scheduler has gone away\. What is finished is kept"):
        run(package, images, tmp_path / "out", cluster=cluster.scheduler_address)
    ending.join()
    outcome = run(package, images, tmp_path / "out")
    assert outcome.kept
    assert len(outcome.kept) + len(outcome.done) == 40


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("local:0", "give a number of workers, such as local:4"),
        ("tcp://127.0.0.1:9", "no scheduler answers there"),
        ("slurm", "give local:N, tcp://HOST:PORT, or a .yaml file"),
        ("missing.yaml", "there is no such file"),
    ],
)
def test_a_wrong_place_is_refused(package, tmp_path, place, words, monkeypatch):
    monkeypatch.setattr(opening, "CONNECT_SECONDS", 1)
    images = make_images(tmp_path / "images", 1, large=0)
    with pytest.raises(ConfigError, match=words):
        run(package, images, tmp_path / "out", cluster=place)
