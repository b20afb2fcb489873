"""Which images files, folders and patterns name, and what their results are called."""

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from abbe.errors import ConfigError, InputError
from abbe.imaging.formats.other_kinds import not_read
from abbe.imaging.formats.plates import field_name, fields_of, is_plate
from abbe.imaging.labels.names import MASK_NAMES
from abbe.imaging.opening import is_zarr
from abbe.in_words import listing
from abbe.near import meant_beside
from abbe.remote import as_path, as_remote
from abbe.remote.alike import is_folder, is_there
from abbe.runtime.job import SUFFIXES

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".svs", ".qptiff", ".ndpi", ".scn", ".mrxs", ".bif",
    ".npy", ".npz", ".zarr",
)  # fmt: skip
"""What is taken from a folder; a file that is named is opened whatever it is called."""

_LABEL_FOLDERS = ("labels", "masks", "types")
"""Folders that, beside a folder ``images``, hold what is known of these and no other images."""


def find_images(
    inputs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str] | None = None
) -> dict[Path, Path]:
    """The images that files, folders and patterns name, with where each lies below its folder.

    Folders are searched to any depth, hidden ones and ``out`` left out; an OME-Zarr folder is one
    image, and a plate all its fields of view (A1_0: row A, column 1, field 0). Of folders and
    patterns, what is called as a result or as a mask of another image found is no image, nor is
    what lies in ``labels`` beside a folder ``images``; a file that is named is always taken.

    Args:
        inputs: Files, folders, patterns, of this machine or by URL.
        out: Folder that the results are written to, if any are.

    Raises:
        InputError: A name leads to nothing, or a folder holds no image.
        ConfigError: Two images would write the same results.
    """
    own = None if out is None else as_path(out).resolve()
    found: dict[Path, Path] = {}
    named: set[Path] = set()
    for each in inputs:
        if not os.fspath(each):  # Path("") is the folder that one is in
            raise InputError("an image's name is empty, as of a variable that is not set")
        path = as_path(each)
        if is_folder(path) and is_plate(path):
            found |= {field: Path(name) for name, field in fields_of(path).items()}
        elif is_folder(path) and not is_zarr(path):
            inside = sorted(_images_below(path, own))
            if not inside:
                unread = not_read(_files_below(path, own), path)
                raise InputError(unread or f"{path}: there is no image in this folder")
            found |= {image: _below(image, path) for image in inside}
        elif is_there(path):
            found[path] = _below(path, path.parent)
            named.add(path)
        else:
            matching = _matching(path, each)
            if not matching:
                raise InputError(f"{path}: there is no such image or folder.{meant_beside(path)}")
            found |= {match: _below(match, match.parent) for match in matching}
    results, masks = _results_of(found, out), _masks_among(found)
    found = {
        image: below
        for image, below in found.items()
        if image in named or not (_whole(image) in results or image in masks)
    }
    _require_own_names(found)
    return found


def _require_own_names(found: Mapping[Path, Path]) -> None:
    """Refuse images whose results would have the same names, all of them at once."""
    stems: dict[Path, Path] = {}
    both: list[str] = []
    for image, below in found.items():
        stem = stem_of(below)
        if other := stems.get(stem):
            both.append(f"{other} and {image} would both be written to '{stem}…'")
        stems.setdefault(stem, image)
    if both:
        raise ConfigError(
            f"{listing(both)}: give them different names, or run them one after the other with "
            "different --out"
        )


def left_out(
    inputs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str] | None = None
) -> list[str]:
    """What to say of image files in folders that `find_images` passes over, in lines."""
    own = None if out is None else as_path(out).resolve()
    told: list[str | None] = []
    for folder in map(as_path, inputs):
        if is_folder(folder) and not is_zarr(folder):
            files = list(_files_below(folder, own))
            told += not_read(files, folder), _masks_told(files, folder, out)
    return [line for line in told if line is not None]


def _matching(path: Path, pattern: str | os.PathLike[str]) -> list[Path]:
    """What a pattern names, by name."""
    if as_remote(path) is None:
        return [Path(found) for found in sorted(glob.glob(str(pattern), recursive=True))]
    fixed = next((each for each in path.parents if not glob.has_magic(str(each))), path)
    return sorted(fixed.glob(path.relative_to(fixed).as_posix()))


