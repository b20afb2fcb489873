"""Pictures for people: colour composites, outlines drawn over them, contact sheets."""

import math
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from abbe.errors import InputError
from abbe.files import atomic_path
from abbe.imaging.labels.files import outlines
from abbe.imaging.normalisation import normalise, percentile_limits

Colour = tuple[int, int, int]
Font = PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont

# Hues by what a channel's name contains, as in fluorescence papers. Blue is lightened: pure blue
# is too dark on a screen for nuclei to be seen.
_HUES: dict[tuple[str, ...], Colour] = {
    ("nucle", "dapi", "hoechst", "dna", "draq", "h2b", "histone"): (60, 120, 255),
    ("membrane", "cadherin", "atpase", "wga", "catenin", "border"): (60, 230, 90),
    ("cyto", "actin", "keratin", "tubulin", "phalloidin", "cell"): (255, 60, 130),
}
# For names that say nothing, in this order.
_OTHERS: tuple[Colour, ...] = (
    (255, 190, 40),
    (40, 220, 230),
    (200, 90, 255),
    (255, 110, 50),
    (170, 230, 60),
)
_RGB = ("red", "green", "blue")

# Pillow's own font, the only one that every machine has, knows little beyond ASCII.
_KNOWN = "±·°…“”’"
_SPELLED = str.maketrans(
    {"μ": "u", "×": "x", "–": "-", "—": "-", "−": "-", "≥": ">=", "≤": "<=", "→": "->", "≈": "~"}
    | {"ß": "ss", "ø": "o", "æ": "ae", "‘": "’", "•": "·", "\N{FRACTION SLASH}": "/"}
)

_PAPER: Colour = (255, 255, 255)
_INK: Colour = (30, 30, 30)


