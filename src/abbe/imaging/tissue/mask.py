"""Where on a brightfield slide the tissue is, where there is ink, and how sharp a tile is.

The rules are stated with their numbers, and they look at colour alone: they serve tissue in
H&E and like stains on a bright background, and know nothing of fluorescence.
"""

import cc3d
import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

OPTICAL_DENSITY_RANGE = (0.05, 0.15)
SATURATION_RANGE = (0.05, 0.15)
"""Otsu's thresholds are kept within these: without bounds, they would part the noise of an empty
slide in two, and the tissue of a slide without background."""

SMALLEST_PART = 64
"""Specks of tissue and holes in it below so many px of the overview (64 µm squared) are removed."""

INK_SATURATION = 0.25
RED_INK_SATURATION = 0.75
BLACK = 45


def optical_density(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean optical density of the three channels, −log₁₀((I + 1) / 256).

    Args:
        rgb: (3, H, W) uint8.

    Returns:
        (H, W) float32: 0 for white, 2.4 for black.
    """
    densities = -np.log10((np.arange(256) + 1) / 256).astype(np.float32)
    return densities[rgb].mean(0)


def saturation(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(max − min) / max of the three channels, (H, W) float32 in [0, 1]; 0 for black."""
    highest = rgb.max(0).astype(np.float32)
    return (highest - rgb.min(0)) / np.maximum(highest, 1)


def tissue_mask(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where there is tissue: stained and dark enough at once.

    Both the optical density and the saturation of the overview, smoothed by a Gaussian of 1 px,
    must lie above their thresholds: Otsu's, kept within `OPTICAL_DENSITY_RANGE` and
    `SATURATION_RANGE`. Grey dust and black edges are dense but not coloured. Ink on the glass is
    left out, then specks and holes below `SMALLEST_PART` px.

    Args:
        rgb: (3, H, W) uint8, an overview at about 8 µm per px.

    Returns:
        (H, W) bool.
    """
    density = scipy.ndimage.gaussian_filter(optical_density(rgb), 1)
    colour = scipy.ndimage.gaussian_filter(saturation(rgb), 1)
    mask = density > _otsu(density, OPTICAL_DENSITY_RANGE)
    mask &= colour > _otsu(colour, SATURATION_RANGE)
    mask &= ~pen_mask(rgb)
    return ~_without_small(~_without_small(mask))


def pen_mask(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where there is ink of a marker on the glass, or something as dark as no tissue is.

    - blue, green and turquoise ink: green exceeds red by more than 10, at a saturation above
      `INK_SATURATION`. In H&E green is the weakest or second weakest channel, below red.
    - red ink: red is the strongest, at a saturation above `RED_INK_SATURATION`, which blood
      seldom reaches.
    - black ink, edges of the glass: all channels below `BLACK`.

    Violet ink is not told from haematoxylin.

    Args:
        rgb: (3, H, W) uint8.

    Returns:
        (H, W) bool.
    """
    red, green, _ = (channel.astype(np.int16) for channel in rgb)
    coloured = saturation(rgb)
    cold = (green > red + 10) & (coloured > INK_SATURATION)
    hot = (rgb.argmax(0) == 0) & (coloured > RED_INK_SATURATION)
    return cold | hot | (rgb.max(0) < BLACK)


def sharpness(rgb: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the mean of the channels, in squared grey levels (0 to 255).

    The Laplacian is that of four neighbours. The value depends on the pixel size: compare tiles
    of one size only.

    Args:
        rgb: (3, H, W) uint8.
    """
    grey = rgb.astype(np.float32).mean(0)
    return float(scipy.ndimage.laplace(grey).var())


def _otsu(values: NDArray[np.floating], bounds: tuple[float, float]) -> float:
    from skimage.filters import threshold_otsu  # slow to import

    return float(np.clip(threshold_otsu(values), *bounds))


def _without_small(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without its 8-connected parts below `SMALLEST_PART` px."""
    parts = cc3d.connected_components(mask, connectivity=8)
    large = np.bincount(parts.ravel()) >= SMALLEST_PART
    large[0] = False
    return large[parts]
