"""Public sets of H&E images with nuclei, in their original layouts: PanNuke, MoNuSeg and NuCLS."""

import csv
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from abbe.datasets.collection import Dataset, FileImage, Record
from abbe.errors import InputError
from abbe.imaging import Image, open_image
from abbe.imaging.formats.memory_map import memory_map
from abbe.in_words import counted, listing
from abbe.remote import as_path

COLOURS = ("red", "green", "blue")

PANNUKE_CLASSES = ("neoplastic", "inflammatory", "connective", "dead", "epithelial")
PANNUKE_LICENCE = "CC BY-NC-SA 4.0"
_FOLD_SPLITS = ("train", "val", "test")

MONUSEG_LICENCE = "CC BY-NC-SA 4.0"
_MONUSEG_IMAGES = (".tif", ".tiff", ".png")

NUCLS_CLASSES = ("tumor_any", "nonTIL_stromal", "sTIL", "other_nucleus")
NUCLS_LICENCE = "CC0 1.0"
_NUCLS_COLUMNS = (
    "raw_classification", "super_classification", "type",
    "xmin", "ymin", "xmax", "ymax", "coords_x", "coords_y",
)  # fmt: skip

_PATIENT = re.compile(r"TCGA-\w\w-\w{4}")


def pannuke(path: str | os.PathLike[str], *, folds: tuple[int, int, int] = (1, 2, 3)) -> Dataset:
    """PanNuke (Gamper et al. 2020): 7,904 tiles of 19 tissues, nuclei of five types.

    Layout: ``Fold 1/images/fold1/images.npy`` and ``types.npy``, ``Fold 1/masks/fold1/masks.npy``
    (N, 256, 256, 6): one map of instance numbers a type, and background. Arrays are mapped into
    memory, not loaded. The column ``tissue`` is the organ. Tiles of 256 px at 0.25 µm; patients are
    not published. Where two types claim a pixel, the first does.

    Args:
        path: The folder of the folds, or a folder above.
        folds: Which fold is train, val and test, such as (2, 1, 3) in the official rotation.

    Raises:
        InputError: A fold is missing, or its arrays are of other shapes.
    """
    root = as_path(path)
    if sorted(folds) != [1, 2, 3]:
        raise InputError(f"folds {folds}: the three folds are 1, 2 and 3, each once")
    records: list[Record] = []
    for split, fold in zip(_FOLD_SPLITS, folds, strict=True):
        images = _only(root, f"fold{fold}/images.npy")
        masks = _only(root, f"fold{fold}/masks.npy")
        tissues = _array(images.with_name("types.npy"))
        shape = _array(images).shape
        if shape[1:] != (256, 256, 3) or _array(masks).shape != (*shape[:3], 6):
            raise InputError(
                f"{masks}: images {shape} and masks {_array(masks).shape} are not (N, 256, 256, 3) "
                "and (N, 256, 256, 6)"
            )
        if tissues.shape != shape[:1]:
            raise InputError(f"{images.with_name('types.npy')}: not one tissue an image")
        for index in range(shape[0]):
            id = f"fold{fold}-{index:05d}"
            records.append(
                Record(
                    id,
                    PanNukeImage(images, index, id),
                    PanNukeLabel(masks, index, "instances"),
                    split=split,
                    columns={"tissue": str(tissues[index]), "fold": str(fold)},
                    types=PanNukeLabel(masks, index, "types"),
                )
            )
    notes = ("Patients are not published: folds may share them.",)
    return Dataset(
        "pannuke", tuple(records), COLOURS,
        licence=PANNUKE_LICENCE, notes=notes, classes=PANNUKE_CLASSES,
    )  # fmt: skip


