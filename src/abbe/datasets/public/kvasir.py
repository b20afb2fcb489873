"""Kvasir-SEG (Jha et al. 2020, arXiv 1911.07069) in its original layout.

``images/<id>.jpg`` and ``masks/<id>.jpg``, white polyps on black.
"""

import os

from abbe.datasets.collection import Dataset, FileImage, Record
from abbe.datasets.public.photographs import COLOURS, PartsOfMask, paired
from abbe.errors import InputError
from abbe.remote import as_path

LICENCE = (
    "research and education only; commercial use needs the publisher's permission "
    "(Kvasir-SEG, Simula)"
)
NOTE = (
    "Which polyp, patient or video an image is from is not published: images of one polyp may fall "
    "on both sides of a split."
)


def kvasir(path: str | os.PathLike[str]) -> Dataset:
    """Kvasir-SEG: polyps in colonoscopy. Only names are read.

    The connected parts of a mask are its polyps. No image has a split: draw them with
    `assign_splits`.

    Args:
        path: The folder ``Kvasir-SEG``, or the one that holds it.

    Raises:
        InputError: The layout is another.
    """
    root = as_path(path)
    if not (root / "images").is_dir() and (root / "Kvasir-SEG").is_dir():
        root = root / "Kvasir-SEG"
    images, masks = root / "images", root / "masks"
    for folder in (images, masks):
        if not folder.is_dir():
            raise InputError(
                f"{root} has no folder {folder.name}/: give the unpacked folder Kvasir-SEG, or "
                f"fetch the set with `abbe data fetch kvasir {root}`"
            )
    files = sorted(images.glob("*.jpg"))
    if not files:
        raise InputError(f"{images} holds no image (*.jpg): fetch the set again")
    pairs, problems = paired(files, {file.stem: file for file in masks.glob("*.jpg")}, masks)
    records = tuple(
        Record(file.stem, FileImage(file), None if mask is None else PartsOfMask(mask))
        for file, mask in pairs
    )
    return Dataset(
        "kvasir", records, COLOURS, licence=LICENCE, notes=(NOTE,), problems=tuple(problems)
    )
