"""ISIC 2017, task 1: lesion segmentation (Codella et al., arXiv 1710.05006), original layout.

``ISIC-2017_Training_Data/ISIC_<id>.jpg``, which may have ``ISIC_<id>_superpixels.png`` beside it,
and ``ISIC-2017_Training_Part1_GroundTruth/ISIC_<id>_segmentation.png``; the same with
``Validation`` and ``Test_v2``.
"""

import os

from abbe.datasets.collection import Dataset, FileImage, Record
from abbe.datasets.public.photographs import COLOURS, WholeMasks, paired
from abbe.errors import InputError
from abbe.remote import as_path

LICENCE = "CC0 1.0 (ISIC 2017 challenge; single images of the archive may differ)"
SUBSETS = {
    "train": "ISIC-2017_Training",
    "val": "ISIC-2017_Validation",
    "test": "ISIC-2017_Test_v2",
}
"""Split → how its folders begin."""
NOTE = "The splits are the challenge's own. Which patient an image is from is not published."


def isic2017(path: str | os.PathLike[str]) -> Dataset:
    """ISIC 2017's lesions, with the official splits. Only names are read.

    Each image has one lesion, of however many parts.

    Args:
        path: The folder that holds the unpacked folders of one to three splits.

    Raises:
        InputError: None of the folders is there, or one lacks its masks or images.
    """
    root = as_path(path)
    records: list[Record] = []
    problems: list[str] = []
    for split, begin in SUBSETS.items():
        images, masks = root / f"{begin}_Data", root / f"{begin}_Part1_GroundTruth"
        if not images.is_dir():
            continue
        if not masks.is_dir():
            raise InputError(f"{images} is there, but {masks} is not: unpack {masks.name}.zip, too")
        files = sorted(images.glob("ISIC_*.jpg"))
        if not files:
            raise InputError(f"{images} holds no image (ISIC_*.jpg): unpack its archive again")
        suffix = "_segmentation"
        named = {
            file.stem[: -len(suffix)]: file
            for file in masks.glob("ISIC_*.png")
            if file.stem.lower().endswith(suffix)
        }
        pairs, found = paired(files, named, masks)
        problems += found
        records += [
            Record(
                file.stem,
                FileImage(file),
                None if mask is None else WholeMasks((mask,)),
                split=split,
            )
            for file, mask in pairs
        ]
    if not records:
        folders = ", ".join(f"{begin}_Data" for begin in SUBSETS.values())
        raise InputError(
            f"{root} holds none of {folders}: download the archives of task 1 from "
            f"https://challenge.isic-archive.com/data/#2017 and unpack them there"
        )
    return Dataset(
        "isic2017",
        tuple(records),
        COLOURS,
        licence=LICENCE,
        notes=(NOTE,),
        problems=tuple(problems),
    )
