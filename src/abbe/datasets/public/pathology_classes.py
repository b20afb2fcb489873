"""Public sets of H&E tiles with a class each, in their original layouts.

NCT-CRC-HE-100K with CRC-VAL-HE-7K, BACH, BreakHis and Chaoyang. Only names and tables are read.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from abbe.datasets.classes import class_files
from abbe.datasets.collection import Dataset, FileImage, Record
from abbe.errors import InputError
from abbe.files import parse_json
from abbe.in_words import counted, listing
from abbe.remote import as_path

COLOURS = ("red", "green", "blue")

NCT_CRC_CLASSES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
NCT_CRC_LICENCE = "CC BY 4.0 (Zenodo 1214456)"

BACH_CLASSES = ("Normal", "Benign", "InSitu", "Invasive")
BACH_LICENCE = "CC BY-NC-ND 4.0 (Zenodo 3632035)"

# The abbreviations in the names of the files, in the order of the data set's own page.
BREAKHIS_CLASSES = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes_tumor",
    "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma",
    "LC": "lobular_carcinoma",
    "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}
BREAKHIS_LICENCE = "CC BY 4.0"
# SOB_B_TA-14-4659-40-001.png: procedure, benign or malignant, type, year, slide, magnification,
# number.
_BREAKHIS_NAME = re.compile(
    r"SOB_([BM])_(A|F|PT|TA|DC|LC|MC|PC)-(\d\d)-(\d+)([A-Z]*)-(40|100|200|400)-(\d+)"
)

CHAOYANG_CLASSES = ("normal", "serrated", "adenocarcinoma", "adenoma")
CHAOYANG_LICENCE = "non-commercial; not to be passed on (bupt-ai-cz.github.io/HSA-NRL)"


def nct_crc(path: str | os.PathLike[str], *, stain_normalised: bool = True) -> Dataset:
    """NCT-CRC-HE-100K as train, CRC-VAL-HE-7K as test (Kather et al. 2018): nine tissues of colon.

    Layout: ``NCT-CRC-HE-100K/ADI/ADI-AAAFLCLY.tif`` and so on, and the same in ``CRC-VAL-HE-7K``,
    as the archives on Zenodo unpack. Tiles of 224 px at 0.5 µm. The two parts share no patient;
    within the first, patients are not published.

    Args:
        path: The folder that holds one or both.
        stain_normalised: Whether to take NCT-CRC-HE-100K or NCT-CRC-HE-100K-NONORM.

    Raises:
        InputError: Neither is there, or a class is unknown.
    """
    root = as_path(path)
    training = "NCT-CRC-HE-100K" if stain_normalised else "NCT-CRC-HE-100K-NONORM"
    records = [
        Record(
            f"{split}/{file.stem}",
            FileImage(file, COLOURS, override_pixel_size=0.5),
            split=split,
            columns={"class": label},
        )
        for split, folder in (("train", training), ("test", "CRC-VAL-HE-7K"))
        for label, file in class_files(root / folder)
    ]
    if not records:
        raise InputError(
            f"{root} holds no image in {training}/<class>/ or CRC-VAL-HE-7K/<class>/: fetch and "
            "unpack the archives of https://zenodo.org/records/1214456 there"
        )
    notes = ("Which patient of NCT-CRC-HE-100K a tile is from is not published: a validation part "
             "drawn from it shares patients with training.",)  # fmt: skip
    return _dataset("nct_crc", records, NCT_CRC_CLASSES, NCT_CRC_LICENCE, notes)


def bach(path: str | os.PathLike[str]) -> Dataset:
    """BACH (ICIAR 2018; Aresta et al. 2019), part A: 400 images of breast in four classes.

    Layout: ``Photos/Benign/b001.tif``, ``InSitu/is001.tif``, ``Invasive/iv001.tif``,
    ``Normal/n001.tif``, as ``ICIAR2018_BACH_Challenge.zip`` unpacks. 2048 x 1536 px at 0.42 µm.

    Args:
        path: The folder ``ICIAR2018_BACH_Challenge``, its ``Photos``, or the folder above both.

    Raises:
        InputError: The layout is another, or a class is unknown.
    """
    root = as_path(path)
    inside = root / "Photos", root / "ICIAR2018_BACH_Challenge" / "Photos"
    photos = next((folder for folder in inside if folder.is_dir()), root)
    records = [
        Record(
            file.stem, FileImage(file, COLOURS, override_pixel_size=0.42), columns={"class": label}
        )
        for label, file in class_files(photos)
    ]
    if not records:
        raise InputError(
            f"{photos} holds no image in Normal/, Benign/, InSitu/ or Invasive/: fetch and unpack "
            "ICIAR2018_BACH_Challenge.zip of https://zenodo.org/records/3632035"
        )
    notes = ("File names do not tell patients, so that splits drawn here are not by patient.",)
    return _dataset("bach", records, BACH_CLASSES, BACH_LICENCE, notes)


def breakhis(path: str | os.PathLike[str], *, magnification: int | None = 40) -> Dataset:
    """BreakHis (Spanhol et al. 2016): breast tumours of 82 patients in eight types.

    Layout: ``histology_slides/breast/benign/SOB/adenosis/SOB_B_A_14-22549AB/40X/
    SOB_B_A-14-22549AB-40-001.png``; all facts are taken from the file's name. The group is the
    number of the case without the letters of its slides, so that slides of one case stay together.
    The columns ``malignant`` (yes, no) and ``magnification`` are there for `Dataset.where`.

    Args:
        path: Any folder above the images.
        magnification: 40, 100, 200 or 400, as the files say; None for all.

    Raises:
        InputError: There is no such image.
    """
    root = as_path(path)
    records: list[Record] = []
    problems: list[str] = []
    for file in sorted(root.rglob("*.png")):
        match = _BREAKHIS_NAME.fullmatch(file.stem)
        if match is None:
            problems.append(f"{file.name} is not named as BreakHis names its files: left out")
            continue
        kind, label, year, case, _, enlarged, _ = match.groups()
        if magnification is None or int(enlarged) == magnification:
            columns = {
                "class": BREAKHIS_CLASSES[label],
                "malignant": "yes" if kind == "M" else "no",
                "magnification": enlarged,
            }
            image = FileImage(file, COLOURS)
            records.append(Record(file.stem, image, group=f"{year}-{case}", columns=columns))
    if not records:
        wanted = "" if magnification is None else f" at {magnification}x"
        raise InputError(
            f"{root} holds no image of BreakHis{wanted}: fetch and unpack BreaKHis_v1 from "
            "https://web.inf.ufpr.br/vri/databases"
        )
    notes = ("Case 14-13412 is there as ductal and as lobular carcinoma.",)
    classes = tuple(BREAKHIS_CLASSES.values())
    return _dataset("breakhis", records, classes, BREAKHIS_LICENCE, notes, problems)


def chaoyang(path: str | os.PathLike[str]) -> Dataset:
    """Chaoyang (Zhu et al. 2022): tiles of colon in four classes, 4,021 train and 2,139 test.

    Layout: ``train.json`` and ``test.json``, lists of ``{"name": "train/….JPG", "label": 0}``, with
    0 normal, 1 serrated, 2 adenocarcinoma, 3 adenoma. The labels of train are noisy by design.

    Args:
        path: The folder of the two files.

    Raises:
        InputError: A table is missing or of another form, a label is none of 0 to 3, or a name
            leads out of the folder.
    """
    root = as_path(path)
    records: list[Record] = []
    missing: list[str] = []
    for split in ("train", "test"):
        table = root / f"{split}.json"
        for entry in _entries(table):
            name, label = entry["name"], entry["label"]
            file = root / name
            if not file.resolve().is_relative_to(root.resolve()):
                raise InputError(f"{table}: '{name}' leads out of the folder")
            if type(label) is not int or not 0 <= label < len(CHAOYANG_CLASSES):
                raise InputError(
                    f"{table}: the label of '{name}' is {label!r}, which is not in the list of "
                    f"classes 0 to 3 ({', '.join(CHAOYANG_CLASSES)})"
                )
            if not file.is_file():
                missing.append(name)
                continue
            id = f"{split}/{file.stem}"
            columns = {"class": CHAOYANG_CLASSES[label]}
            records.append(Record(id, FileImage(file, COLOURS), split=split, columns=columns))
    if not records:
        raise InputError(f"{root}: no image that its tables name is there, of {len(missing)}")
    problems = (
        [f"not there: {counted(len(missing), 'image')}, {listing(missing)}"] if missing else []
    )
    notes = ("Patients are not published.",)
    return _dataset("chaoyang", records, CHAOYANG_CLASSES, CHAOYANG_LICENCE, notes, problems)


def _entries(table: Path) -> list[dict[str, Any]]:
    try:
        entries = parse_json(table.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{table}: no such file. Chaoyang is given out on request at "
            "https://bupt-ai-cz.github.io/HSA-NRL; give the folder of train.json and test.json"
        ) from None
    except ValueError as error:
        raise InputError(f"{table}: damaged ({error}). Copy it again.") from error
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) and "label" in entry
        for entry in entries
    ):
        raise InputError(f"{table}: expected is a list of tables with 'name' and 'label'")
    return entries


def _dataset(
    name: str,
    records: Sequence[Record],
    classes: Sequence[str],
    licence: str,
    notes: Sequence[str] = (),
    problems: Sequence[str] = (),
) -> Dataset:
    return Dataset(
        name,
        tuple(records),
        COLOURS,
        licence=licence,
        notes=tuple(notes),
        problems=tuple(problems),
        classes=tuple(classes),
    )
