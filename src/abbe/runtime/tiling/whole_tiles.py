"""Tiles that are classified each by itself: where they lie, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from abbe.imaging import Image, Region
from abbe.imaging.windows import Span, spans

if TYPE_CHECKING:
    from abbe.runtime.tiling.tissue import Tissue


@dataclass(frozen=True)
class Tiles:
    """How an image is cut into tiles that are classified each by itself, in px of the image.

    Attributes:
        rows, columns: Spans; a tile's core is what it answers for, its window what is looked at.
            Cores cover the image and do not overlap. Windows are the same but for the last row
            and column, which move back to end with the image.
    """

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @staticmethod
    def of(shape: tuple[int, int], side: int) -> Tiles:
        """Cut an image of (H, W) px into tiles of ``side`` px; what is smaller stays whole."""
        height, width = shape
        return Tiles(tuple(spans(height, side, 0)), tuple(spans(width, side, 0)))

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def window(self, row: int, column: int) -> Region:
        """What the network looks at."""
        down, across = self.rows[row], self.columns[column]
        return Region(down.start, across.start, down.stop, across.stop)

    def core(self, row: int, column: int) -> Region:
        """What the tile answers for."""
        down, across = self.rows[row], self.columns[column]
        return Region(down.core_start, across.core_start, down.core_stop, across.core_stop)

    @property
    def areas(self) -> np.ndarray:
        """(R, C) px that each tile answers for."""
        down, across = (
            np.array([span.core_stop - span.core_start for span in side])
            for side in (self.rows, self.columns)
        )
        return down[:, None] * across


@dataclass(frozen=True)
class ClassPrediction:
    """What a package says of an image.

    Attributes:
        image: The image.
        tiles: How it was cut.
        probabilities: (R, C, K) float32 of each tile, row by row.
        names: Of the K classes.
        channels: Channels of the image that the network saw, in its order.
        tissue: Which tiles of a slide were looked at; the others have no probabilities (NaN). None
            for all.
    """

    image: Image
    tiles: Tiles
    probabilities: np.ndarray
    names: tuple[str, ...]
    channels: tuple[str, ...]
    tissue: Tissue | None = None

    @property
    def taken(self) -> np.ndarray:
        """(R, C) bool: the tiles that were looked at."""
        if self.tissue is None:
            return np.ones(self.probabilities.shape[:2], bool)
        return self.tissue.taken

    @property
    def whole(self) -> np.ndarray:
        """(K,) float32: the mean of the tiles looked at, each as much as it answers for."""
        taken = self.taken
        areas = self.tiles.areas[taken][:, None]
        mean = (self.probabilities[taken] * areas).sum(0, dtype=np.float64) / areas.sum()
        return mean.astype(np.float32)

    @property
    def classes(self) -> np.ndarray:
        """(R, C) number of each tile's most probable class; −1 of those not looked at."""
        return np.where(self.taken, self.probabilities.argmax(-1), -1)
