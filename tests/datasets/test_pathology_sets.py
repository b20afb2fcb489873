"""The pathology sets, from tiny files in their original layouts.

Layouts are those of the publishers' pages and archives: Zenodo 1214456 and 3632035, BreaKHis_v1,
bupt-ai-cz.github.io/HSA-NRL, the GlaS and MoNuSeg challenge pages, PathologyDataScience/BCSS,
PanNuke's README, sites.google.com/view/nucls/data-format.
"""

import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import PIL.Image
import pytest

from abbe.config.data import DataKind
from abbe.datasets import (
    KNOWN_SETS,
    Dataset,
    Record,
    assign_splits,
    bach,
    bcss,
    breakhis,
    chaoyang,
    choose_labelled,
    class_folder,
    class_numbers,
    glas,
    monuseg,
    nct_crc,
    nucls,
    pannuke,
    require_classes,
)
from abbe.datasets.training.prepare import types_of
from abbe.errors import InputError

SIZE = (20, 30)


def picture(path: Path, values: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if values is None:
        seed = sum(path.name.encode())
        values = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)
    PIL.Image.fromarray(values).save(path)
    return path


def image_of(record: Record) -> tuple[tuple[str, ...], tuple[int, int], float | None]:
    image = record.image.open()
    return image.channels, image.shape, image.pixel_size


RGB = ("red", "green", "blue")


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


