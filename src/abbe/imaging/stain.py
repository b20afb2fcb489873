"""Stain normalisation: H&E images in the colours of another one.

Macenko et al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009:
pixels' optical densities lie in a plane, in which the two stains are the outermost directions;
how much of each stain a pixel has is scaled so that the 99th percentiles are those of the other
image. The stains are found once for an image and not for each tile, so that tiles fit each other.

The libraries for it normalise one picture at a time (torchstain, which the tests compare this
with), need torch or compilers, or are under the GPL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from abbe.errors import InputError
from abbe.imaging.channels import RGB
from abbe.imaging.image import Contents, Image, Levels, Region
from abbe.imaging.slide import slide_of

_LIGHT = 240.0
"""Intensity where there is no tissue, as in Macenko's implementation."""
_TRANSPARENT = 0.15
"""Optical density (natural logarithm) below which a pixel is held to be glass."""
_OUTERMOST = 1.0
"""Percentile of the directions that is a stain's; the other one is 100 minus it."""
_MOST = 99.0
"""Percentile of a stain's amounts that images are made equal by."""
_FEWEST = 1000
"""Pixels of tissue below which stains are not told apart."""
_WINDOWS, _SIDE = 24, 64
"""Of a large image, so many windows in height and width are looked at, of so many px."""


@dataclass(frozen=True)
class Stains:
    """The two stains of an image.

    Attributes:
        colours: Of haematoxylin and of eosin: optical densities of red, green and blue, of
            length 1.
        most: 99th percentile of the amount of each, over pixels of tissue.
    """

    colours: tuple[tuple[float, float, float], tuple[float, float, float]]
    most: tuple[float, float]


def stains_of(rgb: np.ndarray, source: str) -> Stains:
    """Find the stains of an image.

    Args:
        rgb: (3, H, W) or (3, N) uint8.
        source: What messages call it.

    Raises:
        InputError: There is too little tissue, or only one stain.
    """
    density = _densities(rgb.reshape(3, -1))
    tissue = density[:, (density >= _TRANSPARENT).all(axis=0)]
    if tissue.shape[1] < _FEWEST:
        raise InputError(
            f"{source}: it has too little stained tissue for its stain to be found "
            f"({tissue.shape[1]:,} px). Leave --stain-like out for it"
        )
    _, vectors = np.linalg.eigh(np.cov(tissue))
    plane = vectors[:, 1:]  # of the two largest eigenvalues
    plane = plane * np.where(plane.sum(axis=0) < 0, -1.0, 1.0)
    angles = np.arctan2(*(plane.T @ tissue)[[0, 1]])
    ends = np.percentile(angles, [_OUTERMOST, 100 - _OUTERMOST])
    found = [plane @ np.array([np.sin(angle), np.cos(angle)]) for angle in ends]
    # Haematoxylin takes more red than eosin does.
    found.sort(key=lambda colour: -colour[0])
    colours = np.stack(found, axis=1)
    if abs(np.linalg.det(colours.T @ colours)) < 1e-4:
        raise InputError(
            f"{source}: it seems to have one stain alone, and H&E is expected. Leave --stain-like "
            "out for it"
        )
    most = np.percentile(np.linalg.pinv(colours) @ tissue, _MOST, axis=1)
    if (most <= 0).any():
        raise InputError(f"{source}: its stains cannot be told apart. Leave --stain-like out")
    haematoxylin, eosin = (tuple(map(float, colour)) for colour in found)
    return Stains((haematoxylin, eosin), (float(most[0]), float(most[1])))  # type: ignore[arg-type]


def restained(rgb: np.ndarray, own: Stains, wanted: Stains) -> np.ndarray:
    """Pixels (3, H, W) uint8 with the colours and amounts of other stains."""
    amounts = np.linalg.pinv(np.array(own.colours).T)
    scale = np.array(wanted.most) / np.array(own.most)
    change = np.array(wanted.colours).T @ (scale[:, None] * amounts)
    density = np.tensordot(change.astype(np.float32), _densities(rgb), axes=1)
    return np.clip(np.rint(_LIGHT * np.exp(-density)), 0, 255).astype(np.uint8)


def stains_of_image(image: Image) -> Stains:
    """The stains of an image: of all of it, or of 24 × 24 windows of 64 px where it is large.

    Raises:
        InputError: It is not in red, green and blue of 8 bits, or as for `stains_of`.
    """
    require_colours(image)
    height, width = image.shape
    if max(height, width) <= _WINDOWS * _SIDE:
        return stains_of(image.read(channels=RGB), image.source)
    rows, columns = (
        np.linspace(0, max(side - _SIDE, 0), _WINDOWS).astype(int).tolist() for side in image.shape
    )
    windows = [
        image.read(
            Region(top, left, min(top + _SIDE, height), min(left + _SIDE, width)), RGB
        ).reshape(3, -1)
        for top in rows
        for left in columns
    ]
    return stains_of(np.concatenate(windows, axis=1), image.source)


def require_colours(image: Image) -> None:
    """Refuse what cannot be H&E.

    Raises:
        InputError: It is not in red, green and blue of 8 bits.
    """
    if set(RGB) - set(image.channels) or image.dtype != np.uint8:
        raise InputError(
            f"{image.source}: stain is normalised in red, green and blue of 8 bits; its channels "
            f"are {', '.join(image.channels)} ({image.dtype.name}). Leave --stain-like out for it"
        )


def _densities(rgb: np.ndarray) -> np.ndarray:
    """Optical densities, as many as pixels."""
    table = -np.log((np.arange(256, dtype=np.float32) + 1) / _LIGHT)
    return table[rgb]


class Restained:
    """Pixels of an image, or of a level of it, in other stains."""

    def __init__(self, image: Image, own: Stains, wanted: Stains) -> None:
        self.image, self.own, self.wanted = image, own, wanted

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        """Pixels of ``region``, (len(channels), height, width)."""
        pixels = restained(self.image.read(region, RGB), self.own, self.wanted)
        return pixels[list(channels)]


def as_asked(image: Image, own: Stains) -> Image:
    """The image as networks are to see it: in the stains that are asked for, if any are.

    Args:
        image: H&E.
        own: Its stains; see `stains_of_image`.
    """
    wanted = image.stain
    if wanted is None:
        return image
    contents = Contents(
        image.shape, len(RGB), image.dtype, partial(Restained, image, own, wanted), RGB,
        notes=image.notes, coarser=partial(_coarser, image, own, wanted),
    )  # fmt: skip
    return Image(image.name, RGB, contents, pixel_size=image.pixel_size, source=image.source)


def _coarser(image: Image, own: Stains, wanted: Stains) -> Levels:
    return [
        (level.shape, partial(Restained, level, own, wanted))
        for level in slide_of(image).levels[1:]
    ]
