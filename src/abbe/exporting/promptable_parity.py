"""Does a promptable package answer as the student did? Compared on embeddings and masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from abbe.exporting.progress import watched
from abbe.runtime.package import Figures

LARGEST_ERROR = 1e-3
"""Of an embedding: the length of the difference, as a part of the length of eager's."""
LEAST_IOU = 0.999
"""Of masks with eager's, as mean over all prompts."""


@dataclass(frozen=True)
class ProofPicture:
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


class Answers(Protocol):
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

    picture: ProofPicture
    embedding: np.ndarray
    masks: tuple[np.ndarray, ...]


def references(eager: Answers, pictures: Sequence[ProofPicture]) -> list[Reference]:
    """Ask the student itself."""
    return [
        Reference(picture, *answers_of(eager, picture)) for picture in watched(pictures, "eager")
    ]


def compare(package: Answers, known: Sequence[Reference], images_of: str) -> tuple[Figures, str]:
    """Hold an engine against eager torch.

    Returns:
        Figures for ``package.json``, and what is wrong, in words; "" where nothing is.
    """
    errors: dict[str, float] = {}
    agreement: list[tuple[float, str]] = []
    for reference in watched(known, "comparing"):
        id = reference.picture.id
        embedding, masks = answers_of(package, reference.picture)
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
    if not errors[farthest] <= LARGEST_ERROR:  # as a negation, so that NaN is wrong
        return figures, (
            f"the embedding of '{farthest}' is off by {errors[farthest]:.2g} of its length; at "
            f"most {LARGEST_ERROR:g} is allowed"
        )
    if not mean >= LEAST_IOU:
        return figures, (
            f"masks agree with eager torch to a mean IoU of {mean:.4f}; {LEAST_IOU:g} is needed. "
            f"The worst, {worst:.4f}, is in '{worst_id}'"
        )
    return figures, ""


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The length of the difference, as a part of the length of ``theirs``."""
    return float(np.linalg.norm(ours - theirs) / max(float(np.linalg.norm(theirs)), 1e-12))


def iou(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = np.count_nonzero(ours | theirs)
    return np.count_nonzero(ours & theirs) / union if union else 1.0


def answers_of(
    network: Answers, picture: ProofPicture
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The embedding of a picture, and a mask (H, W) for each of its prompts."""
    network.set_image(picture.picture)
    embedding = np.asarray(network.get_image_embedding(), np.float32)
    masks = tuple(
        network.predict(**prompt, multimask_output=False)[0][0] for prompt in picture.prompts
    )
    return embedding, masks
