"""Public sets of H&E images with regions, in their original layouts: GlaS and BCSS."""

import csv
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from abbe.datasets.collection import Dataset, FileImage, Record
from abbe.errors import InputError
from abbe.imaging import Image
from abbe.in_words import counted, listing
from abbe.remote import as_path

COLOURS = ("red", "green", "blue")

GLAS_LICENCE = "research only, no commercial use (glas.grand-challenge.org)"
GLAS_PIXEL_SIZE = 0.62005
_GLAS_NAME = re.compile(r"(train|testA|testB)_\d+")

BCSS_LICENCE = "CC0 1.0 (Amgad et al. 2019)"
BCSS_CLASSES = ("tumor", "stroma", "inflammatory", "necrosis", "other")
# meta/gtruth_codes.tsv of the data set's repository, joined to five classes; 0 (outside the region)
# and 7 (exclude) are unknown.
_BCSS_CODES: Mapping[str, tuple[int, ...]] = {
    "tumor": (1, 19, 20),  # with angioinvasion and carcinoma in situ
    "stroma": (2,),
    "inflammatory": (3, 10, 11),  # lymphocytic, plasma cells, other immune infiltrate
    "necrosis": (4,),  # or debris
    "other": (5, 6, 8, 9, 12, 13, 14, 15, 16, 17, 18, 21),
}
_BCSS_NAME = re.compile(r"(TCGA-(\w\w)-\w{4}).*?_MPP-([0-9.]+\d)")


def glas(path: str | os.PathLike[str], *, by_patient: bool = True) -> Dataset:
    """GlaS (Sirinukunwattana et al. 2017): glands of colon, 85 train, 60 test A, 20 test B images.

    Layout: ``train_1.bmp`` with ``train_1_anno.bmp`` (0 background, else the gland's number), the
    same for ``testA_`` and ``testB_``, and ``Grade.csv`` with the columns name, patient ID and
    grade (GlaS). Columns: ``class`` (benign, malignant) and ``part`` (train, testA, testB).

    Args:
        path: The folder ``Warwick QU Dataset (Released 2016_07_08)``.
        by_patient: Whether images are grouped by patient, for splits that Abbe draws. Otherwise
            they have the challenge's split and no group: patients may be in both of its parts.

    Raises:
        InputError: The layout is another.
    """
    root = as_path(path)
    grades = _grades(root / "Grade.csv")
    records: list[Record] = []
    problems: list[str] = []
    for file in sorted(root.glob("*.bmp")):
        match = _GLAS_NAME.fullmatch(file.stem)
        if match is None:
            continue
        outline = file.with_name(f"{file.stem}_anno.bmp")
        patient, grade = grades.get(file.stem, ("", ""))
        if not outline.is_file():
            problems.append(f"{file.name} has no {outline.name}")
        if not patient and by_patient:
            problems.append(f"{file.name} is not in Grade.csv: left out, its patient is not known")
            continue
        records.append(
            Record(
                file.stem,
                ColourPicture(file, GLAS_PIXEL_SIZE),
                NumberedPicture(outline) if outline.is_file() else None,
                split=None if by_patient else "train" if match[1] == "train" else "test",
                group=patient if by_patient else None,
                columns={"class": grade, "part": match[1]},
            )
        )
    if not records:
        raise InputError(
            f"{root} holds no train_<number>.bmp of GlaS: fetch and unpack "
            "warwick_qu_dataset_released_2016_07_08.zip from "
            "https://warwick.ac.uk/fac/cross_fac/tia/data/glascontest"
        )
    return Dataset(
        "glas",
        tuple(records),
        COLOURS,
        licence=GLAS_LICENCE,
        problems=tuple(problems),
        classes=("benign", "malignant"),
    )


