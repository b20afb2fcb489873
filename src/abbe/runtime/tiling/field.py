"""Labels, maps and classes of an image, in px of the image, read by region."""

import threading
from collections import OrderedDict
from collections.abc import Callable

import cc3d
import numpy as np

from abbe.imaging import Region
from abbe.runtime.postprocess.calibration import calibrated
from abbe.runtime.tiling.grid import Grid, Tile, intersection
from abbe.runtime.tiling.seams import Numbering, crop
from abbe.runtime.tiling.tiles import classes_name, labels_name, maps_name
from abbe.runtime.tiling.work import Work

_KEPT = 128 << 20
"""Bytes of decoded tiles that a field keeps for the next read."""


class Field:
    """An array over an image that is computed tile by tile and read by region, by several threads.

    Attributes:
        grid: How the image is cut.
        shape: (H, W) of the image.
    """

    def __init__(self, grid: Grid, core: Callable[[Tile], np.ndarray]) -> None:
        """``core`` gives a tile's part of the image, (…, h, w) of ``grid.image_core``."""
        self.grid = grid
        self.shape = grid.image_shape
        self._core = core
        self._kept: OrderedDict[Tile, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def core(self, tile: Tile) -> np.ndarray:
        """The part that one tile answers for; not to be written to."""
        with self._lock:
            if tile in self._kept:
                self._kept.move_to_end(tile)
                return self._kept[tile]
        core = self._core(tile)
        with self._lock:
            if tile not in self._kept:
                self._kept[tile] = core
                self._bytes += core.nbytes
            while self._bytes > _KEPT and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return core

    def read(self, region: Region | None = None) -> np.ndarray:
        """A region of the image, (…, h, w); None for all of it."""
        region = region or Region(0, 0, *self.shape)
        joined: np.ndarray | None = None
        for tile in self._tiles_in(region):
            own = self.grid.image_core(tile)
            core = self.core(tile)
            if joined is None:
                shape = region.bottom - region.top, region.right - region.left
                joined = np.zeros((*core.shape[:-2], *shape), core.dtype)
            shared = intersection(own, region)
            crop(joined, region, shared)[:] = crop(core, own, shared)
        assert joined is not None  # cores cover the image
        return joined

    def _tiles_in(self, region: Region) -> list[Tile]:
        rows, columns = self.grid.image_rows, self.grid.image_columns
        return [
            Tile(row, column)
            for row, (top, bottom) in enumerate(rows)
            if top < region.bottom and region.top < bottom
            for column, (left, right) in enumerate(columns)
            if left < region.right and region.left < right
        ]


class Labels(Field):
    """Instances, int32: 0 = background, objects 1…count in reading order.

    Attributes:
        count: How many objects there are.
        numbering: How tiles make up objects.
        work: Where the tiles are kept.
    """

    def __init__(
        self, grid: Grid, numbering: Numbering, work: Work, parts: Numbering | None = None
    ) -> None:
        """``parts``: numbers for the parts of objects in px of the image, if they are chosen."""

        def core(tile: Tile) -> np.ndarray:
            labels = work.get(labels_name(tile), compressed=True)
            own = crop(labels, grid.field(tile), grid.core(tile))
            numbers = _enlarged(numbering.of_tile[grid.number(tile)][own], grid, tile)
            return numbers if parts is None else parts.of_tile[grid.number(tile)][parts_of(numbers)]

        super().__init__(grid, core)
        self.numbering = parts or numbering
        self.count = self.numbering.count
        self.work = work
        self._joined = numbering

    def of_parts(self, parts: Numbering) -> "Labels":
        """The same with other numbers, those of `one_part.numbering_of_parts`."""
        return Labels(self.grid, self._joined, self.work, parts)


class Maps(Field):
    """Probability maps, (K, …) uint8 = round(255 p).

    Attributes:
        outputs: Names of the K maps.
    """

    def __init__(
        self,
        grid: Grid,
        outputs: tuple[str, ...],
        work: Work,
        temperature: tuple[float, ...] = (),
        *,
        exclusive: bool = False,
    ) -> None:
        """``temperature`` and ``exclusive``: as `calibrated` takes them."""

        def core(tile: Tile) -> np.ndarray:
            maps = work.get(maps_name(tile), compressed=False)
            maps = calibrated(maps, temperature, exclusive=exclusive)
            return _enlarged(np.rint(maps * 255).astype(np.uint8), grid, tile)

        super().__init__(grid, core)
        self.outputs = outputs


class ClassMap(Field):
    """The number of each pixel's class, uint8.

    Attributes:
        names: Of the classes, in the order of their numbers from 0.
    """

    def __init__(self, grid: Grid, names: tuple[str, ...], work: Work) -> None:
        def core(tile: Tile) -> np.ndarray:
            return _enlarged(work.get(classes_name(tile), compressed=True), grid, tile)

        super().__init__(grid, core)
        self.names = names
        self.work = work


def parts_of(labels: np.ndarray) -> np.ndarray:
    """(h, w) int32: the 4-connected parts of the objects, numbered from 1, 0 outside."""
    if not labels.size:
        return np.zeros(labels.shape, np.int32)
    return cc3d.connected_components(labels, connectivity=4).astype(np.int32)


def _enlarged(core: np.ndarray, grid: Grid, tile: Tile) -> np.ndarray:
    """From the network's pixels to the image's: each takes the value that its centre lies in."""
    if not grid.scaled:
        return core
    own, region = grid.core(tile), grid.image_core(tile)
    rows = grid.sources[0][region.top : region.bottom] - own.top
    columns = grid.sources[1][region.left : region.right] - own.left
    return core[..., rows[:, None], columns]
