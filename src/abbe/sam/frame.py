"""The square that a network of the SAM family sees, and the way there and back."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from abbe.errors import InputError

MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
"""Of red, green and blue on the scale 0 to 255, as SAM was trained."""
THRESHOLD = 0.0
"""Logits above are inside the mask."""


@dataclass(frozen=True)
class Frame:
    """An image's place in the square: its longest side fills it, the rest is padding.

    Args:
        size: (height, width) of the image in pixels.
        side: of the square in pixels.
        resized: (height, width) of the image in the square, at the top left.
    """

    size: tuple[int, int]
    side: int
    resized: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], side: int) -> "Frame":
        """Place an image of this (height, width), with SAM's rounding; no side falls below 1.

        Raises:
            InputError: The image has no pixels.
        """
        if min(size) < 1:
            raise InputError(f"an image of {size[0]} × {size[1]} pixels has nothing to segment")
        scale = side / max(size)
        height, width = (max(1, int(length * scale + 0.5)) for length in size)
        return cls((int(size[0]), int(size[1])), side, (height, width))

    def image(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Resize, normalise and pad an image (H, W, 3) uint8: (3, side, side) float32.

        Raises:
            InputError: The image is not of this frame's size, or not 8-bit RGB.
        """
        if rgb.shape != (*self.size, 3) or rgb.dtype != np.uint8:
            raise InputError(
                f"the image is {rgb.shape} {rgb.dtype}; this frame needs ({self.size[0]}, "
                f"{self.size[1]}, 3) uint8"
            )
        height, width = self.resized
        small = Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR)
        mean, deviation = np.array([MEAN, DEVIATION], dtype=np.float32)
        pixels = (np.asarray(small, dtype=np.float32) - mean) / deviation
        square = np.zeros((3, self.side, self.side), dtype=np.float32)
        square[:, :height, :width] = pixels.transpose(2, 0, 1)
        return torch.from_numpy(square)

    def points(self, xy: ArrayLike) -> Tensor:
        """Bring points (…, 2), x and y in pixels of the image, into the square: float32."""
        scale = (self.resized[1] / self.size[1], self.resized[0] / self.size[0])
        return torch.from_numpy((np.asarray(xy, dtype=np.float64) * scale).astype(np.float32))

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
