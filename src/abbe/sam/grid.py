"""Masks of everything in an image: a grid of points, and the masks that are worth keeping.

The steps and their order are those of SAM's automatic mask generator (arXiv 2304.02643, section 5
and appendix B), and so are the masks. What is new: the network's own rating is looked at before a
mask is drawn, and only masks that pass it are drawn and enlarged.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor
from torchvision.ops import nms

from abbe.sam.checks import require_finite
from abbe.sam.decoder import wanted
from abbe.sam.letterbox import THRESHOLD, Letterbox
from abbe.sam.model import SAM
from abbe.sam.prompts import Prompts

STABILITY_OFFSET = 1.0
"""A mask is stable if it hardly changes between logits cut this far below and above."""


@dataclass(frozen=True)
class Found:
    """One mask, cut to its box.

    Attributes:
        logits: (h, w) float32, positive inside.
        top, left: of the cut in px of the image.
        iou: that the network expects of it.
        stability: IoU of the masks cut at logits 1 and −1.
        point: x, y of the grid's point in px of the image.
    """

    logits: NDArray[np.float32]
    top: int
    left: int
    iou: float
    stability: float
    point: tuple[float, float]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(h, w) bool."""
        return self.logits > THRESHOLD

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.mask.sum())

    @property
    def centre(self) -> tuple[float, float]:
        """x, y of the box's middle in px of the image."""
        height, width = self.logits.shape
        return self.left + width / 2, self.top + height / 2

    @property
    def probability(self) -> NDArray[np.float32]:
        """(h, w) float32, the sigmoid of the logits."""
        return expit(self.logits).astype(np.float32)


def grid_points(points_per_side: int, size: tuple[int, int]) -> NDArray[np.float64]:
    """The middles of a grid of equal cells, x, y in px of an image of ``size`` (H, W); (N, 2)."""
    middles = (np.arange(points_per_side) + 0.5) / points_per_side
    x, y = np.meshgrid(middles * size[1], middles * size[0])
    return np.stack([x.ravel(), y.ravel()], axis=1)


@torch.inference_mode()
def automatic_masks(
    sam: SAM,
    embedding: Tensor,
    letterbox: Letterbox,
    *,
    points_per_side: int = 32,
    minimum_iou: float = 0.88,
    minimum_stability: float = 0.95,
    box_nms: float = 0.7,
    prompts_at_once: int = 64,
) -> list[Found]:
    """Find masks without being asked for anything in particular.

    Args:
        sam: the network.
        embedding: (1, 256, h, w) of the image.
        letterbox: the image's place in the network's square.
        points_per_side: of the grid.
        minimum_iou: masks that the network rates no better are dropped.
        minimum_stability: masks less stable are dropped.
        box_nms: of two masks whose boxes overlap by more (IoU), the lower rated is dropped.
        prompts_at_once: how many points are decoded together; bounds the memory.

    Returns:
        The masks, the highest rated first.

    Raises:
        InputError: the network's ratings or masks hold NaN or infinite values.
    """
    points = grid_points(points_per_side, letterbox.size)
    tokens = sam.prepare(embedding)
    found = []
    for start in range(0, len(points), prompts_at_once):
        some = points[start : start + prompts_at_once]
        asked = Prompts(
            points=letterbox.points(some)[:, None].to(embedding.device),
            point_labels=torch.ones(len(some), 1, dtype=torch.int64, device=embedding.device),
        )
        attended = sam.attend(tokens, asked)
        ratings = attended.iou[:, wanted(True)].float()
        require_finite(ratings, "expected IoUs")
        rated = ratings > minimum_iou
        rows = torch.nonzero(rated.any(dim=1))[:, 0]
        if len(rows):
            logits = sam.decode_masks(attended, rows, multimask=True)[rated[rows]]
            require_finite(logits, "masks")
            owners = torch.nonzero(rated)[:, 0].tolist()
            stable = _stable(logits, ratings[rated], letterbox, some[owners], minimum_stability)
            found += stable
    return _best(found, box_nms)


def _stable(
    logits: Tensor,
    ratings: Tensor,
    letterbox: Letterbox,
    points: NDArray[np.float64],
    minimum: float,
) -> Iterator[Found]:
    """Those of the masks (K, l, l) that are stable, at the image's size, cut to their boxes."""
    for one, rating, point in zip(logits, ratings.tolist(), points, strict=True):
        full = letterbox.masks(one[None, None].float())[0, 0]
        inner = int((full > THRESHOLD + STABILITY_OFFSET).sum())
        outer = int((full > THRESHOLD - STABILITY_OFFSET).sum())
        if outer == 0 or inner / outer < minimum:
            continue
        values = full.cpu().numpy()
        inside = values > THRESHOLD
        if not inside.any():  # logits between −1 and 0: nothing is there to cut out
            continue
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        x, y = point
        yield Found(
            values[window].copy(),
            int(rows[0]),
            int(columns[0]),
            rating,
            inner / outer,
            (float(x), float(y)),
        )


def _best(found: list[Found], box_nms: float) -> list[Found]:
    """Drop the lower rated of masks whose boxes overlap; the highest rated first."""
    if not found:
        return []
    # Corners are pixels here, as in SAM's own boxes: a box ends at its last pixel.
    boxes = torch.tensor(
        [
            [f.left, f.top, f.left + f.logits.shape[1] - 1, f.top + f.logits.shape[0] - 1]
            for f in found
        ],
        dtype=torch.float32,
    )
    kept = nms(boxes, torch.tensor([f.iou for f in found]), box_nms)
    return [found[index] for index in kept.tolist()]
