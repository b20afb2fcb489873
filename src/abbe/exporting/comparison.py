"""What engines of every task are held to: images of the proof, what may be lost, what was."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from abbe.runtime.package import Figures

Probabilities = Callable[[np.ndarray], np.ndarray]
"""(B, C, H, W) float32 → probabilities, (B, K, H, W), or (B, K) of a classification."""

NAMES: Mapping[str, str] = {
    "dice": "Dice",
    "pq": "PQ",
    "mean_iou": "mean IoU",
    "accuracy": "accuracy",
    "probability": "certainty",
}
"""Of what may be lost, by field of `Budget`."""


@dataclass(frozen=True)
class Budget:
    """How much may be lost over the proof images; 0.002 is 0.2 points.

    Attributes:
        dice: Of a segmentation's mask, or as mean over the classes of regions.
        pq: Panoptic quality of a segmentation's instances.
        mean_iou: As mean over the classes of regions.
        accuracy: Share of images whose class is right.
        probability: Of a classification: how far the probability that changes most has moved, as
            mean over the images.
    """

    dice: float = 0.002
    pq: float = 0.01
    mean_iou: float = 0.005
    accuracy: float = 0.005
    probability: float = 0.02


@dataclass(frozen=True)
class ProofImage:
    """An image on which engines are compared.

    Attributes:
        id: Its name in the data set.
        pixels: (C, H, W) float32, normalised, of bounded size.
        label: (H, W) int, −1 = unknown: instances, or of regions the number of each pixel's class;
            None where there is none.
        category: Number of the image's class; None without one.
    """

    id: str
    pixels: np.ndarray
    label: np.ndarray | None = None
    category: int | None = None


@dataclass(frozen=True)
class Images:
    """What the export looks at.

    Attributes:
        proof: Images on which engines are compared, from the split ``proof_split``.
        calibration: (C, H, W) float32, normalised, from training images.
        example: (C, H, W) as stored, a small part of an image: the package's test image.
    """

    proof: Sequence[ProofImage]
    proof_split: str
    calibration: Sequence[np.ndarray]
    example: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """One engine against eager: figures, and what it lost of the budget.

    Attributes:
        figures: For ``package.json``; with ``images`` and ``measured_against``.
        lost: What is held against the budget, by its fields.
        worst: Image that lost most.
        words: The figures in a line, for people.
    """

    figures: Figures
    lost: Mapping[str, float]
    worst: str
    words: str

    def excess(self, budget: Budget) -> str | None:
        """What was lost beyond the budget, in words, or None."""
        over = [
            f"{NAMES[name]} {lost:.4f} lost, at most {getattr(budget, name):.4f} allowed"
            for name, lost in self.lost.items()
            if not lost <= getattr(budget, name)  # as a negation, so that NaN is too much
        ]
        if not over:
            return None
        return (
            f"{' and '.join(over)} (mean of {self.figures['images']} images, measured against "
            f"{self.figures['measured_against']}); worst image: {self.worst}"
        )


class Proof(Protocol):
    """How the networks of a package are held against the student, by task."""

    def compare(self, probabilities: Probabilities, *, strict: bool) -> Comparison:
        """Hold an engine against eager torch; ``strict`` where it computes in fp32 too."""
        ...

    def write_example(self, folder: Path) -> None:
        """Write the package's test image, and beside it what is expected of it."""
        ...


def answer(probabilities: Probabilities, pixels: np.ndarray, divisor: int) -> np.ndarray:
    """(K, H, W) or (K,) probabilities of one image, mirrored at its lower and right border to fit.

    Maps are cut back to the image.
    """
    _, height, width = pixels.shape
    found = probabilities(fit(pixels, divisor)[None])[0]
    return found[:, :height, :width] if found.ndim == 3 else found


def fit(pixels: np.ndarray, divisor: int) -> np.ndarray:
    """(C, H, W) mirrored at the lower and right border up to multiples of the divisor."""
    _, height, width = pixels.shape
    below, beside = -height % divisor, -width % divisor
    return np.pad(pixels, ((0, 0), (0, below), (0, beside)), mode="symmetric")