def composite(pixels: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """One colour picture of all channels.

    One channel is grey; red, green and blue are shown as they are; other channels glow in the hue
    of their name (nucleus blue, membrane green, cytoplasm magenta; else yellow, cyan, violet, …)
    and are blended by "screen", 1 − Π(1 − value · hue), which saturates gently.

    Args:
        pixels: (C, H, W) float in [0, 1].
        channels: C names.

    Returns:
        (H, W, 3) uint8.
    """
    if pixels.ndim != 3 or len(pixels) != len(channels):
        raise InputError(
            f"Pixels of shape {pixels.shape} do not fit {len(channels)} channels: (C, H, W) is "
            "expected."
        )
    values = np.clip(pixels, 0, 1).astype(np.float32)
    if len(channels) == 1:
        return np.repeat(_to_bytes(values[0])[..., None], 3, axis=-1)
    if sorted(channels) == sorted(_RGB):
        order = [list(channels).index(name) for name in _RGB]
        return _to_bytes(np.moveaxis(values[order], 0, -1))
    dark = np.ones((*values.shape[1:], 3), np.float32)
    for plane, hue in zip(values, _hues(channels), strict=True):
        dark *= 1 - plane[..., None] * (np.array(hue, np.float32) / 255)
    return _to_bytes(1 - dark)


def view(
    pixels: np.ndarray, channels: Sequence[str], limits: np.ndarray | None = None
) -> np.ndarray:
    """A picture of raw pixels: colours as they are, other channels stretched each by itself.

    Args:
        pixels: (C, H, W) of any real type.
        channels: C names. Red, green and blue of 8 bits stay as they are; of other types all three
            are stretched alike, so that their colour stays.
        limits: (C, 2) of `abbe.imaging.percentile_limits`, of a whole image whose part this is.

    Returns:
        (H, W, 3) uint8.
    """
    known = percentile_limits(pixels) if limits is None else limits
    if sorted(channels) == sorted(_RGB):
        whole = pixels.dtype == np.uint8
        lowest, highest = (0, 255) if whole else (min(0, known.min()), known.max())
        known = np.array([[lowest, highest]] * len(channels), np.float32)
    return composite(normalise(pixels, known), channels)


def draw_outlines(
    rgb: np.ndarray, labels: np.ndarray, colour: Colour, thickness: int = 1
) -> np.ndarray:
    """A copy of the picture with the outline of every instance drawn inside it.

    Args:
        rgb: (H, W, 3) uint8.
        labels: (H, W) instances.
        colour: Red, green, blue, 0 to 255.
        thickness: In px.

    Returns:
        (H, W, 3) uint8.
    """
    if rgb.shape != (*labels.shape, 3):
        raise InputError(f"Labels of shape {labels.shape} do not fit a picture of {rgb.shape}.")
    line = outlines(labels)
    for _ in range(thickness - 1):
        line = _grown(line) & (labels > 0)
    drawn = rgb.copy()
    drawn[line] = colour
    return drawn


def contact_sheet(
    tiles: Sequence[np.ndarray],
    captions: Sequence[str],
    columns: int | None = None,
    *,
    tile_size: int = 256,
) -> PIL.Image.Image:
    """Pictures in a grid, each with its caption below.

    Args:
        tiles: (h, w, 3) uint8 each, of any size; scaled to fit, sides kept in proportion.
        captions: One a tile; long ones are wrapped, then cut with "…" after three lines. Letters
            that the font lacks are spelled in ASCII (µ as u, é as e) or become "?".
        columns: Pictures a row; None makes the sheet about as wide as high.
        tile_size: Longest side of a picture on the sheet, in px.

    Raises:
        InputError: There are no tiles, or not one caption a tile.
    """
    if not tiles or len(tiles) != len(captions):
        raise InputError(
            f"A contact sheet needs one caption a tile: {len(tiles)}, {len(captions)}."
        )
    columns = min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles))
    rows = math.ceil(len(tiles) / columns)
    font = PIL.ImageFont.load_default(size=max(11, tile_size // 18))
    texts = [_wrapped(spelled(caption), font, tile_size) for caption in captions]
    line = math.ceil(font.getbbox("Äg|")[3] * 1.15)
    pictures = [_fitted(tile, tile_size) for tile in tiles]
    margin = max(6, tile_size // 24)
    # A row is as high as its highest picture and its longest caption.
    members = [range(row * columns, min((row + 1) * columns, len(tiles))) for row in range(rows)]
    heights = [max(pictures[i].height for i in row) for row in members]
    lines = [max(len(texts[i]) for i in row) for row in members]
    total = margin + sum(h + n * line + 2 * margin for h, n in zip(heights, lines, strict=True))
    sheet = PIL.Image.new("RGB", (margin + columns * (tile_size + margin), total), _PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    top = margin
    for row, height, count in zip(members, heights, lines, strict=True):
        for column, index in enumerate(row):
            left = margin + column * (tile_size + margin)
            picture = pictures[index]
            sheet.paste(picture, (left + (tile_size - picture.width) // 2, top))
            for number, text in enumerate(texts[index]):
                at = (left + tile_size / 2, top + height + margin // 2 + number * line)
                draw.text(at, text, _INK, font, anchor="ma")
        top += height + count * line + 2 * margin
    return sheet


def write_png(path: str | os.PathLike[str], rgb: np.ndarray) -> None:
    """Write a picture, (H, W, 3) or (H, W) uint8; the file is whole or not there."""
    path = Path(path)
    if rgb.dtype != np.uint8 or rgb.ndim not in (2, 3) or (rgb.ndim == 3 and rgb.shape[2] != 3):
        raise InputError(
            f"{path}: a picture is (H, W, 3) or (H, W) uint8, not {rgb.shape} {rgb.dtype}."
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(rgb)))


def _hues(channels: Sequence[str]) -> list[Colour]:
    """A hue a channel; no hue twice while there are some left."""
    taken: list[Colour] = []
    hues: dict[int, Colour] = {}
    for index, name in enumerate(channels):
        for words, hue in _HUES.items():
            if hue not in taken and any(word in name.lower() for word in words):
                hues[index] = hue
                taken.append(hue)
                break
    free = [hue for hue in (*_OTHERS, *_HUES.values()) if hue not in taken] or list(_OTHERS)
    rest = [index for index in range(len(channels)) if index not in hues]
    hues.update({index: free[place % len(free)] for place, index in enumerate(rest)})
    return [hues[index] for index in range(len(channels))]


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask and its neighbours (of four)."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.round(values * 255).astype(np.uint8)


def _fitted(tile: np.ndarray, size: int) -> PIL.Image.Image:
    picture = PIL.Image.fromarray(tile)
    scale = size / max(picture.size)
    # Enlarged by whole factors, pixels stay sharp and a 1 px outline stays even.
    scale = math.floor(scale) if scale > 1 else scale
    method = PIL.Image.Resampling.NEAREST if scale > 1 else PIL.Image.Resampling.LANCZOS
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), method)


def spelled(text: str) -> str:
    """The text in letters that Pillow's own font has."""
    letters = unicodedata.normalize("NFKD", text.replace("…", "...")).translate(_SPELLED)
    return "".join(
        letter if letter.isascii() or letter in _KNOWN else "?"
        for letter in letters
        if not unicodedata.combining(letter)
    )


def _wrapped(caption: str, font: Font, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in caption.splitlines() or [""]:
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if font.getlength(longer) <= width or not line:
                line = longer
            else:
                lines.append(line)
                line = word
        lines.append(line)
    if len(lines) > 3:
        lines = [*lines[:2], f"{lines[2]}…"]
    return [_shortened(line, font, width) for line in lines]


def _shortened(line: str, font: Font, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"
