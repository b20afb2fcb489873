"""BUSI: breast ultrasound (Al-Dhabyani et al. 2020) in the original layout.

``benign/benign (1).png`` with ``benign (1)_mask.png`` and, for further lesions of the image,
``benign (1)_mask_1.png`` and so on; the same in ``malignant/`` and ``normal/``, whose masks are
black.
"""

import os
import re
from pathlib import Path

from abbe.datasets.collection import Dataset, Record
from abbe.datasets.public.photographs import COLOURS, ColourFile, WholeMasks
from abbe.errors import InputError
from abbe.remote import as_path

LICENCE = "CC BY 4.0 by its paper (doi 10.1016/j.dib.2019.104863); the download page states none"
CLASSES = ("benign", "malignant", "normal")
NOTES = (
    "Which patient an image is from is not published, so that splits cannot be by patient.",
    "The set holds many images more than once, some of them in two classes, and images of the "
    "armpit; a list is in doi 10.1016/j.dib.2023.109247. `abbe data check` finds exact copies.",
)
_MASK = re.compile(r"(.+)_mask(?:_\d+)?")


def busi(path: str | os.PathLike[str]) -> Dataset:
    """BUSI: lesions of the breast, and images without any. Only names are read.

    Each mask file is one lesion. The column ``class`` is benign, malignant or normal; normal images
    are labelled, with no lesion. No image has a split: draw them with `assign_splits`.

    Args:
        path: The folder ``Dataset_BUSI_with_GT``, or the one that holds it.

    Raises:
        InputError: The layout is another.
    """
    root = as_path(path)
    if (root / "Dataset_BUSI_with_GT").is_dir():
        root = root / "Dataset_BUSI_with_GT"
    records: list[Record] = []
    problems: list[str] = []
    for kind in CLASSES:
        masks: dict[str, list[Path]] = {}
        images: list[Path] = []
        for file in sorted((root / kind).glob("*.png")):
            if match := _MASK.fullmatch(file.stem):
                masks.setdefault(match[1], []).append(file)
            else:
                images.append(file)
        for file in images:
            own = masks.pop(file.stem, [])
            if not own:
                problems.append(f"{kind}/{file.name} has no mask")
            label = WholeMasks(tuple(own)) if own else None
            records.append(Record(file.stem, ColourFile(file), label, columns={"class": kind}))
        problems += [f"{kind}/{each[0].name} has no image: left out" for each in masks.values()]
    if not records:
        raise InputError(
            f"{root} holds no image in benign/, malignant/ or normal/ (*.png): give the unpacked "
            f"folder Dataset_BUSI_with_GT, or fetch the set with `abbe data fetch busi {root}`"
        )
    return Dataset(
        "busi", tuple(records), COLOURS, licence=LICENCE, notes=NOTES, problems=tuple(problems)
    )
