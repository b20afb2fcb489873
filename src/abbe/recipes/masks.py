"""Training a promptable network on labelled objects: masks that answer boxes and points.

Used for the stage that fits SAM's mask decoder to a new encoder (KD SAM), for its twin, and to
train a small stand-in where no real SAM can be had.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from abbe import losses
from abbe.datasets.pictures import Pictured, fitted, nearest
from abbe.datasets.pictures import resized as resized_picture
from abbe.datasets.training.batches import Batch
from abbe.datasets.training.prompted import PromptedBatches, box_around, framed
from abbe.imaging import draw_outlines
from abbe.losses import promptable as mask_losses
from abbe.progress import track
from abbe.recipes.prompting import MaskPrediction, prompt, truth_of
from abbe.sam import SAM, Prompts
from abbe.students import together
from abbe.tasks.previews import ANSWER, IMAGES, TRUTH, strips
from abbe.training.stage import Metrics, Schedule, Stage, Term

OBJECTS_SCORED = 12
"""Objects of one image that validation asks for."""
PANEL = 256
"""px of a picture that is shown while a network trains."""
WATCHED = {"box": "dice", "point": "dice_point", "mixed": "dice_mean"}
"""By the prompts that a network is taught with, the score of :func:`prompt_validator` that picks
its best weights: after long training on few labels, masks by box become worse while those by point
still become better, and the other way round.
"""


MaskLoss = Callable[[MaskPrediction, Tensor, Tensor], Tensor]
"""From an answer, the objects' masks and where they are known to a scalar."""


def mask_term(name: str, loss: MaskLoss) -> Term:
    """A loss of answers to prompts: its mean over the rounds."""

    def mean(answers: list[MaskPrediction], batch: Batch) -> Tensor:
        truth, valid = truth_of(batch)
        return torch.stack([loss(answer, truth, valid) for answer in answers]).mean()

    return Term(name, mean, distils=False)


def dice_term() -> Term:
    """Dice between each prompt's best mask and its object (KD SAM's second stage)."""
    return mask_term(
        "dice",
        lambda answer, truth, valid: mask_losses.best_of(
            mask_losses.mask_dice(answer.logits, truth, valid), (truth & valid).any((-2, -1))
        ),
    )


def bce_term() -> Term:
    """Binary cross-entropy of each prompt's best mask."""
    return mask_term(
        "bce",
        lambda answer, truth, valid: mask_losses.best_of(
            mask_losses.mask_bce(answer.logits, truth, valid), valid.any((-2, -1))
        ),
    )


def iou_term() -> Term:
    """How wrong the network is about its masks; without it, ranking masks means nothing."""
    return mask_term(
        "iou",
        lambda answer, truth, valid: mask_losses.iou_error(answer.iou, answer.logits, truth, valid),
    )


def promptable(
    network: SAM,
    batches: PromptedBatches,
    schedule: Schedule,
    *,
    bce: bool = True,
    rounds: int = 1,
    validate: Callable[[nn.Module], Metrics] | None = None,
    name: str = "prompts",
) -> list[Stage]:
    """One stage that trains whatever part of ``network`` is not frozen.

    Args:
        network: of SAM's form.
        batches: pictures, objects and prompts.
        schedule: steps and learning rate.
        bce: add cross-entropy to Dice; it helps from random weights.
        rounds: how often an object is asked for; see `abbe.recipes.prompting`.
        validate: scores the network; see :func:`prompt_validator`.
        name: of the stage.
    """
    terms = (dice_term(), *((bce_term(),) if bce else ()), iou_term())
    return [
        Stage(
            name,
            trains=network,
            batches=batches,
            terms=terms,
            weighting=lambda names: losses.FixedWeighting(dict.fromkeys(names, 1.0)),
            schedule=schedule,
            validate=validate,
            watch=WATCHED[batches.prompts],
            forward=partial(prompt, rounds=rounds),
        )
    ]


