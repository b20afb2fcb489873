"""Masks as COCO's run lengths, and the annotations of many images in one JSON file.

The form is COCO's (Lin et al., ECCV 2014; cocodataset.org, "Data format"): ``segmentation`` is a
run-length encoding whose ``counts`` are plain numbers, alternately of background and object,
beginning with background, down the columns. Holes and single pixels are kept, as polygons would
not.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.files import write_json

CATEGORY: dict[str, Any] = {"id": 1, "name": "object"}
"""Of objects that were given no class."""


@dataclass(frozen=True)
class Object:
    """One object of an image.

    Attributes:
        counts: Run lengths of its mask.
        score: The IoU that the network expected of it; 1 of what was drawn by hand.
        category: Its class; None where it was given none.
    """

    counts: tuple[int, ...]
    score: float
    category: str | None = None


def counts_of(mask: NDArray[np.bool_]) -> list[int]:
    """Run lengths of a mask (H, W): background, object, background, … down the columns."""
    mask = np.asarray(mask, bool)
    if not mask.size:
        return [0]
    height, width = mask.shape
    # Changes are looked for along the rows, as memory lies: turning a large mask takes much longer.
    rows, columns = np.divmod(np.flatnonzero(mask[1:] != mask[:-1]), width)
    tops = np.flatnonzero(mask[0, 1:] != mask[-1, :-1]) + 1
    changes = np.sort(np.concatenate([columns * height + rows + 1, tops * height]))
    counts = np.diff(changes, prepend=0, append=mask.size).tolist()
    return [0, *counts] if mask[0, 0] else counts


def check_counts(counts: Sequence[int], shape: tuple[int, int]) -> None:
    """See that run lengths are those of a mask (H, W), and of one that is not empty.

    Raises:
        InputError: They are negative, do not add up to H × W, or have no pixel inside.
    """
    # As Python's own numbers, which do not overflow.
    if any(count < 0 for count in counts) or sum(counts) != shape[0] * shape[1]:
        raise InputError(
            f"run lengths of a mask must be 0 or more and add up to {shape[0]} × {shape[1]} pixels"
        )
    if not any(counts[1::2]):
        raise InputError("an object's mask is empty: delete the object before saving")


def mask_of(counts: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) of run lengths.

    They must be such that `check_counts` lets pass.
    """
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, np.asarray(counts, np.int64)).reshape(shape, order="F")


def annotation(each: Object, shape: tuple[int, int]) -> dict[str, Any]:
    """COCO's annotation of an object on an image (H, W), without the numbers that link it.

    ``bbox`` is left, top, width, height in px. ``score`` is not COCO's: the IoU expected.

    Raises:
        InputError: All that `check_counts` raises.
    """
    check_counts(each.counts, shape)
    mask = mask_of(each.counts, shape)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "category_id": CATEGORY["id"],
        "iscrowd": 0,
        "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
        "area": int(mask.sum()),
        "segmentation": {"size": list(shape), "counts": list(each.counts)},
        "score": round(each.score, 4),
    }


def _category(categories: list[dict[str, Any]], name: str | None) -> int:
    """The number of a class, which is added where it is new."""
    if name is None:
        return CATEGORY["id"]
    for each in categories:
        if each["name"] == name and each["id"] != CATEGORY["id"]:
            return each["id"]
    categories.append({"id": 1 + max(each["id"] for each in categories), "name": name})
    return categories[-1]["id"]


class AnnotationFile:
    """The annotations of many images in one JSON file; absent until the first are written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def objects(self) -> dict[str, list[Object]]:
        """What was saved, by file name of the image.

        Raises:
            InputError: The file is damaged, or not of the form that Abbe writes.
        """
        value = self._read()
        try:
            names = {image["id"]: image["file_name"] for image in value["images"]}
            classes: dict[int, str | None]
            classes = {each["id"]: str(each["name"]) for each in value["categories"]}
            classes[CATEGORY["id"]] = None
            found: dict[str, list[Object]] = {name: [] for name in names.values()}
            for each in value["annotations"]:
                counts = tuple(int(count) for count in each["segmentation"]["counts"])
                one = Object(counts, float(each["score"]), classes[each["category_id"]])
                found[names[each["image_id"]]].append(one)
        except (KeyError, TypeError, ValueError) as error:
            raise self._other_form(error) from error
        return found

    def replace(self, name: str, shape: tuple[int, int], objects: Sequence[Object]) -> None:
        """Write the objects of one image in place of its earlier ones; the rest stays.

        Raises:
            InputError: A mask is empty or of another size; the file that is there is damaged.
        """
        made = [annotation(each, shape) for each in objects]
        value = self._read()
        try:
            ids = {image["file_name"]: image["id"] for image in value["images"]}
            id = ids.get(name, 1 + max(ids.values(), default=0))
            if name not in ids:
                height, width = shape
                image = {"id": id, "file_name": name, "width": width, "height": height}
                value["images"].append(image)
            kept = [each for each in value["annotations"] if each["image_id"] != id]
            first = 1 + max((each["id"] for each in kept), default=0)
            numbered = [
                {"id": number, "image_id": id, **each} for number, each in enumerate(made, first)
            ]
            for each, one in zip(numbered, objects, strict=True):
                each["category_id"] = _category(value["categories"], one.category)
            value["annotations"] = kept + numbered
        except (KeyError, TypeError) as error:
            raise self._other_form(error) from error
        write_json(self.path, value)

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {"images": [], "annotations": [], "categories": [dict(CATEGORY)]}
        try:
            value = json.loads(self.path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._other_form(error) from error
        if not isinstance(value, dict):
            raise self._other_form(None)
        return value

    def _other_form(self, error: Exception | None) -> InputError:
        reason = f" ({type(error).__name__}: {error})" if error else ""
        return InputError(
            f"{self.path}: these are not annotations that Abbe wrote{reason}. "
            "Move the file away, or give another --out"
        )