def monuseg(path: str | os.PathLike[str]) -> Dataset:
    """MoNuSeg 2018 (Kumar et al. 2020): nuclei of seven organs, 37 train and 14 test images.

    Layout: ``MoNuSeg 2018 Training Data/Tissue Images/TCGA-….tif`` with ``Annotations/TCGA-….xml``,
    and ``MoNuSegTestData/`` with both side by side. The outlines are filled; where two overlap, the
    smaller nucleus wins. Groups are patients. 1000 px at 40x, 0.25 µm.

    Args:
        path: The folder of both parts, or of one.

    Raises:
        InputError: The layout is another.
    """
    root = as_path(path)
    records: list[Record] = []
    problems: list[str] = []
    for annotation in sorted(root.rglob("*.xml")):
        if annotation.name.startswith("."):
            continue
        image = _image_of(annotation)
        if image is None:
            problems.append(f"{annotation.name} has no image: left out")
            continue
        split = _part_of(annotation, root)
        source = FileImage(image, COLOURS, override_pixel_size=0.25)
        label = XmlOutlines(annotation, image)
        records.append(Record(image.stem, source, label, split, patient_of(image.stem)))
    if not records:
        raise InputError(
            f"{root} holds no annotation (*.xml) with an image of MoNuSeg: see "
            "https://monuseg.grand-challenge.org/Data"
        )
    known = {record.id for record in records}
    bare = [
        file.name
        for file in sorted(root.rglob("*"))
        if file.suffix in _MONUSEG_IMAGES and file.stem not in known and file.name[0] != "."
    ]
    if bare:
        problems.append(f"images without an annotation are left out: {listing(bare)}")
    return Dataset(
        "monuseg", tuple(records), COLOURS, licence=MONUSEG_LICENCE, problems=tuple(problems)
    )


def nucls(path: str | os.PathLike[str]) -> Dataset:
    """NuCLS (Amgad et al. 2022): nuclei of breast cancer in four super-classes, at 0.2 µm.

    Layout: ``rgb/TCGA-….png`` and ``csv/TCGA-….csv`` with the columns raw_classification,
    super_classification, type, xmin, ymin, xmax, ymax, coords_x and coords_y. Nuclei with an
    outline (polyline) are filled. Nuclei that have but a box (rectangle) make the box unknown:
    something is there, and where exactly is not said. Types are unknown where the class is
    AMBIGUOUS. Groups are patients.

    Args:
        path: The folder that holds ``rgb`` and ``csv``.

    Raises:
        InputError: The layout is another.
    """
    root = as_path(path)
    records: list[Record] = []
    without: list[str] = []
    for file in sorted((root / "rgb").glob("*.png")):
        table = root / "csv" / f"{file.stem}.csv"
        known = table.is_file()
        if not known:
            without.append(file.name)
        records.append(
            Record(
                file.stem,
                FileImage(file, COLOURS, override_pixel_size=0.2),
                NuclsLabel(table, file, "instances") if known else None,
                group=patient_of(file.stem),
                types=NuclsLabel(table, file, "types") if known else None,
            )
        )
    if not records:
        raise InputError(f"{root} holds no image in rgb/: see https://sites.google.com/view/nucls")
    problems = (
        (f"{counted(len(without), 'image')} without a table: {listing(without)}",)
        if without
        else ()
    )
    return Dataset(
        "nucls", tuple(records), COLOURS,
        licence=NUCLS_LICENCE, problems=problems, classes=NUCLS_CLASSES,
    )  # fmt: skip


def patient_of(name: str) -> str | None:
    """The patient in a name with a TCGA barcode, such as TCGA-A1-A0SP; None without one."""
    match = _PATIENT.search(name)
    return match[0] if match else None


@dataclass(frozen=True)
class PanNukeImage:
    """One image of a fold."""

    file: Path
    index: int
    name: str

    def open(self) -> Image:
        """(3, 256, 256) uint8; the file stores the same values as float64."""
        pixels = np.moveaxis(_array(self.file)[self.index].astype(np.uint8), -1, 0)
        return Image.from_array(pixels, COLOURS, 0.25, self.name)


@dataclass(frozen=True)
class PanNukeLabel:
    """The nuclei of one image of a fold: their instances, or their types."""

    file: Path
    index: int
    what: Literal["instances", "types"]

    def read(self) -> NDArray[np.int32]:
        """(256, 256)."""
        maps = _array(self.file)[self.index]
        result = np.zeros(maps.shape[:2], np.int32)
        highest = 0
        for number in range(len(PANNUKE_CLASSES)):
            own = maps[..., number].astype(np.int32)
            free = (own > 0) & (result == 0)
            if self.what == "types":
                result[free] = number + 1
            else:
                result[free] = own[free] + highest
                highest = max(highest, int(result.max()))
        return result


