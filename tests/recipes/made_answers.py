"""Models that give one answer for every image, the images, and how well they score."""

import numpy as np

from abbe import datasets
from abbe.datasets import Dataset, Record
from abbe.tasks.each import Here
from abbe.tasks.instances import score, thresholds_of
from abbe.tasks.maps import Maps
from abbe.tasks.scores import Scores
from abbe.tasks.task import BySeed


def scored(models: dict[str, "Answer"], data: Dataset) -> Scores:
    each: dict[str, BySeed] = {name: {0: model} for name, model in models.items()}
    return score(each, data, thresholds_of(each, data, {}), each=Here(False))


class Answer:
    """A model that gives the same answer for every image it knows."""

    def __init__(self, foreground: np.ndarray, known: str = "abcdef") -> None:
        self.maps, self.known = Maps(foreground.astype(np.float32)), known

    def has(self, record: Record) -> bool:
        return record.id in self.known

    def predict(self, record: Record) -> Maps:
        return self.maps


class Label:
    """Two objects, and a column of unknown pixels."""

    def read(self) -> np.ndarray:
        label = np.zeros((20, 30), np.int32)
        label[2:8, 2:8], label[10:18, 4:12], label[:, 25:] = 1, 2, -1
        return label


def tissue(splits: str = "train test test val") -> Dataset:
    images = datasets.simulated_tissue(4, size=32).records
    records = [
        Record(id, image.image, Label(), split=split)
        for id, image, split in zip("abcd", images, splits.split(), strict=True)
    ]
    return Dataset("made up", tuple(records), ("nucleus",))
