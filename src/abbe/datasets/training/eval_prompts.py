"""Which objects are asked for in evaluation, and how: the same prompts at every call."""

from dataclasses import dataclass

import edt
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from abbe.errors import InputError

MINIMUM_AREA = 8
"""Objects below this many px are crumbs of a mask's outline and are not asked for."""

RIM = 1 / 3
"""Share of the largest depth that further points keep from the object's edge."""


@dataclass(frozen=True)
class Asked:
    """An object to ask for, which takes no more memory than its place in the label.

    Attributes:
        label: (H, W), of the whole image.
        number: of the object in it.
        window: rows and columns of the smallest box around it.
    """

    label: NDArray[np.integer]
    number: int
    window: tuple[slice, slice]

    @property
    def whole(self) -> NDArray[np.bool_]:
        """(H, W), where it is in the image."""
        return self.label == self.number

    @property
    def box(self) -> NDArray[np.float64]:
        """(4,) left, top, right and bottom in px; far edges, so that one px has a box of one."""
        rows, columns = self.window
        return np.array([columns.start, rows.start, columns.stop, rows.stop], float)

    def points(self, count: int) -> NDArray[np.float64]:
        """As `inner_points` gives them."""
        return inner_points(self.label[self.window] == self.number, count) + self.box[:2]


def objects_of(label: NDArray[np.integer]) -> list[Asked]:
    """The objects in a label (H, W), by number; crumbs are left out."""
    # Places, not numbers: of numbers in the millions find_objects would list each.
    numbers, places, areas = np.unique(label, return_inverse=True, return_counts=True)
    windows = find_objects(places.reshape(label.shape) + 1)
    least = min(MINIMUM_AREA, areas[numbers > 0].max(initial=0))
    return [
        Asked(label, int(number), window)
        for number, area, window in zip(numbers, areas, windows, strict=True)
        if number > 0 and area >= least
    ]


def inner_points(mask: NDArray[np.bool_], count: int) -> NDArray[np.float64]:
    """Points inside an object, spread out.

    The first is the one farthest from the edge, where a person would click: unlike the centre of
    mass it lies inside of any object. Each further one is the farthest from those before, among the
    pixels that are at least a third as deep as the deepest. Of equals the first by rows is taken.

    Args:
        mask: (H, W) bool; outside the image counts as outside the object.
        count: how many, at least 1.

    Returns:
        (count, 2) x and y in px, of the pixels' middles (a half more than their index). An object
        of fewer such pixels than ``count`` repeats some.

    Raises:
        InputError: The mask is empty, not such an array, or ``count`` is below 1.
    """
    _check(mask)
    if count < 1:
        raise InputError(f"{count} points cannot be asked for: at least 1 is needed")
    depth = edt.edt(np.pad(np.ascontiguousarray(mask), 1))[1:-1, 1:-1]
    fair = np.argwhere(depth >= RIM * depth.max())
    chosen = [np.array(np.unravel_index(int(depth.argmax()), depth.shape))]
    apart = np.full(len(fair), np.inf)
    for _ in range(count - 1):
        apart = np.minimum(apart, ((fair - chosen[-1]) ** 2).sum(axis=1))
        chosen.append(fair[int(apart.argmax())])
    return (np.array(chosen)[:, ::-1] + 0.5).astype(np.float64)


def _check(mask: NDArray[np.bool_]) -> None:
    if mask.ndim != 2 or mask.dtype != bool:
        raise InputError(f"a mask is (H, W) bool, not {mask.shape} {mask.dtype}")
    if not mask.any():
        raise InputError("the mask is empty: there is no object to point at")
