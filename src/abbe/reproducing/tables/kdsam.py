"""KD SAM: SAM, MobileSAM as it comes and tuned, and the small student, on four medical sets.

Of the paper, the abstract and a summary could be read: sizes, and which sets; no Dice.
"""

from collections.abc import Iterator

from abbe.reproducing.table import (
    Cell,
    ChannelsOf,
    Choice,
    Column,
    Figure,
    Given,
    Item,
    Source,
    Table,
    Weights,
)
from abbe.reproducing.tables.common import (
    BUSI,
    HC18,
    ISIC2017,
    KVASIR,
    MOBILE_SAM,
    SAM,
    imagenet,
)

SETS = {
    "kvasir": "Kvasir-SEG",
    "isic2017": "ISIC 2017",
    "hc18": "fetal head",
    "busi": "breast ultrasound",
}
MODELS = {
    "SAM ViT-H": "teacher",
    "MobileSAM, as it comes": "baseline zero-shot",
    "MobileSAM, tuned": "baseline",
    "KD SAM": "student",
}
"""By row, the model of a run."""
VGG = Weights(
    "vgg16",
    "VGG16 for the perceptual loss",
    "torchvision downloads it; without a network, a file in its layout: "
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    ("vgg16*",),
    otherwise="imagenet",
    may_be_random=True,
)
SIZES = {
    ("SAM ViT-H", "whole"): Figure(641.1, derived=True, source="EdgeSAM's table"),
    ("MobileSAM, as it comes", "whole"): Figure(9.66, derived=True, source="MobileSAM's own page"),
    ("MobileSAM, tuned", "whole"): Figure(9.66, derived=True, source="MobileSAM's own page"),
    ("KD SAM", "encoder"): Figure(
        26.4, source="a summary of the paper; what it counts is not said"
    ),
}


def _item(data: str) -> Item:
    return Item(
        data,
        "kdsam",
        {
            "baselines": ("twin",),
            "data": Given(data),
            "teacher": {"kind": "sam", "path": Given("sam")},
            "student": {
                "architecture": "promptable-resnet50",
                "input_channels": ChannelsOf(data),
                "encoder_weights": Given("resnet50"),
            },
            "promptable": {
                "vgg_weights": Given("vgg16"),
                "baseline": Given("mobile_sam", optional=True),
            },
        },
    )


def _cells() -> Iterator[Cell]:
    sizes = {"encoder": "encoder_parameters", "whole": "parameters", "ms": "ms_per_image"}
    for title, model in MODELS.items():
        row = (title,)
        needs = ("mobile_sam",) if model.startswith("baseline") else ()
        for data in SETS:
            yield Cell(row, data, (Source(data, model, "dice"),), needs=needs)
        for column, quantity in sizes.items():
            anywhere = tuple(Source(data, model, quantity) for data in SETS)
            yield Cell(row, column, anywhere, paper=SIZES.get((title, column)), needs=needs)


KDSAM = Table(
    name="kdsam",
    title="KD SAM on four medical sets: SAM, MobileSAM and the small student",
    paper="Patil, Palani, Krishnamurthi: Efficient Knowledge Distillation of SAM for Medical Image "
    "Segmentation. arXiv 2501.16740",
    heads=("network",),
    columns=(
        *(Column(each, f"{title}, Dice, %", 2, 100) for each, title in SETS.items()),
        Column("encoder", "encoder, M parameters", 2, 1e-6),
        Column("whole", "whole network, M parameters", 2, 1e-6),
        Column("ms", "an image, ms here", 0),
    ),
    needs=(
        KVASIR, ISIC2017, HC18, BUSI, SAM, MOBILE_SAM, VGG, imagenet("resnet50", "resnet50")
    ),
    items=tuple(_item(data) for data in SETS),
    cells=tuple(_cells()),
    choices=(
        Choice("Dice of any network on any set", "nothing to hold ours against"),
        Choice("how ResNet-50 comes to 256 × 64 × 64, and what 26.4 M counts",
               "a neck with which the encoder has 26.39 M; whole, the student has 4 M more"),
        Choice("layers of the perceptual loss, and how VGG is shown 256 channels",
               "VGG16 to relu3_3, channels three at a time"),
        Choice("weights of the losses", "1 : 1, each as a share of what the teacher's mean "
               "embedding costs"),
        Choice("prompts", "training: boxes jittered by 2 % or a point; scores: tight boxes of the "
               "true objects (one and three points are in the runs' reports)"),
        Choice("what trains in the second stage", "the mask decoder alone"),
        Choice("images to distil on", "the training images of each set by itself"),
        Choice("optimisers, rates, lengths, batches", "as abbe recipes copy kdsam: 50 passes, then "
               "20 over the labelled pictures, batches of 8"),
        Choice("splits", "ISIC 2017: its own; the others 70 / 10 / 20 %, HC18 by examination, its "
               "images without annotation to distil on, too; "
               "BUSI without the normal images"),
        Choice("how MobileSAM is tuned", "the same second stage as the student's"),
        Choice("how time is measured", "one image in memory to its embedding, here"),
        Choice("what ± means", "standard deviation over seeds; networks as they come have none"),
    ),
    cautions=(
        "Whether the paper's fetal heads are HC18 and its breast ultrasound BUSI is very likely, "
        "not verified.",
        "Prompts are made from the labels: every Dice is a user's who boxes each object well.",
    ),
    long="4 runs of 3 networks, each 50 passes of ResNet-50 at 1024²; SAM ViT-H embeds each "
    "training image once. Made for a GPU; not timed as a whole",
)  # fmt: skip
