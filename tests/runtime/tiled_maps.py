"""Objects of maps that are known beforehand, by tiles and of the whole."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from abbe.runtime.package import InstanceRule, Thresholds
from abbe.runtime.postprocess.instances import instances_from_maps
from abbe.runtime.postprocess.map_rule import MapRule
from abbe.runtime.tiling.field import Labels
from abbe.runtime.tiling.grid import Grid, Tile
from abbe.runtime.tiling.tiles import find_objects
from abbe.runtime.tiling.work import Work

OUTPUTS = ("foreground", "boundary")


def find(
    maps: np.ndarray,
    grid: Grid,
    *,
    threshold: float = 0.5,
    minimum_area: int = 1,
    folder: Path | None = None,
    look: Callable[[Tile], None] = lambda tile: None,
) -> Labels:
    """The labels of maps (K, H, W) by tiles; ``look`` is told of every tile before its maps."""
    ends = grid.rows[-1].stop, grid.columns[-1].stop
    pads = [(0, max(end - side, 0)) for end, side in zip(ends, grid.shape, strict=True)]
    padded = np.pad(maps, ((0, 0), *pads), mode="symmetric")

    def maps_of(tile: Tile) -> np.ndarray:
        look(tile)
        top, left, bottom, right = grid.window(tile)
        return padded[:, top:bottom, left:right]

    rule = MapRule(
        OUTPUTS[: len(maps)],
        Thresholds(foreground=threshold),
        InstanceRule(minimum_area=minimum_area),
    )
    work = Work(folder, {"job": 1} if folder else None)
    with ThreadPoolExecutor(2) as pool:
        numbering = find_objects(grid, maps_of, rule, work, pool, workers=2)
    return Labels(grid, numbering, work)


def whole(maps: np.ndarray, threshold: float = 0.5, minimum_area: int = 1) -> np.ndarray:
    boundary = maps[1] if len(maps) > 1 else None
    return instances_from_maps(maps[0], boundary, threshold=threshold, minimum_area=minimum_area)
