"""Where tiles lie: geometry only, in px of the network's grid and of the image."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from abbe.errors import ConfigError, InputError
from abbe.imaging import Region
from abbe.imaging.windows import Span, even_tile, spans

# Pixel sizes that differ by less are taken for the same: no image is resampled for nothing.
SAME_SCALE = 0.05
# More than this, and it is likelier that one of the pixel sizes is wrong.
_LARGEST_ENLARGEMENT, _LARGEST_REDUCTION = 8.0, 64.0


class Tile(NamedTuple):
    """Row and column of a tile in the grid of tiles."""

    row: int
    column: int


@dataclass(frozen=True)
class TilesInOrder(Sequence[Tile]):
    """All tiles of a grid, row by row; each is made when it is asked for."""

    rows: int
    columns: int

    def __len__(self) -> int:
        return self.rows * self.columns

    def __getitem__(self, number: Any) -> Any:
        """One tile, or for a slice a list of them."""
        found = range(len(self))[number]
        if isinstance(found, range):
            return [self[each] for each in found]
        return Tile(*divmod(found, self.columns))


@dataclass(frozen=True)
class Grid:
    """The tiles of an image: windows that the network sees, cores that do not overlap, halos.

    Attributes:
        image_shape: (H, W) of the image in px.
        shape: (h, w) of the image at the network's pixel size, in px of the network.
        halo: px of the network around a core in which objects are looked for too; what a window
            shows beyond that, or falls short of it, is the neighbours' to answer for.
        rows, columns: spans, in px of the network; windows may reach up to a divisor beyond
            ``shape``, where the image is continued by mirroring.
    """

    image_shape: tuple[int, int]
    shape: tuple[int, int]
    halo: int
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @staticmethod
    def of(
        image_shape: tuple[int, int],
        scale: float,
        divisor: int,
        tile: int,
        halo: int,
        margin: int | None = None,
    ) -> "Grid":
        """Cut an image.

        Args:
            image_shape: (H, W) in px.
            scale: px of the network for each px of the image.
            divisor: The network's windows are multiples of it.
            tile: Side of a window, a multiple of ``divisor``; less where as many windows suffice.
            halo: At least 1 px.
            margin: px of a window that are thrown away at its cut edges, a multiple of
                ``divisor`` and less than half of ``tile``; None for as many as the halo has.

        Raises:
            ConfigError: Tile and margin do not fit each other or the divisor, or there is no halo.
        """
        margin = halo if margin is None else margin
        if tile % divisor or margin % divisor or tile <= 2 * margin or halo < 1:
            raise ConfigError(
                f"tile {tile} px and its margin of {margin} px must be multiples of {divisor} px, "
                f"two margins less than a tile, and the halo ({halo} px) at least 1 px"
            )
        shape = tuple(max(1, round(side * scale)) for side in image_shape)
        padded = [-(-side // divisor) * divisor for side in shape]
        rows, columns = (
            _inside(spans(length, even_tile(length, tile, margin, divisor), margin), side)
            for length, side in zip(padded, shape, strict=True)
        )
        return Grid(image_shape, (shape[0], shape[1]), halo, rows, columns)

    @property
    def tiles(self) -> "TilesInOrder":
        """All tiles, row by row."""
        return TilesInOrder(len(self.rows), self.width)

    @property
    def width(self) -> int:
        """Tiles in a row."""
        return len(self.columns)

    @property
    def scaled(self) -> bool:
        """Whether the network's pixels are others than the image's."""
        return self.shape != self.image_shape

    @property
    def coarser_image(self) -> bool:
        """Whether the image has fewer pixels than the network sees."""
        return any(full < small for full, small in zip(self.image_shape, self.shape, strict=True))

    def area_seen(self, area: int) -> int:
        """An area in px of the image as areas are looked for: in the coarser of both pixels."""
        if self.coarser_image:
            return area
        seen, full = (side[0] * side[1] for side in (self.shape, self.image_shape))
        return max(1, math.ceil(area * seen / full))

    def number(self, tile: Tile) -> int:
        """The tile's place in ``tiles``."""
        return tile.row * self.width + tile.column

    def window(self, tile: Tile) -> Region:
        """What the network sees; it may reach beyond ``shape``."""
        rows, columns = self.rows[tile.row], self.columns[tile.column]
        return Region(rows.start, columns.start, rows.stop, columns.stop)

    def core(self, tile: Tile) -> Region:
        """The pixels that the tile answers for."""
        rows, columns = self.rows[tile.row], self.columns[tile.column]
        return Region(rows.core_start, columns.core_start, rows.core_stop, columns.core_stop)

    def field(self, tile: Tile) -> Region:
        """The core and the halo around it, as far as the image goes: where objects are found."""
        core = self.core(tile)
        return Region(
            max(core.top - self.halo, 0),
            max(core.left - self.halo, 0),
            min(core.bottom + self.halo, self.shape[0]),
            min(core.right + self.halo, self.shape[1]),
        )

    def around(self, tile: Tile) -> Iterator[Tile]:
        """The tile and its neighbours, corners included: all whose cores its field overlaps."""
        for row in self._near_rows[tile.row]:
            for column in self._near_columns[tile.column]:
                yield Tile(row, column)

    @cached_property
    def _near_rows(self) -> list[list[int]]:
        return _near(self.rows, self.halo)

    @cached_property
    def _near_columns(self) -> list[list[int]]:
        return _near(self.columns, self.halo)

    @cached_property
    def sources(self) -> tuple[np.ndarray, np.ndarray]:
        """For each row and column of the image the network's that its centre lies in."""
        rows, columns = (
            np.minimum(((np.arange(full) + 0.5) * (small / full)).astype(np.int64), small - 1)
            for full, small in zip(self.image_shape, self.shape, strict=True)
        )
        return rows, columns

    @cached_property
    def image_rows(self) -> tuple[tuple[int, int], ...]:
        """For each row of tiles the image's rows whose centres lie in its cores; maybe none."""
        return _in_image(self.rows, self.sources[0])

    @cached_property
    def image_columns(self) -> tuple[tuple[int, int], ...]:
        """The same for columns."""
        return _in_image(self.columns, self.sources[1])

    def image_core(self, tile: Tile) -> Region:
        """The core in px of the image: the pixels whose centres lie in it. It may be empty."""
        top, bottom = self.image_rows[tile.row]
        left, right = self.image_columns[tile.column]
        return Region(top, left, bottom, right)

    @cached_property
    def in_image(self) -> "Grid":
        """The cores as tiles of the image's own px, without halos; empty ones left out."""
        rows, columns = (
            tuple(Span(start, stop, start, stop) for start, stop in spans if start < stop)
            for spans in (self.image_rows, self.image_columns)
        )
        return Grid(self.image_shape, self.image_shape, 0, rows, columns)


