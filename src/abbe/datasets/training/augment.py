"""Random crops: one geometric transform for image, label and target; photometry for the image."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional as transforms

from abbe.imaging import Region


@dataclass(frozen=True)
class Geometry:
    """Where a crop is cut and how it is turned, drawn once and applied to every array of a sample.

    Attributes:
        box: the square cut from the image, in px; it may reach past the image's edges.
        side: side of the crop after resizing, in px.
        turns: quarter turns, 0 to 3.
        mirror: whether the crop is mirrored left to right after turning.
    """

    box: Region
    side: int
    turns: int = 0
    mirror: bool = False

    def intensities(self, crop: np.ndarray) -> torch.Tensor:
        """Turn and resize a (C, h, w) crop, bilinearly; float32 of shape (C, side, side)."""
        turned = torch.from_numpy(np.ascontiguousarray(self._turned(crop), dtype=np.float32))
        if turned.shape[-1] == self.side:
            return turned
        size = (self.side, self.side)
        return F.interpolate(turned[None], size, mode="bilinear", align_corners=False)[0]

    def labels(self, crop: np.ndarray) -> torch.Tensor:
        """Turn and resize an (h, w) label crop by nearest neighbour; int64 (side, side)."""
        turned = self._turned(crop)
        if turned.shape[-1] != self.side:
            nearest = ((np.arange(self.side) + 0.5) * turned.shape[-1] / self.side).astype(int)
            turned = turned[np.ix_(nearest, nearest)]
        return torch.from_numpy(np.ascontiguousarray(turned, dtype=np.int64))

    def _turned(self, crop: np.ndarray) -> np.ndarray:
        turned = np.rot90(crop, self.turns, axes=(-2, -1))
        return turned[..., ::-1] if self.mirror else turned


def draw_geometry(
    random: np.random.Generator,
    shape: tuple[int, int],
    side: int,
    *,
    scale: tuple[float, float] = (1.0, 1.0),
    flips: bool = True,
    centre: tuple[int, int] | None = None,
) -> Geometry:
    """Draw a crop of an image of ``shape`` (H, W) px.

    Args:
        random: source of randomness.
        shape: the image's height and width.
        side: side of the finished crop in px.
        scale: range of magnification; 1.25 makes objects a quarter larger.
        flips: whether to mirror and turn.
        centre: a (row, column) that the crop must contain, such as a labelled pixel.
    """
    cut = max(1, round(side / random.uniform(*scale)))
    top, left = (
        _draw_start(random, length, cut, centre and centre[axis])
        for axis, length in enumerate(shape)
    )
    turns, mirror = (int(random.integers(4)), bool(random.integers(2))) if flips else (0, False)
    return Geometry(Region(top, left, top + cut, left + cut), side, turns, mirror)


def _draw_start(random: np.random.Generator, length: int, cut: int, wanted: int | None) -> int:
    low, high = 0, max(length - cut, 0)
    if wanted is not None:
        low, high = max(low, wanted - cut + 1), min(high, wanted)
    return int(random.integers(low, high + 1))


class Light(TypedDict, total=False):
    """How much the light of images changes: arguments of `change_light`."""

    gamma: tuple[float, float]
    brightness: float
    noise: float
    blur: float


def change_light(
    image: torch.Tensor,
    random: np.random.Generator,
    *,
    gamma: tuple[float, float] = (1.0, 1.0),
    brightness: float = 0.0,
    noise: float = 0.0,
    blur: float = 0.0,
) -> torch.Tensor:
    """Change gamma, brightness, noise and blur of a (C, H, W) image in [0, 1]; geometry stays.

    Gamma and brightness are drawn for each channel: stains and exposures vary separately.
    Noise and blur are drawn between 0 and their largest value.
    """
    channels = len(image)
    exponents = torch.from_numpy(random.uniform(*gamma, size=channels).astype(np.float32))
    factors = torch.from_numpy(
        random.uniform(1 - brightness, 1 + brightness, size=channels).astype(np.float32)
    )
    image = image.clamp(0, 1) ** exponents[:, None, None] * factors[:, None, None]
    sigma = random.uniform(0, blur)
    if sigma > 0.2:  # below that, the kernel is a single pixel
        image = transforms.gaussian_blur(image, [5, 5], [sigma])
    deviation = random.uniform(0, noise)
    if deviation > 0:
        grain = random.standard_normal(image.shape, dtype=np.float32) * np.float32(deviation)
        image = image + torch.from_numpy(grain)
    return image.clamp(0, 1)
