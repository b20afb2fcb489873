"""A scale bar in the corner of a picture."""

import math

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from abbe.imaging.pictures.composite import spelled

_LONGEST = 0.25
"""Of the picture's width."""
_LEAST_WIDTH = 96
"""px; a narrower picture has no room for it."""


def bar_length(micrometres: float) -> float:
    """The longest of 1, 2, 5, 10, 20, … µm (or 0.5, 0.2, …) that is no longer than this.

    >>> [bar_length(length) for length in (0.7, 49, 50, 1234)]
    [0.5, 20.0, 50.0, 1000.0]
    """
    power = 10.0 ** math.floor(math.log10(micrometres))
    return max(step * power for step in (1, 2, 5) if step * power <= micrometres * (1 + 1e-9))


def draw_scale_bar(picture: np.ndarray, pixel_size: float) -> np.ndarray:
    """A copy with a white bar and its length in the lower right corner.

    Args:
        picture: (H, W, 3) uint8; one narrower than 96 px is given back as it is.
        pixel_size: µm per px of the picture.
    """
    height, width = picture.shape[:2]
    if width < _LEAST_WIDTH or height < _LEAST_WIDTH // 2:
        return picture
    length = bar_length(_LONGEST * width * pixel_size)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    size = max(11, width // 50)
    font = PIL.ImageFont.load_default(size=size)
    margin, thick = max(6, width // 60), max(3, width // 250)
    right, bottom = width - margin, height - margin
    left = right - round(length / pixel_size)
    sheet = PIL.Image.fromarray(picture)
    draw = PIL.ImageDraw.Draw(sheet)
    draw.rectangle((left - 1, bottom - thick - 1, right + 1, bottom + 1), (0, 0, 0))
    draw.rectangle((left, bottom - thick, right, bottom), (255, 255, 255))
    draw.text(
        ((left + right) / 2, bottom - thick - 4),
        spelled(text),
        (255, 255, 255),
        font,
        anchor="mb",
        stroke_width=2,
        stroke_fill=(0, 0, 0),
    )
    return np.asarray(sheet)
