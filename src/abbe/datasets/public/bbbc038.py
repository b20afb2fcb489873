"""BBBC038 (2018 Data Science Bowl; Caicedo et al. 2019), stage 1, as it is downloaded.

``stage1_train/<id>/images/<id>.png`` with one mask file an object in ``masks/``, and
``stage1_test/<id>/images/<id>.png``, whose objects are in the table ``stage1_solution.csv``; as
folders, or as the zip files they come in, whatever folder these have at their top.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from abbe.datasets.collection import Dataset, LabelSource, Record
from abbe.datasets.object_masks import MaskFiles, MaskFolder, RunLengths, decode
from abbe.datasets.public.modality import (
    FOLDS,
    THUMBNAIL,
    folds,
    modality_of,
    near_duplicates,
    thumbnail,
)
from abbe.datasets.stored import Stored, archive_of
from abbe.errors import ConfigError, InputError
from abbe.imaging import Image
from abbe.remote import as_path

LICENCE = "CC0 1.0 (BBBC038v1, Broad Bioimage Benchmark Collection)"
SUBSETS = ("stage1_train", "stage1_test")
COLOURS = ("red", "green", "blue")
SOLUTION = "stage1_solution.csv"
TRAIN_LABELS = "stage1_train_labels.csv"

_IMAGE = re.compile(r"(?:.*/)?([^/]+)/images/\1\.png")
_MASK = re.compile(r"(?:.*/)?([^/]+)/masks/[^/]+\.png")
_READERS = 4


def bbbc038(
    path: str | os.PathLike[str], *, channels: Sequence[str] | None = None, fold: int = 0
) -> Dataset:
    """BBBC038 stage 1. Every image is decoded once, to tell its modality.

    Columns for `Dataset.where`: ``subset`` (stage1_train, stage1_test), ``modality``
    (fluorescence, he, purple_on_white, brightfield; see `modality_of`;
    unknown of a damaged file) and, of stage1_train, ``fold`` (0 to 4; near-duplicates share one,
    and each modality is spread evenly).

    stage1_test is held out: its split is test, whether its labels are known or not. Where they are,
    fold ``fold`` of stage1_train validates and the others train. Where they are not, fold ``fold``
    tests, the next one validates, and the other three train.

    Args:
        path: The folder that holds ``stage1_train`` and perhaps ``stage1_test``, as folders or zip
            files, with ``stage1_solution.csv``; or one of them.
        channels: All files store red, green and blue, the fluorescence images three times the
            same. None keeps them; one name, such as ["nucleus"], reads their luminance as that.
        fold: Which fold of stage1_train is held out.

    Raises:
        InputError: The layout is not BBBC038's, an archive or table is damaged, or ``channels`` is
            more than one name. A damaged image raises where it is read.
        ConfigError: There is no such fold.
    """
    root = as_path(path)
    names = COLOURS if channels is None else tuple(channels)
    if names != COLOURS and len(names) != 1:
        raise InputError(
            f"bbbc038 gives red, green and blue, or one channel of any name; not {', '.join(names)}"
        )
    if not 0 <= fold < FOLDS:
        raise ConfigError(f"fold {fold}: stage1_train has the folds 0 to {FOLDS - 1}")
    found: list[_Found] = []
    problems: list[str] = []
    for subset, place in _subsets(root):
        members = _in_archive(place) if place.is_file() else _in_folder(place)
        found += _with_labels(subset, place, members, problems)
    if not found:
        raise InputError(f"{root} holds no image in BBBC038's layout (<id>/images/<id>.png)")
    looked = dict(zip((one.id for one in found), _look(found), strict=True))
    training = [one.id for one in found if one.subset != "stage1_test"]
    groups = _groups(training, looked)
    sizes = Counter[str | None](groups.values())
    kinds = {id: look.modality for id, look in looked.items()}
    dealt = folds(groups, kinds)
    tests = any(one.subset == "stage1_test" and one.label is not None for one in found)
    records = tuple(
        Record(
            id=one.id,
            image=ColourImage(one.image) if names == COLOURS else GreyImage(one.image, names[0]),
            label=one.label,
            split=_split(dealt.get(one.id), fold, tests),
            group=groups.get(one.id) if sizes[groups.get(one.id)] > 1 else None,
            columns={"subset": one.subset, "modality": kinds[one.id]}
            | ({"fold": str(dealt[one.id])} if one.id in dealt else {}),
        )
        for one in found
    )
    notes = _notes(records, fold, tests)
    return Dataset(
        "bbbc038", records, names, licence=LICENCE, notes=notes, problems=tuple(problems)
    )


@dataclass(frozen=True)
class ColourImage:
    """The red, green and blue of a file, whose constant alpha is left out."""

    file: Stored

    def open(self) -> Image:
        """(3, H, W) uint8."""
        pixels = np.moveaxis(np.asarray(decode(self.file, "RGB")), -1, 0)
        return Image.from_array(pixels, COLOURS, name=Path(self.file.name).stem)


@dataclass(frozen=True)
class GreyImage:
    """The luminance of a file as one channel (ITU-R 601; the value itself where all are equal)."""

    file: Stored
    channel: str

    def open(self) -> Image:
        """(1, H, W) uint8."""
        grey = np.asarray(decode(self.file, "RGB").convert("L"))
        return Image.from_array(grey[None], (self.channel,), name=Path(self.file.name).stem)


@dataclass(frozen=True)
class _Found:
    """An image and what is known of it before it is looked at."""

    id: str
    subset: str
    image: Stored
    label: LabelSource | None


@dataclass(frozen=True)
class _Members:
    """The files of a subset by image; None for an image that a folder lacks."""

    images: dict[str, Stored | None] = field(default_factory=dict)
    labels: dict[str, LabelSource] = field(default_factory=dict)


@dataclass(frozen=True)
class _Look:
    """What decoding an image shows."""

    modality: str
    shape: tuple[int, int]
    thumbnail: np.ndarray


def _subsets(root: Path) -> list[tuple[str, Path]]:
    """The names and places of the subsets that are there: folders first, then zip files."""
    if root.is_file():
        return [(root.stem, root)]
    found = []
    for name in SUBSETS:
        places = (root / name, root / f"{name}.zip")
        found += [(name, place) for place in places if place.exists()][:1]
    if found:
        return found
    if any(root.glob("*/images/*.png")):
        return [(root.resolve().name, root)]
    raise InputError(
        f"{root} holds neither stage1_train nor stage1_test, as a folder or .zip: "
        f"download them with `abbe data fetch bbbc038 {root}`"
    )


def _in_folder(folder: Path) -> _Members:
    found = _Members()
    for child in sorted(each for each in folder.iterdir() if each.is_dir()):
        if child.name.startswith((".", "__")):
            continue
        file = child / "images" / f"{child.name}.png"
        found.images[child.name] = Stored(file) if file.is_file() else None
        if (child / "masks").is_dir():
            found.labels[child.name] = MaskFolder(child / "masks")
    return found


def _in_archive(archive: Path) -> _Members:
    images: dict[str, Stored] = {}
    masks: dict[str, list[Stored]] = {}
    for name in sorted(archive_of(archive).namelist()):
        if name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith("."):
            continue
        if match := _IMAGE.fullmatch(name):
            images[match[1]] = Stored(archive, name)
        elif match := _MASK.fullmatch(name):
            masks.setdefault(match[1], []).append(Stored(archive, name))
    return _Members(
        {id: images.get(id) for id in sorted(images.keys() | masks.keys())},
        {id: MaskFiles(tuple(files)) for id, files in masks.items()},
    )


def _with_labels(subset: str, place: Path, members: _Members, problems: list[str]) -> list[_Found]:
    """The images of a subset, with the labels of its table where they have no masks."""
    table = place.parent / (SOLUTION if subset == "stage1_test" else TRAIN_LABELS)
    runs = _runs(table) if table.is_file() else {}
    found = []
    for id, image in members.images.items():
        if image is None:
            problems.append(f"{subset}/{id} has no images/{id}.png: left out")
            continue
        label = members.labels.get(id)
        if label is None and id in runs:
            label = RunLengths(Stored(table), image, runs[id])
        found.append(_Found(id, subset, image, label))
    return found


def _runs(table: Path) -> dict[str, tuple[str, ...]]:
    """The runs of every object by image; none of an image whose only row is empty."""
    text = Stored(table).read().decode("utf-8-sig", errors="replace")
    reader = csv.DictReader(io.StringIO(text))
    if not {"ImageId", "EncodedPixels"} <= set(reader.fieldnames or ()):
        raise InputError(
            f"{table}: its first line must name the columns ImageId and EncodedPixels, not "
            f"{', '.join(reader.fieldnames or ()) or 'nothing'}: fetch the table again"
        )
    found: dict[str, list[str]] = {}
    for row in reader:
        objects = found.setdefault(Path(row["ImageId"]).stem, [])
        if (row["EncodedPixels"] or "").strip():
            objects.append(row["EncodedPixels"])
    return {id: tuple(objects) for id, objects in found.items()}


def _look(found: Sequence[_Found]) -> list[_Look]:
    """Decode every image once, several at a time."""

    def look(one: _Found) -> _Look:
        try:
            picture = decode(one.image, "RGB")
        except InputError:  # whoever reads it tells; one image must not hide all others
            return _Look("unknown", (0, 0), np.zeros(THUMBNAIL, np.float32))
        shape = (picture.height, picture.width)
        return _Look(modality_of(np.asarray(picture)), shape, thumbnail(picture))

    with ThreadPoolExecutor(_READERS, thread_name_prefix="bbbc038") as pool:
        return list(pool.map(look, found))


def _groups(ids: Sequence[str], looked: Mapping[str, _Look]) -> dict[str, str]:
    if not ids:
        return {}
    looks = [looked[id] for id in ids]
    return near_duplicates(ids, [each.shape for each in looks], [each.thumbnail for each in looks])


def _split(dealt: int | None, fold: int, tests: bool) -> str:
    """Train, val or test, by the fold of an image; None is stage1_test."""
    if dealt is None:
        return "test"
    if dealt == fold:
        return "val" if tests else "test"
    return "val" if not tests and dealt == (fold + 1) % FOLDS else "train"


def _notes(records: Sequence[Record], fold: int, tests: bool) -> tuple[str, ...]:
    counts = Counter(record.columns["modality"] for record in records)
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    held = (
        f"stage1_test tests, fold {fold} of stage1_train validates"
        if tests
        else f"the labels of stage1_test ({SOLUTION}) are not there: fold {fold} of stage1_train "
        f"tests, fold {(fold + 1) % FOLDS} validates"
    )
    return (f"modality, told from the pixels: {told}", held)
