"""The pathology sets of classes and regions, from tiny files in their original layouts.

Layouts are those of the publishers' pages and archives: Zenodo 1214456 and 3632035, BreaKHis_v1,
bupt-ai-cz.github.io/HSA-NRL, the GlaS challenge page, PathologyDataScience/BCSS.
"""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from pictures_of_sets import RGB, SIZE, image_of, picture

from abbe.config.data import DataKind
from abbe.datasets import (
    KNOWN_SETS,
    assign_splits,
    bach,
    bcss,
    breakhis,
    chaoyang,
    class_numbers,
    glas,
    nct_crc,
)
from abbe.errors import InputError


def test_nct_crc(tmp_path):
    for part in ("NCT-CRC-HE-100K", "NCT-CRC-HE-100K-NONORM", "CRC-VAL-HE-7K"):
        picture(tmp_path / part / "ADI" / "ADI-AAAFLCLY.tif")
        picture(tmp_path / part / "TUM" / f"TUM-{part[-2:]}AAA.tif")
    dataset = nct_crc(tmp_path)
    assert len(dataset.classes) == 9
    assert [(r.id, r.split, r.columns["class"]) for r in dataset] == [
        ("train/ADI-AAAFLCLY", "train", "ADI"),
        ("train/TUM-0KAAA", "train", "TUM"),
        ("test/ADI-AAAFLCLY", "test", "ADI"),
        ("test/TUM-7KAAA", "test", "TUM"),
    ]
    assert image_of(dataset.records[0]) == (RGB, SIZE, 0.5)
    assert class_numbers(dataset)["test/TUM-7KAAA"] == 8
    raw = nct_crc(tmp_path, stain_normalised=False)
    assert "train/TUM-RMAAA" in raw
    picture(tmp_path / "CRC-VAL-HE-7K" / "XYZ" / "XYZ-A.tif")
    with pytest.raises(InputError, match=r"class 'XYZ', which is not in the list of classes: ADI"):
        nct_crc(tmp_path)
    with pytest.raises(InputError, match="1214456"):
        nct_crc(tmp_path / "none")


def test_bach(tmp_path):
    for folder, name in {"Normal": "n001", "Benign": "b001", "InSitu": "is001"}.items():
        picture(tmp_path / "Photos" / folder / f"{name}.tif")
    dataset = bach(tmp_path)
    assert dataset.classes == ("Normal", "Benign", "InSitu", "Invasive")
    assert {r.id: r.columns["class"] for r in dataset}["is001"] == "InSitu"
    assert image_of(dataset["b001"]) == (RGB, SIZE, 0.42)
    assert bach(tmp_path / "Photos").ids == dataset.ids
    with pytest.raises(InputError, match="3632035"):
        bach(tmp_path / "Photos" / "Normal")


def test_breakhis(tmp_path):
    breast = tmp_path / "BreaKHis_v1" / "histology_slides" / "breast"
    for folder, name in (
        ("benign/SOB/adenosis/SOB_B_A_14-22549AB/40X", "SOB_B_A-14-22549AB-40-001"),
        ("benign/SOB/adenosis/SOB_B_A_14-22549CD/40X", "SOB_B_A-14-22549CD-40-001"),
        ("malignant/SOB/ductal_carcinoma/SOB_M_DC_14-2523/40X", "SOB_M_DC-14-2523-40-009"),
        ("malignant/SOB/ductal_carcinoma/SOB_M_DC_14-2523/400X", "SOB_M_DC-14-2523-400-009"),
    ):
        picture(breast / folder / f"{name}.png")
    picture(breast / "thumbnail.png")
    dataset = breakhis(tmp_path)
    assert {r.id: (r.columns["class"], r.group) for r in dataset} == {
        "SOB_B_A-14-22549AB-40-001": ("adenosis", "14-22549"),
        "SOB_B_A-14-22549CD-40-001": ("adenosis", "14-22549"),
        "SOB_M_DC-14-2523-40-009": ("ductal_carcinoma", "14-2523"),
    }
    assert len(dataset.where(malignant="yes")) == 1
    assert dataset.problems == ("thumbnail.png is not named as BreakHis names its files: left out",)
    assert len(breakhis(tmp_path, magnification=None)) == 4
    with pytest.raises(InputError, match="at 200x"):
        breakhis(tmp_path, magnification=200)


def chaoyang_at(root: Path, **tables: list) -> Path:
    for split in ("train", "test"):
        for name in ("a", "b"):
            picture(root / split / f"{name}.jpg")
        default = [{"name": f"{split}/a.jpg", "label": 0}, {"name": f"{split}/b.jpg", "label": 2}]
        (root / f"{split}.json").write_text(json.dumps(tables.get(split, default)))
    return root


def test_chaoyang(tmp_path):
    dataset = chaoyang(chaoyang_at(tmp_path))
    assert [(r.id, r.split, r.columns["class"]) for r in dataset][:2] == [
        ("train/a", "train", "normal"),
        ("train/b", "train", "adenocarcinoma"),
    ]
    assert image_of(dataset["test/b"])[:2] == (RGB, SIZE)


