"""A folder in ImageNet's layout: listed in seconds, and no file opened before it is wanted."""

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from abbe.datasets.classes import SUFFIXES
from abbe.errors import InputError
from abbe.in_words import counted, faults
from abbe.near import meant_beside
from abbe.progress import track

SOLUTION = "LOC_val_solution.csv"
"""The publisher's file that says of which class each validation image is."""
_AT_ONCE = 1024
"""Photographs whose turn is planned ahead; a million would take a gigabyte."""
_INSIDE = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
"""Where train/ and val/ lie: in the folder itself, or as the publisher's archive unpacks."""


@dataclass(frozen=True)
class Photographs:
    """Files with a class each, by number; a million of them take 50 MB.

    Attributes:
        folder: that all lie in.
        folders: of the classes inside it, by class number; all "" where the folder is flat.
        names: (N,) file names as bytes.
        numbers: (N,) class numbers.
    """

    folder: Path
    folders: tuple[str, ...]
    names: NDArray[np.bytes_]
    numbers: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.names)

    def having(self, positions: NDArray[np.integer]) -> "Photographs":
        """Those at these positions."""
        return replace(self, names=self.names[positions], numbers=self.numbers[positions])

    def path(self, index: int) -> Path:
        """Where photograph ``index`` lies."""
        return self.folder / self.folders[self.numbers[index]] / os.fsdecode(self.names[index])

    def read(self, index: int) -> PIL.Image.Image:
        """Photograph ``index`` as RGB, whatever it is stored as.

        Raises:
            InputError: the file is damaged or gone.
        """
        path = self.path(index)
        try:
            with PIL.Image.open(path) as picture:
                return picture.convert("RGB")
        except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
            raise InputError(
                f"{path}: not a readable picture ({error}). Put a whole copy there, then go on "
                "with --resume"
            ) from error


@dataclass(frozen=True)
class ImageNet:
    """Names of the classes in order, and the photographs to learn from and to validate on."""

    classes: tuple[str, ...]
    train: Photographs
    val: Photographs
    simulated: bool = False
    licence: str = "not stated"

    @property
    def name(self) -> str:
        """Of the folder with ``train`` and ``val``."""
        return self.train.folder.parent.resolve().name


def imagenet_folder(path: str | os.PathLike[str], *, progress: bool = False) -> ImageNet:
    """List ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``.

    The folder may be what the publisher's archive unpacks to, with ``ILSVRC/Data/CLS-LOC`` inside.
    ``val`` may be flat, as published, where `SOLUTION` lies beside ``train`` or in a folder above.

    Args:
        path: the folder.
        progress: show a progress bar.

    Raises:
        InputError: there is no training or validation image, fewer than two classes, a class of
            ``val`` that ``train`` lacks, or no telling of which class a validation image is.
    """
    given = Path(path)
    root = next((given / each for each in _INSIDE if (given / each / "train").is_dir()), None)
    if root is None:
        raise InputError(
            f"{given}: there is no folder 'train' in it. Expected is ImageNet's layout: "
            f"train/CLASS/*.JPEG and val/CLASS/*.JPEG.{meant_beside(given)}"
        )
    train, classes = root / "train", _folders(root / "train")
    if not classes and any(train.glob("*.tar")):
        raise InputError(
            f"{train}: holds archives, not folders. Unpack each into a folder of its own, such as "
            "train/n01440764/ from n01440764.tar"
        )
    if len(classes) < 2:
        raise InputError(
            f"{train}: holds {len(classes)} folders of classes; two or more are needed, as in "
            "train/CLASS/*.JPEG"
        )
    found = _in_folders(train, classes, progress)
    if not len(found):
        raise InputError(f"{train}: there is no image in its folders ({', '.join(SUFFIXES)})")
    return ImageNet(classes, found, _validation(root, given, classes, progress))


