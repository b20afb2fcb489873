"""HC18: fetal heads in ultrasound (van den Heuvel et al. 2018) in the original layout.

``training_set/<number>_HC.png`` with ``<number>_HC_Annotation.png``, an ellipse drawn around the
head; further images of one examination are ``<number>_2HC.png`` and so on. ``test_set/`` has no
annotations. Beside the folders, ``training_set_pixel_size_and_HC.csv`` and
``test_set_pixel_size.csv``.
"""

import csv
import os
import re
from pathlib import Path

from abbe.datasets.collection import Dataset, Record
from abbe.datasets.public.photographs import GREY, FilledEllipse, GreyFile
from abbe.errors import InputError
from abbe.remote import as_path

LICENCE = "CC BY 4.0 (HC18, doi 10.5281/zenodo.1327317)"
SUBSETS = {
    "training": ("training_set", "training_set_pixel_size_and_HC.csv"),
    "test": ("test_set", "test_set_pixel_size.csv"),
}
NOTE = (
    "Images of one examination share a number and are kept together. The set has 551 women and "
    "more numbers than that, and does not say who was examined twice."
)
_NAME = re.compile(r"(\d+)_\d*HC")
_PIXEL_SIZE, _CIRCUMFERENCE = "pixel size(mm)", "head circumference (mm)"
_LARGEST_MM = 5.0
"""Ultrasound pixels are around 0.1 mm: a larger value is in other units."""


def hc18(path: str | os.PathLike[str]) -> Dataset:
    """HC18's heads: the region inside the annotated ellipse. Only names and tables are read.

    The column ``subset`` is training or test, ``head circumference (mm)`` what the table says. The
    group is the examination. No image has a split: draw them with `assign_splits` (images of the
    test set, which have no annotations, then join train unlabelled).

    Args:
        path: The folder that holds ``training_set`` and perhaps ``test_set`` and the tables.

    Raises:
        InputError: The layout is another, or a table holds no sizes.
    """
    root = as_path(path)
    records: list[Record] = []
    problems: list[str] = []
    for subset, (folder, table) in SUBSETS.items():
        if not (root / folder).is_dir():
            continue
        sizes = _table(root / table)
        if not sizes:
            problems.append(f"{table} is not there: pixel sizes of {folder} are unknown")
        for file in sorted((root / folder).glob("*HC.png")):
            if not (name := _NAME.fullmatch(file.stem)):
                problems.append(f"{folder}/{file.name} is not named as HC18's images: left out")
                continue
            annotation = file.with_name(f"{file.stem}_Annotation.png")
            if subset == "training" and not annotation.is_file():
                problems.append(f"{folder}/{file.name} has no {annotation.name}")
            pixel_size, columns = _facts(sizes.get(file.name, {}), root / table)
            if sizes and pixel_size is None:
                problems.append(f"{table} says nothing of {file.name}")
            records.append(
                Record(
                    id=f"{subset}-{file.stem}",
                    image=GreyFile(file, pixel_size),
                    label=FilledEllipse(annotation) if annotation.is_file() else None,
                    group=f"{subset}-{name[1]}",
                    columns={"subset": subset, **columns},
                )
            )
    if not records:
        raise InputError(
            f"{root} holds neither training_set/ nor test_set/ with images (*_HC.png): fetch the "
            f"set with `abbe data fetch hc18 {root}`"
        )
    return Dataset(
        "hc18", tuple(records), GREY, licence=LICENCE, notes=(NOTE,), problems=tuple(problems)
    )


def _table(file: Path) -> dict[str, dict[str, str]]:
    """The rows of a table by file name; none where it is missing."""
    if not file.is_file():
        return {}
    try:
        with open(file, newline="", encoding="utf-8-sig") as opened:
            rows = list(csv.DictReader(opened))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} cannot be read ({error}): fetch it again") from error
    if not rows or not {"filename", _PIXEL_SIZE} <= rows[0].keys():
        raise InputError(
            f"{file} must have the columns 'filename' and '{_PIXEL_SIZE}': fetch it again"
        )
    return {row["filename"]: row for row in rows}


def _facts(row: dict[str, str], file: Path) -> tuple[float | None, dict[str, str]]:
    """The size of a pixel in µm, and what else a row says."""
    if not row:
        return None, {}
    try:
        millimetres = float(row[_PIXEL_SIZE])
    except (TypeError, ValueError):
        millimetres = float("nan")
    if not 0 < millimetres < _LARGEST_MM:
        raise InputError(
            f"{file}: '{_PIXEL_SIZE}' of {row['filename']} is {row[_PIXEL_SIZE]!r}; a number of mm "
            f"above 0 and below {_LARGEST_MM:.0f} is needed"
        )
    circumference = row.get(_CIRCUMFERENCE)
    return 1000 * millimetres, {_CIRCUMFERENCE: circumference} if circumference else {}
