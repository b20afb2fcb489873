"""Find the objects of an image of any size, tile by tile, in memory bounded by tiles.

Each tile goes through two steps: the network gives the maps of its core; then, once its neighbours
have theirs, objects are found in core and halo. What a step computes is kept in `Work`, so an
interrupted run goes on at the next tile. The steps of different tiles overlap in threads:
networks, watersheds and decoders do not hold Python's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace

import numpy as np

from abbe.imaging import Image
from abbe.object_types import type_maps, types_in
from abbe.runtime.job import Block
from abbe.runtime.package.engine import Engine
from abbe.runtime.postprocess.map_rule import MapRule
from abbe.runtime.tiling.blocks import tiles_of
from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.grid import Grid, Tile, intersection
from abbe.runtime.tiling.sampling import level_to_read, read_window
from abbe.runtime.tiling.seams import (
    Numbering,
    Pieces,
    crop,
    keep_numbering,
    kept_numbering,
    number_objects,
    pieces_of,
    same_objects,
)
from abbe.runtime.tiling.timing import Timings
from abbe.runtime.tiling.work import Work

Advance = Callable[[float], None]
"""Told the share of the tiles that is newly done."""

MapsOf = Callable[[Tile], np.ndarray]
"""A tile's window → (K, h, w) probabilities."""


def network_maps(
    engine: Engine,
    image: Image,
    channels: tuple[str, ...],
    limits: np.ndarray,
    grid: Grid,
    timings: Timings,
) -> MapsOf:
    """The maps of a tile by the network, whose window is read when asked for.

    Of an image with a pyramid the coarsest level that is fine enough is read.

    Raises:
        InputError: The levels of the pyramid are damaged or do not fit each other.
    """
    source = level_to_read(image, grid)

    def maps(tile: Tile) -> np.ndarray:
        with timings.measure("read"):
            window = read_window(source, channels, limits, grid, grid.window(tile))
        with timings.measure("network"):
            return engine.probabilities(window[None])[0]

    return maps


def find_objects(
    grid: Grid,
    maps_of: MapsOf,
    rule: MapRule,
    work: Work,
    pool: Executor,
    *,
    workers: int,
    keep_maps: bool = False,
    timings: Timings | None = None,
    advance: Advance | None = None,
) -> Numbering:
    """Label every tile, and join what lies on seams.

    Args:
        grid: How the image is cut.
        maps_of: Gives the maps of a tile's window.
        rule: How maps become instances.
        work: Where tiles are kept; labels of tile (r, c) under the name ``labels-r-c``.
        pool: Threads.
        workers: How many tiles to have in hand at a time.
        keep_maps: Keep ``maps-r-c`` (K, h, w) of every core, else only as long as needed.
        timings: Where to add the time of the step "instances".
        advance: Told the progress.

    Returns:
        The objects of the image; labels stay in ``work``.
    """
    timings, advance = timings or Timings(), advance or (lambda share: None)
    if (kept := kept_numbering(work)) is not None:  # others have found them
        advance(1.0)
        return kept
    return _find(_Job(grid, maps_of, rule, work, keep_maps, timings), pool, 2 * workers, advance)


def _find(job: _Job, pool: Executor, most: int, advance: Advance) -> Numbering:
    grid = job.grid
    _run(job, pool, most, _Progress(job, advance, grid.tiles))
    pieces, matches = [], []
    for place, (found, seams) in enumerate(in_order(pool, job.measure, grid.tiles, most)):
        pieces.append(found)
        matches.extend((place, grid.number(other), pairs) for other, pairs in seams)
    return number_objects(pieces, matches, job.rule.instances.minimum_area)


def forget_objects(grid: Grid, work: Work) -> None:
    """Drop what was found in an image, but not the maps: other thresholds find other objects."""
    for tile in grid.tiles:
        for name in (labels_name(tile), _probability_name(tile), _pieces_name(tile)):
            work.drop(name, compressed=True)


def compute_block(
    grid: Grid,
    maps_of: MapsOf,
    rule: MapRule,
    work: Work,
    pool: Executor,
    block: Block,
    *,
    workers: int,
    keep_maps: bool = False,
    timings: Timings | None = None,
    advance: Advance | None = None,
) -> None:
    """Of a block, what `find_objects` would compute first; it then finds it in ``work``.

    At first maps of all its tiles, and labels of those whose neighbours are in the block, too. Its
    seams, once all blocks have come so far, are the labels of the others: their maps were kept.
    Then all is measured that has what it needs, in neighbouring blocks, too: little is left for
    whoever numbers the objects, once all blocks have come so far. Other arguments are those of
    `find_objects`.
    """
    advance = advance or (lambda share: None)
    job = _Job(grid, maps_of, rule, work, keep_maps, timings or Timings())
    if block.step == "numbers":
        if kept_numbering(work) is None:
            keep_numbering(work, _find(job, pool, 2 * workers, advance))
        return
    tiles = tiles_of(block)
    within = frozenset(tiles)
    inner = [tile for tile in tiles if within.issuperset(grid.around(tile))]
    if block.step == "seams":
        tiles = sorted(within.difference(inner))
        progress = _Progress(job, advance, tiles, forget=False)
    else:
        progress = _Progress(job, advance, inner, mapped=tiles)
    _run(job, pool, 2 * workers, progress)
    if block.step == "seams":
        (top, bottom), (left, right) = block.rows, block.columns
        near = replace(block, rows=(max(top - 1, 0), bottom), columns=(max(left - 1, 0), right))
        for _ in in_order(pool, job.keep_measured, tiles_of(near), 2 * workers):
            pass