def pannuke_at(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for fold in (1, 2, 3):
        images = rng.integers(0, 256, (2, 256, 256, 3)).astype(np.float64)
        masks = np.zeros((2, 256, 256, 6))
        masks[0, 10:20, 10:20, 0] = 4
        masks[0, 30:40, 30:40, 0] = 9
        masks[0, 15:25, 15:25, 1] = 4  # overlaps the first
        masks[0, 60:70, 60:70, 4] = 3
        masks[..., 5] = masks[..., :5].sum(-1) == 0
        for kind, arrays in {
            "images": {"images": images, "types": np.array(["Breast", "Bile-duct"])},
            "masks": {"masks": masks},
        }.items():
            folder = root / f"Fold {fold}" / kind / f"fold{fold}"
            folder.mkdir(parents=True, exist_ok=True)
            for name, array in arrays.items():
                np.save(folder / f"{name}.npy", array)
    return root


def test_pannuke(tmp_path):
    dataset = pannuke(pannuke_at(tmp_path), folds=(2, 1, 3))
    assert [(r.id, r.split) for r in dataset][::2] == [
        ("fold2-00000", "train"), ("fold1-00000", "val"), ("fold3-00000", "test"),
    ]  # fmt: skip
    record = dataset["fold1-00000"]
    assert dict(record.columns) == {"tissue": "Breast", "fold": "1"}
    assert image_of(record) == (RGB, (256, 256), 0.25)
    assert record.label is not None
    assert record.types is not None
    label, types = record.label.read(), record.types.read()
    assert len(np.unique(label[label > 0])) == 4
    assert label[16, 16] == label[10, 10] != label[22, 22]
    assert [types[12, 12], types[22, 22], types[65, 65], types[0, 0]] == [1, 2, 5, 0]
    assert ((label > 0) == (types > 0)).all()
    taught = types_of(record, record.image.open(), ("epithelial", "neoplastic"), dataset.classes)
    assert taught is not None
    assert [taught[12, 12], taught[22, 22], taught[65, 65], taught[0, 0]] == [2, 0, 1, 0]
    stored = np.load(tmp_path / "Fold 1" / "images" / "fold1" / "images.npy")[0, 7, 9]
    assert record.image.open().read()[:, 7, 9].tolist() == stored.tolist()


def test_pannukes_folds_are_checked(tmp_path):
    pannuke_at(tmp_path)
    with pytest.raises(InputError, match="each once"):
        pannuke(tmp_path, folds=(1, 1, 2))
    np.save(tmp_path / "Fold 1" / "masks" / "fold1" / "masks.npy", np.zeros((1, 256, 256, 6)))
    with pytest.raises(InputError, match="are not"):
        pannuke(tmp_path)
    (tmp_path / "Fold 3" / "masks" / "fold3" / "masks.npy").unlink()
    with pytest.raises(InputError, match=r"0 files fold3/masks.npy"):
        pannuke(tmp_path, folds=(3, 2, 1))


MONUSEG_XML = """<Annotations MicronsPerPixel="0.252"><Annotation Id="1"><Regions>
<RegionAttributeHeaders/>
<Region Id="1"><Attributes/><Vertices><Vertex X="2" Y="3"/><Vertex X="20" Y="3"/>
<Vertex X="20" Y="15"/><Vertex X="2" Y="15"/></Vertices></Region>
<Region Id="2"><Vertices><Vertex X="5.0" Y="5.5"/><Vertex X="9.0" Y="5.5"/>
<Vertex X="9.0" Y="9.5"/></Vertices></Region>
<Region Id="3"><Vertices><Vertex X="25" Y="5"/></Vertices></Region>
</Regions></Annotation></Annotations>"""


def monuseg_at(root: Path) -> Path:
    training = root / "MoNuSeg 2018 Training Data"
    for image, annotation in (
        (training / "Tissue Images" / "TCGA-18-5592-01Z-00-DX1.tif",
         training / "Annotations" / "TCGA-18-5592-01Z-00-DX1.xml"),
        (root / "MoNuSegTestData" / "TCGA-2Z-A9J9-01A-01-TS1.tif",
         root / "MoNuSegTestData" / "TCGA-2Z-A9J9-01A-01-TS1.xml"),
    ):  # fmt: skip
        picture(image)
        annotation.parent.mkdir(parents=True, exist_ok=True)
        annotation.write_text(MONUSEG_XML)
    return root


def test_monuseg(tmp_path):
    dataset = monuseg(monuseg_at(tmp_path / "monuseg"))
    assert {r.id: (r.split, r.group) for r in dataset} == {
        "TCGA-18-5592-01Z-00-DX1": ("train", "TCGA-18-5592"),
        "TCGA-2Z-A9J9-01A-01-TS1": ("test", "TCGA-2Z-A9J9"),
    }
    record = dataset["TCGA-18-5592-01Z-00-DX1"]
    assert record.label is not None
    label = record.label.read()
    assert label.shape == SIZE
    assert [label[4, 4], label[6, 8], label[14, 19], label[16, 10], label[5, 25]] == [1, 2, 1, 0, 0]
    assert image_of(record) == (RGB, SIZE, 0.25)


def test_monusegs_files_are_checked(tmp_path):
    root = monuseg_at(tmp_path / "monuseg")
    (root / "MoNuSegTestData" / "TCGA-2Z-A9J9-01A-01-TS1.tif").unlink()
    dataset = monuseg(root)
    assert dataset.problems == ("TCGA-2Z-A9J9-01A-01-TS1.xml has no image: left out",)
    [record] = dataset.records
    picture(root / "MoNuSegTestData" / "TCGA-AA.tif")
    without = "images without an annotation are left out: TCGA-AA.tif"
    assert monuseg(root).problems[1:] == (without,)
    file = root / "MoNuSeg 2018 Training Data" / "Annotations" / "TCGA-18-5592-01Z-00-DX1.xml"
    file.write_text(MONUSEG_XML[:300])
    assert record.label is not None
    with pytest.raises(InputError, match=r"DX1.xml: damaged"):
        record.label.read()
    with pytest.raises(InputError, match="no annotation"):
        monuseg(tmp_path / "none")


NUCLS_NAME = "TCGA-A1-A0SP-DX1_id-5ea40a88_left-42405_top-70784_bottom-71099_right-42719"
NUCLS_CSV = """,raw_classification,main_classification,super_classification,type,\
xmin,ymin,xmax,ymax,coords_x,coords_y
0,tumor,tumor_nonMitotic,tumor_any,polyline,2,3,8,9,"2,8,8,2","3,3,9,9"
1,lymphocyte,lymphocyte,sTIL,rectangle,6,7,14,12,"6,14,14,6,6","7,7,12,12,7"
2,unlabeled,AMBIGUOUS,AMBIGUOUS,polyline,20,10,25,15,"20,25,25,20","10,10,15,15"
3,fov,fov,fov,rectangle,0,0,29,19,"0,29,29,0,0","0,0,19,19,0"
"""


def test_nucls(tmp_path):
    picture(tmp_path / "rgb" / f"{NUCLS_NAME}.png")
    picture(tmp_path / "rgb" / "TCGA-A2-A0SX-DX1.png")
    (tmp_path / "csv").mkdir()
    table = tmp_path / "csv" / f"{NUCLS_NAME}.csv"
    table.write_text(NUCLS_CSV)
    dataset = nucls(tmp_path)
    assert dataset.problems == ("1 image without a table: TCGA-A2-A0SX-DX1.png",)
    record = dataset[NUCLS_NAME]
    assert record.group == "TCGA-A1-A0SP"
    assert image_of(record) == (RGB, SIZE, 0.2)
    assert record.label is not None
    assert record.types is not None
    label, types = record.label.read(), record.types.read()
    at = [(5, 5), (8, 7), (11, 12), (12, 22), (0, 0), (18, 28)]
    assert [int(label[i]) for i in at] == [1, 1, -1, 2, 0, 0]
    assert [int(types[i]) for i in at] == [1, 1, -1, -1, 0, 0]
    # What a typed student is taught: boxes and unnamed nuclei say nothing of types.
    taught = types_of(record, record.image.open(), dataset.classes, dataset.classes)
    assert taught is not None
    assert [int(taught[i]) for i in at] == [1, 1, 0, 0, 0, 0]

    table.write_text(NUCLS_CSV.replace("tumor_any", "tumour"))
    with pytest.raises(InputError, match="class 'tumour' is not in the list of classes: tumor_any"):
        record.types.read()
    table.write_text(NUCLS_CSV.replace("coords_x,coords_y", "x,y"))
    with pytest.raises(InputError, match="columns coords_x, coords_y are missing"):
        record.label.read()
    table.write_text(NUCLS_CSV.replace('"2,8,8,2"', '"2,8,?,2"'))
    with pytest.raises(InputError, match="damaged"):
        record.label.read()


def test_types_go_with_the_labels_that_are_taken_away(tmp_path):
    dataset = choose_labelled(pannuke(pannuke_at(tmp_path)), 1)
    kept = [r for r in dataset.split("train") if r.label is not None]
    assert len(kept) == 1
    assert all((r.label is None) == (r.types is None) for r in dataset)


def classes_at(root: Path, **counts: int) -> Path:
    for name, count in counts.items():
        for number in range(count):
            picture(root / name / f"{name}-{number}.png")
    return root


def test_any_folder_of_classes(tmp_path):
    dataset = class_folder(classes_at(tmp_path, benign=2, malignant=3), pixel_size=0.5)
    assert dataset.classes == ("benign", "malignant")
    assert dataset["benign/benign-0"].columns["class"] == "benign"
    assert list(class_numbers(dataset).values()) == [0, 0, 1, 1, 1]
    require_classes(dataset)
    with pytest.raises(InputError, match="class 'malignant', which is not in the list"):
        class_folder(tmp_path, classes=("benign", "other"))
    with pytest.raises(InputError, match="holds no images in folders of classes"):
        class_folder(tmp_path / "benign")


def test_a_folder_of_classes_may_have_splits(tmp_path):
    for split in ("train", "test"):
        classes_at(tmp_path / split, a=1, b=2)
    dataset = class_folder(tmp_path)
    assert {r.split for r in dataset} == {"train", "test"}
    assert "test/b/b-1" in dataset
    with pytest.raises(InputError, match=r"2 training images of each class.*fewer of a \(1\)"):
        require_classes(dataset)


def test_groups_of_a_folder_of_classes_stand_in_a_table_or_in_the_names(tmp_path):
    for split in ("train", "test"):
        classes_at(tmp_path / split, a=2, b=1)
    rows = ["image,group", "train/a/a-0.png,p1", "train/a/a-1.png,p2", "train/b/b-0,p2"]
    (tmp_path / "index.csv").write_text("\n".join(rows))
    dataset = class_folder(tmp_path)
    groups = {record.id: record.group for record in dataset}
    assert groups["train/a/a-0"] == "p1"
    assert groups["train/a/a-1"] == groups["train/b/b-0"] == "p2"
    assert groups["test/a/a-0"] is None
    assert dataset.problems == (
        "index.csv: 3 images without a row: test/a/a-0, test/a/a-1, test/b/b-0",
    )
    named = class_folder(tmp_path, group=r"(\w)-\d")
    assert {record.group for record in named} == {"a", "b"}
    for pattern, words in (
        (r"(\d\d)", "is not found in the file's name 'a-0.png'"),
        (r"(a)-(\d)", "has 2 pairs of brackets"),
        (r"(a", "is no regular expression"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            class_folder(tmp_path, group=pattern)


def test_file_names_that_are_not_alike_are_enough_for_a_table(tmp_path):
    classes_at(tmp_path, a=1, b=1)
    (tmp_path / "index.csv").write_text("name,patient,split\na-0.png,7,train\nb-0.png,8,test\n")
    dataset = class_folder(tmp_path, group="patient")
    assert [(record.group, record.split) for record in dataset] == [("7", "train"), ("8", "test")]


def test_one_class_a_class_with_one_sample_and_none_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"one class only \(a\)"):
        require_classes(class_folder(classes_at(tmp_path / "one", a=3)))
    with pytest.raises(InputError, match=r"2 images of each class.*fewer of b \(1\)"):
        require_classes(class_folder(classes_at(tmp_path / "few", a=3, b=1)))
    with pytest.raises(InputError, match="has no classes"):
        require_classes(Dataset("plain", (), RGB))


def test_validation_images_of_one_class_cannot_choose_weights(tmp_path):
    for split, counts in (("train", {"a": 2, "b": 2}), ("val", {"a": 3}), ("test", {"b": 1})):
        classes_at(tmp_path / split, **counts)
    with pytest.raises(InputError, match=r"validation images of one class only \(a\)"):
        require_classes(class_folder(tmp_path))


def test_a_patient_in_two_splits_is_refused(tmp_path):
    image = class_folder(classes_at(tmp_path, a=1)).records[0].image
    records = tuple(
        Record(f"{label}{split}", image, None, split, "patient-1", {"class": label})
        for split in ("train", "test")
        for label in "ab"
    )
    with pytest.raises(InputError, match="group 'patient-1' is in train and test"):
        require_classes(Dataset("leak", records, RGB, classes=("a", "b")), minimum=1)


def test_every_set_is_listed_with_its_licence():
    names = {"nct_crc", "bach", "breakhis", "chaoyang", "glas", "bcss", "pannuke", "monuseg"}
    assert names | {"nucls"} <= KNOWN_SETS.keys()
    assert all(KNOWN_SETS[name].licence and KNOWN_SETS[name].origin for name in names)


def test_what_is_fetched_by_a_name_is_opened_by_it():
    assert KNOWN_SETS.keys() <= set(get_args(DataKind))
