"""Run a network of limited or fixed input size over an image of any size, read tile by tile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.imaging import Region
from abbe.imaging.windows import spans
from abbe.teachers.teacher import NOT_STORED

Pixels = Callable[[Region], NDArray[np.float32]]
"""A region of the prepared image, (C, h, w)."""
Network = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""(C, h, w) → (K, h, w)."""


@dataclass(frozen=True)
class Sides:
    """The lengths in px that a network accepts along one axis.

    Attributes:
        minimum: the shortest.
        step: longer ones are ``minimum`` + k · ``step``; 0 where there is no other.
    """

    minimum: int
    step: int = 0

    def fit(self, length: int, limit: int) -> int:
        """The shortest side that holds ``length``, or if less the longest within ``limit``."""
        if self.step == 0:
            return self.minimum
        wanted = max(0, -(-(length - self.minimum) // self.step))
        allowed = max(0, (limit - self.minimum) // self.step)
        return self.minimum + self.step * min(wanted, allowed)

    def continued(self, length: int, window: int) -> int:
        """``length``, continued so that windows cover it; the last one on the grid of steps.

        Where a window is a single step it ends with the image: little of it would be image else.
        """
        if window >= length:
            return window
        return length if window < 2 * self.step or not self.step else _up(length, self.step)


@dataclass(frozen=True)
class Tiling:
    """How an image is cut for a network.

    Attributes:
        rows, columns: sides that the network accepts.
        tile: images with a longer side (px) are cut into tiles of at most this side.
        halo: px at each inner edge of a tile that are computed and thrown away, because the
            network did not see what lies beyond.
        padding: how the image is continued: reflect leaves the border pixel single, symmetric
            repeats it, as :func:`abbe.students.predict` does.
    """

    rows: Sides
    columns: Sides
    tile: int = 1024
    halo: int = 64
    padding: Literal["reflect", "symmetric"] = "reflect"

    def __post_init__(self) -> None:
        if self.tile < 1 or self.halo < 0:
            raise ConfigError(
                f"tile {self.tile} and halo {self.halo} px: give a tile of at least 1"
            )

    @classmethod
    def multiples(cls, divisor: int, tile: int, halo: int) -> "Tiling":
        """Sides that are multiples of ``divisor``.

        Raises:
            ConfigError: ``divisor``, ``tile`` or ``halo`` is impossible.
        """
        if divisor < 1:
            raise ConfigError(f"divisor must be at least 1, not {divisor}")
        return cls(Sides(divisor, divisor), Sides(divisor, divisor), tile, halo)


def settings_of(outputs: Sequence[str], tiling: Tiling, **others: object) -> dict[str, str]:
    """What a store must know of how a network is run, so that no other answers get into it.

    Args:
        outputs: names of all maps that the network gives: which one is stored depends on them.
        tiling: how images are cut, on which answers depend near the edges of tiles.
        others: by name, what else they depend on; None is left out.
    """
    all_maps = ", ".join(outputs) if NOT_STORED in outputs else None
    given = {**others, "maps": all_maps, "tile": tiling.tile, "halo": tiling.halo}
    return {name: str(value) for name, value in given.items() if value is not None}


def run_in_tiles(
    network: Network, read: Pixels, shape: tuple[int, int], tiling: Tiling, origin: str
) -> NDArray[np.float32]:
    """Apply ``network`` to an image of ``shape`` (H, W) and join its maps, (K, H, W).

    Only one tile is held besides the joined maps. At the bottom and right the image is continued
    by reflection, up to the shortest window or to a whole number of the network's steps, so that
    a network with strides sees every tile on the same grid.

    Raises:
        InputError: the network's maps are not of its input's size.
        ConfigError: the halo leaves nothing of a tile.
    """
    height, width = shape
    rows = tiling.rows.fit(height, tiling.tile)
    columns = tiling.columns.fit(width, tiling.tile)
    joined: NDArray[np.float32] | None = None
    for own_rows in spans(tiling.rows.continued(height, rows), rows, tiling.halo):
        for own_columns in spans(tiling.columns.continued(width, columns), columns, tiling.halo):
            top, left = own_rows.start, own_columns.start
            bottom, right = min(top + rows, height), min(left + columns, width)
            tile = read(Region(top, left, bottom, right))
            padding = (0, 0), (0, top + rows - bottom), (0, left + columns - right)
            maps = network(np.pad(tile, padding, mode=tiling.padding))
            if maps.ndim != 3 or maps.shape[1:] != (rows, columns):
                raise InputError(
                    f"{origin} answers an image of {rows} x {columns} px with an array of shape "
                    f"{maps.shape}; only networks that give maps (K, H, W) of the image's size "
                    "can teach"
                )
            if joined is None:
                joined = np.empty((len(maps), height, width), np.float32)
            down = slice(own_rows.core_start, min(own_rows.core_stop, height))
            across = slice(own_columns.core_start, min(own_columns.core_stop, width))
            inside = slice(down.start - top, down.stop - top)
            joined[:, down, across] = maps[
                :, inside, slice(across.start - left, across.stop - left)
            ]
    assert joined is not None  # an image has at least one window
    return joined


def _up(length: int, step: int) -> int:
    """The next multiple of ``step``."""
    return -(-length // step) * step
