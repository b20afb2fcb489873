"""Which parts of a slide are worth computing: glass, ink and blur are left out.

The rules are those by which tiles are chosen for training (`abbe.imaging.tissue`). What is no slide
(see `may_be_slide`) or is dark, as fluorescence saved in colours, is computed whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, fields, replace

import numpy as np

from abbe.errors import InputError
from abbe.imaging import Image, Region, slide_of
from abbe.imaging.channels import RGB
from abbe.imaging.slide import SIZE_TOLERANCE, Slide
from abbe.imaging.tissue import USUAL_LIMITS, Limits, Masks, Verdict, judged, masks_of, overview
from abbe.imaging.tissue.mask import BLACK
from abbe.runtime.tiling.cutting import may_be_slide
from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.grid import Grid, Tile
from abbe.runtime.tiling.seams import crop
from abbe.runtime.tiling.tiles import MapsOf
from abbe.runtime.tiling.work import Work

SHARPNESS_AT = 0.5
"""µm per px at which the limit of sharpness is meant."""
SQUARE = 128.0
"""µm, the side of the squares that are taken or left out where pixels are answered for: that of a
tile of 256 px at 0.5 µm."""
VERDICTS: tuple[Verdict, ...] = ("taken", "empty", "pen", "blurred")


@dataclass(frozen=True)
class Tissue:
    """What is taken of a slide.

    Attributes:
        rows, columns: Where places begin, and the last one's end, in px of the image.
        verdicts: (R, C) of each place, as its number in `VERDICTS`.
    """

    rows: np.ndarray
    columns: np.ndarray
    verdicts: np.ndarray

    @property
    def taken(self) -> np.ndarray:
        """(R, C) bool: the places that are taken."""
        return self.verdicts == 0

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(len(rows), len(columns)): verdicts of the places in which these px of the image lie."""
        places = (
            np.clip(np.searchsorted(edges, values, "right") - 1, 0, len(edges) - 2)
            for edges, values in ((self.rows, rows), (self.columns, columns))
        )
        down, across = places
        return self.verdicts[down[:, None], across]

    def mask(self, grid: Grid, window: Region) -> np.ndarray:
        """(h, w) bool: which px of a window of the network are taken; see `Grid.window`."""
        down, across = (
            full / small for full, small in zip(grid.image_shape, grid.shape, strict=True)
        )
        rows = (np.arange(window.top, window.bottom) + 0.5) * down
        columns = (np.arange(window.left, window.right) + 0.5) * across
        return self.at(rows, columns) == 0

    def words(self) -> str:
        """How much was taken and left out."""
        found = Counter(np.asarray(VERDICTS)[self.verdicts].ravel().tolist())
        told = [
            f"{found[verdict]:,} {name}"
            for verdict, name in (("empty", "of glass"), ("pen", "of ink"), ("blurred", "blurred"))
            if found[verdict]
        ]
        left_out = f"; left out: {', '.join(told)}" if told else ""
        places = self.verdicts.size
        return f"{found['taken']:,} of {places:,} places of the slide have tissue{left_out}"


def within(maps_of: MapsOf, grid: Grid, tissue: Tissue | None, outside: np.ndarray) -> MapsOf:
    """The maps of windows with ``outside``, (K,), where nothing is taken; computed where it is."""
    if tissue is None:
        return maps_of

    def maps(tile: Tile) -> np.ndarray:
        window = grid.window(tile)
        taken = tissue.mask(grid, window)
        if not crop(taken, window, grid.core(tile)).any():
            return np.broadcast_to(outside[:, None, None], (len(outside), *taken.shape))
        found = maps_of(tile)
        return found if taken.all() else np.where(taken, found, outside[:, None, None])

    return maps


def kept(work: Work, judge: Callable[[], Tissue | None]) -> Tissue | None:
    """What ``judge`` says of an image; kept, for it takes looking at the whole slide.

    Args:
        work: Of the image.
        judge: Asked where nobody has been asked before.
    """
    if not work.has(_kept_name("verdicts"), compressed=True):
        nowhere = np.zeros(0, np.int64)
        found = judge() or Tissue(nowhere, nowhere, np.zeros((0, 0), np.int8))
        for name in _ARRAYS:  # the verdicts at last: where these are, all are
            work.put(_kept_name(name), getattr(found, name), compress=True)
    there = Tissue(*(work.get(_kept_name(name), compressed=True) for name in _ARRAYS))
    return there if there.verdicts.size else None


