"""The square that a promptable network sees, and the way there and back, without torch."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.imaging.promptable.letterbox import LetterboxGeometry

LARGEST_SIDE = 20_000
"""px of an image that is taken whole."""
_BAND = 1 << 22
"""Pixels of masks that are enlarged at a time."""


@dataclass(frozen=True)
class Letterbox(LetterboxGeometry):
    """An image's place in the square, and the way there and back; ``abbe.sam``'s is in torch."""

    @classmethod
    def of(cls, size: tuple[int, int], side: int) -> Self:
        """Place an image of this (height, width).

        Raises:
            InputError: The image has no pixels, or a side of more than 20,000.
        """
        if max(size) > LARGEST_SIDE:
            raise InputError(
                f"an image of {size[0]} × {size[1]} px: sides of 1 to {LARGEST_SIDE:,} px are "
                "answered. Cut out the part in question"
            )
        return super().of(size, side)

    def image(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Resize, normalise and pad an image (H, W, 3) of this size: (1, 3, side, side)."""
        return self.pixels(rgb)[None]

    def logits(self, low: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring logits (M, l, l) from the square to the image: (M, H, W)."""
        rows, columns = self._axes(low.shape[-1])
        wide = [np.ascontiguousarray((columns @ plane.T).T) for plane in low]
        return np.stack([rows @ plane for plane in wide])

    def masks(self, low: NDArray[np.float32], threshold: float = 0.0) -> NDArray[np.bool_]:
        """Where these logits, brought to the image, exceed a threshold: (M, H, W) bool.

        Some rows at a time, so that no logits of a large image are held.
        """
        rows, columns = self._axes(low.shape[-1])
        masks = np.empty((len(low), *self.size), bool)
        band = max(1, _BAND // self.size[1])
        for mask, plane in zip(masks, low, strict=True):
            wide = np.ascontiguousarray((columns @ plane.T).T)
            for top in range(0, self.size[0], band):
                mask[top : top + band] = rows[top : top + band] @ wide > threshold
        return masks

    def _axes(self, length: int) -> tuple[Any, Any]:
        """What makes rows and columns of the image from those of the logits.

        As SAM does it: bilinearly to the whole square, then, without the padding, to the image.
        Both steps are linear and go along one axis at a time, so each axis takes one product.
        """
        to_square = bilinear(length, self.side)
        height, width = self.resized
        return (
            bilinear(height, self.size[0]) @ to_square[:height],
            bilinear(width, self.size[1]) @ to_square[:width],
        )


def bilinear(source: int, target: int) -> Any:
    """The sparse matrix (target, source) of linear interpolation between the centres of pixels.

    As ``torch.nn.functional.interpolate`` with ``align_corners=False``: without smoothing where
    the result is smaller, the border repeated.
    """
    from scipy.sparse import csr_array

    places = (np.arange(target, dtype=np.float64) + 0.5) * (source / target) - 0.5
    places = np.maximum(places, 0)
    first = np.minimum(places.astype(np.int64), source - 1)
    second = np.minimum(first + 1, source - 1)
    share = places - first
    number = np.arange(target)
    values = np.concatenate([1 - share, share]).astype(np.float32)
    where = np.concatenate([number, number]), np.concatenate([first, second])
    return csr_array((values, where), shape=(target, source))
