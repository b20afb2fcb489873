"""Pictures that say of each pixel which class it is, by numbers or by colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.ImageColor
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.imaging import open_image
from abbe.imaging.channels import RGB
from abbe.imaging.labels.files import read_numbers

Colour = tuple[int, int, int]
BACKGROUND, UNKNOWN = "background", "unknown"
"""Names that are no classes: 0 and −1."""
NAMED, SOFT = 5, 12
"""Unknown colours that a message names; more than so many are those of soft edges."""


@dataclass(frozen=True)
class TypesFile:
    """A picture whose values number classes, −1 or ``ignore`` for unknown."""

    path: Path
    classes: tuple[str, ...] = ()
    ignore: int | None = None

    def read(self) -> NDArray[np.int32]:
        """The classes, (H, W).

        Raises:
            InputError: The file has more than one plane, or a number is outside the list of
                classes.
        """
        values, _ = read_numbers(self.path, ignore=self.ignore)
        if values.min() < -1 or (self.classes and values.max() > len(self.classes)):
            raise InputError(
                f"{self.path}: the numbers {values.min()} to {values.max()} are not in the list of "
                f"classes, 0 (none) to {len(self.classes)} ({', '.join(self.classes)}), or −1"
            )
        return values


def class_colours(given: Sequence[str]) -> dict[str, Colour]:
    """Classes and their colours, from ``NAME=COLOUR``: tumor=#ff0000, stroma=0,128,0 or fat=yellow.

    >>> class_colours(["tumor=#ff0000", "background=0,0,0"])
    {'tumor': (255, 0, 0), 'background': (0, 0, 0)}

    Raises:
        ConfigError: one is not of this form, or a name or a colour stands twice.
    """
    found: dict[str, Colour] = {}
    for each in given:
        name, equals, text = (part.strip() for part in each.partition("="))
        if not (name and equals and text):
            raise ConfigError(f"data.class_colours: '{each}' is not NAME=COLOUR: tumor=#ff0000")
        colour = _colour(text)
        if name in found or colour in found.values():
            raise ConfigError(f"data.class_colours: '{each}' has a name or a colour of another")
        found[name] = colour
    return found


def _colour(text: str) -> Colour:
    numbers = text.split(",")
    if len(numbers) == 3 and all(each.strip().isdigit() for each in numbers):
        red, green, blue = (int(each) for each in numbers)
        if max(red, green, blue) <= 255:
            return red, green, blue
    try:
        red, green, blue = PIL.ImageColor.getrgb(text)[:3]
    except ValueError:
        raise ConfigError(
            f"data.class_colours: '{text}' is no colour; give #ff0000, 255,0,0 or a name such as "
            "red"
        ) from None
    return red, green, blue


def classes_of(colours: Mapping[str, Colour]) -> tuple[str, ...]:
    """The names that are classes, in order; they are numbered from 1."""
    return tuple(name for name in colours if name not in (BACKGROUND, UNKNOWN))


@dataclass(frozen=True)
class ColouredClasses:
    """A picture of classes, by their colours.

    Attributes:
        path: of the picture: red, green and blue of 8 bits, or a palette of such colours.
        colours: names and colours, as `class_colours` reads them. Where none is the background's
            and black is no class's, black is.
    """

    path: Path
    colours: tuple[tuple[str, Colour], ...]

    def read(self) -> NDArray[np.int32]:
        """The classes, (H, W): 1, 2, … in order, 0 background, −1 unknown.

        Raises:
            InputError: the picture has no colours, or others than were named.
        """
        image = open_image(self.path)
        if image.dtype != np.uint8 or tuple(name.lower() for name in image.channels) != RGB:
            raise InputError(
                f"{self.path}: a picture in colours of 8 bits is expected "
                f"(data.class_colours), not {', '.join(image.channels)} of {image.dtype}"
            )
        codes = _codes(image.read())
        numbers = self._numbers()
        values, places = np.unique(codes, return_inverse=True)
        if lacking := [int(value) for value in values if int(value) not in numbers]:
            raise InputError(f"{self.path}: {_unknown(codes, lacking)}")
        table = np.array([numbers[int(value)] for value in values], np.int32)
        return table[places.reshape(codes.shape)]

    def _numbers(self) -> dict[int, int]:
        """By code of the colour, the number of its class."""
        colours = dict(self.colours)
        meant = {BACKGROUND: 0, UNKNOWN: -1}
        meant |= {name: number for number, name in enumerate(classes_of(colours), start=1)}
        found = {_code(colour): meant[name] for name, colour in colours.items()}
        if BACKGROUND not in colours:
            found.setdefault(0, 0)
        return found


def _codes(pixels: NDArray) -> NDArray[np.int32]:
    red, green, blue = pixels.astype(np.int32)
    return (red << 16) | (green << 8) | blue


def _code(colour: Colour) -> int:
    red, green, blue = colour
    return (red << 16) | (green << 8) | blue


def _unknown(codes: NDArray[np.int32], lacking: Sequence[int]) -> str:
    """Which colours no class has, the most frequent first."""
    counts = {code: int(np.count_nonzero(codes == code)) for code in lacking[:256]}
    most = sorted(counts, key=lambda code: -counts[code])
    named = ", ".join(f"#{code:06x} ({counts[code]} px)" for code in most[:NAMED])
    more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
    hint = ". Soft edges? Save the picture without smoothing, as PNG" if len(lacking) > SOFT else ""
    return f"no class has the colours {named}{more}{hint}"
