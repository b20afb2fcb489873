"""What there is: images, labels, the size of their objects, and the machine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from abbe.datasets import Dataset, Record, first_spread
from abbe.errors import InputError
from abbe.foreign_text import shown
from abbe.imaging.channels import RGB
from abbe.in_words import NAMED, counted, listing
from abbe.machine.threads import cores
from abbe.progress import track
from abbe.runs.pixel_sizes import common
from abbe.runtime.postprocess.diameters import diameters_of

MEASURED = 100
"""Labels from which the size of objects is taken."""
FEWEST = 3
"""Images or groups that can be split into training, validation and test."""


@dataclass(frozen=True)
class Facts:
    """What was found.

    Attributes:
        images, labelled: how many there are.
        units: independent images or groups; ``grouped`` where groups are known.
        split: whether the set has splits of its own.
        channels: of the images.
        pixel_size: µm, where all agree.
        smallest: the shortest side of any image, px.
        diameter: median equivalent diameter of objects in px; None where no object is labelled.
        objects: how many were measured.
        cores: of the processor.
        memory: bytes that are free.
        gpu: its name, or empty.
    """

    images: int
    labelled: int
    units: int
    grouped: bool
    split: bool
    channels: tuple[str, ...]
    pixel_size: float | None
    smallest: int
    diameter: float | None
    objects: int
    cores: int
    memory: int
    gpu: str

    @property
    def colours(self) -> bool:
        """Whether the images are red, green and blue, as of stained tissue and photographs."""
        return set(RGB) == {name.lower() for name in self.channels}

    @property
    def text(self) -> str:
        """All of it, in lines."""
        groups = f", {counted(self.units, 'group')}" if self.grouped else ""
        labelled = f"{self.labelled} labelled" if self.labelled else "none labelled"
        size = "pixel size not known" if self.pixel_size is None else f"{self.pixel_size:g} µm/px"
        whose = "" if self.labelled else " of the teacher's"
        objects = (
            "no labelled object"
            if self.diameter is None
            else f"objects {self.diameter:.0f} px across (median of {self.objects}{whose})"
        )
        free = f"{self.memory / 2**30:.1f} GiB free"
        machine = f"{self.gpu or 'no GPU'}, {counted(self.cores, 'core')}, {free}"
        images = f"{counted(self.images, 'image')} ({listing(self.channels, NAMED)})"
        return shown(
            f"{images}, {labelled}{groups}\n"
            f"{size}; smallest side {self.smallest} px; {objects}\n"
            f"{machine}"
        )


def look(dataset: Dataset, *, labels_are_teachers: bool = False, progress: bool = True) -> Facts:
    """Open every image, and measure objects in some of the labels.

    Args:
        dataset: images that can be read.
        labels_are_teachers: the teacher's objects stand in for labels, of which there are none.
        progress: show progress bars.

    Raises:
        InputError: an image cannot be read, or there are too few to train and to test.
    """
    units = {record.unit for record in (dataset.labelled or dataset)}
    if len(units) < FEWEST:
        of = "groups" if any(record.group for record in dataset) else "images"
        where = " with a label" if len(dataset.labelled) else ""
        raise InputError(
            f"data set '{dataset.name}' has {len(units)} independent {of}{where}, and {FEWEST} "
            "are the least: one to train on, one to choose weights, one to test. Add some, or run "
            "a package that is there already: abbe models"
        )
    shapes, sizes = [], []
    for record in dataset:
        image = record.image.open()
        shapes.append(image.shape)
        sizes.append(image.pixel_size)
    diameters = _diameters(first_spread(dataset.labelled.records, MEASURED), progress)
    return Facts(
        images=len(dataset),
        labelled=0 if labels_are_teachers else len(dataset.labelled),
        units=len(units),
        grouped=any(record.group is not None for record in dataset),
        split=any(record.split for record in dataset),
        channels=dataset.channels,
        pixel_size=common(sizes),
        smallest=min(map(min, shapes)),
        diameter=float(np.median(diameters)) if len(diameters) else None,
        objects=len(diameters),
        cores=cores(),
        memory=free_memory(),
        gpu=_gpu(),
    )


def _diameters(records: Sequence[Record], progress: bool) -> np.ndarray:
    found = [
        diameters_of(record.label.read())
        for record in track(records, "measuring objects", shown=progress)
        if record.label is not None
    ]
    return np.concatenate(found) if found else np.empty(0)


def free_memory() -> int:
    """Bytes of the machine's memory that are free."""
    import psutil

    return int(psutil.virtual_memory().available)


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""
