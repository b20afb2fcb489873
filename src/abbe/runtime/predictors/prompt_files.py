"""Prompts from files: tables of boxes and points, and folders of another program's masks."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.files.tables import read_csv
from abbe.imaging.labels.names import LABEL_SUFFIXES, MASK_NAMES, beside, only_mask
from abbe.near import meant_beside

_BOX, _POINT = ("x0", "y0", "x1", "y1"), ("x", "y")
_COLUMNS = ("id", "object", "positive", *_BOX, *_POINT)
_SIDES = ("w", "h", "width", "height")


@dataclass
class ObjectPrompt:
    """What one object is asked for with, in px of the image.

    Attributes:
        name: Of the object, for messages.
        box: x0, y0, x1, y1, or None.
        points: x and y of each point.
        labels: 1 inside the object, 0 outside, for each point.
    """

    name: str
    box: tuple[float, ...] | None = None
    points: list[tuple[float, ...]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def require_object(self) -> None:
        """Refuse a prompt that says only where its object is not.

        Raises:
            InputError: It has no box and no point inside.
        """
        if self.box is None and 1 not in self.labels:
            raise InputError(
                "every point lies outside the object, so nothing is asked for. Give it a point "
                "inside; points of one object share a value in the column 'object'"
            )


Prompts = Callable[[str, tuple[int, int]], list[ObjectPrompt]]
"""From an image's id and shape (H, W) to its prompts; InputError where there are none for it."""


def read_prompts(path: Path) -> Prompts:
    """The prompts in a .csv file, or boxes of the objects in a folder of masks.

    A table has the columns id and x0, y0, x1, y1 (boxes), or id, x, y and, where wanted, positive
    (1 inside, 0 outside); where there are boxes, these are taken. Rows with the same value in the
    column object are one object; without that column each row is one. A row with the id alone says
    that the image has no object.

    Raises:
        InputError: The file or folder is missing or is none of these.
    """
    if path.is_dir():
        return _from_masks(path)
    return _from_table(path)


@dataclass(frozen=True)
class Row:
    """One row of a table: the image's id, and values by column; None where the cell is empty."""

    line: int
    id: str
    values: list[float]
    others: dict[str, str]


def read_table(path: Path, columns: Sequence[str]) -> list[Row]:
    """Read a .csv file with the columns id and ``columns``, which hold numbers.

    A row whose cells are all empty has no values.

    Raises:
        InputError: The file cannot be read, lacks a column, or a cell is no number.
    """
    header, rows = read_csv(path, _COLUMNS)
    wanted = ["id", *columns]
    if not rows or any(name not in header for name in wanted):
        raise InputError(
            f"{path}: needs the columns {', '.join(wanted)}; it has "
            f"{', '.join(header) if rows else 'no rows'}"
        )
    found = []
    for line, row in enumerate(rows, start=2):
        cells = [row[name] for name in columns]
        try:
            values = [float(cell) for cell in cells] if any(cells) else []
        except ValueError:
            values = [float("nan")]
        if not np.isfinite(values).all():
            raise InputError(f"{path}: line {line}: {', '.join(columns)} must be numbers")
        others = {name: row[name] for name in header if name not in wanted}
        found.append(Row(line, row["id"], values, others))
    return found


def _from_table(path: Path) -> Prompts:
    header, _ = read_csv(path, _COLUMNS)
    boxes = all(name in header for name in _BOX)
    if not boxes and not all(name in header for name in _POINT):
        raise InputError(
            f"{path}: needs the columns id and {', '.join(_BOX)}, or id and {', '.join(_POINT)}; "
            f"it has {', '.join(header)}"
        )
    sides = [name for name in header if name.lower() in _SIDES]
    if sides and not boxes:
        raise InputError(
            f"{path}: x and y are read as points, but with {' and '.join(sides)} they are rather "
            "the corners of boxes, as in COCO. For boxes give x0, y0, x1 = x + w and y1 = y + h; "
            "for points leave these columns out"
        )
    images: dict[str, dict[str, ObjectPrompt]] = {}
    for row in read_table(path, _BOX if boxes else _POINT):
        objects = images.setdefault(row.id, {})
        if boxes:
            _require_box(path, row)
        if not row.values:
            continue
        name = row.others.get("object") or f"line {row.line}"
        prompt = objects.setdefault(name, ObjectPrompt(name))
        if not boxes:
            prompt.points.append(tuple(row.values))
            prompt.labels.append(_label(path, row))
        elif prompt.box is not None:
            raise InputError(f"{path}: line {row.line}: the object '{name}' has a box already")
        else:
            prompt.box = tuple(row.values)

    def prompts(id: str, shape: tuple[int, int]) -> list[ObjectPrompt]:
        id = unicodedata.normalize("NFC", id)
        if id not in images:
            like = next((each for each in images if each.startswith(f"{id}.")), None)
            spelt = f" and '{like}' is none: leave out what says the format" if like else ""
            raise InputError(
                f"{path}: no row for the image '{id}'{spelt}. An image without objects needs a row "
                "with the id alone"
            )
        return list(images[id].values())

    return prompts