def prompt_validator(
    images: Sequence[Pictured], *, shown: str = ""
) -> Callable[[nn.Module], Metrics]:
    """What a network scores on images: mean Dice of objects, by box (``dice``), by one point
    (``dice_point``), and the mean of both (``dice_mean``).

    With ``shown``, a bar of this name tells how far it is.
    """
    labelled = [image for image in images if image.has_objects]

    @torch.inference_mode()
    def validate(network: nn.Module) -> Metrics:
        assert isinstance(network, SAM)
        device = next(network.parameters()).device
        network.eval()
        by_box, by_point = [], []
        for embedding, (masks, known) in _embedded(network, labelled, device, shown):
            boxes = torch.tensor(np.array([box_around(mask) for mask in masks])).float()
            points = torch.tensor(np.array([_middle(mask) for mask in masks])).float()[:, None]
            ones = torch.ones(len(masks), 1, dtype=torch.int64)
            for prompts, scores in (
                (Prompts(boxes=boxes), by_box),
                (Prompts(points=points, point_labels=ones), by_point),
            ):
                logits, _ = network.decode(embedding, prompts.to(device), multimask=False)
                logits = mask_losses.at_size(logits, (network.side, network.side))
                answer = (logits[:, 0] > 0).cpu().numpy() & known
                scores.append(np.mean([_dice(a, m) for a, m in zip(answer, masks, strict=True)]))
        box, point = float(np.mean(by_box)), float(np.mean(by_point))
        return {"dice": box, "dice_point": point, "dice_mean": (box + point) / 2}

    return validate


class PromptPreview:
    """Outlines of the true objects, and of the network's answers to a box around each.

    Args:
        images: validation images with objects.
    """

    def __init__(self, images: Sequence[Pictured]) -> None:
        places = np.linspace(0, len(images) - 1, min(IMAGES, len(images))).round().astype(int)
        self._images = [images[place] for place in places.tolist()]

    @torch.inference_mode()
    def __call__(self, network: nn.Module) -> np.ndarray:
        """The picture (H, W, 3) uint8 of what the network answers now."""
        assert isinstance(network, SAM)
        network.eval()
        device = next(network.parameters()).device
        rows = []
        for image in self._images:
            size = fitted((image.picture.shape[0], image.picture.shape[1]), network.side)
            picture = resized_picture(image.picture, size)
            masks, _ = objects_in_frame(image, network.side)
            drawn = {}
            if len(masks):
                embedding = network.encode(_framed(image, network.side).to(device))
                boxes = torch.tensor(np.array([box_around(mask) for mask in masks])).float()
                prompts = Prompts(boxes=boxes).to(device)
                logits, _ = network.decode(embedding, prompts, multimask=False)
                logits = mask_losses.at_size(logits, (network.side, network.side))[:, 0]
                answers = _numbered(logits.cpu().numpy(), size)
                drawn = {
                    "truth": draw_outlines(picture, _numbered(masks, size), TRUTH),
                    "answers to boxes now": draw_outlines(picture, answers, ANSWER),
                }
            rows.append((image.id, picture, drawn))
        return strips(rows, PANEL)


def _numbered(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Masks or logits (N, S, S) as (h, w) numbers from 1 on: where several are, the strongest."""
    within = maps[:, : size[0], : size[1]]
    return np.where(within.max(0) > 0, within.argmax(0) + 1, 0).astype(np.int32)


def _embedded(
    network: SAM, images: Sequence[Pictured], device: torch.device, name: str
) -> Iterator[tuple[Tensor, tuple[np.ndarray, np.ndarray]]]:
    """The embedding (1, C, h, w) of each image with objects, and these; some images at a time.

    Objects are as `objects_in_frame` gives them.
    """
    shapes = [(network.side, network.side)] * len(images)
    for numbers in track(together(shapes, 1, device), name, shown=bool(name)):
        shown = [(image, objects_in_frame(image, network.side)) for image in
                 (images[number] for number in numbers)]  # fmt: skip
        shown = [(image, objects) for image, objects in shown if len(objects[0])]
        if not shown:
            continue
        pictures = torch.cat([_framed(image, network.side) for image, _ in shown])
        embeddings = network.encode(pictures.to(device))
        yield from zip(embeddings.split(1), (objects for _, objects in shown), strict=True)


def objects_in_frame(image: Pictured, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks (N, S, S) bool of the image's objects in the frame, the largest first, and what counts.

    The second, (S, S) bool, is false beyond the picture and where its label is unknown: nothing is
    taught there, nor tested.
    """
    assert image.label is not None
    height, width = fitted(image.label.shape, side)
    label = np.full((side, side), -1, np.int32)
    label[:height, :width] = nearest(image.label, (height, width))
    areas = np.bincount(label[label > 0])
    numbers = [n for n in np.argsort(-areas, kind="stable")[:OBJECTS_SCORED] if areas[n]]
    return label == np.array(numbers)[:, None, None], label >= 0


def _framed(image: Pictured, side: int) -> Tensor:
    picture = image.picture
    small = resized_picture(picture, fitted((picture.shape[0], picture.shape[1]), side))
    return torch.from_numpy(framed(small, side))[None]


def _middle(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    nearest_one = ((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2).argmin()
    return float(columns[nearest_one]) + 0.5, float(rows[nearest_one]) + 0.5


def _dice(answer: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (answer & truth).sum() / max(1, answer.sum() + truth.sum()))
