"""A large image in blocks that others compute: the same files as at once."""

import tracemalloc
from collections.abc import Iterator
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
from abbe.runtime.job import Block, Blocks, Job, Tools
from abbe.runtime.predictors.tasks import open_predictor
from abbe.runtime.tiling import blocks as dividing
from abbe.runtime.tiling import tiles as tiling
from abbe.runtime.tiling.blocks import tiles_of
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.seams import Pieces, number_objects
from abbe.runtime.tiling.timing import Timings
from abbe.runtime.tiling.work import Work
from abbe.runtime.writing.tiff import pyramid as pyramid_tiff


def late(blocks: Blocks) -> Iterator[Block]:
    """Each after what it needs, but the last ones first."""
    left = dict(blocks)
    while left:
        block = next(each for each in reversed(left) if not blocks[each] & left.keys())
        del left[block]
        yield block


@pytest.mark.parametrize("results", [("labels", "table"), ("labels", "probability")])
def test_blocks_in_any_order_leave_what_one_machine_finds(tmp_path: Path, monkeypatch, results):
    monkeypatch.setattr(dividing, "MOST_TILES", 3)
    package = make_package(tmp_path / "package")
    predictor: Any = open_predictor(package, precision="fp32", threads=1, workers=1)
    tifffile.imwrite(tmp_path / "a.tif", blobs(420, 500), tile=(64, 64))
    image, job = open_image(tmp_path / "a.tif"), Job(results)
    grid = predictor.grid(image)
    blocks = predictor.blocks(image, job)
    first = [block for block, needed in blocks.items() if not needed]
    assert len(first) >= 4
    assert sorted(tile for block in first for tile in tiles_of(block)) == list(grid.tiles)
    seams = [needed for block, needed in blocks.items() if block.step == "seams"]
    assert any(len(needed) < len(first) for needed in seams)  # some need not wait for all
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
        for block in late(blocks):  # each on another worker, with its own view of the folder
            for _ in range(2):  # again, as after a death
                work = Work(tmp_path / "work", {"same": 1})
                tools = Tools(pool, work, Timings(), lambda share: None)
                predictor.compute(image, job, tools, block)
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
    assert predictor.blocks(open_image(tmp_path / "a.tif"), Job()) == {}


def test_regions_in_blocks_are_those_of_one_machine(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(dividing, "MOST_TILES", 3)
    predictor = open_predictor(make_region_package(tmp_path / "package"), workers=1)
    tifffile.imwrite(tmp_path / "a.tif", blobs(420, 500) // 120, tile=(64, 64))
    image, job = open_image(tmp_path / "a.tif"), Job(("labels",))
    blocks = predictor.blocks(image, job)
    assert len(blocks) >= 4
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
    monkeypatch.setattr(dividing, "MOST_TILES", 3)
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
        for block in late(one.blocks):  # each as another worker opens it
            batch.open(one.path, one.below).compute(block, Inline())
    tiles = predictor.grid(one.image).tiles
    assert len(asked) == len(tiles)
    for module, name in ((tiling, "pieces_of"), (pyramid_tiff, "_whole_tile")):
        monkeypatch.delattr(module, name)  # measured and encoded is all, too
    assert one.write(Inline()).count > 10