def _require_box(path: Path, row: Row) -> None:
    """Refuse rows that ask for something with no box in a table of boxes, or against one.

    A point beside a box, such as its centre, is no matter: the box says more.
    """
    of_points = [name for name in _POINT if row.others.get(name)]
    if of_points and not row.values:
        raise InputError(
            f"{path}: line {row.line}: has {' and '.join(of_points)} but no box, and the table has "
            "the columns of boxes. Give boxes and points in tables of their own"
        )
    if row.others.get("positive", "1") not in ("", "1"):
        raise InputError(
            f"{path}: line {row.line}: positive is '{row.others['positive']}', but only points can "
            "lie outside an object, and a box is read"
        )


def _label(path: Path, row: Row) -> int:
    positive = row.others.get("positive", "1") or "1"
    if positive not in ("0", "1"):
        raise InputError(
            f"{path}: line {row.line}: positive is '{positive}'; 1 (inside the object) or 0 "
            "(outside) is needed"
        )
    return int(positive)


def _from_masks(folder: Path) -> Prompts:
    from abbe.imaging import read_labels

    files = mask_files(folder)

    def prompts(id: str, shape: tuple[int, int]) -> list[ObjectPrompt]:
        id = unicodedata.normalize("NFC", id)
        if id not in files:
            raise InputError(f"{folder}: no mask for the image '{id}'")
        labels = read_labels(files[id])
        if labels.shape != shape:
            raise InputError(
                f"{files[id]}: {labels.shape[0]} × {labels.shape[1]} px, but the image has "
                f"{shape[0]} × {shape[1]}"
            )
        return [
            ObjectPrompt(f"object {number}", tuple(box))
            for number, box in enumerate(boxes_of(labels).tolist(), start=1)
        ]

    return prompts


def mask_files(folder: Path, suffix: str = "") -> dict[str, Path]:
    """The label images or masks in a folder, by the id of the image they belong to.

    Where no suffix is asked for, ID.labels.png, as predict and serve call it, counts as ID.png
    where there is none, and ID_masks.png, ID_cp_masks.png and the like go before ID.png, which is
    a copy of the image then.

    Args:
        folder: Where they lie.
        suffix: What follows the id in the file names, such as ``_cp_masks``.

    Raises:
        InputError: There is no such folder, no mask in it, or two for one image.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of masks.{meant_beside(folder)}")
    files: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((s for s in LABEL_SUFFIXES if path.name.lower().endswith(s)), None)
        name = unicodedata.normalize("NFC", path.name)
        stem = name if ending is None else name[: -len(ending)]
        if ending is None or path.name.startswith(".") or not stem.endswith(suffix):
            continue
        id = stem.removesuffix(suffix)
        same = labels if not suffix and id.endswith(".labels") else files
        id = id if same is files else id.removesuffix(".labels")
        if id in same:
            raise InputError(f"{folder}: two masks for '{id}': {same[id].name} and {path.name}")
        same[id] = path
    files = labels | files
    if not suffix:
        files = _with_masks_beside(files)
    if not files:
        raise InputError(
            f"{folder}: no mask named …{suffix} with one of the endings {', '.join(LABEL_SUFFIXES)}"
        )
    return files


def _with_masks_beside(files: dict[str, Path]) -> dict[str, Path]:
    """The files by image: a_masks.png and the like belong to a, and a.png is its image then."""
    stems = {name[: -len(end)] for name in files for end in MASK_NAMES if name.endswith(end)}
    found = dict(files)
    masks: dict[str, list[Path]] = {}
    for name, file in files.items():
        if id := beside(name, stems):
            masks.setdefault(id, []).append(file)
            found.pop(name)
        elif file.suffix == ".npy" and beside(name, files, ("_seg",)):  # Cellpose's own
            found.pop(name)
    return found | {id: only_mask(id, named) for id, named in masks.items()}


def boxes_of(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Tight boxes x0, y0, x1, y1 (px, the last pixel's far edge) of the instances, (N, 4)."""
    from scipy.ndimage import find_objects

    found = [each for each in find_objects(np.maximum(labels, 0)) if each is not None]
    corners = [(x.start, y.start, x.stop, y.stop) for y, x in found]
    return np.array(corners, float).reshape(-1, 4)
