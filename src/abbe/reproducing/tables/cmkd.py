"""CMKD: four students, each without a teacher, from SAM and from CellSAM; on two sets.

Of the paper, the abstract could be read: its three Dice figures, the gains and the sizes.
"""

from collections.abc import Iterator

from abbe.reproducing.table import (
    Cell,
    Choice,
    Column,
    DataSet,
    Figure,
    Given,
    How,
    Item,
    Keys,
    Left,
    Source,
    Table,
    Weights,
)
from abbe.reproducing.tables.common import SAM, imagenet

PAPER = (
    "Mohammad, Ritu, Hossain: Single-Channel Tissue Segmentation via Cross-Modal Distillation "
    "from Foundation Models. arXiv 2606.00928"
)
STUDENTS = {
    "mobilenetv3": ("MobileNetV3", "mobilenetv3_small_100", 1.5),
    "efficientnet-b0": ("EfficientNet-B0", "efficientnet_b0", 5.3),
    "resnet18": ("ResNet18", "resnet18", 11.0),
    "swin-tiny": ("Swin-Tiny", "swin_tiny_patch4_window7_224", 27.0),
}
"""By our name: the paper's, timm's, and the millions of parameters that the paper prints. The first
has the teacher answer, and the others take its answers."""
TEACHERS = {"sam": "SAM", "cellsam": "CellSAM"}

CELLSAM = Weights(
    "cellsam",
    "CellSAM",
    "https://users.deepcell.org (login, academic use); install its package with pip install "
    "git+https://github.com/vanvalenlab/cellSAM.git, then cellsam=cellsam_general or a file",
    ("cellsam*",),
)
TISSUENET_SET = DataSet(
    "tissuenet", ("*_train.npz",), as_folder={"channels": ("nucleus", "membrane")}
)
BBBC038_SET = DataSet(
    "bbbc038",
    ("stage1_train", "stage1_train.zip"),
    section={"channels": ("nucleus",), "where": {"modality": "fluorescence"}},
    as_folder={"channels": ("nucleus",)},
)

DICE = Column("dice", "Dice, %", 2, 100)
GAIN = Column("gain", "KD adds, points", 2, 100, signed=True)
RECOVERY = Column("recovery", "of the teacher's Dice, %", 1, 100)
ENCODER = Column("encoder", "encoder, M parameters", 1, 1e-6)
WHOLE = Column("whole", "whole network, M parameters", 1, 1e-6)
SMALLER = Column("smaller", "teacher / encoder, times smaller", 1)

TISSUENET_PAPER = {
    (("SAM", "teacher"), "dice"): Figure(89.12, 1.21),
    (("Swin-Tiny", "no KD"), "dice"): Figure(65.31, 1.35),
    (("Swin-Tiny", "SAM"), "dice"): Figure(78.36, 1.44),
    (("Swin-Tiny", "SAM"), "gain"): Figure(13.05),
    (("Swin-Tiny", "SAM"), "recovery"): Figure(87.9),
    (("Swin-Tiny", "SAM"), "smaller"): Figure(23),
    (("SAM", "teacher"), "whole"): Figure(
        641.1, derived=True, source="EdgeSAM's table; the paper prints no figure for SAM"
    ),
} | {
    ((title, "SAM"), "gain"): Figure(12, derived=True, source="abstract: about 12 for each student")
    for title, _, _ in STUDENTS.values()
    if title != "Swin-Tiny"
}


def _item(student: str, teacher: str, data: str, input_channels: tuple[str, ...]) -> Item:
    """A student of a teacher, beside the same network without one."""
    first = next(iter(STUDENTS))
    asked: Keys = {
        "sam": {
            "kind": "sam",
            "path": Given("sam"),
            "input_channels": input_channels,
            "options": {"prompts": "oracle_box"},
        },
        "cellsam": {"kind": "cellsam", "path": Given("cellsam"), "input_channels": input_channels},
    }[teacher]
    stored = {"kind": "store", "path": Left(f"{first}-{teacher}", "targets.zarr")}
    return Item(
        f"{student}-{teacher}",
        "cmkd",
        {
            "baselines": ("supervised",),
            "data": Given(data),
            "teacher": asked if student == first else stored,
            "student": {
                "architecture": f"unet-{student}",
                "input_channels": ("nucleus",),
                "encoder_weights": Given(student),
            },
        },
    )


def _cells(paper: dict[tuple[tuple[str, str], str], Figure]) -> Iterator[Cell]:
    """Teachers first, then each student: without a teacher, from SAM, from CellSAM."""

    def cell(row: tuple[str, str], column: str, *sources: Source, how: How = "first") -> Cell:
        printed = Figure(millions[row[0]]) if column == "encoder" else paper.get((row, column))
        return Cell(row, column, sources, how, printed)

    millions = {title: count for title, _, count in STUDENTS.values()}
    for teacher, title in TEACHERS.items():
        row = (title, "teacher")
        for column, quantity in (("dice", "dice"), ("whole", "parameters")):
            there = (Source(f"{each}-{teacher}", "teacher", quantity) for each in STUDENTS)
            yield cell(row, column, *there)
    for student in reversed(STUDENTS):
        title, _, _ = STUDENTS[student]
        sized = ("encoder", "encoder_parameters"), ("whole", "parameters")
        row = (title, "no KD")
        for column, quantity in (("dice", "dice"), *sized):
            there = (Source(f"{student}-{each}", "supervised", quantity) for each in TEACHERS)
            yield cell(row, column, *there)
        for teacher, name in TEACHERS.items():
            item, row = f"{student}-{teacher}", (title, name)
            dice = Source(item, "student", "dice")
            yield cell(row, "dice", dice)
            yield cell(row, "gain", dice, Source(item, "supervised", "dice"), how="difference")
            yield cell(row, "recovery", dice, Source(item, "teacher", "dice"), how="ratio")
            for column, quantity in sized:
                yield cell(row, column, Source(item, "student", quantity))
            teacher_size = Source(f"{next(iter(STUDENTS))}-{teacher}", "teacher", "parameters")
            encoder_size = Source(item, "student", "encoder_parameters")
            yield cell(row, "smaller", teacher_size, encoder_size, how="ratio")


