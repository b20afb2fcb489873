"""Does a promptable package answer as the student did? Compared on embeddings and masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from abbe.exporting.comparison import Comparison
from abbe.imaging import write_png
from abbe.in_words import counted
from abbe.progress import track
from abbe.runtime.package import Figures, Package
from abbe.runtime.package.engine import EngineName, Precision
from abbe.runtime.predictors.letterbox import Letterbox
from abbe.runtime.predictors.promptable import PromptablePredictor

IMAGE, EXPECTED = "test_image.png", "expected.npz"

LARGEST_ERROR = 1e-3
"""Of an embedding: the length of the difference, as a part of the length of eager's."""
LEAST_IOU = 0.999
"""Of masks with eager's, as mean over all prompts."""


@dataclass(frozen=True)
class ParityPicture:
    """A picture on which engines are compared, with prompts.

    Attributes:
        id: Its name in the data set.
        picture: (H, W, 3) uint8, as the network is shown it.
        prompts: Arguments of ``predict``: boxes and points.
        truths: (H, W) bool, the object that each prompt asks for; empty where nothing is labelled.
    """

    id: str
    picture: np.ndarray
    prompts: tuple[dict[str, Any], ...]
    truths: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """What the export of a promptable network looks at.

    Attributes:
        parity: Pictures on which engines are compared; the first becomes the test image.
        split: The split that these are from.
        calibration: (H, W, 3) uint8, as the network is shown them, from training images.
    """

    parity: Sequence[ParityPicture]
    split: str
    calibration: Sequence[np.ndarray] = ()


class Predictor(Protocol):
    """What eager torch and packages have in common."""

    def set_image(self, image: Any) -> None:
        """Embed an image."""
        ...

    def get_image_embedding(self) -> Any:
        """Its embedding."""
        ...

    def predict(self, *arguments: Any, **options: Any) -> tuple[Any, Any, Any]:
        """Masks, scores, logits."""
        ...


@dataclass(frozen=True)
class Reference:
    """What eager torch says of a picture: its embedding, and a mask for each prompt."""

    picture: ParityPicture
    embedding: np.ndarray
    masks: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class PromptableCheck:
    """Embeddings and masks against those of the student; of a rounded encoder, the masks alone.

    ``expected.npz`` holds ``boxes`` (B, 4), ``points`` (P, 2), each a prompt of its own, and
    ``masks`` (B + P, H, W) bool, those of boxes first.
    """

    known: Sequence[Reference]
    pictures: Pictures
    side: int

    rounded = "encoder"
    """The decoder stays in fp32: it is small, and what it rounds away is the outline."""

    def calibration(self) -> list[np.ndarray]:
        """Training pictures as the encoder sees them."""
        shown = self.pictures.calibration
        return [Letterbox.of(each.shape[:2], self.side).image(each) for each in shown]

    def compare_engine(
        self, package: Package, engine: EngineName, precision: Precision, cache: Path
    ) -> Comparison:
        """Run the package and hold its answers against eager torch."""
        predictor = PromptablePredictor(package, engine=engine, precision=precision, cache=cache)
        compare = compare_exact if precision == "fp32" else compare_rounded
        return compare(predictor, self.known, self.pictures.split)

    def packed(self, package: Package, cache: Path) -> "PromptableCheck":
        """The same: masks, which are all that is kept, are those of the student."""
        return self

    def write_example(self, folder: Path) -> tuple[str, str]:
        """Write the first picture, and the masks that the student draws for its prompts."""
        picture, masks = self.known[0].picture, self.known[0].masks
        write_png(folder / IMAGE, picture.picture)
        asked = list(zip(picture.prompts, masks, strict=True))
        boxes = [(prompt["box"], mask) for prompt, mask in asked if "box" in prompt]
        points = [
            (prompt["point_coords"][0], mask) for prompt, mask in asked if "box" not in prompt
        ]
        np.savez_compressed(
            folder / EXPECTED,
            boxes=np.reshape([box for box, _ in boxes], (-1, 4)),
            points=np.reshape([point for point, _ in points], (-1, 2)),
            masks=np.stack([mask for _, mask in (*boxes, *points)]),
            allow_pickle=False,
        )
        return IMAGE, EXPECTED


