"""Does a teacher answer the same when the image is mirrored or turned?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError
from abbe.in_words import counted
from abbe.teachers.masks import MaskTeacher
from abbe.teachers.teacher import Teacher

if TYPE_CHECKING:
    from abbe.datasets import Dataset
    from abbe.imaging import Image

Transform = Callable[[NDArray[Any]], NDArray[Any]]

TRANSFORMS: dict[str, Transform] = {
    "horizontal flip": lambda array: array[..., ::-1],
    "vertical flip": lambda array: array[..., ::-1, :],
    "rotation by 90°": lambda array: np.rot90(array, axes=(-2, -1)),
}


@dataclass(frozen=True)
class Agreement:
    """How near teacher(moved image) is to moved teacher(image), mean over images.

    Attributes:
        mean_difference: mean absolute difference of the maps, in [0, 1].
        dice: Dice of the two foregrounds, maps at or above the teacher's threshold.
    """

    mean_difference: float
    dice: float


@dataclass(frozen=True)
class EquivarianceReport:
    """Agreement for each movement; 0 and 1 where the teacher is equivariant."""

    teacher: str
    images: int
    agreements: dict[str, Agreement]

    def summary(self) -> str:
        """For people: one line for each movement."""
        lines = [
            f"{self.teacher}, {counted(self.images, 'image')}: teacher(moved) against "
            "moved(teacher)"
        ]
        for name, agreement in self.agreements.items():
            lines.append(
                f"  {name:<16} mean |difference| {agreement.mean_difference:.4f}  "
                f"Dice {agreement.dice:.4f}"
            )
        return "\n".join(lines)


def check_equivariance(teacher: Teacher, dataset: Dataset, images: int = 4) -> EquivarianceReport:
    """Compare the teacher's answers on moved images with its moved answers.

    Stored maps are flipped and turned together with their image during training. That is right as
    far as the teacher itself would have answered so.

    Args:
        teacher: who is asked, four times for each image.
        dataset: the images; they are taken evenly spread over it.
        images: how many.

    Raises:
        ConfigError: the teacher does not look at pixels, or gives no maps to compare.
        InputError: an image cannot be read.
    """
    if isinstance(teacher, MaskTeacher):
        raise ConfigError("masks of another program are files: there is nothing to ask again")
    if images < 1 or not len(dataset):
        raise ConfigError("the equivariance check needs at least one image")
    chosen = np.unique(np.linspace(0, len(dataset) - 1, images).round().astype(int))
    threshold = teacher.provenance.thresholds.get("foreground", 0.5)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in TRANSFORMS}
    for index in chosen:
        record = dataset.records[index]
        image = record.image.open()
        answer = _ask(teacher, image, record.id, lambda array: array)
        for name, move in TRANSFORMS.items():
            moved = _ask(teacher, image, record.id, move)
            found[name].append(_compare(moved, move(answer), threshold))
    return EquivarianceReport(
        teacher.provenance.teacher,
        len(chosen),
        {name: Agreement(*np.mean(values, axis=0).tolist()) for name, values in found.items()},
    )


def _ask(teacher: Teacher, image: Image, id: str, move: Transform) -> NDArray[Any]:
    """Probability maps, or the foreground of instances, of the moved image; (K, H, W)."""
    from abbe.imaging import Image

    channels = tuple(dict.fromkeys(teacher.provenance.channels))  # one may be shown twice
    pixels = np.ascontiguousarray(move(image.read(channels=channels)))
    moved = Image.from_array(pixels, channels, image.pixel_size, image.name)
    prediction = teacher.predict(moved, id)
    if "probability" in prediction.maps:
        return prediction.maps["probability"]
    if "instances" in prediction.maps:
        return (prediction.maps["instances"][None] > 0).astype(np.float32)
    raise ConfigError(
        "the teacher gives neither probability maps nor instances, which could be compared; its "
        f"maps are: {', '.join(prediction.maps) or 'none'}"
    )


def _compare(first: NDArray[Any], second: NDArray[Any], threshold: float) -> tuple[float, float]:
    a, b = first >= threshold, second >= threshold
    size = int(a.sum()) + int(b.sum())
    dice = 1.0 if size == 0 else 2 * int((a & b).sum()) / size
    return float(np.abs(first - second).mean()), dice
