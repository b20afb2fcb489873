"""Does a package segment regions as the student did? Compared on probabilities and on classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from abbe import scoring
from abbe.exporting.comparison import (
    Comparison,
    Images,
    ParityImage,
    Probabilities,
    ProbabilityCheck,
    predict_padded,
)
from abbe.exporting.networks.eager import eager_softmax
from abbe.exporting.parity.example import normalised, write_example
from abbe.progress import track
from abbe.runtime.package import Figures

LARGEST_SIDE = 512
"""Images of the check are cut to their middle of at most so many px a side; there are many maps."""
MEASURES = ("mean_iou", "dice")


@dataclass(frozen=True)
class SemanticCheck(ProbabilityCheck):
    """Probabilities and classes of pixels against those of the student.

    ``expected.npz`` holds ``probabilities`` (K, H, W) float32 and ``classes`` (H, W) uint8.
    """

    known: Sequence[np.ndarray]

    def compare(self, probabilities: Probabilities, *, strict: bool) -> Comparison:
        """Hold an engine against eager torch; see `compare`."""
        images, split = self.images.parity, self.images.split
        divisor, count = self.facts["divisor"], len(self.facts["classes"])
        rows = [
            _compare_image(
                predict_padded(probabilities, image.pixels, divisor), known, image, count
            )
            for image, known in track(
                list(zip(images, self.known, strict=True)), "comparing", transient=True
            )
        ]
        return compare(rows, images, strict=strict, images_of=split)

    def write_example(self, folder: Path) -> tuple[str, str]:
        """Write the test image and what is expected of it."""
        pixels = self.images.example
        maps = predict_padded(self.eager, normalised(pixels, self.facts), self.facts["divisor"])
        classes = maps.argmax(0).astype(np.uint8)
        return write_example(folder, pixels, self.facts, probabilities=maps, classes=classes)


def semantic_check(student: nn.Module, images: Images, facts: Mapping[str, Any]) -> SemanticCheck:
    """Ask the student itself about every image."""
    eager, divisor = eager_softmax(student), facts["divisor"]
    asked = track(images.parity, "the student's own answers", transient=True)
    known = [predict_padded(eager, image.pixels, divisor) for image in asked]
    return SemanticCheck(eager, images, facts, known)


@dataclass(frozen=True)
class Row:
    """One image: confusions (K, K), truth in rows, and how far probabilities differ.

    Attributes:
        against_eager: With eager's classes as the truth.
        engine, eager: Each with the labels as the truth; None where no pixel is known.
        largest, mean: Difference of probabilities.
    """

    against_eager: np.ndarray
    engine: np.ndarray | None
    eager: np.ndarray | None
    largest: float
    mean: float


def compare(
    rows: Sequence[Row], images: Sequence[ParityImage], *, strict: bool, images_of: str
) -> Comparison:
    """Sum up the images.

    Mean IoU and Dice are taken over the pixels of all images together. What is lost is 1 − these
    with eager's classes as the truth where ``strict`` or where no image has a label, else their
    fall against the labels, eager's minus the engine's.

    Args:
        rows: Of every image, at least one.
        images: The images.
        strict: The engine computes in fp32 too, and must agree.
        images_of: Split that the images are from, for the figures.
    """
    agreement = _scores([row.against_eager for row in rows])
    labelled = [row for row in rows if row.engine is not None and row.eager is not None]
    against_labels = bool(labelled) and not strict
    figures: Figures = {
        "images": len(labelled) if against_labels else len(rows),
        "images_of": images_of,
        "measured_against": "labels" if against_labels else "eager",
        **{f"agreement_{name}": value for name, value in agreement.items()},
        "max_difference": max(row.largest for row in rows),
        "mean_difference": float(np.mean([row.mean for row in rows])),
    }
    lost = {name: 1 - agreement[name] for name in MEASURES}
    if labelled:
        engine = _scores([row.engine for row in labelled if row.engine is not None])
        eager = _scores([row.eager for row in labelled if row.eager is not None])
        figures |= engine | {f"{name}_eager": value for name, value in eager.items()}
        if against_labels:
            lost = {name: eager[name] - engine[name] for name in MEASURES}
    disagreeing = [1 - np.trace(row.against_eager) / row.against_eager.sum() for row in rows]
    worst = images[int(np.argmax(disagreeing))].id
    figures |= {f"lost_{name}": value for name, value in lost.items()} | {"worst_image": worst}
    words = (
        f"{agreement['pixel_accuracy']:.2%} of px have the same class, probabilities within "
        f"{figures['max_difference']:.1g}; against {figures['measured_against']}: "
        f"{lost['mean_iou']:.4f} mean IoU, {lost['dice']:.4f} Dice lost"
    )
    return Comparison(figures, lost, worst, words)


def _compare_image(maps: np.ndarray, known: np.ndarray, image: ParityImage, count: int) -> Row:
    difference = np.abs(maps - known)
    ours, theirs = maps.argmax(0), known.argmax(0)
    against_eager = scoring.confusion(ours, theirs, count)
    largest, mean = float(difference.max()), float(difference.mean())
    if image.label is None or not (image.label >= 0).any():
        return Row(against_eager, None, None, largest, mean)
    engine = scoring.confusion(ours, image.label, count)
    eager = scoring.confusion(theirs, image.label, count)
    return Row(against_eager, engine, eager, largest, mean)


def _scores(confusions: Sequence[np.ndarray]) -> dict[str, float]:
    scores = scoring.region_scores(np.stack(confusions))
    return {name: float(value[0]) for name, value in scores.items()}
