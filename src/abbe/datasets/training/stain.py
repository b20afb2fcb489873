"""Augmentation of H&E images: changes of stain and colour.

All functions take and give float images (…, 3, H, W) of red, green and blue in [0, 1].
"""

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

# Optical densities of red, green and blue for haematoxylin, eosin and DAB, each of unit length
# before rounding: Ruifrok and Johnston 2001, as in scikit-image's rgb_from_hed.
_STAIN_COLOURS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
_DARKEST = 1e-3
"""Least intensity that is told from black: an optical density of 3."""

OFFSET_SHARE = 0.1
"""How far a stain is shifted, of how far it is scaled; see `draw_stain_change`."""


def stains_of(rgb: Tensor) -> Tensor:
    """Colour deconvolution: how much haematoxylin, eosin and a third stain each pixel has.

    −log₁₀(rgb) times the inverse of the stains' colours (Ruifrok and Johnston 2001). Amounts below
    0, which scikit-image cuts off, are kept, so that `rgb_of` gives back the image.

    Args:
        rgb: (…, 3, H, W) in [0, 1]; values below 0.001 count as 0.001.

    Returns:
        (…, 3, H, W) amounts, in optical densities (decadic).
    """
    density = -torch.log10(rgb.clamp(_DARKEST, 1))
    return torch.einsum("...chw,cs->...shw", density, torch.linalg.inv(_matrix(rgb)))


def rgb_of(stains: Tensor) -> Tensor:
    """The image that has these amounts of stain, cut off at 1: the inverse of `stains_of`."""
    density = torch.einsum("...shw,sc->...chw", stains, _matrix(stains))
    return torch.pow(10, -density).clamp(0, 1)


def change_stains(rgb: Tensor, factors: Tensor, offsets: Tensor) -> Tensor:
    """Scale and shift each stain: amount · factor + offset (Tellez et al. 2018).

    Args:
        rgb: (3, H, W) in [0, 1].
        factors: (3,), 1 for no change.
        offsets: (3,) in optical densities, 0 for no change.
    """
    return rgb_of(stains_of(rgb) * factors[:, None, None] + offsets[:, None, None])


def draw_stain_change(random: np.random.Generator, strength: float) -> tuple[Tensor, Tensor]:
    """Factors within 1 ± ``strength`` and offsets within ± 0.1 · ``strength``, for each stain.

    Args:
        random: Source of randomness.
        strength: 0 for no change; 0.2 is a strong one.
    """
    factors = random.uniform(1 - strength, 1 + strength, 3)
    offsets = random.uniform(-1, 1, 3) * OFFSET_SHARE * strength
    return torch.from_numpy(factors).float(), torch.from_numpy(offsets).float()


def change_colours(rgb: Tensor, random: np.random.Generator, strength: float) -> Tensor:
    """Change brightness, contrast and saturation within 1 ± ``strength``, hue by a tenth of that.

    One after the other, in this order.

    Args:
        rgb: (…, 3, H, W) in [0, 1].
        random: Source of randomness.
        strength: 0 for no change, 0.4 for a strong one; below 1.
    """
    bright, contrast, saturation = random.uniform(1 - strength, 1 + strength, 3)
    hue = float(random.uniform(-1, 1)) * strength / 10
    rgb = transforms.adjust_brightness(rgb, float(bright))
    rgb = transforms.adjust_contrast(rgb, float(contrast))
    rgb = transforms.adjust_saturation(rgb, float(saturation))
    return transforms.adjust_hue(rgb, hue).clamp(0, 1)


def _matrix(like: Tensor) -> Tensor:
    """Rows: the colours of the stains."""
    return torch.tensor(_STAIN_COLOURS, dtype=like.dtype, device=like.device)
