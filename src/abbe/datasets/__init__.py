"""Labelled and unlabelled collections of images, their splits, and known public sets."""

from abbe.datasets.check import CheckReport, check
from abbe.datasets.classes import (
    class_counts,
    class_folder,
    class_numbers,
    keep_labels,
    require_classes,
)
from abbe.datasets.collection import Dataset, ImageSource, LabelSource, Record
from abbe.datasets.folder import folder
from abbe.datasets.inspection import image_notes, label_notes
from abbe.datasets.public.bbbc038 import bbbc038
from abbe.datasets.public.busi import busi
from abbe.datasets.public.fetch import fetch
from abbe.datasets.public.hc18 import hc18
from abbe.datasets.public.isic2017 import isic2017
from abbe.datasets.public.known import KNOWN_SETS, known_sets
from abbe.datasets.public.kvasir import kvasir
from abbe.datasets.public.pathology_classes import bach, breakhis, chaoyang, nct_crc
from abbe.datasets.public.pathology_nuclei import monuseg, nucls, pannuke
from abbe.datasets.public.pathology_regions import bcss, glas
from abbe.datasets.public.tissuenet import tissuenet
from abbe.datasets.simulator.simulated import simulated_tissue
from abbe.datasets.slides.tile_index import TileIndex, TileRules, index_tiles
from abbe.datasets.slides.tile_picture import draw_tiles
from abbe.datasets.slides.tiles import slide_tiles
from abbe.datasets.splits import (
    assign_splits,
    choose_labelled,
    require_split,
    require_whole_groups,
    shuffled,
    split_groups,
)
from abbe.datasets.validation import (
    choose_validated,
    first_of_classes,
    first_spread,
    spread,
)

__all__ = [
    "KNOWN_SETS",
    "CheckReport",
    "Dataset",
    "ImageSource",
    "LabelSource",
    "Record",
    "TileIndex",
    "TileRules",
    "assign_splits",
    "bach",
    "bbbc038",
    "bcss",
    "breakhis",
    "busi",
    "chaoyang",
    "check",
    "choose_labelled",
    "choose_validated",
    "class_counts",
    "class_folder",
    "class_numbers",
    "draw_tiles",
    "fetch",
    "first_of_classes",
    "first_spread",
    "folder",
    "glas",
    "hc18",
    "image_notes",
    "index_tiles",
    "isic2017",
    "keep_labels",
    "known_sets",
    "kvasir",
    "label_notes",
    "monuseg",
    "nct_crc",
    "nucls",
    "pannuke",
    "require_classes",
    "require_split",
    "require_whole_groups",
    "shuffled",
    "simulated_tissue",
    "slide_tiles",
    "split_groups",
    "spread",
    "tissuenet",
]
