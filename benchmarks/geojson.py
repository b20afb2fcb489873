"""A million objects to GeoJSON: time and memory.

    python benchmarks/geojson.py [--objects 1000000] [--workers 2] [--compressed]

One disc of 9 to 14 px in each 16 px cell of a square image, labelled tile by tile beforehand; what
is timed is joining the pieces at seams, outlining all objects and writing them. The most memory is
that of the whole process. Ends with status 1 above 60 s or 2 GiB.
"""

import argparse
import json
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from abbe.runtime.package import InstanceRule, Thresholds
from abbe.runtime.postprocess.map_rule import MapRule
from abbe.runtime.tiling.field import Labels
from abbe.runtime.tiling.grid import Grid, Tile
from abbe.runtime.tiling.tiles import find_objects, labels_name
from abbe.runtime.tiling.work import Work
from abbe.runtime.writing.contours import Rings
from abbe.runtime.writing.geojson import write_geojson
from abbe.runtime.writing.outlines import outlines

CELL = 16
LIMIT_SECONDS, LIMIT_MIB = 60, 2048


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a million objects as GeoJSON.")
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--compressed", action="store_true")
    arguments = parser.parse_args()
    side = CELL * round(arguments.objects**0.5)
    grid = Grid.of((side, side), 1.0, 32, 1024, 64)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(arguments.workers) as pool:
        work = Work(Path(name) / "work", {})
        for tile in grid.tiles:
            work.put(labels_name(tile), discs(grid, tile), compress=True)
        started, cpu = time.perf_counter(), time.process_time()
        rule = MapRule(("foreground",), Thresholds(), InstanceRule(minimum_area=1))
        numbering = find_objects(grid, never, rule, work, pool, workers=arguments.workers)
        joined = time.perf_counter() - started
        path = Path(name) / ("out.geojson.gz" if arguments.compressed else "out.geojson")
        labels = Labels(grid, numbering, work)
        points = 0

        def counted(rings: Rings) -> Rings:
            nonlocal points
            points += len(rings.points)
            return rings

        parts = map(counted, outlines(labels, pool, 2 * arguments.workers))
        count = write_geojson(path, parts, pixel_size=0.5)
        figures = {
            "objects": count,
            "points": points,
            "seconds": time.perf_counter() - started,
            "seconds_joining": joined,
            "cpu_seconds": time.process_time() - cpu,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "file_mib": path.stat().st_size / 2**20,
        }
    print("\n".join(f"{name:16}{value:14,.1f}" for name, value in figures.items()))
    print(json.dumps(figures))
    if figures["seconds"] > LIMIT_SECONDS or figures["peak_mib"] > LIMIT_MIB:
        raise SystemExit(1)


def discs(grid: Grid, tile: Tile) -> np.ndarray:
    """The labels of a tile's field: one disc a cell, numbered from 1."""
    field = grid.field(tile)
    rows, columns = np.arange(field.top, field.bottom), np.arange(field.left, field.right)
    cell = (rows // CELL)[:, None] * grid.shape[1] + columns // CELL
    radius = 4.5 + (cell * 2654435761 % 1000) / 400
    y, x = (rows % CELL - CELL / 2 + 0.5)[:, None], columns % CELL - CELL / 2 + 0.5
    numbers = np.where(y * y + x * x < radius * radius, cell + 1, 0)
    return np.unique(numbers, return_inverse=True)[1].reshape(numbers.shape).astype(np.uint16)


def never(tile: Tile) -> np.ndarray:
    raise AssertionError("all tiles are labelled already")


if __name__ == "__main__":
    main()