def bcss(path: str | os.PathLike[str]) -> Dataset:
    """BCSS (Amgad et al. 2019): regions of 151 breast cancers in five classes.

    Layout: ``rgbs_colorNormalized/TCGA-…_MPP-0.2500.png`` and ``masks/`` with the same names and
    the codes of ``meta/gtruth_codes.tsv``. What lies outside the region of interest is unknown, not
    background. The label holds the classes (1 tumor … 5 other) and is `Record.types` as well: in
    this set there are no instances. Groups are patients; the column ``institute`` is TCGA's.

    Args:
        path: The folder that holds both.

    Raises:
        InputError: The layout is another.
    """
    root = as_path(path)
    images, masks = root / "rgbs_colorNormalized", root / "masks"
    records: list[Record] = []
    without: list[str] = []
    for file in sorted(images.glob("*.png")):
        match = _BCSS_NAME.match(file.stem)
        if match is None:
            raise InputError(
                f"{file} is not named as BCSS names its files (TCGA-…_MPP-….png), so that its "
                "patient and pixel size are not known"
            )
        if not (masks / file.name).is_file():
            without.append(file.name)
        label = RegionCodes(masks / file.name) if (masks / file.name).is_file() else None
        records.append(
            Record(
                file.stem,
                FileImage(file, COLOURS, override_pixel_size=float(match[3])),
                label,
                group=match[1],
                columns={"institute": match[2]},
                types=label,
            )
        )
    if not records:
        raise InputError(
            f"{root} holds no image in rgbs_colorNormalized/: see "
            "https://github.com/PathologyDataScience/BCSS"
        )
    problems = (
        (f"{counted(len(without), 'image')} without a mask: {listing(without)}",) if without else ()
    )
    notes = ("The label holds classes of regions, not instances.",)
    return Dataset(
        "bcss",
        tuple(records),
        COLOURS,
        licence=BCSS_LICENCE,
        notes=notes,
        problems=problems,
        classes=BCSS_CLASSES,
    )


@dataclass(frozen=True)
class ColourPicture:
    """The red, green and blue of a file of any kind that Pillow reads."""

    file: Path
    pixel_size: float | None = None

    def open(self) -> Image:
        """(3, H, W) uint8."""
        pixels = np.moveaxis(_decoded(self.file, "RGB"), -1, 0)
        return Image.from_array(pixels, COLOURS, self.pixel_size, name=self.file.stem)


@dataclass(frozen=True)
class NumberedPicture:
    """A picture of 8 bits whose values number the objects."""

    file: Path

    def read(self) -> NDArray[np.int32]:
        """The instances, (H, W)."""
        return _decoded(self.file, None).astype(np.int32)


@dataclass(frozen=True)
class RegionCodes:
    """A picture of BCSS's codes, read as five classes."""

    file: Path

    def read(self) -> NDArray[np.int32]:
        """Classes (H, W): 1 to 5, −1 where unknown.

        Raises:
            InputError: The file is damaged, or holds codes that are not in the list.
        """
        table = np.full(256, -2, np.int32)
        table[[0, 7]] = -1
        for number, name in enumerate(BCSS_CLASSES, start=1):
            table[list(_BCSS_CODES[name])] = number
        codes = _decoded(self.file, None)
        classes = table[codes]
        if (classes == -2).any():
            unknown = sorted(int(code) for code in np.unique(codes[classes == -2]))
            raise InputError(
                f"{self.file}: codes {unknown} are not in the list of classes, 0 to 21"
            )
        return classes


def _grades(table: Path) -> dict[str, tuple[str, str]]:
    """Patient and grade by name; the file has spaces after its commas."""
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            rows = [
                {key.strip(): (value or "").strip() for key, value in row.items() if key}
                for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        raise InputError(f"{table}: no such file; it tells the patients of GlaS") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: damaged ({error}). Copy it again.") from error
    wanted = ("name", "patient ID", "grade (GlaS)")
    if not rows or any(name not in rows[0] for name in wanted):
        raise InputError(f"{table}: the columns {', '.join(wanted)} are expected")
    return {row["name"]: (row["patient ID"], row["grade (GlaS)"]) for row in rows}


def _decoded(file: Path, mode: str | None) -> NDArray[np.uint8]:
    """Pixels in a mode, or, for None, the one plane of 8 bits that the file must have."""
    try:
        with PIL.Image.open(file) as image:
            if mode is None and image.mode not in ("L", "P"):
                raise InputError(f"{file} is expected to have one plane of 8 bits ({image.mode})")
            return np.asarray(image if mode is None else image.convert(mode))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}): missing or damaged") from error
