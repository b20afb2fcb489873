"""From prompts to SAM's soft masks at the image's size, each within its surroundings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from abbe.teachers.sam.prompts import ImagePrompts

if TYPE_CHECKING:
    import torch

    from abbe.sam import Letterbox, Prompts

FULL_TOKENS = 256 * 64 * 64 * 4
"""Bytes of SAM's own embedding in float32."""
BOX_MARGIN = 0.2
"""A soft mask counts within its box enlarged by this share of each side."""


def prompts_at_once(embedding: torch.Tensor, memory: int) -> int:
    """How many prompts to decode together within ``memory`` bytes.

    A prompt needs about 12 times the embedding: the tokens of two attention blocks and the upscaled
    features. Masks of the image's size are made one at a time.
    """
    tokens = embedding[0].numel() * 4
    # On a CPU more only go slower. Tokens of six prompts of SAM's size are below 32 MiB, from where
    # glibc maps a tensor anew each time, as it does on workers, too.
    limit = 256 if embedding.is_cuda else max(6, 6 * FULL_TOKENS // tokens)
    return int(max(1, min(limit, memory // (12 * tokens))))


def in_square(prompts: ImagePrompts, letterbox: Letterbox) -> Prompts:
    """Prompts on an image as the network takes them."""
    import torch

    from abbe.sam import Prompts

    boxes, points, labels = prompts.boxes, prompts.points, prompts.labels
    return Prompts(
        boxes=None if boxes is None else letterbox.boxes(boxes),
        points=None if points is None else letterbox.points(points),
        point_labels=None if labels is None else torch.from_numpy(labels),
    )


def soft_masks(
    logits: torch.Tensor, letterbox: Letterbox, boxes: NDArray[np.floating] | None
) -> Iterator[tuple[NDArray[np.float32], int, int]]:
    """Probabilities (h, w), top, left of masks (N, l, l), within their enlarged boxes (N, 4).

    Most objects are small: what lies outside of a box is not computed. Without boxes a mask counts
    within its own, and one that is nowhere inside is left out.
    """
    from abbe.sam.letterbox import THRESHOLD

    rows, columns = (axis.to(logits.device) for axis in letterbox.axes(logits.shape[-1]))
    for index, mask in enumerate(logits.float()):
        box = box_of(mask > THRESHOLD, rows, columns) if boxes is None else boxes[index]
        if box is None:
            continue
        top, left, bottom, right = window_of(box, letterbox.size)
        part = rows[top:bottom] @ mask @ columns[left:right].T
        yield part.sigmoid().cpu().numpy(), top, left


def box_of(
    inside: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> NDArray[np.float64] | None:
    """The box x0, y0, x1, y1 (px) that a mask can fill once it is enlarged; None if it is empty.

    Args:
        inside: (l, l) bool, the network's small mask.
        rows, columns: (H, l) and (W, l), how it is enlarged; see ``Letterbox.axes``.
    """
    # A pixel is a mean, so it is inside only where one of those that it is made of is.
    y, x = (
        (axis @ inside.any(dim=other).float()).nonzero()[:, 0].tolist()
        for axis, other in ((rows, 1), (columns, 0))
    )
    return np.array([x[0], y[0], x[-1] + 1, y[-1] + 1], float) if x and y else None


def window_of(box: NDArray[np.floating], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a soft mask counts: top, left, bottom, right of its enlarged box."""
    height, width = size
    x0, y0, x1, y1 = box
    more_x, more_y = BOX_MARGIN / 2 * (x1 - x0), BOX_MARGIN / 2 * (y1 - y0)
    left, top = max(0, int(np.floor(x0 - more_x))), max(0, int(np.floor(y0 - more_y)))
    right, bottom = min(width, int(np.ceil(x1 + more_x))), min(height, int(np.ceil(y1 + more_y)))
    return top, left, bottom, right
