"""What several tables need, and how each is recognised."""

from abbe.reproducing.table import DataSet, Weights

KVASIR = DataSet("kvasir", ("masks/*.jpg", "Kvasir-SEG/masks/*.jpg"))
ISIC2017 = DataSet("isic2017", ("ISIC-2017_*_Data",))
HC18 = DataSet("hc18", ("training_set/*_HC.png",))
BUSI = DataSet(
    "busi",
    ("benign/*_mask.png", "Dataset_BUSI_with_GT/benign/*_mask.png"),
    section={"where": {"class": "benign,malignant"}},
)
"""Without the normal images, in which there is nothing to ask for."""

SAM = Weights(
    "sam",
    "SAM ViT-H",
    "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth (2.4 GB), or "
    "sam=facebook/sam-vit-huge to have it from Hugging Face",
    ("sam_vit_*", "sam.*"),
)
MOBILE_SAM = Weights(
    "mobile_sam",
    "MobileSAM",
    "https://github.com/ChaoningZhang/MobileSAM (weights/mobile_sam.pt)",
    ("mobile_sam*",),
)


def imagenet(name: str, timm_name: str) -> Weights:
    """An encoder's ImageNet weights, which timm downloads where no file is given."""
    return Weights(
        name,
        f"ImageNet weights of {timm_name}",
        f"timm downloads them; without a network, a file in timm's layout from "
        f"https://huggingface.co/timm (models {timm_name}.…)",
        (f"{timm_name}*",),
        otherwise="imagenet",
        may_be_random=True,
    )