CHOICES = (
    Choice(
        "how a probability map comes from SAM; whether its “oracle” means boxes of the true cells",
        "prompts are the boxes of the true cells (oracle_box), so labels reach the student by way "
        "of the teacher's maps; the map is the highest of the cells' soft masks",
    ),
    Choice("which prompts CellSAM has", "its own detector's boxes"),
    Choice(
        "forms and weights of the losses",
        "mean squared error of probabilities; Dice of 3 × 3 edges, from labels and targets; "
        "learnable uncertainty weights of Kendall, Gal and Cipolla; BCE + Dice on labels",
    ),
    Choice(
        "what “without KD” leaves",
        "the same network, initial weights, steps and labels: BCE + Dice and edges from labels "
        "alone (supervised)",
    ),
    Choice(
        "which MobileNetV3", "mobilenetv3_small_100, whose size is nearest to the printed 1.5 M"
    ),
    Choice("weights that encoders begin with", "ImageNet's"),
    Choice("decoder", "U-Net, 256-128-64-32-16"),
    Choice(
        "optimiser, rate, length, batch, crops, augmentation",
        "AdamW, 0.001 (Swin 0.0001), cosine, 30 passes or 2000 steps, batches of 16 "
        "crops of 256 px; as abbe recipes copy cmkd",
    ),
    Choice("what ± means", "standard deviation over seeds, of Dice averaged over test images"),
    Choice(
        "what the printed parameters count",
        "the encoder: by their size, the paper's Swin-Tiny, ResNet18 and MobileNetV3 are encoders "
        "without classifier, its EfficientNet-B0 with. Ours are the layers that the U-Net uses; "
        "the whole network stands beside them, and the last column divides the whole teacher by "
        "the encoder, as 23 does",
    ),
)

TISSUENET = Table(
    name="cmkd-tissuenet",
    title="CMKD on TissueNet: students that see the nucleus, teachers that see the membrane, too",
    paper=PAPER,
    heads=("network", "taught by"),
    columns=(DICE, GAIN, RECOVERY, ENCODER, WHOLE, SMALLER),
    needs=(
        TISSUENET_SET, SAM, CELLSAM,
        *(imagenet(name, timm) for name, (_, timm, _) in STUDENTS.items()),
    ),
    items=tuple(
        _item(student, teacher, "tissuenet", ("nucleus", "membrane"))
        for teacher in TEACHERS
        for student in STUDENTS
    ),
    cells=tuple(_cells(TISSUENET_PAPER)),
    choices=(
        Choice("what is segmented", "whole cells, foreground (y > 0)"),
        Choice("splits", "TissueNet's own train, val and test"),
        *CHOICES,
    ),
    cautions=(
        "A plain supervised U-Net usually comes above the paper's 65 Dice without KD, and 13 "
        "points over a network trained on the same labels are unusual. Here both have the same "
        "budget.",
        "CellSAM was trained on TissueNet, perhaps on images of its test part.",
        "The paper's 87.9 % is Dice over Dice; of the gap between no KD and teacher its gain "
        "closes 54.8 %.",
    ),
    long="8 runs of 2 networks, each 30 passes over 2,580 images of 512²; the teachers answer for "
    "7,022 images once. Made for a GPU; not timed as a whole",
)  # fmt: skip

BBBC038 = Table(
    name="cmkd-bbbc038",
    title="CMKD on BBBC038 (DSB-2018): the same teachers, not retrained",
    paper=PAPER,
    heads=("network", "taught by"),
    columns=(DICE, GAIN, RECOVERY, ENCODER, WHOLE, SMALLER),
    needs=(
        BBBC038_SET, SAM, CELLSAM,
        *(imagenet(name, timm) for name, (_, timm, _) in STUDENTS.items()),
    ),
    items=tuple(
        _item(student, teacher, "bbbc038", ("nucleus",))
        for teacher in TEACHERS
        for student in STUDENTS
    ),
    cells=tuple(_cells({})),
    choices=(
        Choice(
            "the protocol",
            "students learn on BBBC038 from the same frozen teachers, which see its one channel in "
            "the place of both; students of TissueNet as they are: abbe evaluate RUN",
        ),
        Choice("which images", "fluorescence, told from the pixels; nuclei, foreground"),
        Choice(
            "splits",
            "stage1_test tests and fold 0 of 5 of stage1_train validates; without the table of "
            "stage1_test's objects, fold 0 tests and fold 1 validates",
        ),
        *CHOICES,
    ),
    cautions=("Of this table the abstract says in words that KD gains are consistent; no figure.",),
    long="8 runs of 2 networks, each 2000 steps or more; the teachers answer for some 600 images "
    "once. Made for a GPU; not timed as a whole",
)  # fmt: skip
