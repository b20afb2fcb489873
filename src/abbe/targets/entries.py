"""One record of the store's index: which image, which view of it, and where its maps lie."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

from abbe.errors import StoreError
from abbe.targets.provenance import is_sha256

_ARRAY_NAME = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class View:
    """What part of the image the teacher saw, and how: cropped, then scaled, then mirrored.

    Attributes:
        box: (top, left, bottom, right), half-open, in px of the image; None is all of it.
        scale: px of the view for each px of the image.
        flip_horizontal: columns reversed.
        flip_vertical: rows reversed.

    Raises:
        StoreError: the box is empty or begins outside the image, or the scale is not positive.
    """

    box: tuple[int, int, int, int] | None = None
    scale: float = 1.0
    flip_horizontal: bool = False
    flip_vertical: bool = False

    def __post_init__(self) -> None:
        if self.box is not None:
            box = tuple(int(edge) for edge in self.box)
            if len(box) != 4 or min(box) < 0 or box[0] >= box[2] or box[1] >= box[3]:
                raise StoreError(f"view: {self.box} is not a box (top, left, bottom, right)")
            object.__setattr__(self, "box", box)
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise StoreError(f"view: scale must be above 0, not {self.scale}")
        object.__setattr__(self, "scale", float(self.scale))

    def check_shape(self, shape: tuple[int, int], id: str) -> None:
        """Refuse maps whose height and width are not those of the box, within 1 px if scaled."""
        if self.box is None:
            return
        top, left, bottom, right = self.box
        expected = ((bottom - top) * self.scale, (right - left) * self.scale)
        tolerance = 0 if self.scale == 1 else 1
        if any(abs(e - s) > tolerance for e, s in zip(expected, shape, strict=True)):
            raise StoreError(
                f"'{id}': maps of {shape[0]}x{shape[1]} px do not fit the view's box {self.box} "
                f"at scale {self.scale:g}, which is {expected[0]:g}x{expected[1]:g} px"
            )

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what :meth:`to_json` gave; raises TypeError where a key is unknown."""
        return cls(**value)


IDENTITY = View()


class Place(NamedTuple):
    """Where one map lies: the array's path in the store, and the row in it."""

    array: str
    row: int

    def below(self, folder: str) -> "Place":
        """The same map, seen from a folder above."""
        return Place(f"{folder}/{self.array}", self.row)


@dataclass(frozen=True)
class Entry:
    """What the store knows of one view of one image.

    Attributes:
        id: the image's name in its data set.
        image_sha256: of the pixels of the teacher's channels, before any view is taken.
        shape: height and width in px of what the teacher saw.
        pixel_size: µm per px of the image, where known.
        view: what part of the image the teacher saw.
        empty: the teacher found nothing, so this target must not teach emptiness.
        maps: kind to place.
    """

    id: str
    image_sha256: str
    shape: tuple[int, int]
    pixel_size: float | None
    view: View
    empty: bool
    maps: Mapping[str, Place]

    def to_json(self) -> dict[str, Any]:
        """One line of ``index.jsonl``: JSON writes its tuples as lists."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read one record; ``pixel_size``, ``view`` and ``empty`` may be left out.

        Raises:
            StoreError: a key is missing, unknown, or its value has the wrong form.
        """
        if not isinstance(value, dict):
            raise StoreError("not a JSON object")
        required = {"id", "image_sha256", "shape", "maps"}
        if missing := sorted(required - value.keys()):
            raise StoreError(f"missing key {', '.join(missing)}")
        if unknown := sorted(value.keys() - required - {"pixel_size", "view", "empty"}):
            raise StoreError(f"unknown key {', '.join(unknown)}")
        try:
            height, width = (int(length) for length in value["shape"])
            maps = {kind: _place(*place) for kind, place in value["maps"].items()}
            view = View.from_json(value["view"]) if value.get("view") else IDENTITY
        except (AttributeError, TypeError, ValueError) as error:
            raise StoreError(f"'shape', 'maps' or 'view' has the wrong form ({error})") from None
        check_facts(value["id"], value["image_sha256"], value.get("pixel_size"))
        empty = value.get("empty", False)
        if not isinstance(empty, bool):
            raise StoreError(f"'empty' must be true or false, not {empty!r}")
        pixel_size = value.get("pixel_size")
        return cls(
            value["id"], value["image_sha256"], (height, width), pixel_size, view, empty, maps
        )


def check_facts(id: object, image_sha256: object, pixel_size: object) -> None:
    """Refuse an id, checksum or pixel size that cannot be one, with a StoreError naming it."""
    if not isinstance(id, str) or not id:
        raise StoreError(f"an image's id must be a text, not {id!r}")
    if not is_sha256(image_sha256):
        raise StoreError(f"'{id}': image_sha256 must be 64 lower-case hex digits")
    if pixel_size is None:
        return
    if not isinstance(pixel_size, int | float) or not 0 < pixel_size < math.inf:
        raise StoreError(f"'{id}': pixel_size must be in µm and above 0, not {pixel_size!r}")


def _place(array: str, row: int) -> Place:
    # The name becomes a path: it must not lead out of the store.
    if not _ARRAY_NAME.fullmatch(array):
        raise ValueError(f"{array!r} is not the name of an array")
    if not isinstance(row, int) or row < 0:
        raise ValueError(f"{row!r} is not a row")
    return Place(array, row)
