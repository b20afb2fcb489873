"""Lengths in µm: units as microscopes and formats spell them, and which sizes to believe."""

import math

from abbe.errors import InputError

# Largest difference of the pixel's two sides that is still called square.
SQUARE_TOLERANCE = 0.01

# Resolution tags are believed up to this pixel size (2,540 dpi). Most programs write 72, 96 or
# 300 dpi whatever the image is, and these say 353, 265 or 85 µm.
LARGEST_PLAUSIBLE = 10.0

SMALLEST, LARGEST = 1e-5, 1e6
"""µm; no camera has smaller pixels (a tenth of an ångström) or larger ones (a metre)."""

_MICROMETRES = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,
    "um": 1.0,
    "nm": 1e-3,
    "pm": 1e-6,
    "å": 1e-4,
    "in": 25400.0,
    "meter": 1e6,
    "metre": 1e6,
    "centimeter": 1e4,
    "centimetre": 1e4,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "micron": 1.0,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "picometer": 1e-6,
    "angstrom": 1e-4,
    "inch": 25400.0,
    "inche": 25400.0,  # "inches" without its s
}


def micrometres_per(unit: str | None) -> float | None:
    """How many µm the unit is, or None for "pixel", no unit, and what is not known."""
    if not unit:
        return None
    # ImageJ writes the sign escaped; the Greek letter and the micro sign look alike.
    unit = unit.strip().replace("\\u00B5", "µ").replace("μ", "µ").lower()
    return _MICROMETRES.get(unit, _MICROMETRES.get(unit.removesuffix("s")))  # "micrometers"


def length(value: float, unit: str | None) -> float | None:
    """A length in µm, or None where unit or value say nothing."""
    factor = micrometres_per(unit)
    if factor is None or not math.isfinite(value) or value <= 0:
        return None
    return value * factor


def number(text: object) -> float:
    """A number as metadata spell it, such as 0.25, 0,25 or 2.5e-1; NaN where it is none."""
    try:
        return float(str(text).strip().replace(",", "."))
    except ValueError:
        return math.nan


def printed(pixel_size: tuple[float, float]) -> int | None:
    """The dots per inch of a printer or screen that this pixel size stands for, if it does.

    Programs write 72, 96 or 300 dpi where they do not know, and others pass these on as though
    they had been measured.
    """
    for dpi in (72, 96, 150, 300, 600):
        if all(math.isclose(size, _MICROMETRES["inch"] / dpi, rel_tol=2e-3) for size in pixel_size):
            return dpi
    return None


def possible(pixel_size: float) -> bool:
    """Whether a pixel can be so many µm wide at all."""
    return SMALLEST <= pixel_size <= LARGEST


def plausible(pixel_size: tuple[float, float] | None) -> tuple[float, float] | None:
    """The pixel size from a resolution tag, or None where it looks like a printer's default."""
    if pixel_size is None or max(pixel_size) >= LARGEST_PLAUSIBLE:
        return None
    return pixel_size


def square(pixel_size: tuple[float, float] | None, source: str) -> float | None:
    """One pixel size from the vertical and the horizontal one: their mean, within 1 %.

    Raises:
        InputError: The two differ by more.
    """
    if pixel_size is None:
        return None
    vertical, horizontal = pixel_size
    mean = (vertical + horizontal) / 2
    if abs(vertical - horizontal) > SQUARE_TOLERANCE * mean:
        raise InputError(
            f"{source}: pixels are {horizontal:g} µm wide and {vertical:g} µm high, but Abbe "
            "needs square ones. Resample the image, or give one size with --override-pixel-size "
            "(in an experiment data.override_pixel_size)."
        )
    return mean
