"""Pictures and masks of medical photographs and ultrasound, as the publishers' files hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cc3d
import numpy as np
from numpy.typing import NDArray

from abbe.datasets.object_masks import decode
from abbe.datasets.stored import Stored
from abbe.errors import InputError
from abbe.imaging import Image

COLOURS = ("red", "green", "blue")
GREY = ("grey",)
_INSIDE = 128
"""Masks are 0 and 255; those stored as JPEG hold values near these."""
_SMALLEST_OUTLINE = 3
"""Rows and columns that an outline must reach to enclose anything."""
_WIDEST_LINE = 4.0
"""px that a drawn line may lie away from the ellipse fitted to it."""


@dataclass(frozen=True)
class ColourFile:
    """The red, green and blue of a picture; of a grey one, three times the same."""

    file: Path

    def open(self) -> Image:
        """(3, H, W) uint8."""
        pixels = np.moveaxis(np.asarray(decode(Stored(self.file), "RGB")), -1, 0)
        return Image.from_array(pixels, COLOURS, name=self.file.stem)


@dataclass(frozen=True)
class GreyFile:
    """The luminance of a picture (ITU-R 601), with the size of its pixels in µm where known."""

    file: Path
    pixel_size: float | None = None

    def open(self) -> Image:
        """(1, H, W) uint8."""
        grey = np.asarray(decode(Stored(self.file), "L"))
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
class FilledEllipse:
    """An ellipse drawn as a line around one object; the object includes the line.

    The ellipse is fitted to the line's pixels and filled: so gaps do no harm, nor does an object
    that reaches beyond the image, whose line ends at the border.
    """

    file: Path

    def read(self) -> NDArray[np.int32]:
        """The object as instance 1, (H, W).

        Raises:
            InputError: The file is missing or damaged, or what it holds is no line of an ellipse.
        """
        line = read_mask(self.file)
        rows, columns = np.nonzero(line)
        advice = "fetch the original annotations again"
        if min(len(np.unique(rows)), len(np.unique(columns))) < _SMALLEST_OUTLINE:
            raise InputError(f"{self.file} holds no line that encloses anything: {advice}")
        # In units of the line's extent around its middle, so that squares stay comparable.
        middle = rows.mean(), columns.mean()
        extent = float(max(np.ptp(rows), np.ptp(columns)))
        conic = _fitted_ellipse((columns - middle[1]) / extent, (rows - middle[0]) / extent)
        y, x = (np.indices(line.shape) - np.reshape(middle, (2, 1, 1))) / extent
        value, slope = _conic_at(conic, x, y)
        away = np.abs(value[line]) / np.maximum(slope[line], 1e-9) * extent  # px, to first order
        if not np.isfinite(conic).all() or np.percentile(away, 95) > _WIDEST_LINE:
            raise InputError(f"{self.file} holds no line in the form of an ellipse: {advice}")
        return ((value <= 0) | line).astype(np.int32)


def _fitted_ellipse(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ellipse a x² + b xy + c y² + d x + e y + f = 0 that fits points best; negative inside.

    Direct least squares under 4ac − b² = 1 (Fitzgibbon et al. 1999), solved in the stable way of
    Halíř and Flusser 1998. NaN where the points lie on a line.
    """
    squares = np.stack([x * x, x * y, y * y], 1)
    linear = np.stack([x, y, np.ones_like(x)], 1)
    mixed = squares.T @ linear
    try:
        back = -np.linalg.solve(linear.T @ linear, mixed.T)
    except np.linalg.LinAlgError:
        return np.full(6, np.nan)
    reduced = squares.T @ squares + mixed @ back
    _, vectors = np.linalg.eig(np.stack([reduced[2] / 2, -reduced[1], reduced[0] / 2]))
    vectors = np.real(vectors)
    elliptic = 4 * vectors[0] * vectors[2] - vectors[1] ** 2 > 0
    if not elliptic.any():
        return np.full(6, np.nan)
    first = vectors[:, int(elliptic.argmax())]
    return np.concatenate([first, back @ first]) * np.sign(first[0])


def _conic_at(
    conic: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A conic's value at points, and how steeply it changes there."""
    a, b, c, d, e, f = conic
    value = a * x * x + b * x * y + c * y * y + d * x + e * y + f
    slope = np.sqrt((2 * a * x + b * y + d) ** 2 + (b * x + 2 * c * y + e) ** 2)
    return value, slope


def read_mask(file: Path) -> NDArray[np.bool_]:
    """A mask (H, W): where the luminance is at least 128.

    Raises:
        InputError: The file is missing or damaged.
    """
    return np.asarray(decode(Stored(file), "L")) >= _INSIDE


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


def _size(mask: NDArray[np.bool_]) -> str:
    return f"{mask.shape[0]}×{mask.shape[1]}"
