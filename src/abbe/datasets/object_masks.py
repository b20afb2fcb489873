"""Labels made of one mask an object, and of run lengths in a table."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from abbe.datasets.stored import Stored
from abbe.errors import InputError


class ObjectMasks(NamedTuple):
    """The label made of one mask an object, and what had to be decided on the way."""

    labels: NDArray[np.int32]
    overlapping: int  # px that more than one object claims
    empty: tuple[str, ...]  # names of masks without a single px


@dataclass(frozen=True)
class MaskFiles:
    """One mask file an object, on disk or in an archive.

    Where masks overlap, the smaller object wins, so that a small object drawn inside a large one is
    kept. Objects are numbered in the order of the files.
    """

    files: tuple[Stored, ...]

    def read(self) -> NDArray[np.int32]:
        """The instances, (H, W)."""
        return self.read_masks().labels

    def read_masks(self) -> ObjectMasks:
        """The instances with the number of overlapping px and the empty files.

        Raises:
            InputError: One is damaged, or their sizes differ.
        """
        return _join_files(self.files)


@dataclass(frozen=True)
class MaskFolder:
    """A folder with one mask file an object, in the order of their names; else as `MaskFiles`."""

    folder: Path

    def read(self) -> NDArray[np.int32]:
        """The instances, (H, W)."""
        return self.read_masks().labels

    def read_masks(self) -> ObjectMasks:
        """As `MaskFiles.read_masks`.

        Raises:
            InputError: There is no mask, one is damaged, or their sizes differ.
        """
        files = sorted(self.folder.glob("*.png"))
        if not files:
            raise InputError(f"{self.folder} holds no mask (*.png)")
        return _join_files([Stored(file) for file in files])


@dataclass(frozen=True)
class RunLengths:
    """The objects of one image, each as runs of px: "start length start length …".

    As in the tables of the 2018 Data Science Bowl: px are counted from 1, down the columns.

    Attributes:
        table: the file, for messages.
        image: the picture, whose size counts.
        runs: one text an object; an empty one has none.
    """

    table: Stored
    image: Stored
    runs: tuple[str, ...]

    def read(self) -> NDArray[np.int32]:
        """The instances, (H, W)."""
        return self.read_masks().labels

    def read_masks(self) -> ObjectMasks:
        """The instances with the number of overlapping px and the rows without any.

        Raises:
            InputError: A row is no list of runs, or reaches beyond the image.
        """
        width, height = decode(self.image, "L").size
        objects = [self._pixels(text, height * width) for text in self.runs]
        # Down the columns: px i is in row i % H of column i // H.
        turned = [(pixels % height) * width + pixels // height for pixels in objects]
        return _joined((height, width), turned, [f"row {n}" for n in range(1, len(objects) + 1)])

    def _pixels(self, text: str, area: int) -> NDArray[np.intp]:
        try:
            numbers = np.array(text.split(), dtype=np.intp).reshape(-1, 2)
        except ValueError as error:
            raise InputError(f"{self.table}: '{text[:40]}' is no list of runs") from error
        starts, lengths = numbers[:, 0] - 1, numbers[:, 1]
        if (starts < 0).any() or (lengths < 1).any() or (starts + lengths > area).any():
            raise InputError(
                f"{self.table}: the runs '{text[:40]}' reach beyond the {area} px of {self.image}"
            )
        runs = [np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)]
        return np.concatenate(runs) if runs else np.zeros(0, np.intp)


def decode(file: Stored, mode: str) -> PIL.Image.Image:
    """An 8-bit picture in one of Pillow's modes.

    Raises:
        InputError: It is missing, damaged or of more than 8 bits.
    """
    try:
        with PIL.Image.open(io.BytesIO(file.read())) as image:
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{file} has more than 8 bits a px, which this set never has")
            return image.convert(mode)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{file} cannot be read ({error}); it is missing or damaged: fetch the set again"
        ) from error


def _join_files(files: Sequence[Stored]) -> ObjectMasks:
    shape: tuple[int, ...] | None = None
    objects: list[NDArray[np.intp]] = []  # the px of each object, counted along the rows
    for file in files:
        mask = np.asarray(decode(file, "L"))
        if shape is None:
            shape = mask.shape
        elif mask.shape != shape:
            raise InputError(
                f"{file} is {mask.shape[0]}×{mask.shape[1]} px, but {files[0].name} beside it "
                f"is {shape[0]}×{shape[1]} px"
            )
        objects.append(np.flatnonzero(mask))
    return _joined(shape or (), objects, [file.name for file in files])


def _joined(
    shape: tuple[int, ...], objects: Sequence[NDArray[np.intp]], names: Sequence[str]
) -> ObjectMasks:
    labels = np.zeros(shape, np.int32)
    claims = np.zeros(labels.size, np.int32)
    for index in sorted(range(len(objects)), key=lambda index: objects[index].size)[::-1]:
        labels.flat[objects[index]] = index + 1
        claims[objects[index]] += 1
    empty = tuple(name for name, pixels in zip(names, objects, strict=True) if not pixels.size)
    return ObjectMasks(labels, int((claims > 1).sum()), empty)
