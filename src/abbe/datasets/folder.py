"""A folder as a data set: ``images/``, ``labels/`` with the same names, and ``index.csv``."""

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from abbe.datasets.class_pictures import Colour, ColouredClasses, TypesFile, classes_of
from abbe.datasets.class_pictures import class_colours as read_colours
from abbe.datasets.collection import (
    SPLITS,
    Dataset,
    FileImage,
    FileLabel,
    LabelSource,
    Record,
    channels_of,
)
from abbe.errors import ConfigError, InputError
from abbe.files.tables import read_csv
from abbe.imaging.formats.other_kinds import is_other_kind, not_read
from abbe.imaging.labels.names import LABEL_SUFFIXES, MASK_NAMES, beside, only_mask
from abbe.in_words import counted, listing
from abbe.near import meant_beside
from abbe.remote import as_path

# Longest first: "a.ome.tif" is the image "a", not "a.ome".
IMAGE_SUFFIXES = (
    ".ome.tiff", ".ome.tif", ".ome.zarr", ".zarr", ".tiff", ".tif", ".png", ".jpg", ".jpeg",
    ".npy", ".npz", ".svs", ".qptiff", ".ndpi", ".mrxs",
)  # fmt: skip
ID_COLUMNS = ("id", "image", "name")
COLUMNS = (*ID_COLUMNS, "split", "group", "class")
"""Columns with a meaning; they may be written in any case."""

_BESIDE_IMAGES = (*MASK_NAMES, "_seg")

LAYOUT = """Expected is
  images/     one file an image (PNG, JPEG, TIFF, OME-TIFF, OME-Zarr, npy, npz)
  labels/     masks with the same names (may be missing: the images are unlabelled)
  index.csv   optional; columns id, split (train, val, test), group and any others"""


def folder(
    path: str | os.PathLike[str],
    *,
    channels: Sequence[str] | None = None,
    labels: str | os.PathLike[str] | None = "labels",
    pixel_size: float | None = None,
    override_pixel_size: float | None = None,
    group: str | None = None,
    types: str | os.PathLike[str] | None = None,
    classes: Sequence[str] = (),
    class_colours: Sequence[str] = (),
    ignore: int | None = None,
) -> Dataset:
    """The data set in a folder. Only names, the table and one image's header are read.

    Args:
        path: The folder, with ``images/``, perhaps ``labels/`` and ``index.csv``.
        channels: Names of the images' channels, where the files do not say.
        labels: Folder of the labels inside ``path``, such as "labels/expert1"; None for no labels.
        pixel_size: µm per px, where the files do not say.
        override_pixel_size: µm per px, whatever the files say.
        group: Column of ``index.csv`` that names the patient, slide or video ("group" if there);
            or a regular expression whose brackets hold it in a file's name, as ``(P\\d+)_``.
        types: Folder inside ``path`` of pictures that number the class of each pixel, named like
            the images; see `Record`.
        classes: What these numbers mean, from 1, or the values of the column ``class``, which are
            taken in order where omitted.
        class_colours: ``NAME=COLOUR`` of each class, such as ``tumor=#ff0000``, where the pictures
            in ``types``, or else in ``labels``, say the classes by colours.
        ignore: A number in labels and pictures of classes that means unknown, such as 255.

    Raises:
        InputError: The layout or the table is not as expected; the message says what is.
    """
    root = as_path(path)
    images, problems = _images(root)
    label_files, label_problems, notes = _labels(root, labels, images.keys())
    colours = _colours_of(class_colours, classes)
    type_files: dict[str, Path] = {}
    if types is not None:
        type_files, found, noted = _labels(root, types, images.keys())
        label_problems = tuple(dict.fromkeys((*label_problems, *found)))
        notes = tuple(dict.fromkeys((*notes, *noted)))
    if colours and types is None:
        type_files = label_files
    by_file_name = {composed(path.name): id for id, path in images.items()}
    table = read_table(root / "index.csv", list(images), by_file_name)
    names = None if channels is None else tuple(channels)
    if colours:
        classes = classes_of(colours)
    elif types is None:
        classes = classes or sorted(
            {row["class"] for row in table.rows.values() if row.get("class")}
        )
    types_of = _pictures_of_classes(type_files, colours, classes, ignore)
    labels_of: Mapping[str, LabelSource] = {
        id: FileLabel(file, ignore) for id, file in label_files.items()
    }
    if label_files is type_files:
        labels_of = types_of
    records = tuple(
        Record(
            id=id,
            image=FileImage(file, names, pixel_size, override_pixel_size),
            label=labels_of.get(id),
            split=table.split_of(id),
            group=table.group_of(id, group, file.name),
            columns=table.rows.get(id, {}),
            types=types_of.get(id),
        )
        for id, file in images.items()
    )
    return Dataset(
        name=root.resolve().name,
        records=records,
        channels=channels_of(records),
        notes=notes,
        problems=(*problems, *label_problems, *table.problems),
        classes=tuple(classes),
    )


