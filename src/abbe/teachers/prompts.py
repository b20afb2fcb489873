"""Where a promptable teacher's prompts come from: labels, a file, or another program's masks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.imaging import read_labels
from abbe.runtime.prompt_files import boxes_of, mask_files, read_table

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


@dataclass(frozen=True)
class ImagePrompts:
    """The prompts for the objects of one image, in px of the image, one row an object.

    Attributes:
        boxes: (N, 4) float x0, y0, x1, y1, or None.
        points: (N, 2) float x, y, or None.
    """

    boxes: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def centres(self) -> NDArray[np.float64]:
        """(N, 2) x, y in the middle of each prompt: which tile of a large image it belongs to."""
        if self.points is not None:
            return self.points
        assert self.boxes is not None  # one of the two is given
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    def take(self, rows: NDArray[np.bool_]) -> ImagePrompts:
        """Those of the chosen rows."""
        return ImagePrompts(
            None if self.boxes is None else self.boxes[rows],
            None if self.points is None else self.points[rows],
        )

    def moved(self, right: float, down: float) -> ImagePrompts:
        """The same prompts in an image whose corner lies elsewhere."""
        by = np.array([right, down])
        return ImagePrompts(
            None if self.boxes is None else self.boxes + np.tile(by, 2),
            None if self.points is None else self.points + by,
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
        labels: ground truth for ``oracle_box`` and ``centroid``: a data set, or a folder.
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
    return FromTable(path, ("x0", "y0", "x1", "y1") if mode == "box" else ("x", "y"))


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
        return ImagePrompts(points=points_of(labels))


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
    """Boxes or points from a .csv file with the columns ``id`` and those of the coordinates."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._rows = _read_table(path, columns)
        self._boxes = len(columns) == 4

    def __call__(self, id: str, shape: tuple[int, int]) -> ImagePrompts:
        """See :class:`Prompter`."""
        if id not in self._rows:
            raise InputError(
                f"{self._path}: no row for the image '{id}'. An image without objects needs a row "
                "with the id alone"
            )
        rows = np.array(self._rows[id], float).reshape(-1, 4 if self._boxes else 2)
        height, width = shape
        limits = np.tile([width, height], 2 if self._boxes else 1)
        outside = ((rows < 0) | (rows > limits)).any(axis=1)
        if outside.any():
            raise InputError(
                f"{self._path}: image '{id}' is {width} px wide and {height} px high, but has the "
                f"prompt {rows[outside][0].tolist()}"
            )
        if self._boxes and (rows[:, 2:] <= rows[:, :2]).any():
            raise InputError(f"{self._path}: image '{id}' has a box of no area; x0 < x1, y0 < y1")
        return ImagePrompts(boxes=rows) if self._boxes else ImagePrompts(points=rows)


def _read_table(path: Path, columns: Sequence[str]) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {}
    for row in read_table(path, columns):
        prompts = found.setdefault(row.id, [])
        if row.values:
            prompts.append(row.values)
    return found


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
