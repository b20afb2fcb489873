"""Joins the soft masks of single objects to one foreground map and one map of instances."""

import numpy as np
from numpy.typing import NDArray


class SoftUnion:
    """Joins soft masks, one object at a time, over an image that is held once.

    The foreground is q = maxᵢ mᵢ. A pixel with q ≥ 0.5 belongs to the object whose mask is highest
    there.
    """

    def __init__(self, shape: tuple[int, int], minimum_area: int) -> None:
        self._highest = np.zeros(shape, np.float32)
        self._owner = np.zeros(shape, np.int32)
        self._minimum_area = minimum_area
        self._objects = 0

    def add(self, probability: NDArray[np.floating], top: int, left: int) -> None:
        """Join a soft mask (h, w) in [0, 1] whose upper left pixel lies at (top, left)."""
        height, width = probability.shape
        window = np.s_[top : top + height, left : left + width]
        self._objects += 1
        higher = probability > self._highest[window]
        self._highest[window][higher] = probability[higher]
        self._owner[window][higher] = self._objects

    @property
    def foreground(self) -> NDArray[np.float32]:
        """q, (H, W) float32 in [0, 1]; 0 where no mask reached."""
        return self._highest

    def instances(self) -> NDArray[np.int32]:
        """(H, W) int32, 0 for background, numbered without gaps; small remains are left out."""
        labels = np.where(self._highest >= 0.5, self._owner, 0)
        areas = np.bincount(labels.ravel(), minlength=self._objects + 1)
        kept = areas >= max(1, self._minimum_area)
        kept[0] = False
        numbers = np.zeros(len(areas), np.int32)
        numbers[kept] = np.arange(1, kept.sum() + 1)
        return numbers[labels]
