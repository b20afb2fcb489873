"""What engines of every task are held to: images of the parity check, and what may be lost."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from abbe.exporting.request import Budget
from abbe.imaging.windows import pad_to
from abbe.in_words import counted
from abbe.runtime.package import Figures, Package
from abbe.runtime.package.engine import EngineName, Precision, open_engine

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
class ParityImage:
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
    """What the export of a network that gives probabilities looks at.

    Attributes:
        parity: Images on which engines are compared.
        split: The split that these are from.
        calibration: (C, H, W) float32, normalised, from training images.
        example: (C, H, W) as stored, a small part of an image: the package's test image.
    """

    parity: Sequence[ParityImage]
    split: str
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
        problem: What is wrong whatever the budget, in words; "" where nothing is.
    """

    figures: Figures
    lost: Mapping[str, float]
    worst: str
    words: str
    problem: str = ""

    def excess(self, budget: Budget) -> str | None:
        """What was lost beyond the budget, in words, or None."""
        over = [
            f"{NAMES[name]} {lost:.4f} lost, at most {getattr(budget, name):.4f} allowed"
            for name, lost in self.lost.items()
            if not lost <= getattr(budget, name)  # as a negation, so that NaN is too much
        ]
        if not over:
            return self.problem or None
        return (
            f"{' and '.join(over)} (mean of {counted(self.figures['images'], 'image')}, measured "
            f"against {self.figures['measured_against']}); worst image: {self.worst}"
        )


class ParityCheck(Protocol):
    """How the networks of a package are held against the student, by task."""

    @property
    def rounded(self) -> str:
        """Stem of the network that may be rounded to int8."""
        ...

    def calibration(self) -> list[np.ndarray]:
        """Arrays (1, C, H, W) float32 as that network sees them, from training images."""
        ...

    def compare_engine(
        self, package: Package, engine: EngineName, precision: Precision, cache: Path
    ) -> Comparison:
        """Run the package and hold its answers against eager torch."""
        ...

    def packed(self, package: Package, cache: Path) -> "ParityCheck":
        """The same, with the package's own network in fp32 in the student's place."""
        ...

    def write_example(self, folder: Path) -> tuple[str, str]:
        """Write the package's test image and what is expected of it; the names of both files."""
        ...


@dataclass(frozen=True)
class ProbabilityCheck(ABC):
    """A parity check of one network that gives probabilities.

    Attributes:
        eager: The student itself.
        images: What engines are compared on.
        facts: Keys of the package's description.
    """

    eager: Probabilities
    images: Images
    facts: Mapping[str, Any]

    rounded = "model"

    @abstractmethod
    def compare(self, probabilities: Probabilities, *, strict: bool) -> Comparison:
        """Hold an engine against eager torch; ``strict`` where it computes in fp32 too."""

    def calibration(self) -> list[np.ndarray]:
        """See `ParityCheck`."""
        divisor = self.facts["divisor"]
        return [pad_to(pixels, divisor)[None] for pixels in self.images.calibration]

    def packed(self, package: Package, cache: Path) -> Self:
        """See `ParityCheck`."""
        opened = open_engine(package, engine="openvino", precision="fp32", cache=cache)
        return replace(self, eager=opened.probabilities)

    def compare_engine(
        self, package: Package, engine: EngineName, precision: Precision, cache: Path
    ) -> Comparison:
        """See `ParityCheck`."""
        opened = open_engine(package, engine=engine, precision=precision, cache=cache)
        return self.compare(opened.probabilities, strict=precision == "fp32")


def predict_padded(probabilities: Probabilities, pixels: np.ndarray, divisor: int) -> np.ndarray:
    """(K, H, W) or (K,) probabilities of one image, mirrored at its lower and right border to fit.

    Maps are cut back to the image.
    """
    _, height, width = pixels.shape
    found = probabilities(pad_to(pixels, divisor)[None])[0]
    return found[:, :height, :width] if found.ndim == 3 else found