def references(eager: Predictor, pictures: Sequence[ParityPicture]) -> list[Reference]:
    """Ask the student itself."""
    return [
        Reference(picture, *predictions_of(eager, picture))
        for picture in track(pictures, "eager", transient=True)
    ]


def compare_exact(package: Predictor, known: Sequence[Reference], images_of: str) -> Comparison:
    """Hold an engine in fp32 against eager torch: embeddings and masks must be the same."""
    errors: dict[str, float] = {}
    agreement: list[tuple[float, str]] = []
    for reference in track(known, "comparing", transient=True):
        id = reference.picture.id
        embedding, masks = predictions_of(package, reference.picture)
        errors[id] = relative_error(embedding, reference.embedding)
        agreement += [
            (iou(mask, theirs), id) for mask, theirs in zip(masks, reference.masks, strict=True)
        ]
    farthest = max(errors, key=lambda id: errors[id])
    mean = float(np.mean([each for each, _ in agreement]))
    worst, worst_id = min(agreement)
    figures: Figures = {
        "images": len(known),
        "images_of": images_of,
        "prompts": len(agreement),
        "embedding_error": errors[farthest],
        "mask_iou": mean,
        "least_mask_iou": worst,
    }
    problem = ""
    if not errors[farthest] <= LARGEST_ERROR:  # as a negation, so that NaN is wrong
        problem = (
            f"the embedding of '{farthest}' is off by {errors[farthest]:.2g} of its length; at "
            f"most {LARGEST_ERROR:g} is allowed"
        )
    elif not mean >= LEAST_IOU:
        problem = (
            f"masks agree with eager torch to a mean IoU of {mean:.4f}; {LEAST_IOU:g} is needed. "
            f"The worst, {worst:.4f}, is in '{worst_id}'"
        )
    words = (
        f"embeddings off by {errors[farthest]:.2g}, masks agree to {mean:.5f} IoU over "
        f"{counted(len(agreement), 'prompt')}"
    )
    return Comparison(figures, {}, worst_id, words, problem)


def compare_rounded(package: Predictor, known: Sequence[Reference], images_of: str) -> Comparison:
    """What rounding costs: Dice against the labels, or where there are none, against eager.

    The Dice that is lost is a mean over the prompts.
    """
    agreement: list[float] = []
    lost: list[tuple[float, str]] = []
    labelled = all(reference.picture.truths for reference in known)
    for reference in track(known, "comparing", transient=True):
        _, masks = predictions_of(package, reference.picture)
        truths = reference.picture.truths if labelled else reference.masks
        for mask, theirs, truth in zip(masks, reference.masks, truths, strict=True):
            agreement.append(iou(mask, theirs))
            lost.append((dice(theirs, truth) - dice(mask, truth), reference.picture.id))
    mean = float(np.mean([each for each, _ in lost]))
    worst = max(lost)[1]
    figures: Figures = {
        "images": len(known),
        "images_of": images_of,
        "prompts": len(agreement),
        "measured_against": "labels" if labelled else "eager",
        "mask_iou": float(np.mean(agreement)),
        "least_mask_iou": float(np.min(agreement)),
        "dice_lost": mean,
        "worst_image": worst,
    }
    words = (
        f"masks agree to {figures['mask_iou']:.4f} IoU; {mean:.4f} Dice lost against "
        f"{figures['measured_against']}"
    )
    return Comparison(figures, {"dice": mean}, worst, words)


def dice(ours: np.ndarray, theirs: np.ndarray) -> float:
    """2 |A ∩ B| / (|A| + |B|) of two masks; 1 where both are empty."""
    total = np.count_nonzero(ours) + np.count_nonzero(theirs)
    return 2 * np.count_nonzero(ours & theirs) / total if total else 1.0


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The length of the difference, as a part of the length of ``theirs``."""
    return float(np.linalg.norm(ours - theirs) / max(float(np.linalg.norm(theirs)), 1e-12))


def iou(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = np.count_nonzero(ours | theirs)
    return np.count_nonzero(ours & theirs) / union if union else 1.0


def predictions_of(
    network: Predictor, picture: ParityPicture
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The embedding of a picture, and a mask (H, W) for each of its prompts."""
    network.set_image(picture.picture)
    embedding = np.asarray(network.get_image_embedding(), np.float32)
    masks = tuple(
        network.predict(**prompt, multimask_output=False)[0][0] for prompt in picture.prompts
    )
    return embedding, masks
