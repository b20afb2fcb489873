"""The square that a network of the SAM family sees, and the way there and back."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from abbe.imaging.promptable.letterbox import LetterboxGeometry

THRESHOLD = 0.0
"""Logits above are inside the mask."""


@dataclass(frozen=True)
class Letterbox(LetterboxGeometry):
    """An image's place in the square, and the way there and back in tensors."""

    def image(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Resize, normalise and pad an image (H, W, 3) uint8: (3, side, side) float32.

        Raises:
            InputError: The image is not of this size, or not 8-bit RGB.
        """
        return torch.from_numpy(self.pixels(rgb))

    def points(self, xy: ArrayLike) -> Tensor:
        """Bring points (…, 2), x and y in pixels of the image, into the square: float32."""
        return torch.from_numpy(self.places(xy))

    def boxes(self, xyxy: ArrayLike) -> Tensor:
        """Bring boxes (…, 4), left, top, right, bottom in pixels, into the square: float32."""
        corners = np.asarray(xyxy, dtype=np.float64)
        return self.points(corners.reshape(*corners.shape[:-1], 2, 2)).reshape(corners.shape)

    def masks(self, logits: Tensor) -> Tensor:
        """Bring logits (N, M, l, l) from the square to the image: (N, M, H, W) logits.

        As SAM does it: bilinearly to the whole square, then, without the padding, to the image.
        """
        height, width = self.resized
        square = F.interpolate(logits, (self.side, self.side), mode="bilinear")
        return F.interpolate(square[..., :height, :width], self.size, mode="bilinear")

    def axes(self, side: int) -> tuple[Tensor, Tensor]:
        """What ``masks`` does along each axis, as matrices R (H, side) and C (W, side), float32.

        For logits L (side, side), R L Cᵀ is what ``masks`` gives, up to rounding; some rows of R
        and of C give a part of it at a part of the cost.
        """
        each = torch.eye(side)[None]
        square = F.interpolate(each, self.side, mode="linear")
        rows, columns = (
            F.interpolate(square[..., :inside], length, mode="linear")[0].T.contiguous()
            for inside, length in zip(self.resized, self.size, strict=True)
        )
        return rows, columns
