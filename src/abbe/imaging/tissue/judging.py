"""Whether a place on a slide is worth looking at: by an overview's masks, and by its own pixels."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from abbe.imaging.image import Image, Region
from abbe.imaging.slide import Slide
from abbe.imaging.tissue.mask import pen_mask, sharpness, tissue_mask

Verdict = Literal["taken", "empty", "pen", "blurred"]

OVERVIEW = 8.0
"""µm per px at which tissue and ink are looked for."""


@dataclass(frozen=True)
class Limits:
    """What a place on a slide must be like.

    Attributes:
        minimum_tissue: Least share of it that is tissue.
        maximum_pen: Largest share under ink; see `pen_mask`.
        minimum_sharpness: Least `sharpness`; 0 takes blurred places, too, and saves reading every
            place once. 40 is meant for 0.5 µm: sharp H&E has 130 to 2,400 there, and after a
            Gaussian blur of 2 px below 45.
    """

    minimum_tissue: float = 0.5
    maximum_pen: float = 0.1
    minimum_sharpness: float = 40.0


USUAL_LIMITS = Limits()


@dataclass(frozen=True)
class Masks:
    """Where on a slide there is tissue, and where ink: (H, W) bool of its overview."""

    tissue: NDArray[np.bool_]
    pen: NDArray[np.bool_]


class Judged(NamedTuple):
    """What was found of a place.

    Attributes:
        verdict: Whether it is taken, or why not.
        tissue: Share of it that is tissue.
        sharpness: Variance of its Laplacian; None where it was not looked at.
    """

    verdict: Verdict
    tissue: float
    sharpness: float | None = None


def overview(slide: Slide) -> Image:
    """The whole slide at 8 µm, or at its own pixel size if that is coarser."""
    return slide.at(max(OVERVIEW, slide.levels[0].require_pixel_size()))


def masks_of(rgb: NDArray[np.uint8]) -> Masks:
    """Tissue and ink on an overview, (3, H, W)."""
    return Masks(tissue_mask(rgb), pen_mask(rgb))


def judged(whole: Image, region: Region, masks: Masks, limits: Limits) -> Judged:
    """Judge one place.

    Args:
        whole: The slide at the pixel size at which sharpness is measured.
        region: The place, in px of it.
        masks: Of the slide.
        limits: What it must be like.

    Raises:
        InputError: Its pixels cannot be read.
    """
    share = _share(masks.tissue, region, whole.shape)
    if _share(masks.pen, region, whole.shape) > limits.maximum_pen:
        return Judged("pen", share)
    if share < limits.minimum_tissue:
        return Judged("empty", share)
    if limits.minimum_sharpness <= 0:
        return Judged("taken", share)
    sharp = sharpness(whole.read(region))
    return Judged("taken" if sharp >= limits.minimum_sharpness else "blurred", share, sharp)


def _share(mask: NDArray[np.bool_], region: Region, shape: tuple[int, int]) -> float:
    """Share of a place that the mask covers, which has fewer px than the slide of ``shape``."""
    down, across = (there / here for there, here in zip(mask.shape, shape, strict=True))
    top, left = int(region.top * down), int(region.left * across)
    bottom = max(top + 1, round(region.bottom * down))
    right = max(left + 1, round(region.right * across))
    return float(mask[top:bottom, left:right].mean())
