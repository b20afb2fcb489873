"""A package of any task, asked by the page through this machine's own engine."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from abbe.errors import AbbeError, InputError
from abbe.imaging import Image, Region
from abbe.runtime.job import AS_FOUND, Job, Predictor, Result, Tools
from abbe.runtime.postprocess.map_rule import MapRule
from abbe.runtime.predictors.classification import ClassPredictor
from abbe.runtime.predictors.instances import InstancePredictor
from abbe.runtime.predictors.regions import RegionPredictor
from abbe.runtime.tiling.field import Field
from abbe.runtime.tiling.tiles import forget_objects
from abbe.runtime.tiling.timing import Timings
from abbe.runtime.tiling.whole_tiles import ClassPrediction
from abbe.runtime.tiling.work import Work
from abbe.runtime.writing.areas import find_areas
from abbe.runtime.writing.class_results import write_class_results
from abbe.runtime.writing.region_results import RegionPrediction, write_region_results
from abbe.runtime.writing.results import Prediction, write_results
from abbe.runtime.writing.table import measure

MAPS_KEPT = 1 << 26
"""px of an image whose maps are kept, so that other thresholds need no network."""
OVERVIEW = 4096
"""Longest side of the copy of an image's labels from which far views are shown, px."""
_NEAR = 8
"""How many times smaller labels are shown when they are still read from all of them."""


class StoppedError(AbbeError):
    """The page asked for something else in the meantime."""


@dataclass(frozen=True)
class Rule:
    """What the page's sliders say.

    Attributes:
        foreground, boundary: Where the maps are cut.
        minimum_area: px; smaller objects or areas are left out.
    """

    foreground: float
    boundary: float
    minimum_area: int


@dataclass(frozen=True)
class Asked:
    """What the page says of an image.

    Attributes:
        channels: Places of the channels that the network sees, in its order.
        pixel_size: µm; None where it is not known.
        diameter: px across of the objects; None where it is not said.
    """

    channels: tuple[int, ...]
    pixel_size: float | None
    diameter: float | None


@dataclass(frozen=True)
class Found:
    """What was found in an image.

    Attributes:
        labels: Numbers of objects, areas or tiles, read by region.
        columns: What was measured, one value each.
        class_of: (n + 1,) the class of each; None where there are none.
        whole: The probability of each class of the whole image; None of other tasks.
        pixels: The class of each pixel, read by region; None of other tasks.
        result: What writes the files.
    """

    labels: Field
    columns: dict[str, np.ndarray]
    class_of: np.ndarray | None
    whole: np.ndarray | None
    pixels: Field | None
    result: Prediction | RegionPrediction | ClassPrediction

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.columns["label"])


