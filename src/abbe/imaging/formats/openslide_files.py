"""NDPI, MRXS and other slide formats, read through OpenSlide (``abbe[wsi]``)."""

import os
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abbe.errors import InputError, MissingExtraError
from abbe.imaging.formats.dicom.images import start_of_dicom
from abbe.imaging.formats.raster import RGB
from abbe.imaging.image import Contents, Levels, Region
from abbe.imaging.units import length, number
from abbe.remote import as_remote
from abbe.remote.cache import folder_copy, local_copy

if TYPE_CHECKING:
    import openslide

_WHITE = "ffffff"
_USUAL_STEP = 4
"""How many times smaller than the finest level of a slide the next one is, at most."""
_SEVERAL_FILES = (".vms", ".vmu")
"""Hamamatsu's slides, whose other files lie in the same folder."""


def open_openslide(path: Path) -> Contents:
    """Read a slide's properties: full resolution, red, green and blue of 8 bits.

    Where nothing was scanned, the pixels have the background colour that the file states, else
    white.

    Raises:
        MissingExtraError: OpenSlide is not installed.
        InputError: The file is not a slide of the kind that its name says.
    """
    slide = _open(path)
    width, height = slide.dimensions
    vertical, horizontal = (
        length(number(slide.properties.get(f"openslide.mpp-{axis}")), "um") for axis in "yx"
    )
    return Contents(
        shape=(height, width),
        channel_count=3,
        dtype=np.dtype(np.uint8),
        load=partial(OpenSlidePixels, path, 0),
        channels=RGB,
        pixel_size=None if vertical is None or horizontal is None else (vertical, horizontal),
        notes=_notes(slide),
        coarser=partial(coarser_levels, path),
    )


def _notes(slide: "openslide.OpenSlide") -> tuple[str, ...]:
    """Of a DICOM series which levels are missing, as far as can be seen."""
    kinds = [value for key, value in slide.properties.items() if key.startswith("dicom.ImageType")]
    notes = []
    if "RESAMPLED" in kinds:
        notes.append("The file of its finest level is not beside it: a reduced one is read.")
    steps = [b / a for a, b in pairwise(slide.level_downsamples)] if kinds else []
    for place, step in enumerate(steps):
        # Scanners go down by 2 or 4, and by less towards the end. Sides of levels are rounded.
        if step > 1.9 * max(steps[:place], default=_USUAL_STEP):
            notes.append(
                f"Its level {place + 2} is {step:.0f} times smaller than the one before: the file "
                "of a level between may be missing. What is computed does not need it."
            )
    return tuple(notes)


def coarser_levels(path: Path) -> Levels:
    """Shape (H, W) and loader of each level below the finest."""
    sizes = _open(path).level_dimensions[1:]
    return [
        ((height, width), partial(OpenSlidePixels, path, level))
        for level, (width, height) in enumerate(sizes, start=1)
    ]


class OpenSlidePixels:
    """One level of a slide, held open."""

    def __init__(self, path: Path, level: int) -> None:
        self.slide, self.level = _open(path), level
        colour = self.slide.properties.get("openslide.background-color") or _WHITE
        self.background = np.frombuffer(bytes.fromhex(colour), np.uint8).astype(np.float32)

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        """Pixels of ``region``, (len(channels), height, width)."""
        factor = self.slide.level_downsamples[self.level]
        corner = (round(region.left * factor), round(region.top * factor))
        size = (region.right - region.left, region.bottom - region.top)
        pixels = np.asarray(self.slide.read_region(corner, self.level, size))
        alpha = pixels[..., 3:]
        colours = pixels[..., :3]
        if (alpha < 255).any():
            share = alpha.astype(np.float32) / 255
            colours = (colours * share + self.background * (1 - share)).round().astype(np.uint8)
        return colours.transpose(2, 0, 1)[list(channels)]


def _file(path: Path) -> Path:
    """The slide itself; of one behind a URL a copy, with the files that belong to it."""
    remote = as_remote(path)
    if remote is None:
        return path
    if path.suffix.lower() == ".mrxs":
        folder_copy(remote.with_suffix(""))
    elif path.suffix.lower() in _SEVERAL_FILES:
        for each in remote.parent.iterdir():
            local_copy(each)
    elif start_of_dicom(path):
        from abbe.imaging.formats.dicom.series import files_of_series

        for file in files_of_series(path):
            os.fspath(file)  # brings it here
    return local_copy(remote)


def _open(path: Path) -> "openslide.OpenSlide":
    try:
        import openslide
    except ImportError as error:
        raise MissingExtraError("openslide-python", "wsi", f"Reading {path.suffix} slides") from (
            error
        )
    try:
        return openslide.OpenSlide(_file(path))
    except openslide.OpenSlideError as error:
        if path.suffix == ".mrxs":
            companion = " and the folder of the same name beside it"
        else:
            companion = " and the others of its series" if start_of_dicom(path) else ""
        raise InputError(
            f"{path}: OpenSlide cannot read it ({error}). Copy the file{companion} again, or "
            "convert it to a pyramidal TIFF."
        ) from error
