"""Labelled and unlabelled collections of images, their splits, and known public sets."""

from abbe.datasets.bbbc038 import bbbc038
from abbe.datasets.busi import busi
from abbe.datasets.check import CheckReport, check
from abbe.datasets.collection import Dataset, ImageSource, LabelSource, Record
from abbe.datasets.fetch import fetch
from abbe.datasets.folder import folder
from abbe.datasets.hc18 import hc18
from abbe.datasets.isic2017 import isic2017
from abbe.datasets.known import KNOWN_SETS, known_sets
from abbe.datasets.kvasir import kvasir
from abbe.datasets.simulated import simulated_tissue
from abbe.datasets.splits import (
    assign_splits,
    choose_labelled,
    require_split,
    require_whole_groups,
    split_groups,
)
from abbe.datasets.tissuenet import tissuenet

__all__ = [
    "KNOWN_SETS",
    "CheckReport",
    "Dataset",
    "ImageSource",
    "LabelSource",
    "Record",
    "assign_splits",
    "bbbc038",
    "busi",
    "check",
    "choose_labelled",
    "fetch",
    "folder",
    "hc18",
    "isic2017",
    "known_sets",
    "kvasir",
    "require_split",
    "require_whole_groups",
    "simulated_tissue",
    "split_groups",
    "tissuenet",
]