def readable_photographs(
    photographs: Photographs, *, workers: int, progress: bool = False
) -> tuple[Photographs, dict[str, str]]:
    """The photographs that can be read, and why the others cannot, by their path from the root.

    Every one is decoded once, in so many threads.

    Raises:
        InputError: none can be read.
    """

    def fault(index: int) -> str:
        try:
            photographs.read(index)
        except (InputError, MemoryError) as error:
            return str(error)
        return ""

    count, reasons = len(photographs), list[str]()
    text, blocks = f"looking at {photographs.folder.name}", range(0, len(photographs), _AT_ONCE)
    with ThreadPoolExecutor(workers) as pool:
        for start in track(blocks, text, shown=progress):
            reasons += pool.map(fault, range(start, min(start + _AT_ONCE, count)))
    root = photographs.folder.parent
    lost = {
        photographs.path(index).relative_to(root).as_posix(): reason
        for index, reason in enumerate(reasons)
        if reason
    }
    kept = np.array([not reason for reason in reasons])
    if not kept.any():
        raise InputError(
            f"{photographs.folder}: none of its {counted(count, 'image')} can be read, for "
            "example:\n" + "\n".join(faults(lost, 3))
        )
    return photographs.having(np.flatnonzero(kept)), lost


def _validation(root: Path, given: Path, classes: tuple[str, ...], progress: bool) -> Photographs:
    folder = root / "val"
    folders = _folders(folder) if folder.is_dir() else ()
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        raise InputError(
            f"{folder}: has the class {unknown[0]}, which {root / 'train'} has not"
            + (f" (and {len(unknown) - 1} more like it)" if len(unknown) > 1 else "")
        )
    if folders:
        found = _in_folders(folder, tuple(name for name in classes if name in folders), progress)
        numbers = np.array([classes.index(name) for name in found.folders], np.int32)
        found = Photographs(folder, classes, found.names, numbers[found.numbers])
    else:
        found = _flat(folder, given, classes)
    if not len(found):
        raise InputError(
            f"{folder}: there is no image to validate on. Put some there, as val/CLASS/*.JPEG"
        )
    return found


def _flat(folder: Path, given: Path, classes: tuple[str, ...]) -> Photographs:
    """The published validation images, whose classes another file knows."""
    names = _images(folder) if folder.is_dir() else []
    if not names:
        return Photographs(folder, ("",) * len(classes), np.array([], "S1"), np.array([], np.int32))
    places = dict.fromkeys((folder.parent, *folder.parents[1:4], given))
    solution = next((each / SOLUTION for each in places if (each / SOLUTION).is_file()), None)
    if solution is None:
        raise InputError(
            f"{folder}: its {len(names)} images lie in no folders of classes, so nobody knows what "
            f"they show. Put {SOLUTION}, which comes with the images, into {given}, or sort them "
            "into val/CLASS/"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    with open(solution, newline="", encoding="utf-8") as file:
        told = {
            row["ImageId"]: (row["PredictionString"] or "").partition(" ")[0]
            for row in csv.DictReader(file)
            if "ImageId" in row and "PredictionString" in row
        }
    found = []
    for name in names:
        label = told.get(os.fsdecode(name).rpartition(".")[0])
        if label not in numbers:
            what = "does not name" if label is None else f"says {label}, no folder of train, of"
            raise InputError(f"{solution}: {what} {os.fsdecode(name)} in {folder}")
        found.append(numbers[label])
    return Photographs(
        folder, ("",) * len(classes), np.array(names, np.bytes_), np.array(found, np.int32)
    )


def _in_folders(root: Path, folders: tuple[str, ...], progress: bool) -> Photographs:
    names: list[bytes] = []
    counts: list[int] = []
    for folder in track(folders, f"listing {root.name}", shown=progress):
        own = _images(root / folder)
        names += own
        counts.append(len(own))
    numbers = np.repeat(np.arange(len(folders), dtype=np.int32), counts)
    return Photographs(root, folders, np.array(names, np.bytes_), numbers)


def _folders(folder: Path) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        return tuple(
            sorted(each.name for each in entries if each.is_dir() and each.name[0] not in "._")
        )


def _images(folder: Path) -> list[bytes]:
    """Names of the images in a folder, in order; nothing but names is read."""
    with os.scandir(folder) as entries:
        return sorted(
            os.fsencode(each.name)
            for each in entries
            if each.name.lower().endswith(SUFFIXES) and each.name[0] != "."
        )