def _whole(path: Path) -> str:
    return os.path.abspath(path) if as_remote(path) is None else str(path)


def stem_of(below: Path) -> Path:
    """The image's name without what says its kind."""
    name = below.name
    for suffix in (".ome.tif", ".ome.tiff", ".ome.zarr"):
        if name.lower().endswith(suffix):
            return below.with_name(name[: -len(suffix)])
    return below.with_suffix("")


def _below(image: Path, folder: Path) -> Path:
    """Where results of an image lie below its folder; a field of a plate is called by its well."""
    below = image.relative_to(folder)
    name = None if image.suffix else field_name(image)
    if name is None:
        return below
    return stem_of(below.parents[2]) / name if len(below.parts) > 3 else Path(name)


def _images_below(folder: Path, out: Path | None) -> Iterator[Path]:
    """Images at any depth, and folders that cannot be looked into, for the images in them."""
    for path in _files_below(folder, out):
        if path.is_dir() and is_plate(path):
            yield from fields_of(path).values()
        elif path.suffix.lower() in IMAGE_SUFFIXES or (path.is_dir() and not is_zarr(path)):
            yield path


def _files_below(
    folder: Path, out: Path | None, above: frozenset[str] = frozenset()
) -> Iterator[Path]:
    """Files and zarr folders at any depth, and folders that cannot be looked into.

    What is hidden and the folder ``out`` are left out.
    """
    own = os.path.realpath(folder) if as_remote(folder) is None else str(folder)
    if own in above:  # a link leads back to where it lies
        return
    try:
        found = sorted(folder.iterdir())
    except PermissionError:
        yield folder
        return
    for path in found:
        if path.name.startswith("."):
            continue
        if is_folder(path) and not is_zarr(path):
            if path.resolve() != out:
                yield from _files_below(path, out, above | {own})
        else:
            yield path


def _masks_told(
    files: Iterable[Path], folder: Path, out: str | os.PathLike[str] | None
) -> str | None:
    """What to say of masks among the files of a folder; nothing of Abbe's own results."""
    found = {
        file: file.relative_to(folder) for file in files if file.suffix.lower() in IMAGE_SUFFIXES
    }
    results = _results_of(found, out)
    masks = sorted(each for each in _masks_among(found) if _whole(each) not in results)
    if not masks:
        return None
    number = "1 file is" if len(masks) == 1 else f"{len(masks)} files are"
    return (
        f"{folder}: {number} taken for masks of images and left out, such as {found[masks[0]]}. "
        "What is named itself, a file or its folder, is read as an image"
    )


def _masks_among(images: Mapping[Path, Path]) -> set[Path]:
    """Which of these are called as masks of another, or lie in ``labels`` beside ``images``."""
    stems = {stem_of(image) for image in images}
    of_folders = {
        image.parents[depth] for image, below in images.items() for depth in range(len(below.parts))
    }
    return {
        image
        for image, below in images.items()
        if _is_mask_of(image, stems)
        or any(
            parent.name.lower() in _LABEL_FOLDERS and parent.with_name("images") in of_folders
            for parent in image.parents[: len(below.parts) - 1]
        )
    }


def _is_mask_of(path: Path, stems: set[Path]) -> bool:
    """Whether this is called as masks, or Cellpose's own file, of an image beside it."""
    own = stem_of(path)
    ends = ("_seg",) if path.suffix == ".npy" else ()
    return any(
        own.name.endswith(end) and own.with_name(own.name.removesuffix(end)) in stems
        for end in (*ends, ".labels", *MASK_NAMES)
        if own.name != end
    )


def _results_of(images: Mapping[Path, Path], out: str | os.PathLike[str] | None) -> set[str]:
    """Where results of these images lie, or would: in ``out``, and beside the images."""
    stems = {stem_of(image) for image in images}
    if out is not None:
        stems |= {as_path(out) / stem_of(below) for below in images.values()}
    return {whole + suffix for whole in map(_whole, stems) for suffix in SUFFIXES.values()}