@pytest.mark.parametrize("label", [4, -1, "normal", None, True, 1.0])
def test_chaoyangs_labels_outside_the_list_are_refused(label, tmp_path):
    chaoyang_at(tmp_path, train=[{"name": "train/a.jpg", "label": label}])
    with pytest.raises(InputError, match=r"label of 'train/a.jpg' .* not in the list of classes"):
        chaoyang(tmp_path)


def test_chaoyangs_tables_are_checked(tmp_path):
    with pytest.raises(InputError, match=r"train.json: no such file"):
        chaoyang(tmp_path)
    chaoyang_at(tmp_path, train=[{"name": "../secret.jpg", "label": 0}])
    with pytest.raises(InputError, match="leads out of the folder"):
        chaoyang(tmp_path)
    chaoyang_at(tmp_path, test=[{"name": "test/none.jpg", "label": 0}])
    assert chaoyang(tmp_path).problems == ("not there: 1 image, test/none.jpg",)
    (tmp_path / "train.json").write_text("[1")
    with pytest.raises(InputError, match="damaged"):
        chaoyang(tmp_path)
    (tmp_path / "train.json").write_text("[1]")
    with pytest.raises(InputError, match="'name' and 'label'"):
        chaoyang(tmp_path)


def glas_at(root: Path) -> Path:
    glands = np.zeros(SIZE, np.uint8)
    glands[2:8, 2:9], glands[10:18, 12:25] = 1, 2
    names = ("train_1", "train_2", "testA_1", "testB_1")
    for name in names:
        picture(root / f"{name}.bmp")
        picture(root / f"{name}_anno.bmp", glands)
    (root / "Grade.csv").write_text(
        "name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)\n"
        "train_1,4, benign, adenomatous\ntrain_2,5, malignant, poorly differentiated\n"
        "testA_1,4, benign, adenomatous\ntestB_1,6, malignant, moderately differentiated\n"
    )
    return root


def test_glas(tmp_path):
    dataset = glas(glas_at(tmp_path))
    record = dataset["testA_1"]
    assert (record.group, record.split) == ("4", None)
    assert dict(record.columns) == {"class": "benign", "part": "testA"}
    assert record.label is not None
    assert np.unique(record.label.read()).tolist() == [0, 1, 2]
    assert image_of(record) == (RGB, SIZE, pytest.approx(0.62005))
    divided = assign_splits(dataset, fractions={"train": 0.5, "val": 0.25, "test": 0.25})
    assert divided["train_1"].split == divided["testA_1"].split  # of one patient
    official = glas(tmp_path, by_patient=False)
    assert {r.id: r.split for r in official}["testB_1"] == "test"
    assert all(record.group is None for record in official)


def test_glas_without_grades_or_outlines(tmp_path):
    glas_at(tmp_path)
    (tmp_path / "train_2_anno.bmp").unlink()
    assert "train_2.bmp has no train_2_anno.bmp" in glas(tmp_path).problems
    (tmp_path / "Grade.csv").write_text("name\ntrain_1\n")
    with pytest.raises(InputError, match="columns name, patient ID"):
        glas(tmp_path)
    (tmp_path / "Grade.csv").unlink()
    with pytest.raises(InputError, match=r"Grade.csv: no such file"):
        glas(tmp_path)


def test_bcss(tmp_path):
    name = "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500.png"
    codes = np.zeros(SIZE, np.uint8)
    codes[:, 5:] = np.arange(22, dtype=np.uint8).repeat(2)[None, :25]
    picture(tmp_path / "rgbs_colorNormalized" / name)
    picture(tmp_path / "masks" / name, codes)
    dataset = bcss(tmp_path)
    [record] = dataset.records
    assert (record.group, record.columns["institute"]) == ("TCGA-A1-A0SK", "A1")
    assert image_of(record) == (RGB, SIZE, 0.25)
    assert record.label is not None
    assert record.types is record.label
    found = record.label.read()[0]
    expected = {0: -1, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 5, 7: -1, 8: 5, 9: 5, 10: 3, 11: 3, 12: 5}
    assert {int(c): int(k) for c, k in zip(codes[0], found, strict=True)} == expected
    codes[3, 3] = 22
    picture(tmp_path / "masks" / name, codes)
    with pytest.raises(InputError, match=r"codes \[22\] are not in the list of classes"):
        record.label.read()


def test_every_set_is_listed_with_its_licence():
    names = {"nct_crc", "bach", "breakhis", "chaoyang", "glas", "bcss", "pannuke", "monuseg"}
    assert names | {"nucls"} <= KNOWN_SETS.keys()
    assert all(KNOWN_SETS[name].licence and KNOWN_SETS[name].origin for name in names)


def test_what_is_fetched_by_a_name_is_opened_by_it():
    assert KNOWN_SETS.keys() <= set(get_args(DataKind))
