"""Pictures on disk as publishers lay them, and what a record tells of one."""

from pathlib import Path

import numpy as np
import PIL.Image

from abbe.datasets import Record

SIZE = (20, 30)


def picture(path: Path, values: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if values is None:
        seed = sum(path.name.encode())
        values = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)
    PIL.Image.fromarray(values).save(path)
    return path


def image_of(record: Record) -> tuple[tuple[str, ...], tuple[int, int], float | None]:
    image = record.image.open()
    return image.channels, image.shape, image.pixel_size


RGB = ("red", "green", "blue")
