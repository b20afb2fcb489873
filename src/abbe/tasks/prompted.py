"""Scores of promptable networks: masks at the image's own size, by kind of prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.progress import track

from abbe import scoring
from abbe.datasets import Record
from abbe.datasets.training.eval_prompts import inner_points, tight_box
from abbe.imaging import ThreeChannelRule, choose_rule, three_channels
from abbe.sam import SAM, Letterbox, Prompts
from abbe.tasks.models import Thresholds
from abbe.tasks.scores import Scores

MINIMUM_AREA = 8
"""Objects below this many px are crumbs of a mask's outline and are not asked for."""


@dataclass(frozen=True)
class PromptedModel:
    """A network and what it sees.

    Attributes:
        network: Encoder and decoder.
        channels: The image's channels that it sees.
        inputs: How they become a colour picture; see `abbe.imaging.three_channels.RULES`.
    """

    network: SAM
    channels: tuple[str, ...]
    inputs: ThreeChannelRule = "auto"

    @torch.inference_mode()
    def masks(self, record: Record, objects: np.ndarray) -> dict[str, np.ndarray]:
        """By kind of prompt, the union of the answers for all objects, (H, W) bool.

        Args:
            record: the image.
            objects: (N, H, W) bool, what is asked for.
        """
        image = record.image.open()
        rule = choose_rule(self.inputs, len(self.channels))
        letterbox = Letterbox.of(image.shape, self.network.side)
        picture = letterbox.image(three_channels(image.read(channels=self.channels), rule))
        device = next(self.network.parameters()).device
        embedding = self.network.encode(picture[None].to(device))
        union = {kind: np.zeros(image.shape, bool) for kind in scoring.PROMPT_KINDS}
        for kind in scoring.PROMPT_KINDS:
            for mask in objects:
                prompts = prompts_for(mask, kind, letterbox).to(device)
                logits, _ = self.network.decode(embedding, prompts, multimask=False)
                union[kind] |= (letterbox.masks(logits.float())[0, 0] > 0).cpu().numpy()
        return union


def objects_of(label: np.ndarray) -> np.ndarray:
    """Masks (N, H, W) bool of the instances in a label (H, W); crumbs are left out."""
    numbers, areas = np.unique(label[label > 0], return_counts=True)
    kept = numbers[areas >= min(MINIMUM_AREA, areas.max(initial=0))]
    return label == kept[:, None, None]


def prompts_for(mask: np.ndarray, kind: str, letterbox: Letterbox) -> Prompts:
    """The prompt of one kind for one object, the same at every call."""
    if kind == "box":
        return Prompts(boxes=letterbox.boxes(tight_box(mask)[None]))
    points = inner_points(mask, int(kind[0]))
    return Prompts(
        points=letterbox.points(points)[None],
        point_labels=torch.ones(1, len(points), dtype=torch.int64),
    )


def score_prompted(
    models: Mapping[str, PromptedModel],
    records: Sequence[Record],
    *,
    tolerance: float = 2.0,
    progress: bool = True,
) -> Scores:
    """Score every model on labelled images with objects; the others cannot be asked about."""
    rows: list[dict[str, Any]] = []
    for record in track(records, "scoring", disable=not progress):
        assert record.label is not None  # only labelled records are given
        label = record.label.read()
        objects = objects_of(label)
        if not len(objects):
            continue
        for name, model in models.items():
            for kind, mask in model.masks(record, objects).items():
                values = scores_of(mask, label, tolerance)
                rows += [
                    {
                        "image": record.id,
                        "group": record.unit,
                        "model": name,
                        "metric": scoring.prompted_key(metric, kind),
                        "value": values[metric],
                    }
                    for metric in scoring.MEASURED
                ]
    return Scores(rows, {name: Thresholds() for name in models})


def scores_of(mask: np.ndarray, label: np.ndarray, tolerance: float) -> dict[str, float]:
    """Dice, IoU, HD95 and boundary F1 of a mask with the union of the labelled objects."""
    truth, valid = label > 0, label >= 0
    pixel = scoring.pixel_scores(mask, truth, valid)
    boundary = scoring.boundary_scores(mask, truth, valid, tolerance=tolerance)
    return {metric: float((pixel | boundary)[metric]) for metric in scoring.MEASURED}
