"""Does a package tell images apart as the student did? Compared on probabilities and classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

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
from abbe.in_words import counted
from abbe.progress import track
from abbe.runtime.package import Figures


@dataclass(frozen=True)
class ClassCheck(ProbabilityCheck):
    """Probabilities and classes of whole images against those of the student.

    ``expected.npz`` holds ``probabilities`` (K,) float32.
    """

    known: np.ndarray

    def compare(self, probabilities: Probabilities, *, strict: bool) -> Comparison:
        """Hold an engine against eager torch; see `compare`."""
        images = self.images
        found = _answers(probabilities, images.parity, self.facts["divisor"], "comparing")
        return compare(found, self.known, images.parity, strict=strict, images_of=images.split)

    def write_example(self, folder: Path) -> tuple[str, str]:
        """Write the test image and what is expected of it."""
        pixels = self.images.example
        expected = predict_padded(self.eager, normalised(pixels, self.facts), self.facts["divisor"])
        return write_example(folder, pixels, self.facts, probabilities=expected)


def class_check(student: nn.Module, images: Images, facts: Mapping[str, Any]) -> ClassCheck:
    """Ask the student itself about every image."""
    eager = eager_softmax(student)
    known = _answers(eager, images.parity, facts["divisor"], "the student's own answers")
    return ClassCheck(eager, images, facts, known)


def compare(
    found: np.ndarray,
    known: np.ndarray,
    images: Sequence[ParityImage],
    *,
    strict: bool,
    images_of: str,
) -> Comparison:
    """Hold an engine's answers against eager's.

    Lost accuracy is 1 − the share of images that get eager's class where ``strict`` or where no
    image has a known class, else the fall of accuracy, eager's minus the engine's. Lost certainty
    is how far the probability that changes most has moved, as mean over the images.

    Args:
        found, known: (N, K) probabilities by the engine and by eager torch.
        images: The N images, at least one.
        strict: The engine computes in fp32 too, and must agree.
        images_of: Split that the images are from, for the figures.
    """
    moved = np.abs(found - known).max(axis=1)
    same = found.argmax(axis=1) == known.argmax(axis=1)
    places = [place for place, image in enumerate(images) if image.category is not None]
    against_labels = bool(places) and not strict
    lost = {"accuracy": float(1 - same.mean()), "probability": float(moved.mean())}
    figures: Figures = {
        "images": len(places) if against_labels else len(images),
        "images_of": images_of,
        "measured_against": "labels" if against_labels else "eager",
        "agreement_accuracy": float(same.mean()),
        "max_difference": float(moved.max()),
        "mean_difference": float(moved.mean()),
    }
    if places:
        truth = np.array([images[place].category for place in places])
        right = (found[places].argmax(axis=1) == truth).mean()
        right_eager = (known[places].argmax(axis=1) == truth).mean()
        figures |= {"accuracy": float(right), "accuracy_eager": float(right_eager)}
        if against_labels:
            lost["accuracy"] = float(right_eager - right)
    worst = images[int(moved.argmax())].id
    figures |= {f"lost_{name}": value for name, value in lost.items()} | {"worst_image": worst}
    words = (
        f"the same class in {int(same.sum())} of {counted(len(images), 'image')}, probabilities "
        f"within {moved.max():.1g}; against {figures['measured_against']}: "
        f"{lost['accuracy']:.4f} accuracy lost"
    )
    return Comparison(figures, lost, worst, words)


def _answers(
    probabilities: Probabilities, images: Sequence[ParityImage], divisor: int, text: str
) -> np.ndarray:
    return np.stack(
        [
            predict_padded(probabilities, each.pixels, divisor)
            for each in track(images, text, transient=True)
        ]
    )