def scale_between(image_size: float, package_size: float, source: str) -> float:
    """px of the network for each px of the image; 1 where the sizes differ by less than 5 %.

    Args:
        image_size: µm per px of the image.
        package_size: µm per px that the network was trained at.
        source: The image's name, for the message.

    Raises:
        InputError: They differ so much that one of them must be wrong.
    """
    scale = _sensible(image_size / package_size)
    if scale is None:
        raise InputError(
            f"{source}: its pixels are {image_size:g} µm wide, the network was trained at "
            f"{package_size:g} µm. One of the two is likely wrong: give the image's in µm with "
            "--override-pixel-size (in an experiment data.override_pixel_size)"
        )
    return scale


def scale_by_diameter(image_diameter: float, package_diameter: float, source: str) -> float:
    """px of the network for each px of the image; 1 where diameters differ by less than 5 %.

    Args:
        image_diameter: px across of the image's objects.
        package_diameter: px across of the objects that the network was trained on.
        source: The image's name, for the message.

    Raises:
        InputError: They differ so much that one of them must be wrong.
    """
    scale = _sensible(package_diameter / image_diameter)
    if scale is None:
        raise InputError(
            f"{source}: objects of {image_diameter:g} px; the network was trained on objects of "
            f"{package_diameter:g} px, too far from that. Give another --diameter, in px of the "
            "image"
        )
    return scale


def _sensible(scale: float) -> float | None:
    """The scale, 1 where it nearly is; None where something must be wrong."""
    if abs(scale - 1) <= SAME_SCALE:
        return 1.0
    return scale if 1 / _LARGEST_REDUCTION <= scale <= _LARGEST_ENLARGEMENT else None


def intersection(a: Region, b: Region) -> Region:
    """The pixels that lie in both; they must overlap."""
    return Region(
        max(a.top, b.top), max(a.left, b.left), min(a.bottom, b.bottom), min(a.right, b.right)
    )


def _in_image(found: tuple[Span, ...], sources: np.ndarray) -> tuple[tuple[int, int], ...]:
    edges = np.searchsorted(sources, [[span.core_start, span.core_stop] for span in found])
    return tuple((int(start), int(stop)) for start, stop in edges)


def _near(found: tuple[Span, ...], halo: int) -> list[list[int]]:
    """For each core those that it or the halo around it overlaps."""
    starts = np.array([span.core_start for span in found])
    stops = np.array([span.core_stop for span in found])
    first = np.searchsorted(stops, starts - halo, side="right")
    last = np.searchsorted(starts, stops + halo, side="left")
    return [list(range(a, b)) for a, b in zip(first.tolist(), last.tolist(), strict=True)]


def _inside(found: list[Span], length: int) -> tuple[Span, ...]:
    """Spans of the padded length, with cores that end with the image."""
    return tuple(span._replace(core_stop=min(span.core_stop, length)) for span in found)