@dataclass(frozen=True)
class XmlOutlines:
    """Nuclei drawn in Aperio's XML: each ``Region`` a polygon of ``Vertex`` X and Y in px."""

    file: Path
    image: Path

    def read(self) -> NDArray[np.int32]:
        """The instances, (H, W) of the image, numbered in the order of the file.

        Raises:
            InputError: The file is damaged.
        """
        try:
            regions = ElementTree.parse(self.file).getroot().iterfind(".//Region")
            outlines = [
                np.array([(float(v.attrib["Y"]), float(v.attrib["X"])) for v in r.iter("Vertex")])
                for r in regions
            ]
        except (ElementTree.ParseError, KeyError, ValueError, OSError) as error:
            raise InputError(f"{self.file}: damaged ({error!r}). Fetch the set again.") from error
        return filled(outlines, open_image(self.image).shape)


@dataclass(frozen=True)
class NuclsLabel:
    """The nuclei of one table of NuCLS: their instances, or their types."""

    file: Path
    image: Path
    what: Literal["instances", "types"]

    def read(self) -> NDArray[np.int32]:
        """(H, W) of the image; −1 where unknown.

        Raises:
            InputError: The table is damaged, or holds a class that is not in the list.
        """
        rows = [row for row in _rows(self.file) if row["raw_classification"] != "fov"]
        shape = open_image(self.image).shape
        try:
            drawn = [row for row in rows if row["type"] == "polyline"]
            outlines = [
                np.stack([_numbers(row["coords_y"]), _numbers(row["coords_x"])], 1) for row in drawn
            ]
            boxes = [
                [int(float(row[key])) for key in ("ymin", "xmin", "ymax", "xmax")]
                for row in rows
                if row["type"] == "rectangle"
            ]
        except ValueError as error:
            raise InputError(f"{self.file}: damaged ({error}). Fetch the set again.") from error
        instances = filled(outlines, shape)
        result = instances
        if self.what == "types":
            numbers = np.array([0, *(self._number(row["super_classification"]) for row in drawn)])
            result = numbers.astype(np.int32)[instances]
        for top, left, bottom, right in boxes:
            part = (slice(max(top, 0), bottom + 1), slice(max(left, 0), right + 1))
            result[part][instances[part] == 0] = -1
        return result

    def _number(self, name: str) -> int:
        if name == "AMBIGUOUS":
            return -1
        if name not in NUCLS_CLASSES:
            raise InputError(
                f"{self.file}: the class '{name}' is not in the list of classes: "
                f"{', '.join(NUCLS_CLASSES)}"
            )
        return NUCLS_CLASSES.index(name) + 1


def filled(outlines: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Instances from outlines (rows, columns) in px, numbered from 1; smaller ones on top.

    An outline of fewer than three points encloses nothing and leaves its number out.
    """
    from skimage.draw import polygon  # slow to import

    pixels = [
        polygon(outline[:, 0], outline[:, 1], shape) if len(outline) > 2 else ([], [])
        for outline in outlines
    ]
    labels = np.zeros(shape, np.int32)
    for index in sorted(range(len(pixels)), key=lambda index: -len(pixels[index][0])):
        labels[pixels[index]] = index + 1
    return labels


def _only(root: Path, ending: str) -> Path:
    found = sorted(root.rglob(ending))
    if len(found) != 1:
        where = ": " + listing(str(file) for file in found) if found else ""
        raise InputError(
            f"{root} holds {len(found)} files {ending}{where}, and one is expected: fetch and "
            "unpack the folds from https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke"
        )
    return found[0]


def _array(file: Path) -> NDArray[np.generic]:
    try:
        return memory_map(file)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file}: missing or damaged ({error}). Fetch the fold again.") from error


def _part_of(annotation: Path, root: Path) -> Literal["train", "test"] | None:
    """Which part of MoNuSeg a file is of, by the nearest folder whose name tells."""
    for folder in reversed(annotation.relative_to(root.parent).parts[:-1]):
        if "train" in folder.lower():
            return "train"
        if "test" in folder.lower():
            return "test"
    return None


def _image_of(annotation: Path) -> Path | None:
    for folder in (annotation.parent, annotation.parent.parent / "Tissue Images"):
        for suffix in _MONUSEG_IMAGES:
            if (file := folder / f"{annotation.stem}{suffix}").is_file():
                return file
    return None


def _rows(table: Path) -> Iterable[dict[str, str]]:
    try:
        with open(table, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _NUCLS_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{table}: the columns {', '.join(missing)} are missing")
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: missing or damaged ({error}). Fetch the set again.") from error


def _numbers(text: str) -> NDArray[np.float64]:
    return np.array([float(value) for value in text.split(",")])
