"""RCKD: three students, begun with ImageNet's weights and with RCKD's, on six sets of pathology.

Of the paper, the abstract could be read: three means over six sets, and CSAT's size.
"""

from collections.abc import Iterator
from dataclasses import replace

from abbe.reproducing.table import (
    Cell,
    Choice,
    Column,
    DataSet,
    Figure,
    Given,
    Item,
    Keys,
    Left,
    Source,
    Table,
    Weights,
)
from abbe.reproducing.tables.common import imagenet

STUDENTS = {
    "csat-like": "CSAT (ours: csat-like)",
    "efficientnet-b0": "EfficientNet-B0",
    "convnextv2-atto": "ConvNeXtV2-Atto",
}
STARTS = {"imagenet": "ImageNet", "rckd": "RCKD"}
TILES = "nct_crc"
"""The set whose training images, without labels, are pretrained on."""

CLASSES: dict[str, Keys] = {
    "nct_crc": {},
    "bach": {"training": {"crop": 512}},
    "breakhis": {"training": {"crop": 448}},
    "chaoyang": {"training": {"crop": 512}},
}
"""Sets whose images are classified, each with what it changes in the recipe."""
REGIONS: dict[str, Keys] = {"glas": {}, "bcss": {}}
"""Sets whose regions are segmented."""
SETS = (
    DataSet("nct_crc", ("NCT-CRC-HE-100K", "CRC-VAL-HE-7K")),
    DataSet("bach", ("Photos", "ICIAR2018_BACH_Challenge", "InSitu")),
    DataSet("breakhis", ("BreaKHis_v1", "histology_slides", "breast/*/SOB")),
    DataSet("chaoyang", ("train.json",)),
    DataSet("glas", ("Grade.csv",)),
    DataSet("bcss", ("rgbs_colorNormalized",)),
)
NUCLEI = Weights(
    "nuclei",
    "a nuclei segmenter, the teacher",
    "a run, a package, an ONNX file or a bioimage.io package; without one Abbe's own package "
    "nuclei-he teaches, which is not the paper's teacher",
    (),
    otherwise="nuclei-he",
)
CSAT_WEIGHTS = Weights(
    "csat-like",
    "ImageNet weights of csat-like",
    "nobody publishes them, for the layout is ours: abbe distill imagenet --data.path IMAGENET "
    "--student.architecture unet-csat-like makes encoder.safetensors",
    ("csat*",),
)
PAPER = {
    ("CSAT (ours: csat-like)", "RCKD"): (Figure(94.2), Figure(0.673)),
    ("EfficientNet-B0", "ImageNet"): (
        Figure(90.2, derived=True, source="94.2 less the 4 points of the abstract"),
        Figure(0.630, derived=True, source="0.673 less the 0.043 of the abstract"),
    ),
    ("ConvNeXtV2-Atto", "ImageNet"): (
        Figure(86.8, derived=True, source="94.2 less the 7.4 points of the abstract"),
        Figure(0.667, derived=True, source="0.673 less the 0.006 of the abstract"),
    ),
}
"""By row, mean accuracy and mean IoU over the paper's six sets. What EfficientNet-B0 began with is
not said of it; ImageNet's weights are the usual ones."""


def _item(student: str, start: str, data: str) -> Item:
    """A student from a start, fine-tuned on a set; RCKD pretrains once a student, on the tiles."""
    keys: dict[str, object] = {
        "baselines": (),
        "data": Given(data),
        "fine_tuning": {"task": "segmentation" if data in REGIONS else "classification"},
        **CLASSES.get(data, {}),
        **REGIONS.get(data, {}),
    }
    network = {"architecture": f"unet-{student}"}
    if start == "rckd" and data == TILES:
        keys["teacher"] = Given("nuclei", as_teacher=True)
        keys["student"] = {**network, "encoder_weights": "random"}
        return Item(f"{student}-{start}-{data}", "rckd", keys)
    pretrained = Left(f"{student}-rckd-{TILES}", "encoder.safetensors")
    begun = pretrained if start == "rckd" else Given(student)
    keys["student"] = {**network, "encoder_weights": begun}
    keys["teacher"] = {"kind": "none"}
    keys["pretraining"] = {"method": "none"}
    return Item(f"{student}-{start}-{data}", "rckd", keys)


