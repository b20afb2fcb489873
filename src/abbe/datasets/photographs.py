"""Pictures and masks of medical photographs and ultrasound, as the publishers' files hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cc3d
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.imaging import Image

COLOURS = ("red", "green", "blue")
GREY = ("grey",)
_INSIDE = 128
"""Masks are 0 and 255; those stored as JPEG hold values near these."""
_SMALLEST_OUTLINE = 3
"""Rows and columns that an outline must reach to enclose anything."""


@dataclass(frozen=True)
class ColourFile:
    """The red, green and blue of a picture; of a grey one, three times the same."""

    file: Path

    def open(self) -> Image:
        """(3, H, W) uint8."""
        pixels = np.moveaxis(np.asarray(_decoded(self.file, "RGB")), -1, 0)
        return Image.from_array(pixels, COLOURS, name=self.file.stem)


@dataclass(frozen=True)
class GreyFile:
    """The luminance of a picture (ITU-R 601), with the size of its pixels in µm where known."""

    file: Path
    pixel_size: float | None = None

    def open(self) -> Image:
        """(1, H, W) uint8."""
        grey = np.asarray(_decoded(self.file, "L"))
        return Image.from_array(grey[None], GREY, self.pixel_size, name=self.file.stem)


@dataclass(frozen=True)
class PartsOfMask:
    """A mask whose 8-connected parts are the objects; they are numbered from 1."""

    file: Path

    def read(self) -> NDArray[np.int32]:
        """The instances, (H, W)."""
        mask = read_mask(self.file)
        return cc3d.connected_components(mask, connectivity=8).astype(np.int32)


@dataclass(frozen=True)
class WholeMasks:
    """One mask file an object, of however many parts. Where two overlap, the smaller one wins."""

    files: tuple[Path, ...]

    def read(self) -> NDArray[np.int32]:
        """The instances, (H, W), numbered in the order of the files; an empty mask has none.

        Raises:
            InputError: A file is missing or damaged, or their sizes differ.
        """
        masks = [read_mask(file) for file in self.files]
        for file, mask in zip(self.files, masks, strict=True):
            if mask.shape != masks[0].shape:
                raise InputError(
                    f"{file} is {_size(mask)} px, but {self.files[0].name} beside it is "
                    f"{_size(masks[0])} px: fetch the set again"
                )
        label = np.zeros(masks[0].shape, np.int32)
        for index in sorted(range(len(masks)), key=lambda index: -int(masks[index].sum())):
            label[masks[index]] = index + 1
        return label


@dataclass(frozen=True)
class FilledOutline:
    """A drawn line around one convex object, such as an ellipse; the object includes the line.

    Filled is the smallest convex region that holds the line: so gaps in it do no harm, nor does an
    object that reaches beyond the image, whose line ends at the border.
    """

    file: Path

    def read(self) -> NDArray[np.int32]:
        """The object as instance 1, (H, W).

        Raises:
            InputError: The file is missing or damaged, or what it holds encloses nothing.
        """
        from skimage.morphology import convex_hull_image  # half a second

        line = read_mask(self.file)
        if min(line.any(0).sum(), line.any(1).sum()) < _SMALLEST_OUTLINE:
            raise InputError(f"{self.file} holds no outline that encloses anything: fetch it again")
        filled = line | np.asarray(convex_hull_image(line, offset_coordinates=False))
        return filled.astype(np.int32)


def read_mask(file: Path) -> NDArray[np.bool_]:
    """A mask (H, W): where the luminance is at least 128.

    Raises:
        InputError: The file is missing or damaged.
    """
    return np.asarray(_decoded(file, "L")) >= _INSIDE


def paired(
    files: Sequence[Path], masks: dict[str, Path], folder: Path
) -> tuple[list[tuple[Path, Path | None]], list[str]]:
    """Each picture with the mask of its name, None without one; and what was amiss, in words.

    Args:
        files: The pictures.
        masks: By the stem of their picture.
        folder: Where masks were looked for, for the words.
    """
    pairs = [(file, masks.get(file.stem)) for file in files]
    problems = [f"{file.name} has no mask in {folder.name}" for file, mask in pairs if mask is None]
    unused = sorted(masks.keys() - {file.stem for file in files})
    problems += [f"{masks[stem].name} in {folder.name} has no image: left out" for stem in unused]
    return pairs, problems


def _decoded(file: Path, mode: str) -> PIL.Image.Image:
    try:
        with PIL.Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{file} has more than 8 bits a px, which this set never has")
            return image.convert(mode)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{file} cannot be read ({error}); it is missing or damaged: fetch the set again"
        ) from error


def _size(mask: NDArray[np.bool_]) -> str:
    return f"{mask.shape[0]}×{mask.shape[1]}"