class Native:
    """A package that is ready to run, and what it found in the image that was looked at last.

    Calls may come from several threads. A new look ends the one before.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._lock = threading.Lock()
        self._newest = 0
        self._share = 0.0
        self._begun = 0.0
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._seen: tuple[int, Image, Asked, Work] | None = None
        self._found: Found | None = None
        self._rule: Rule | None = None
        self._overview: np.ndarray | None = None

    def look(self, number: int, image: Image, asked: Asked, rule: Rule) -> Found:
        """Look at an image.

        Raises:
            StoppedError: Something else was asked for.
            InputError: The image lacks a pixel size, or cannot be read.
            PackageError: The network fails.
        """
        turn = self.stop()
        with self._lock:
            self._seen = self._found = self._overview = None
            if self._scratch is not None:
                self._scratch.cleanup()
            self._scratch = tempfile.TemporaryDirectory(prefix="abbe-serve-")
            work = Work(Path(self._scratch.name) / "work")
            self._seen = number, image, asked, work
            return self._answer(turn, rule)

    def change(self, number: int, rule: Rule) -> Found:
        """The same image by other thresholds.

        Raises:
            InputError: It is not the image that was looked at; all that `look` raises.
        """
        turn = self.stop()
        with self._lock:
            self._held(number)
            return self._answer(turn, rule)

    def stop(self) -> int:
        """End what is computed for; the number of what is asked next."""
        self._newest += 1
        return self._newest

    def progress(self) -> dict[str, float]:
        """How far the look is: the share that is done, and for how many seconds it has run."""
        return {"done": self._share, "total": 1, "seconds": time.monotonic() - self._begun}

    def labels(self, number: int, region: Region, shape: tuple[int, int]) -> np.ndarray:
        """Numbers, (h, w) int32, of a region in px of a copy of the image of ``shape`` px.

        Raises:
            InputError: Nothing was found in this image yet.
        """
        found, rows, columns = self._places(number, region, shape)
        assert self._overview is not None
        if max(found.labels.shape[0] / shape[0], found.labels.shape[1] / shape[1]) > _NEAR:
            small = self._overview.shape
            rows = rows * small[0] // found.labels.shape[0]
            columns = columns * small[1] // found.labels.shape[1]
            return self._overview[rows[:, None], columns]
        return _sampled(found.labels, rows, columns).astype(np.int32)

    def classes(self, number: int, region: Region) -> np.ndarray:
        """The class of each pixel of a region, (h, w) uint8; of packages that tell it."""
        found = self._held(number)
        if found.pixels is None:
            raise InputError("this package tells no classes of pixels")
        return found.pixels.read(region).astype(np.uint8)

    def write(self, number: int, what: Result, stem: Path) -> None:
        """Write what was found, as ``abbe predict`` does.

        Raises:
            InputError: Nothing was found in this image yet.
        """
        with self._lock:
            found = self._held(number)
            job, most = Job(results=(what,), outlining=AS_FOUND), 2 * self.predictor.workers
            assert self._rule is not None
            described = self.predictor.package.description
            least = {"minimum_area": self._rule.minimum_area}
            rule = described.instances.model_copy(update=least)
            description = described.model_copy(update={"instances": rule})
            with self._tools(self._newest) as tools:
                result = found.result
                if isinstance(result, Prediction):
                    write_results(result, stem, job, tools.pool, most, description)
                elif isinstance(result, RegionPrediction):
                    write_region_results(result, stem, job, tools, most, description=description)
                else:
                    write_class_results(result, stem, job, tools, most, description=description)

    def close(self) -> None:
        """Remove what was kept of the last image."""
        if self._scratch is not None:
            self._scratch.cleanup()

    def _held(self, number: int) -> Found:
        if self._seen is None or self._seen[0] != number or self._found is None:
            raise InputError("nothing was found in this image yet: look at it again")
        return self._found

    def _places(
        self, number: int, region: Region, shape: tuple[int, int]
    ) -> tuple[Found, np.ndarray, np.ndarray]:
        found = self._held(number)
        top, left, bottom, right = region
        if not (0 <= top < bottom <= shape[0] and 0 <= left < right <= shape[1]):
            raise InputError(f"the region {tuple(region)} is not in an image of {shape} px")
        full = found.labels.shape
        return (
            found,
            _centres(top, bottom, shape[0], full[0]),
            _centres(left, right, shape[1], full[1]),
        )

    def _answer(self, turn: int, rule: Rule) -> Found:
        assert self._seen is not None
        _, image, asked, work = self._seen
        self._share, self._begun = 0.0, time.monotonic()
        shown = as_asked(image, asked, self.predictor.package.description.channels)
        with self._tools(turn) as tools:
            tools = replace(tools, work=work)
            look = _LOOKS[type(self.predictor)]
            found = look(self.predictor, shown, image, rule, tools)
            self._overview = _overview(found.labels)
        self._found, self._rule = found, rule
        return found

    @contextmanager
    def _tools(self, turn: int) -> Iterator[Tools]:
        def advance(share: float) -> None:
            self._share += share
            if turn != self._newest:
                raise StoppedError("something else was asked for")

        with ThreadPoolExecutor(self.predictor.workers) as pool:
            yield Tools(pool, Work(None), Timings(), advance)


def as_asked(image: Image, asked: Asked, wanted: tuple[str, ...]) -> Image:
    """The image with the package's names for the channels that were chosen, and what is said of it.

    Raises:
        InputError: There are no such channels.
    """
    places = asked.channels
    if len(places) != len(wanted) or not all(0 <= each < len(image.channels) for each in places):
        raise InputError(f"the network sees {', '.join(wanted)}; say which channels these are")
    names = [f"{name} (of the file)" if name in wanted else name for name in image.channels]
    for place, name in zip(places, wanted, strict=True):
        names[place] = name
    shown = copy(image.with_channels(names))
    shown.pixel_size = asked.pixel_size
    return shown if asked.diameter is None else shown.with_diameter(asked.diameter)


def _instances(
    predictor: InstancePredictor, image: Image, file: Image, rule: Rule, tools: Tools
) -> Found:
    description = predictor.package.description
    grid = predictor.grid(image)
    forget_objects(grid, tools.work)
    own = MapRule.of(description)
    cuts = {"foreground": rule.foreground, "boundary": rule.boundary}
    thresholds = own.thresholds.model_copy(update=cuts)
    least = own.instances.model_copy(update={"minimum_area": rule.minimum_area})
    prediction = predictor.run(
        image, tools.pool, tools.work, keep_maps=image.shape[0] * image.shape[1] <= MAPS_KEPT,
        advance=tools.advance, tissue=predictor.squares(image, tools),
        rule=replace(own, thresholds=thresholds, instances=least),
    )  # fmt: skip
    labels, most = prediction.labels, 2 * predictor.workers
    measured = measure(labels, _sized(file, image), tools.pool, most, prediction.types)
    columns = {name: each for name, each in measured.items() if name != "class"}
    shares = labels.numbering.types
    kinds = None if shares is None or not prediction.types else shares.argmax(1).astype(np.uint8)
    return Found(labels, columns, kinds, None, None, prediction)


def _regions(
    predictor: RegionPredictor, image: Image, file: Image, rule: Rule, tools: Tools
) -> Found:
    prediction = predictor.run(image, tools)
    most = 2 * predictor.workers
    areas = find_areas(
        prediction.classes, tools.pool, most, minimum_area=rule.minimum_area,
        skip=prediction.background,
    )  # fmt: skip
    columns = measure(areas.labels, _sized(file, image), tools.pool, most)
    kinds = areas.class_of.astype(np.uint8)
    return Found(areas.labels, columns, kinds, None, prediction.classes, prediction)


def _classes(
    predictor: ClassPredictor, image: Image, file: Image, rule: Rule, tools: Tools
) -> Found:
    prediction = predictor.run(image, tools)
    tiles = prediction.tiles
    places = np.argwhere(prediction.taken)
    cores = np.array([tiles.core(row, column) for row, column in places.tolist()])
    top, left, bottom, right = cores.T
    best = prediction.probabilities.max(-1)[prediction.taken]
    columns = {
        "label": 1 + np.arange(len(places)), "x": (left + right - 1) / 2,
        "y": (top + bottom - 1) / 2, "area_px": (bottom - top) * (right - left),
        "confidence": best,
    }  # fmt: skip
    kinds = np.concatenate([[0], prediction.classes[prediction.taken]]).astype(np.uint8)
    return Found(_TileNumbers(prediction, image.shape), columns, kinds, prediction.whole, None,
                 prediction)  # fmt: skip


class _TileNumbers(Field):
    """The number of the tile that each pixel lies in, 1…n of those looked at; 0 elsewhere."""

    def __init__(self, prediction: ClassPrediction, shape: tuple[int, int]) -> None:
        self.shape = shape
        tiles = prediction.tiles
        self._rows, self._columns = (
            np.repeat(np.arange(len(side)), [each.core_stop - each.core_start for each in side])
            for side in (tiles.rows, tiles.columns)
        )
        taken = prediction.taken
        numbers = np.cumsum(taken).reshape(taken.shape)
        self._numbers = np.where(taken, numbers, 0).astype(np.int32)

    def read(self, region: Region | None = None) -> np.ndarray:
        """A region of the image, (h, w) int32; None for all of it."""
        top, left, bottom, right = region or Region(0, 0, *self.shape)
        return self._numbers[self._rows[top:bottom, None], self._columns[left:right]]


_LOOKS: dict[type[Any], Callable[[Any, Image, Image, Rule, Tools], Found]] = {
    InstancePredictor: _instances,
    RegionPredictor: _regions,
    ClassPredictor: _classes,
}


def _sized(file: Image, image: Image) -> Image:
    """The file's image, whose channels have their own names, with the pixel size that was said."""
    sized = copy(file)
    sized.pixel_size = image.pixel_size
    return sized


def _centres(start: int, stop: int, small: int, full: int) -> np.ndarray:
    """For px of a copy the px of the image that their centres lie in."""
    return ((np.arange(start, stop) + 0.5) * (full / small)).astype(np.int64)


def _sampled(field: Field, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    top, left = int(rows[0]), int(columns[0])
    block = field.read(Region(top, left, int(rows[-1]) + 1, int(columns[-1]) + 1))
    return block[(rows - top)[:, None], columns - left]


def _overview(labels: Field) -> np.ndarray:
    """Every so many px of all labels, read in bands."""
    height, width = labels.shape
    factor = max(1, -(-max(height, width) // OVERVIEW))
    small = -(-height // factor), -(-width // factor)
    rows, columns = (
        _centres(0, n, n, full) for n, full in zip(small, (height, width), strict=True)
    )
    bands = np.array_split(rows, max(1, height // 1024))
    return np.concatenate([_sampled(labels, band, columns) for band in bands if len(band)])