def _cells() -> Iterator[Cell]:
    for student, title in STUDENTS.items():
        for start, words in STARTS.items():
            row, sources = (title, words), {}
            for data in (*CLASSES, *REGIONS):
                quantity = "mean_iou" if data in REGIONS else "accuracy"
                sources[data] = Source(f"{student}-{start}-{data}", "student", quantity)
                yield Cell(row, data, (sources[data],))
            printed = PAPER.get(row, (None, None))
            for column, sets, figure in zip(
                ("accuracy", "mean_iou"), (CLASSES, REGIONS), printed, strict=True
            ):
                yield Cell(row, column, tuple(sources[each] for each in sets), "mean", figure)
            anywhere = (f"{student}-{start}-{each}" for each in (*CLASSES, *REGIONS))
            sizes = tuple(Source(each, "student", "encoder_parameters") for each in anywhere)
            yield Cell(row, "encoder", sizes)


RCKD = Table(
    name="rckd",
    title="RCKD on pathology: three students from ImageNet's weights and from a nuclei teacher",
    paper="Kim, Kwak, Chang, Kim, Kim: Response-Based Cross-Task Knowledge Distillation for "
    "Pathological Image Analysis. Bioengineering 2023, 10(11), 1279",
    heads=("student", "begun with"),
    columns=(
        *(Column(each, f"{each}, accuracy, %", 1, 100) for each in CLASSES),
        *(Column(each, f"{each}, mIoU", 3) for each in REGIONS),
        Column("accuracy", "mean accuracy, %", 1, 100),
        Column("mean_iou", "mean mIoU", 3),
        Column("encoder", "encoder, M parameters", 2, 1e-6),
    ),
    needs=(
        *SETS, NUCLEI, CSAT_WEIGHTS,
        *(
            replace(imagenet(name, name.replace("-", "_")), may_be_random=False)
            for name in ("efficientnet-b0", "convnextv2-atto")
        ),
    ),
    items=tuple(
        _item(student, start, data)
        for student in STUDENTS
        for start in STARTS
        for data in (*CLASSES, *REGIONS)
    ),
    cells=tuple(_cells()),
    choices=(
        Choice(
            "which six sets",
            "NCT-CRC-HE, BACH, BreakHis (40x) and Chaoyang are classified, GlaS and BCSS are "
            "segmented: ours, so the rows line up with the paper's means in form only",
        ),
        Choice("the teacher", "Abbe's package nuclei-he, unless another is given (nuclei=PATH)"),
        Choice(
            "the unlabelled tiles, their size and number",
            "the training tiles of NCT-CRC-HE-100K without their labels, 224 px at 0.5 µm",
        ),
        Choice("CSAT's layout", "csat-like, ours, of the paper's size: 3 M parameters, 1.08 GMACs"),
        Choice(
            "loss, temperature, and whether a contrastive term is part of it",
            "soft BCE on the teacher's maps, horizontal and vertical maps; no contrastive term",
        ),
        Choice("what RCKD begins with", "random weights"),
        Choice(
            "how often is pretrained, and what is handed on",
            "once a student and seed on the tiles; the other five sets begin with the first seed's "
            "encoder, so their ± does not cover the luck of pretraining; segmentation begins with "
            "the encoder alone",
        ),
        Choice(
            "optimisers, rates, lengths, batches, crops",
            "as abbe recipes copy rckd: AdamW, 10 passes over tiles and over labelled images; "
            "crops of 224 px, on BACH and Chaoyang 512, on BreakHis 448",
        ),
        Choice(
            "splits",
            "NCT-CRC-HE and Chaoyang: their own (no validation part, the last weights are taken); "
            "the others 60 / 20 / 20 %, by patient where patients are known",
        ),
        Choice("what ± means", "standard deviation over seeds"),
    ),
    cautions=(
        "The paper's means are over six sets that are not ours.",
        "A mean stays empty until all its sets are there.",
    ),
    long="36 runs of one network; the three that pretrain see 100,000 tiles 10 times, each seed "
    "anew. Made for a GPU; not timed as a whole",
)  # fmt: skip
