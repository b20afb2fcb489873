"""The pathology sets of nuclei, from tiny files in their original layouts.

Layouts are those of the publishers' pages and archives: PanNuke's README, the MoNuSeg challenge
page, sites.google.com/view/nucls/data-format.
"""

from pathlib import Path

import numpy as np
import pytest
from pictures_of_sets import RGB, SIZE, image_of, picture

from abbe.datasets import choose_labelled, monuseg, nucls, pannuke
from abbe.datasets.training.prepare import types_of
from abbe.errors import InputError


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