@dataclass(frozen=True)
class _Job:
    """The two steps of a tile, and what they leave in the work."""

    grid: Grid
    maps_of: MapsOf
    rule: MapRule
    work: Work
    keep_maps: bool
    timings: Timings

    def compute_maps(self, tile: Tile) -> None:
        maps = self.maps_of(tile)
        core = crop(maps, self.grid.window(tile), self.grid.core(tile))
        self.work.put(maps_name(tile), np.ascontiguousarray(core), compress=False)

    def compute_labels(self, tile: Tile) -> None:
        with self.timings.measure("instances"):
            # Small objects may be parts of larger ones: they are left out once pieces are joined.
            maps = self._assemble(tile)
            labels = self.rule.objects(maps, minimum_area=1)
            # Before the labels: where these are, both are.
            self.work.put(
                _probability_name(tile), self._probability(tile, maps, labels), compress=True
            )
            small = np.uint16 if labels.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
            self.work.put(labels_name(tile), labels.astype(small), compress=True)

    def measure(self, tile: Tile) -> tuple[Pieces, list[tuple[Tile, np.ndarray]]]:
        """The tile's pieces, and its matches with the tiles to the right and below."""
        with self.timings.measure("instances"):
            probability = self.work.get(_probability_name(tile), compressed=True)
            if self.work.has(_pieces_name(tile), compressed=True):
                pairs = self.work.get(_pairs_name(tile), compressed=True)
                area, rows, columns = self.work.get(_pieces_name(tile), compressed=True)
                following = enumerate(self.following(tile))
                seams = [(other, pairs[pairs[:, 2] == n, :2]) for n, other in following]
                return Pieces(area, rows, columns, probability), seams
            labels, field = self.labels(tile), self.grid.field(tile)
            seams = [
                (other, same_objects(labels, field, self.labels(other), self.grid.field(other)))
                for other in self.following(tile)
            ]
            return pieces_of(labels, field, self.grid.core(tile), probability), seams

    def keep_measured(self, tile: Tile) -> None:
        """`measure` finds what it gives in the work: pieces, and pairs with the place of which.

        Unless labels that it needs are still to come: whoever computes those is to do it.
        """
        if self.work.has(_pieces_name(tile), compressed=True) or not all(
            map(self.has_labels, (tile, *self.following(tile)))
        ):
            return
        found, seams = self.measure(tile)
        pairs = [np.insert(each, 2, n, axis=1) for n, (_, each) in enumerate(seams)]
        joined = np.concatenate(pairs) if pairs else np.zeros((0, 3), np.int64)
        # Before the pieces: where these are, both are.
        self.work.put(_pairs_name(tile), joined, compress=True)
        pieces = np.stack([found.area, found.first_row, found.first_column])
        self.work.put(_pieces_name(tile), pieces, compress=True)

    def following(self, tile: Tile) -> list[Tile]:
        """The tiles to the right and below, as far as there are any."""
        return [
            other
            for other in (Tile(tile.row, tile.column + 1), Tile(tile.row + 1, tile.column))
            if other.row < len(self.grid.rows) and other.column < self.grid.width
        ]

    def _probability(self, tile: Tile, maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(n + 1, M) sums of probabilities over each object's pixels in the core; see `Pieces`."""
        place, outputs = (self.grid.field(tile), self.grid.core(tile)), self.rule.outputs
        numbers, count = crop(labels, *place), int(labels.max(initial=0)) + 1
        inside = numbers > 0  # most pixels are background, and calibration is costly
        numbers, maps = numbers[inside], crop(maps, *place)[:, inside]
        types = (maps[outputs.index(each)] for each in type_maps(types_in(outputs)))
        summed = (self.rule.told_foreground(maps), *types)
        return np.stack([np.bincount(numbers, each, count) for each in summed], axis=1)

    def labels(self, tile: Tile) -> np.ndarray:
        return self.work.get(labels_name(tile), compressed=True)

    def has_maps(self, tile: Tile) -> bool:
        return self.work.has(maps_name(tile), compressed=False)

    def has_labels(self, tile: Tile) -> bool:
        names = labels_name(tile), _probability_name(tile)
        return all(self.work.has(name, compressed=True) for name in names)

    def forget_maps(self, tile: Tile) -> None:
        if not self.keep_maps:
            self.work.drop(maps_name(tile), compressed=False)

    def _assemble(self, tile: Tile) -> np.ndarray:
        """The maps of the tile's field, (K, h, w), from those of the cores that it touches."""
        field = self.grid.field(tile)
        shape = field.bottom - field.top, field.right - field.left
        joined = np.empty((len(self.rule.outputs), *shape), np.float32)
        for near in self.grid.around(tile):
            core = self.grid.core(near)
            shared = intersection(core, field)
            stored = self.work.get(maps_name(near), compressed=False)
            crop(joined, field, shared)[:] = crop(stored, core, shared)
        return joined


def _run(job: _Job, pool: Executor, most: int, progress: _Progress) -> None:
    """Take tiles through both steps, with at most ``most`` steps in hand at a time."""
    running: dict[Future[None], tuple[Tile, bool]] = {}
    try:
        while True:
            while len(running) < most and (step := progress.next_step()) is not None:
                tile, has_maps = step
                compute = job.compute_labels if has_maps else job.compute_maps
                running[pool.submit(compute, tile)] = step
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                tile, has_labels = running.pop(future)
                future.result()
                if has_labels:
                    progress.labelled(tile)
                else:
                    progress.mapped(tile)
    finally:
        for future in running:
            future.cancel()
        wait(running)


class _Progress:
    """Which step of which tile is due; each tile is looked at when its turn comes."""

    def __init__(
        self,
        job: _Job,
        advance: Advance,
        labelled: Sequence[Tile],
        *,
        mapped: Sequence[Tile] = (),
        forget: bool = True,
    ) -> None:
        """Of which tiles labels are due, of which others maps; whether maps are let go."""
        self._job, self._advance = job, advance
        self._grid, self._forget = job.grid, forget
        self._upcoming, self._others = iter(labelled), iter(mapped)
        count = len(job.grid.tiles)
        self._share = 1 / max(1, len(labelled))
        # A byte a tile, of which only those are touched whose turn has come: there may be millions.
        self._has_maps, self._has_labels = np.zeros(count, bool), np.zeros(count, bool)
        self._asked = np.zeros(count, bool)  # for its maps
        self._lacking: set[Tile] = set()  # tiles that wait for maps
        self._unmapped: deque[Tile] = deque()
        self._ready: list[Tile] = []
        advance(0.0)  # it has begun

    def next_step(self) -> tuple[Tile, bool] | None:
        """A tile, and whether it has its maps and waits for labels; None if nothing can be done."""
        while not self._ready and not self._unmapped:
            if (tile := next(self._upcoming, None)) is not None:
                self._take_up(tile)
            elif (tile := next(self._others, None)) is not None:
                self._ask_for_maps(tile)
            else:
                return None
        if self._ready:  # first what frees maps
            return self._ready.pop(), True
        return self._unmapped.popleft(), False

    def mapped(self, tile: Tile) -> None:
        """The tile has its maps."""
        self._has_maps[self._grid.number(tile)] = True
        for near in self._grid.around(tile):
            if near in self._lacking and self._all(near, self._has_maps):
                self._lacking.remove(near)
                self._ready.append(near)

    def labelled(self, tile: Tile) -> None:
        """The tile has its labels; maps that no tile needs any more are let go."""
        self._has_labels[self._grid.number(tile)] = True
        self._advance(self._share)
        for near in self._grid.around(tile) if self._forget else ():
            if self._all(near, self._has_labels):
                self._job.forget_maps(near)

    def _ask_for_maps(self, tile: Tile) -> None:
        """Of a tile whose neighbours will need them, unless they have labels by now."""
        number = self._grid.number(tile)
        if self._asked[number] or all(map(self._job.has_labels, self._grid.around(tile))):
            return
        self._asked[number] = True
        if not self._job.has_maps(tile):
            self._unmapped.append(tile)

    def _take_up(self, tile: Tile) -> None:
        if self._job.has_labels(tile):  # of a run that was interrupted
            self.labelled(tile)
            return
        for near in self._grid.around(tile):
            number = self._grid.number(near)
            if self._asked[number]:
                continue
            self._asked[number] = True
            if self._job.has_maps(near):
                self._has_maps[number] = True
            else:
                self._unmapped.append(near)
        if self._all(tile, self._has_maps):
            self._ready.append(tile)
        else:
            self._lacking.add(tile)

    def _all(self, tile: Tile, marks: np.ndarray) -> bool:
        return all(marks[self._grid.number(near)] for near in self._grid.around(tile))


def maps_name(tile: Tile) -> str:
    """Under which name the work keeps a tile's maps."""
    return f"maps-{tile.row}-{tile.column}"


def labels_name(tile: Tile) -> str:
    """Under which name the work keeps a tile's labels."""
    return f"labels-{tile.row}-{tile.column}"


def _probability_name(tile: Tile) -> str:
    """Under which name the work keeps how probable a tile's objects are."""
    return f"means-{tile.row}-{tile.column}"


def _pieces_name(tile: Tile) -> str:
    """Under which name the work keeps where a tile's objects begin, and their area."""
    return f"pieces-{tile.row}-{tile.column}"


def _pairs_name(tile: Tile) -> str:
    """Under which name the work keeps which of a tile's objects its neighbours mean, too."""
    return f"pairs-{tile.row}-{tile.column}"


def classes_name(tile: Tile) -> str:
    """Under which name the work keeps the class of each pixel of a tile's core."""
    return f"classes-{tile.row}-{tile.column}"
