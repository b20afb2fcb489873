"""A large image in blocks that others compute: the same files as at once."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from made_packages import blobs, make_package, make_region_package

from abbe.imaging import open_image
from abbe.runtime.batch.leftovers import Leftovers
from abbe.runtime.batch.one_image import Batch
from abbe.runtime.job import Job, Tools
from abbe.runtime.predictors.tasks import open_predictor
from abbe.runtime.tiling import tiles as tiling
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.seams import Pieces, number_objects
from abbe.runtime.tiling.timing import Timings
from abbe.runtime.tiling.work import Work


@pytest.mark.parametrize("results", [("labels", "table"), ("labels", "probability")])
def test_blocks_in_any_order_leave_what_one_machine_finds(tmp_path: Path, monkeypatch, results):
    monkeypatch.setattr(tiling, "BLOCK", 3)
    package = make_package(tmp_path / "package")
    predictor: Any = open_predictor(package, precision="fp32", threads=1, workers=1)
    tifffile.imwrite(tmp_path / "a.tif", blobs(420, 500), tile=(64, 64))
    image, job = open_image(tmp_path / "a.tif"), Job(results)
    grid = predictor.grid(image)
    rounds = predictor.rounds(image)
    assert len(rounds) == 2
    assert len(rounds[0]) >= 4
    covered = sorted(tile for block in rounds[0] for tile in tiling.tiles_of(block))
    assert covered == list(grid.tiles)
    asked = []
    original = predictor.engine.probabilities
    counted = lambda windows: (asked.append(1), original(windows))[1]  # noqa: E731
    monkeypatch.setattr(type(predictor.engine), "probabilities", staticmethod(counted))
    with ThreadPoolExecutor(1) as pool:
        whole = tmp_path / "whole"
        written = predictor.write(
            image, whole, job, Tools(pool, Work(None), Timings(), lambda share: None)
        )
        assert len(asked) == len(grid.tiles)
        asked.clear()
        for number, blocks in enumerate(rounds):
            for block in reversed(
                blocks
            ):  # each on another worker, with its own view of the folder
                work = Work(tmp_path / "work", {"same": 1})
                tools = Tools(pool, work, Timings(), lambda share: None)
                predictor.compute(image, job, tools, block)
                if number == 0:
                    predictor.compute(image, job, tools, block)  # again, as after a death
        assert len(asked) == len(grid.tiles)  # none is computed twice
        stem = tmp_path / "blocks"
        work = Work(tmp_path / "work", {"same": 1})
        again = predictor.write(image, stem, job, Tools(pool, work, Timings(), lambda share: None))
        assert len(asked) == len(grid.tiles)
    assert again == written
    assert written.count > 50
    for suffix in predictor.files(image, results):
        one, other = (Path(f"{each}{suffix}") for each in (whole, stem))
        if suffix.endswith(".tif"):
            np.testing.assert_array_equal(tifffile.imread(one), tifffile.imread(other))
        else:
            assert one.read_bytes() == other.read_bytes()
    assert "probability" in results or not list((tmp_path / "work").glob("maps-*"))


def test_small_images_are_not_divided(tmp_path: Path):
    predictor = open_predictor(make_package(tmp_path / "package"), precision="fp32", workers=1)
    tifffile.imwrite(tmp_path / "a.tif", blobs(100, 100))
    assert predictor.rounds(open_image(tmp_path / "a.tif")) == ()


def test_regions_in_blocks_are_those_of_one_machine(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tiling, "BLOCK", 3)
    predictor = open_predictor(make_region_package(tmp_path / "package"), workers=1)
    tifffile.imwrite(tmp_path / "a.tif", blobs(420, 500) // 120, tile=(64, 64))
    image, job = open_image(tmp_path / "a.tif"), Job(("labels",))
    (blocks,) = predictor.rounds(image)
    work = Work(tmp_path / "work", {})
    tools = Tools(Inline(), work, Timings(), lambda share: None)
    for block in blocks:
        predictor.compute(image, job, tools, block)
    monkeypatch.delattr(type(predictor.engine), "probabilities")  # all is there
    given = predictor.write(image, tmp_path / "blocks", job, tools)
    monkeypatch.undo()
    alone = Tools(Inline(), Work(None), Timings(), lambda share: None)
    assert predictor.write(image, tmp_path / "whole", job, alone) == given
    one, other = (tifffile.imread(tmp_path / f"{n}.labels.tif") for n in ("whole", "blocks"))
    np.testing.assert_array_equal(one, other)
    assert len(np.unique(one)) > 1


def test_a_million_objects_are_joined_within_a_gibibyte():
    tiles, each, shared = 1000, 1300, 300
    row = np.arange(each + 1)
    area = np.where(row > 0, 40, 0)
    pieces = [
        Pieces(area, np.full(each + 1, 100 * tile), row * 10, np.full((each + 1, 1), 30.0))
        for tile in range(tiles)
    ]
    # The last 300 of each tile are the first 300 of the next.
    pairs = np.stack([row[-shared:], row[1 : shared + 1]], axis=1)
    tracemalloc.start()
    found = number_objects(pieces, ((n, n + 1, pairs) for n in range(tiles - 1)), 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.count == tiles * each - (tiles - 1) * shared == 1_000_300
    np.testing.assert_array_equal(found.of_tile[0][1:], np.arange(1, each + 1))
    np.testing.assert_array_equal(found.of_tile[0][-shared:], found.of_tile[1][1 : shared + 1])
    assert found.means is not None
    np.testing.assert_allclose(found.means[1:], 0.75)
    assert peak < 1 << 30


def test_who_writes_an_image_finds_what_others_computed(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tiling, "BLOCK", 3)
    package = make_package(tmp_path / "package")
    predictor: Any = open_predictor(package, precision="fp32", threads=1, workers=1)
    tifffile.imwrite(tmp_path / "a.tif", blobs(200, 300), tile=(64, 64))
    out, told = tmp_path / "out", lambda name, share: None
    batch = Batch(predictor, out, Job(("labels",)), Leftovers(()), Timings(), told)
    one = batch.open(tmp_path / "a.tif", Path("a.tif"))
    asked = []
    original = predictor.engine.probabilities
    counted = lambda windows: (asked.append(1), original(windows))[1]  # noqa: E731
    monkeypatch.setattr(type(predictor.engine), "probabilities", staticmethod(counted))
    with one.divided():
        for blocks in one.rounds:
            for block in blocks:  # each as another worker opens it
                batch.open(one.path, one.below).compute(block, Inline())
    tiles = predictor.grid(one.image).tiles
    assert len(asked) == len(tiles)
    measured = []
    own = tiling.pieces_of
    monkeypatch.setattr(tiling, "pieces_of", lambda *given: (measured.append(1), own(*given))[1])
    assert one.write(Inline()).count > 10
    assert len(asked) == len(tiles)
    assert 0 < len(measured) < len(tiles)  # those alone that need another block
