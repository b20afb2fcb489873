"""Where a promptable teacher's prompts come from: labels, a file, or another program's masks."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from abbe.errors import AbbeWarning, ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.foreign_text import shown
from abbe.imaging import read_labels
from abbe.runtime.predictors.prompt_files import (
    ObjectPrompt,
    boxes_of,
    mask_files,
    read_prompts,
    read_table,
)

if TYPE_CHECKING:
    from abbe.datasets import Dataset

Mode = Literal["amg", "oracle_box", "centroid", "box", "point"]
MODES: dict[str, str] = {
    "amg": "automatic grid of points; needs nothing",
    "oracle_box": "tight boxes of the labels' instances: sees the ground truth",
    "centroid": "centroids of the labels' instances: sees the ground truth",
    "box": "boxes from a .csv file, or of the objects in a folder of another program's masks",
    "point": "points from a .csv file",
}
SEES_LABELS = ("oracle_box", "centroid")
BOX, POINT = ("x0", "y0", "x1", "y1"), ("x", "y")


@dataclass(frozen=True)
class ImagePrompts:
    """The prompts for the objects of one image, in px of the image, one row an object.

    Attributes:
        boxes: (N, 4) float x0, y0, x1, y1, or None.
        points: (N, P, 2) float x, y, or None. Every object has a point inside.
        labels: (N, P) int, of each point: 1 inside the object, 0 outside, −1 no point, which fills
            up the rows of objects with fewer points.
    """

    boxes: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None
    labels: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def centres(self) -> NDArray[np.float64]:
        """(N, 2) x, y in the middle of each prompt: which tile of a large image it belongs to."""
        if self.boxes is not None:
            return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        points, labels = self._pointed
        inside = (labels == 1)[..., None]
        return (points * inside).sum(axis=1) / inside.sum(axis=1)

    @property
    def extents(self) -> NDArray[np.float64]:
        """(N, 4) x0, y0, x1, y1 of each prompt: of its box, or of all its points."""
        if self.boxes is not None:
            return self.boxes
        points, labels = self._pointed
        given = (labels >= 0)[..., None]
        lowest = points.min(axis=1, where=given, initial=np.inf)
        highest = points.max(axis=1, where=given, initial=-np.inf)
        return np.concatenate([lowest, highest], axis=1)

    @property
    def _pointed(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        assert self.points is not None  # where there are no boxes
        assert self.labels is not None
        return self.points, self.labels

    def take(self, rows: NDArray[np.bool_]) -> ImagePrompts:
        """Those of the chosen rows."""
        return ImagePrompts(
            None if self.boxes is None else self.boxes[rows],
            None if self.points is None else self.points[rows],
            None if self.labels is None else self.labels[rows],
        )

    def moved(self, right: float, down: float) -> ImagePrompts:
        """The same prompts in an image whose corner lies elsewhere."""
        by = np.array([right, down])
        return ImagePrompts(
            None if self.boxes is None else self.boxes + np.tile(by, 2),
            None if self.points is None else self.points + by,
            self.labels,
        )


class Prompter(Protocol):
    """Finds an image's prompts."""

    def __call__(self, id: str, shape: tuple[int, int]) -> ImagePrompts:
        """The prompts of the image ``id`` of ``shape`` (H, W).

        Raises:
            InputError: there are none to be had for this image, or they do not fit it.
        """
        ...


def prompter(
    mode: Mode,
    *,
    labels: Dataset | str | os.PathLike[str] | None = None,
    source: str | os.PathLike[str] | None = None,
) -> Prompter | None:
    """What finds the prompts of ``mode``; None for ``amg``, which needs none.

    Args:
        mode: one of :data:`MODES`.
        labels: ground truth for ``oracle_box`` and ``centroid``: a data set, or a folder. Of a
            data set, ``box`` and ``point`` learn which ids there are.
        source: for ``box`` and ``point``, the file; for ``box`` also a folder of masks.

    Raises:
        ConfigError: the mode is unknown, or lacks what it needs.
        InputError: a file is missing or cannot be read.
    """
    if mode not in MODES:
        known = "; ".join(f"{name}: {meaning}" for name, meaning in MODES.items())
        raise ConfigError(f"prompts '{mode}' are unknown. There are: {known}")
    if mode == "amg":
        return None
    if mode in SEES_LABELS:
        if labels is None:
            raise ConfigError(f"prompts '{mode}' come from labels: give labels=DATASET or a folder")
        return FromLabels(_reader(labels), boxes=mode == "oracle_box")
    if source is None:
        kind = "a .csv file or a folder of masks" if mode == "box" else "a .csv file"
        raise ConfigError(f"prompts '{mode}' come from {kind}: give prompt_file=PATH")
    path = Path(source)
    if mode == "box" and path.is_dir():
        return FromLabels(_folder_reader(path), boxes=True)
    if labels is None or isinstance(labels, str | os.PathLike):
        return FromTable(path, mode)
    return FromTable(path, mode, set(labels.ids))


class FromLabels:
    """Boxes or centroids of the objects in label images."""

    def __init__(self, read: Callable[[str], NDArray[np.integer]], *, boxes: bool) -> None:
        self._read, self._boxes = read, boxes

    def __call__(self, id: str, shape: tuple[int, int]) -> ImagePrompts:
        """See :class:`Prompter`."""
        labels = self._read(id)
        if labels.shape != shape:
            raise InputError(
                f"{id}: the labels for its prompts are {labels.shape[0]} x {labels.shape[1]} px "
                f"but the image {shape[0]} x {shape[1]}"
            )
        if self._boxes:
            return ImagePrompts(boxes=boxes_of(labels))
        points = points_of(labels)[:, None]
        return ImagePrompts(points=points, labels=np.ones(points.shape[:2], np.int64))


