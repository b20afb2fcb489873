"""Which files are slides, and slides opened as the red, green and blue of a brightfield scanner."""

import re
from pathlib import Path

import numpy as np

from abbe.errors import InputError
from abbe.imaging import Slide, open_slide
from abbe.imaging.formats.other_kinds import not_read
from abbe.near import meant_beside

SLIDE_SUFFIXES = (
    ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".qptiff", ".tif",
    ".tiff", ".btf", ".zarr",
)  # fmt: skip
CHANNELS = ("red", "green", "blue")
# "channel-0" is our own name for a channel without one; converters write "Channel 0", "C:1", "0".
# Three digits are a wavelength, which says that this is fluorescence.
_NUMBER_ONLY = re.compile(r"(channel|ch|c)?[\s:_-]*\d{1,2}(:\d{1,2})*", re.IGNORECASE)


def find_slides(root: Path) -> list[Path]:
    """The slide itself, or all slides of a folder, by name.

    Raises:
        InputError: There is nothing at the path, or no slide in the folder.
    """
    if not root.exists():
        raise InputError(f"{root}: there is no such slide or folder.{meant_beside(root)}")
    if not root.is_dir() or root.name.lower().endswith(".zarr"):
        return [root]
    found = sorted(
        file
        for file in root.iterdir()
        if file.name.lower().endswith(SLIDE_SUFFIXES) and not file.name.startswith(".")
    )
    if not found:
        unread = slides_not_read(root)
        why = "" if unread is None else f"{unread}\n"
        raise InputError(f"{why}{root} holds no slide; slides end in {', '.join(SLIDE_SUFFIXES)}")
    return found


def slides_not_read(root: Path) -> str | None:
    """What to say of files in a folder of slides that Abbe does not read; None without any."""
    inside = root.is_dir() and not root.name.lower().endswith(".zarr")
    return not_read(sorted(root.iterdir()), root) if inside else None


def require_colours(root: Path, channels: tuple[str, ...] | None) -> None:
    """Refuse names for the channels of slides that are not those of colours.

    Raises:
        InputError: They are not red, green, blue.
    """
    if channels not in (None, CHANNELS):
        raise InputError(
            f"{root}: the channels of slides are {', '.join(CHANNELS)}, not {', '.join(channels)}. "
            "Name them so in data.channels, or leave the key out."
        )


def open_brightfield(
    path: Path,
    *,
    channels: tuple[str, ...] | None = None,
    pixel_size: float | None = None,
    override_pixel_size: float | None = None,
) -> tuple[Slide, float | None]:
    """A slide whose three channels of 8 bits are called red, green and blue.

    Colours are told by their names in any case (Red, R); three channels of 8 bits that have
    numbers for names, or none, are taken for colours.

    Args:
        path: The slide.
        channels: "red", "green", "blue" where the user says that the file's three channels are
            colours, whatever it calls them.
        pixel_size: Of the finest level in µm, where the file does not say.
        override_pixel_size: The same, whatever the file says.

    Returns:
        The slide, and the pixel size if it was made use of; give it to `open_again`.

    Raises:
        InputError: The file is damaged, or holds anything but colours of 8 bits.
        MissingExtraError: The format needs ``abbe[wsi]``.
    """
    slide = open_slide(
        path, channels=channels, pixel_size=pixel_size, override_pixel_size=override_pixel_size
    )
    _require_brightfield(slide)
    given = override_pixel_size
    if given is None and slide.pixel_size == pixel_size:
        given = pixel_size
    if slide.channels != CHANNELS:
        slide = open_again(path, given)
    return slide, given


def open_again(path: Path, pixel_size: float | None) -> Slide:
    """Open a slide of which `open_brightfield` has found that it holds colours."""
    return open_slide(path, channels=CHANNELS, override_pixel_size=pixel_size)


def _require_brightfield(slide: Slide) -> None:
    full = slide.levels[0]
    three_bytes = len(slide.channels) == 3 and full.dtype == np.uint8
    if three_bytes and _are_colours(slide.channels):
        return
    advice = (
        "If these are its colours, say so with --data.channels red green blue."
        if three_bytes
        else "Cut it into tiles yourself and give their folder."
    )
    raise InputError(
        f"{full.source}: tissue is looked for in colour images of 8 bits (red, green, blue), "
        f"but this has {', '.join(slide.channels)} in {full.dtype}. {advice}"
    )


def _are_colours(names: tuple[str, ...]) -> bool:
    lower = tuple(name.lower() for name in names)
    unnamed = all(_NUMBER_ONLY.fullmatch(name) for name in names)
    return unnamed or lower in (CHANNELS, tuple(name[0] for name in CHANNELS))