_ARRAYS = tuple(each.name for each in fields(Tissue))


def _kept_name(array: str) -> str:
    """Under which name the work keeps an array of what is taken of a slide."""
    return f"tissue-{array}"


def squares_of(image: Image, pool: Executor, most: int) -> Tissue | None:
    """Judge squares of 128 µm: those are taken with any tissue, no ink, and no blur.

    A square that is less than half tissue is not held to be blurred: glass has no detail.

    Args:
        image: Any image.
        pool, most: Threads, and how many squares to have in hand.

    Returns:
        What is taken; None where the image is no slide.

    Raises:
        InputError: Nothing is taken, or pixels cannot be read.
    """
    if not may_be_slide(image):
        return None
    side = SQUARE / image.require_pixel_size()
    rows, columns = (
        np.append(np.round(np.arange(0, length, side)), length).astype(np.int64)
        for length in image.shape
    )
    return _judge(image, np.unique(rows), np.unique(columns), Limits(minimum_tissue=0), pool, most)


def tiles_of(
    image: Image, rows: Sequence[int], columns: Sequence[int], pool: Executor, most: int
) -> Tissue | None:
    """Judge tiles that are classified: by the limits that training knows, half of each tissue.

    Args:
        image: Any image.
        rows, columns: Where tiles begin, and the last one's end.
        pool, most: Threads, and how many tiles to have in hand.

    Returns:
        What is taken; None where the image is no slide.

    Raises:
        InputError: Nothing is taken, or pixels cannot be read.
    """
    if not may_be_slide(image):
        return None
    return _judge(image, np.asarray(rows), np.asarray(columns), USUAL_LIMITS, pool, most)


def _judge(
    image: Image, rows: np.ndarray, columns: np.ndarray, limits: Limits, pool: Executor, most: int
) -> Tissue | None:
    slide = slide_of(image)
    rgb = overview(slide).read(channels=RGB)
    if np.mean(rgb.max(0) < BLACK) > 0.5:
        return None  # fluorescence, saved in colours
    masks = masks_of(rgb)
    whole, limits = _seen_sharp(slide, limits)
    places = [
        Region(top, left, bottom, right)
        for top, bottom in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True)
        for left, right in zip(columns[:-1].tolist(), columns[1:].tolist(), strict=True)
    ]

    def verdict(place: Region) -> int:
        return VERDICTS.index(_verdict(whole, _scaled(place, image, whole), masks, limits))

    found = np.array(list(in_order(pool, verdict, places, most)), np.int8)
    tissue = Tissue(rows, columns, found.reshape(len(rows) - 1, len(columns) - 1))
    if not tissue.taken.any():
        raise InputError(
            f"{image.source}: no tissue is seen on this slide: {tissue.words()}. "
            "--all-tiles computes all of it"
        )
    return tissue


def _seen_sharp(slide: Slide, limits: Limits) -> tuple[Image, Limits]:
    """The slide at the pixel size for sharpness; a coarser slide is not held to be blurred."""
    own = slide.levels[0].require_pixel_size()
    if own > SHARPNESS_AT * (1 + SIZE_TOLERANCE):
        return slide.levels[0], replace(limits, minimum_sharpness=0)
    return slide.at(SHARPNESS_AT), limits


def _verdict(whole: Image, place: Region, masks: Masks, limits: Limits) -> Verdict:
    if limits.minimum_tissue > 0:
        return judged(whole, place, masks, limits).verdict
    unread = replace(limits, minimum_sharpness=0)
    share = judged(whole, place, masks, unread)
    if share.verdict != "taken":
        return share.verdict
    if share.tissue == 0:
        return "empty"
    if share.tissue < USUAL_LIMITS.minimum_tissue:
        return "taken"
    return judged(whole, place, masks, limits).verdict


def _scaled(place: Region, image: Image, whole: Image) -> Region:
    """A place of the image in px of the slide at another pixel size, at least 1 px."""
    down, across = (b / a for a, b in zip(image.shape, whole.shape, strict=True))
    top, left = int(place.top * down), int(place.left * across)
    bottom = min(max(round(place.bottom * down), top + 1), whole.shape[0])
    right = min(max(round(place.right * across), left + 1), whole.shape[1])
    return Region(min(top, bottom - 1), min(left, right - 1), bottom, right)