def points_of(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """x, y (px) of the pixel of each instance that is nearest to its centroid, (N, 2).

    The centroid itself may lie outside a bent instance.
    """
    from scipy.ndimage import find_objects

    points = []
    for number, window in enumerate(find_objects(np.maximum(labels, 0)), start=1):
        if window is None:
            continue
        rows, columns = np.nonzero(labels[window] == number)
        distance = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
        nearest = int(distance.argmin())
        x, y = columns[nearest] + window[1].start, rows[nearest] + window[0].start
        points.append((x + 0.5, y + 0.5))
    return np.array(points, float).reshape(-1, 2)


class FromTable:
    """Boxes or points from a .csv file, which means what it means to ``abbe predict --prompts``."""

    def __init__(self, path: Path, mode: Mode, images: Container[str] | None = None) -> None:
        """Read the file.

        Args:
            path: see :func:`abbe.runtime.predictors.prompt_files.read_prompts`.
            mode: ``box`` or ``point``.
            images: the ids that there are, where they are known; a warning counts others.

        Raises:
            InputError: the file cannot be read, or holds prompts of another kind.
        """
        self._path, self._boxes = path, mode == "box"
        rows = read_table(path, BOX if self._boxes else POINT)
        if not self._boxes and rows and all(name in rows[0].others for name in BOX):
            raise InputError(
                f"{path}: has boxes besides points, and would be read as boxes: choose prompts "
                f"'box', or leave out the columns {', '.join(BOX)}"
            )
        self._prompts = read_prompts(path)
        if images is not None:
            _warn_of_others(path, [row.id for row in rows], images)

    def __call__(self, id: str, shape: tuple[int, int]) -> ImagePrompts:
        """See :class:`Prompter`."""
        objects = self._prompts(id, shape)
        return (
            self._boxes_of(objects, id, shape) if self._boxes else self._points(objects, id, shape)
        )

    def _boxes_of(
        self, objects: Sequence[ObjectPrompt], id: str, shape: tuple[int, int]
    ) -> ImagePrompts:
        boxes = np.array([each.box for each in objects], float).reshape(-1, 4)
        limits = np.tile(shape[::-1], 2)
        self._require_inside(boxes, (boxes < 0) | (boxes > limits), id, shape)
        if (boxes[:, 2:] <= boxes[:, :2]).any():
            raise InputError(f"{self._path}: image '{id}' has a box of no area; x0 < x1, y0 < y1")
        return ImagePrompts(boxes=boxes)

    def _points(
        self, objects: Sequence[ObjectPrompt], id: str, shape: tuple[int, int]
    ) -> ImagePrompts:
        most = max((len(each.points) for each in objects), default=1)
        points = np.zeros((len(objects), most, 2))
        labels = np.full((len(objects), most), -1, np.int64)
        for row, each in enumerate(objects):
            try:
                each.require_object()
            except InputError as error:
                raise InputError(
                    f"{self._path}: image '{id}', object '{each.name}': {error}"
                ) from error
            points[row, : len(each.points)] = each.points
            labels[row, : len(each.labels)] = each.labels
        given = points[labels >= 0]
        # A point on the far edge is no pixel's, and no tile's.
        self._require_inside(given, (given < 0) | (given >= shape[::-1]), id, shape)
        return ImagePrompts(points=points, labels=labels)

    def _require_inside(
        self,
        prompts: NDArray[np.float64],
        beyond: NDArray[np.bool_],
        id: str,
        shape: tuple[int, int],
    ) -> None:
        outside = beyond.any(axis=1)
        if outside.any():
            raise InputError(
                f"{self._path}: image '{id}' is {shape[1]} px wide and {shape[0]} px high, but has "
                f"the prompt {prompts[outside][0].tolist()}"
            )


def _warn_of_others(path: Path, ids: Sequence[str], images: Container[str]) -> None:
    """Rows that nobody will ask for are most often a misspelt id."""
    others = [id for id in ids if id not in images]
    if others:
        warnings.warn(
            f"{path}: {len(others)} of {len(ids)} rows are for ids that no image has, the first "
            f"'{shown(others[0])}'; they are left out",
            AbbeWarning,
            stacklevel=4,
        )


def fingerprint(source: str | os.PathLike[str]) -> str:
    """SHA-256 of a prompt file, or of the names and contents of a folder's masks.

    Raises:
        InputError: the folder holds no masks.
    """
    path = Path(source)
    if not path.is_dir():
        return sha256_of_file(path)
    lines = (f"{id} {sha256_of_file(file)}\n" for id, file in sorted(mask_files(path).items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _reader(
    labels: Dataset | str | os.PathLike[str],
) -> Callable[[str], NDArray[np.integer]]:
    if isinstance(labels, str | os.PathLike):
        return _folder_reader(Path(labels))

    def read(id: str) -> NDArray[np.integer]:
        label = labels[id].label
        if label is None:
            raise InputError(
                f"image '{id}' has no label, from which its prompts should come. Choose prompts "
                "'amg', or name a folder with labels=PATH"
            )
        return label.read()

    return read


def _folder_reader(folder: Path) -> Callable[[str], NDArray[np.integer]]:
    files = mask_files(folder)

    def read(id: str) -> NDArray[np.integer]:
        if id not in files:
            raise InputError(f"{folder}: no mask for the image '{id}'")
        return read_labels(files[id])

    return read
