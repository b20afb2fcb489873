"""Simulated nuclei as a folder, to be put into a bucket."""

from pathlib import Path

import numpy as np

import abbe
from abbe.imaging.labels.files import write_labels


def write_tissue(root: Path) -> Path:
    """Eight images of 64 px with labels; gives the folder."""
    for record in abbe.datasets.simulated_tissue(8, size=64, seed=5, channels=("nucleus",)):
        file = root / "images" / f"{record.id}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, record.image.open().read()[0])
        assert record.label is not None
        write_labels(root / "labels" / f"{record.id}.tif", record.label.read())
    return root
