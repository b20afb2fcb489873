"""How a student's embeddings are compared with its teacher's (KD SAM's first stage)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from abbe import config
from abbe.datasets.pictures import Pictured
from abbe.losses.feature_networks import feature_network
from abbe.losses.perceptual import DecoderLoss, PerceptualLoss, embedding_mse
from abbe.losses.projection import fit_projection
from abbe.progress import track
from abbe.sam.layout import PATCH
from abbe.targets import TargetStore
from abbe.teachers.sam.teacher import SamTeacher

MEASURED = 64
"""Embeddings that the teacher's mean, deviations and directions are taken from."""
MEASURED_THROUGH = 16
"""Of these, how many the energies of features are measured on."""


T = TypeVar("T")


@dataclass(frozen=True)
class Match:
    """A comparison of embeddings.

    Attributes:
        compare: from the student's and the teacher's embeddings (B, 256, h, w) to a scalar, or to
            one value a part (P,).
        weight: of the mean of the parts.
        parts: their names, where it has any.
    """

    compare: Callable[[Tensor, Tensor], Tensor]
    weight: float
    parts: tuple[str, ...] = ()


def on_grid(embedding: Tensor, size: Sequence[int]) -> Tensor:
    """A teacher's embedding (B, 256, h, w) brought to the student's ``size``, bilinearly."""
    if list(embedding.shape[-2:]) == list(size):
        return embedding
    return F.interpolate(embedding, list(size), mode="bilinear")


def matches(
    settings: config.Promptable,
    teacher: SamTeacher,
    pictures: Sequence[Pictured],
    store: TargetStore | None,
    device: torch.device,
    *,
    progress: bool = True,
) -> dict[str, Match]:
    """The comparisons that an experiment asks for, by the name of the term.

    What they are relative to is measured here, on some of the training images: the same ones in
    every process, and in a run that is taken up again.

    Args:
        settings: which, and their weights.
        teacher: whose embeddings they are.
        pictures: the training images.
        store: the teacher's embeddings; None where it is live.
        device: where they are compared.
        progress: show a bar while a live teacher is asked.

    Raises:
        InputError: the embeddings are too much alike to learn anything from.
    """
    grid = settings.side // PATCH
    some = [
        on_grid(embedding, (grid, grid))
        for embedding in _embeddings(teacher, pictures, store, progress)
    ]
    projection = fit_projection(some)
    few = _spread(some, MEASURED_THROUGH)
    chosen: dict[str, Match] = {}
    if settings.mse:
        compare = partial(embedding_mse, variance=projection.variance)
        chosen["mse"] = Match(compare, settings.mse)
    mode = settings.perceptual_mode
    if settings.perceptual and mode == "decoder":
        seen = DecoderLoss(teacher.network, projection.mean, few, settings.side).to(device)
        chosen["decoder"] = Match(_drawn(seen), settings.perceptual, seen.layers)
    elif settings.perceptual and mode != "decoder":
        network = feature_network(settings.features, weights=settings.vgg_weights).to(device)
        seen = PerceptualLoss(network, projection, few, mode)
        chosen["perceptual"] = Match(_drawn(seen), settings.perceptual, seen.layers)
    return chosen


def _drawn(loss: PerceptualLoss | DecoderLoss) -> Callable[[Tensor, Tensor], Tensor]:
    def compare(student: Tensor, teacher: Tensor) -> Tensor:
        # The loop seeds torch anew for every step, so that a resumed run draws the same.
        return loss(student, teacher, int(torch.randint(1 << 31, ())))

    return compare


@torch.inference_mode()
def _embeddings(
    teacher: SamTeacher, pictures: Sequence[Pictured], store: TargetStore | None, progress: bool
) -> list[Tensor]:
    """Some of the teacher's embeddings (1, 256, h, w) of training images, on the CPU."""
    if store is not None:
        known = set(store.ids)
        ids = _spread([picture.id for picture in pictures if picture.id in known], MEASURED)
        stored = (np.asarray(store.read(id, "embedding"), np.float32) for id in ids)
        return [torch.from_numpy(embedding)[None] for embedding in stored]
    shown = track(_spread(pictures, MEASURED), "measuring embeddings", shown=progress)
    return [teacher.embedding(each.picture).float().cpu() for each in shown]


def _spread(items: Sequence[T], count: int) -> list[T]:
    """At most ``count`` of the items, evenly spread over all of them."""
    chosen = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
    return [items[i] for i in chosen]