def _colours_of(class_colours: Sequence[str], classes: Sequence[str]) -> dict[str, Colour]:
    if class_colours and classes:
        raise ConfigError("data.classes: class_colours names the classes already. Leave it out")
    return read_colours(class_colours)


def _pictures_of_classes(
    files: Mapping[str, Path],
    colours: Mapping[str, Colour],
    classes: Sequence[str],
    ignore: int | None,
) -> Mapping[str, LabelSource]:
    if colours:
        found = tuple(colours.items())
        return {id: ColouredClasses(file, found) for id, file in files.items()}
    return {id: TypesFile(file, tuple(classes), ignore) for id, file in files.items()}


def _images(root: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The image files by id, in order of their names, and what else lies there."""
    directory = root / "images"
    if not directory.is_dir():
        raise InputError(f"{root} {_instead_of_images(root)}.{meant_beside(root)} {LAYOUT}")
    images, others = _files_by_id(directory, IMAGE_SUFFIXES)
    unread = not_read([directory / name for name in others], directory)
    if not images:
        why = "" if unread is None else f"{unread}\n"
        raise InputError(f"{why}{directory} holds no image that Abbe reads. {LAYOUT}")
    problems = [] if unread is None else [unread]
    if rest := [name for name in others if not is_other_kind(name)]:
        problems.append(f"images/ holds what is no image and is left out: {listing(rest)}")
    masks = {id: file for id, file in images.items() if beside(id, images, _BESIDE_IMAGES)}
    if masks:
        names = listing(file.name for file in masks.values())
        problems.append(f"images/ holds masks beside their images, which are no images: {names}")
    return {id: file for id, file in images.items() if id not in masks}, tuple(problems)


def _instead_of_images(root: Path) -> str:
    """What is amiss with a folder that has no folder of images, for a message."""
    if not root.is_dir():
        return "is not a folder"
    names = (each.name for each in root.iterdir() if not each.name.startswith("."))
    count = sum(_without_suffix(name, IMAGE_SUFFIXES) is not None for name in names)
    if not count:
        return "has no folder images/"
    are = "is 1 image" if count == 1 else f"are {count} images"
    return f"has no folder images/, but there {are} in it: move them into {root / 'images'}"


def _labels(
    root: Path, labels: str | os.PathLike[str] | None, ids: Iterable[str]
) -> tuple[dict[str, Path], tuple[str, ...], tuple[str, ...]]:
    """The label files by id, the problems and the notes."""
    if labels is None:
        return {}, (), ("labels were left out on request",)
    directory = root / labels
    known = set(ids)
    if not directory.is_dir() and Path(labels) == Path("labels"):
        found, _ = _files_by_id(root / "images", LABEL_SUFFIXES)
        own = {id: file for id, file in _named_like(known, found).items() if file != found.get(id)}
        if not own:
            return {}, (), ("there is no folder labels/: every image is unlabelled",)
        note = f"there is no folder labels/: masks beside the images are taken, {len(own)} of them"
        return {id: file for id, file in own.items() if id in known}, (), (note,)
    if not directory.is_dir():
        raise InputError(f"{root} has no folder {labels}; {_label_folders(root)}")
    found, others = _files_by_id(directory, LABEL_SUFFIXES)
    if not found:
        advice = _instead_of_labels(directory, others) or _label_folders(root)
        raise InputError(f"{directory} holds no label file; {advice}")
    files = _named_like(known, found)
    strays = [file.name for id, file in files.items() if id not in known]
    if len(strays) == len(files):
        raise InputError(
            f"no label in {directory} has the name of an image in {root / 'images'}: "
            f"there is {listing(strays, 2)}; name each label like its image"
        )
    problems: list[str] = []
    if strays:
        problems.append(
            f"{labels}: {counted(len(strays), 'label')} without an image: {listing(strays)}"
        )
    if others:
        problems.append(f"{labels}: what is no label file is left out: {listing(others)}")
    if passed := [file.name for id, file in found.items() if files.get(id) not in (None, file)]:
        names = listing(passed)
        problems.append(f"{labels}: taken for copies of images, as masks lie beside them: {names}")
    return {id: file for id, file in files.items() if id in known}, tuple(problems), ()


def _named_like(ids: Collection[str], files: Mapping[str, Path]) -> dict[str, Path]:
    """Label files by id.

    ID.labels.png, as predict and serve call it, is taken where there is no ID.png. ID_masks.png
    and the like are taken before ID.png, which is a copy of the image then; Cellpose's ID_seg.npy
    beside them holds the same once more.

    Raises:
        InputError: Two files are called to be the mask of one image.
    """
    named: dict[str, Path] = {}
    masks: dict[str, list[Path]] = {}
    for name, file in files.items():
        plain = name.removesuffix(".labels")
        if name in ids:
            named[name] = file
        elif plain in ids and plain not in files:
            masks.setdefault(plain, []).append(file)
        elif id := beside(name, ids):
            masks.setdefault(id, []).append(file)
        elif file.suffix != ".npy" or not beside(name, ids, ("_seg",)):
            named[name] = file
    return named | {id: only_mask(id, found) for id, found in masks.items()}


def _instead_of_labels(directory: Path, names: Iterable[str]) -> str | None:
    """Which files are there instead, and what to do, for a message; None where there is none."""
    files = [name for name in names if (directory / name).is_file()]
    if not files:
        return None
    if any(name.lower().endswith((".jpg", ".jpeg")) for name in files):
        why = "JPEG changes labels: save them as PNG or TIFF, from the source"
    else:
        why = f"labels end in {', '.join(LABEL_SUFFIXES)}"
    return f"there is {listing(files, 2)}, and {why}"


def _label_folders(root: Path) -> str:
    """Which label folders a user could choose, for a message."""
    parent = root / "labels"
    children = sorted(parent.iterdir()) if parent.is_dir() else []
    found = [f"labels/{child.name}" for child in children if child.is_dir()]
    if found:
        return f"choose with labels= (--data.labels) one of: {', '.join(found)}"
    return "put the masks there, named like the images, or choose labels=None for no labels"


def files_in(directory: Path) -> list[Path]:
    """What lies in a folder, by name.

    Raises:
        InputError: It may not be read. A data set without it would be another one.
    """
    try:
        return sorted(directory.iterdir())
    except PermissionError as error:
        raise InputError(
            f"{directory}: the folder cannot be read ({error.strerror}). Change its rights, or "
            "move it out of the data set"
        ) from error


def _files_by_id(directory: Path, suffixes: tuple[str, ...]) -> tuple[dict[str, Path], list[str]]:
    """Files with one of the suffixes by name without it, and the names of all the others."""
    files: dict[str, Path] = {}
    others: list[str] = []
    alike: list[str] = []
    for file in files_in(directory):
        if file.name.startswith("."):
            continue
        id = _without_suffix(composed(file.name), suffixes)
        if id is None or (file.is_dir() and not file.name.lower().endswith(".zarr")):
            others.append(file.name)
        elif id in files:
            alike.append(f"{files[id].name} and {file.name}")
        else:
            files[id] = file
    if alike:
        raise InputError(
            f"{directory} holds both {listing(alike)}; names without extension must differ: "
            "rename or remove one of them"
        )
    return files, others


def composed(name: str) -> str:
    """The name with composed letters (NFC): macOS takes them apart, and ä is not ä then."""
    return unicodedata.normalize("NFC", name)


def _without_suffix(name: str, suffixes: tuple[str, ...]) -> str | None:
    for suffix in suffixes:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return None


@dataclass(frozen=True)
class Table:
    """The rows of ``index.csv`` by image id; empty where there is no such file."""

    file: Path
    rows: Mapping[str, Mapping[str, str]]
    header: tuple[str, ...]
    problems: tuple[str, ...] = ()

    def split_of(self, id: str) -> str | None:
        """The split that the image's row names.

        Raises:
            InputError: There is no such split.
        """
        value = self.rows.get(id, {}).get("split", "").lower() or None
        if value is not None and value not in SPLITS:
            raise InputError(
                f"{self.file}: image '{id}' has the split '{value}'; "
                f"allowed are {', '.join(SPLITS)}, or nothing"
            )
        return value

    def group_of(self, id: str, column: str | None, file_name: str) -> str | None:
        """The image's group.

        Args:
            id: Of the image.
            column: That names it, "group" where None; or a pattern with brackets, see `folder`.
            file_name: What a pattern is looked for in.

        Raises:
            InputError: There is no such column, or the pattern is none or is not found.
        """
        if column is not None and "(" in column:
            return _group_in(file_name, column)
        if column is not None and column not in self.header:
            columns = ", ".join(self.header) or "none, as the file is missing"
            raise InputError(f"{self.file} has no column '{column}' (group); it has: {columns}")
        return self.rows.get(id, {}).get(column or "group", "") or None


def _group_in(file_name: str, pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"data.group: '{pattern}' is no regular expression ({error})") from error
    if compiled.groups != 1:
        raise InputError(
            f"data.group: '{pattern}' has {compiled.groups} pairs of brackets; one is to hold the "
            "group, as in '(P\\d+)_'"
        )
    found = compiled.search(file_name)
    if found is None or not found[1]:
        raise InputError(f"data.group: '{pattern}' is not found in the file's name '{file_name}'")
    return found[1]


def read_table(
    file: Path,
    images: Sequence[str],
    names: Mapping[str, str],
    id_columns: Sequence[str] = ID_COLUMNS,
) -> Table:
    """Read ``index.csv`` and match its rows to the images.

    Args:
        file: The table; where there is none, nothing is known of any image.
        images: Their ids.
        names: What else an image may be called, and its id.
        id_columns: That may name the images; the first one that is there does.

    Raises:
        InputError: It cannot be read, an image has two rows, or no row names an image.
    """
    if not file.exists():
        return Table(file, {}, ())
    header, rows = read_csv(file, (*COLUMNS, *id_columns))
    column = id_column(file, header, id_columns)
    known = set(images)
    matched: dict[str, dict[str, str]] = {}
    strays: list[str] = []
    for row in rows:
        name = row[column]
        id = name if name in known else names.get(name)
        if id is None:
            strays.append(name)
        elif id in matched:
            raise InputError(f"{file}: image '{id}' has two rows; keep one")
        else:
            matched[id] = row
    if not matched:
        raise InputError(
            f"{file}: no row names an image: column '{column}' holds {listing(strays, 2)}, "
            f"but the images are {listing(names, 2)}"
        )
    problems: list[str] = []
    if strays:
        problems.append(f"index.csv: {counted(len(strays), 'row')} of no image: {listing(strays)}")
    missing = [id for id in images if id not in matched]
    if missing:
        problems.append(
            f"index.csv: {counted(len(missing), 'image')} without a row: {listing(missing)}"
        )
    return Table(file, matched, header, tuple(problems))


def id_column(file: Path, header: Sequence[str], among: Sequence[str] = ID_COLUMNS) -> str:
    """The column that names the images: the first of ``among`` that is there.

    Raises:
        InputError: None of them is there.
    """
    for column in among:
        if column in header:
            return column
    raise InputError(
        f"{file} has no column that names the image ({', '.join(among)}); "
        f"its columns are: {', '.join(header)}"
    )
