"""Colours of classes, and the legend below a picture that shows them."""

from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from abbe.imaging.pictures.composite import Colour, spelled

# Okabe and Ito's colours, which colour-blind readers tell apart, the strong ones first.
_COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (86, 180, 233),
    (240, 228, 66),
)
_HUE_STEP = 0.618034
"""The golden ratio: hues that follow each other so lie far apart, however many there are."""
_TEXT, _MARGIN = 18, 8
_LEAST_WIDTH = 160
"""px; a narrower picture gets room for names at its right."""


def class_colour(number: int) -> Colour:
    """The colour of class ``number``, the same everywhere: red, green, blue, 0 to 255."""
    if number < len(_COLOURS):
        return _COLOURS[number]
    import colorsys

    value = 0.95 if number % 2 else 0.7
    red, green, blue = colorsys.hsv_to_rgb(number * _HUE_STEP % 1, 0.75, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def with_legend(picture: np.ndarray, entries: Sequence[tuple[str, Colour]]) -> np.ndarray:
    """The picture with names and their colours below it, in as many rows as are needed.

    Args:
        picture: (H, W, 3) uint8.
        entries: Names, each with its colour. Letters that the font lacks are spelled in ASCII.

    Returns:
        (H', W', 3) uint8; wider than the picture only where that is narrower than a name.
    """
    font = PIL.ImageFont.load_default(size=_TEXT)
    names = [spelled(name) for name, _ in entries]
    widths = [round(font.getlength(name)) + _TEXT + 3 * _MARGIN for name in names]
    height, width = picture.shape[:2]
    width = max(width, _LEAST_WIDTH, *widths)
    places: list[tuple[int, int]] = []
    x, row = _MARGIN, 0
    for own in widths:
        if x > _MARGIN and x + own > width:
            x, row = _MARGIN, row + 1
        places.append((x, row))
        x += own
    line = _TEXT + _MARGIN
    sheet = PIL.Image.new("RGB", (width, height + (row + 1) * line + 2 * _MARGIN), (255, 255, 255))
    sheet.paste(PIL.Image.fromarray(picture), (0, 0))
    draw = PIL.ImageDraw.Draw(sheet)
    for (x, row), name, (_, colour) in zip(places, names, entries, strict=True):
        top = height + _MARGIN + row * line
        draw.rectangle((x, top, x + _TEXT, top + _TEXT), colour)
        draw.text((x + _TEXT + _MARGIN, top + _TEXT / 2), name, (30, 30, 30), font, anchor="lm")
    return np.asarray(sheet)
