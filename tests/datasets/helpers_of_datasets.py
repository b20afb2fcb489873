"""Data sets in memory for the tests of this room."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from abbe.datasets import Dataset, Record
from abbe.imaging import Image


def forbid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may not be read. Root may read all, so what the system says is put in."""
    listdir, scandir = os.listdir, os.scandir

    def refuse(path: object) -> None:
        if str(path) == str(folder):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", lambda path=".": refuse(path) or listdir(path))
    monkeypatch.setattr(os, "scandir", lambda path=".": refuse(path) or scandir(path))


def two_objects(size: tuple[int, int] = (32, 40)) -> np.ndarray:
    """Two squares of 5×5 and 10×10 px that do not touch."""
    labels = np.zeros(size, np.int32)
    labels[2:7, 2:7] = 1
    labels[10:20, 10:20] = 2
    return labels


class ArrayImage:
    """An image source in memory."""

    def __init__(self, array: np.ndarray, channels: Sequence[str] = ("grey",)) -> None:
        self.array, self.channels = array, channels

    def open(self) -> Image:
        return Image.from_array(self.array, self.channels)


class ArrayLabel:
    """A label source in memory."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def read(self) -> np.ndarray:
        return self.array


def dataset_of(*records: Record) -> Dataset:
    return Dataset("test", records, ("grey",))


def record(
    id: str, *, split: str | None = None, group: str | None = None, labelled: bool = True
) -> Record:
    """A record whose 8×8 px image is told from the others' by its pixels."""
    seed = int.from_bytes(id.encode(), "big") % 2**32
    pixels = np.random.default_rng(seed).integers(1, 255, (8, 8)).astype(np.uint8)
    label = ArrayLabel(np.eye(8, dtype=np.int32)) if labelled else None
    return Record(id, ArrayImage(pixels), label, split, group)
