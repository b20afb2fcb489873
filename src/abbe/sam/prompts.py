"""Prompts, and the encoder that turns them into tokens and maps for the mask decoder."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from abbe.errors import InputError
from abbe.sam.layers import LayerNorm2d
from abbe.sam.layout import PATCH

NOT_A_POINT, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3
"""What a point means. A box is two points; −1 fills up rows of unequal length."""


@dataclass(frozen=True)
class Prompts:
    """N prompts, each of points, a box, a mask, or several of these together.

    Args:
        points: (N, P, 2) x and y in px of the square that the encoder saw (``Letterbox.points``).
        point_labels: (N, P) 1 foreground, 0 background, −1 no point.
        boxes: (N, 4) left, top, right, bottom in the same pixels (``Letterbox.boxes``).
        masks: (N, 1, 4h, 4w) logits of an earlier answer, for an embedding of h × w.

    Raises:
        InputError: There is no prompt, or the shapes do not fit each other.
    """

    points: Tensor | None = None
    point_labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.points is None) != (self.point_labels is None):
            raise InputError("points and point_labels must be given together")
        forms = {"points": (3, 2), "point_labels": (2, None), "boxes": (2, 4), "masks": (4, None)}
        given = {name: getattr(self, name) for name in forms if getattr(self, name) is not None}
        if not given or any(0 in tensor.shape for tensor in given.values()):
            raise InputError("no prompt was given: there must be a point, a box or a mask")
        for name, tensor in given.items():
            dimensions, last = forms[name]
            if tensor.ndim != dimensions or last not in (None, tensor.shape[-1]):
                raise InputError(f"{name} has the shape {tuple(tensor.shape)}: see Prompts")
        if len({len(tensor) for tensor in given.values()}) > 1:
            counts = ", ".join(f"{len(tensor)} {name}" for name, tensor in given.items())
            raise InputError(f"each kind of prompt needs one row a prompt, not {counts}")
        if "points" in given and given["points"].shape[:2] != given["point_labels"].shape:
            counts = [tuple(given[name].shape[:2]) for name in ("points", "point_labels")]
            raise InputError(f"points and point_labels differ in their first axes: {counts}")

    def __len__(self) -> int:
        given = (self.points, self.boxes, self.masks)
        return next(len(tensor) for tensor in given if tensor is not None)

    def __getitem__(self, rows: slice) -> "Prompts":
        """Take some of the prompts, as with a list."""
        given = (self.points, self.point_labels, self.boxes, self.masks)
        return Prompts(*(None if tensor is None else tensor[rows] for tensor in given))

    def to(self, device: torch.device | str) -> "Prompts":
        """Move to a device."""
        given = (self.points, self.point_labels, self.boxes, self.masks)
        return Prompts(*(None if tensor is None else tensor.to(device) for tensor in given))


class PromptEncoder(nn.Module):
    """Points and boxes to tokens (sparse), masks to maps (dense), of ``width`` channels."""

    def __init__(self, side: int, width: int = 256) -> None:
        super().__init__()
        self.side = side
        self.pe_layer = PositionEmbedding(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=2, stride=2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, kernel_size=2, stride=2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, width, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def sparse(self, prompts: Prompts) -> Tensor:
        """Tokens (N, T, width) of points and boxes; T is 0 where there are only masks."""
        points, labels = [], []
        if prompts.points is not None and prompts.point_labels is not None:
            points.append(prompts.points.float())
            labels.append(prompts.point_labels.long())
            if prompts.boxes is None:  # SAM was trained with this token where no box follows
                points.append(prompts.points.new_zeros(len(prompts), 1, 2).float())
                labels.append(torch.full_like(labels[0][:, :1], NOT_A_POINT))
        if prompts.boxes is not None:
            points.append(prompts.boxes.float().view(-1, 2, 2))
            corners = torch.tensor([TOP_LEFT, BOTTOM_RIGHT], device=prompts.boxes.device)
            labels.append(corners.expand(len(prompts), 2))
        if not points:
            return self.no_mask_embed.weight.new_zeros(len(prompts), 0, self.pe_layer.width)
        return self.embed_points(torch.cat(points, 1), torch.cat(labels, 1))

    def embed_points(self, points: Tensor, labels: Tensor) -> Tensor:
        """Tokens (N, P, width) of points (N, P, 2) in pixels with labels (N, P) from −1 to 3."""
        positions = self.pe_layer((points + 0.5) / self.side)
        tables = [self.not_a_point_embed, *self.point_embeddings]
        meanings = torch.cat([cast(nn.Embedding, table).weight for table in tables])
        return positions * (labels >= 0).unsqueeze(-1) + meanings[labels + 1]

    def dense(self, masks: Tensor | None) -> Tensor:
        """Maps (N, width, h, w) of masks (N, 1, 4h, 4w), or (1, width, 1, 1), "no mask"."""
        if masks is None:
            return self.no_mask_embed.weight[:, :, None, None]
        return self.mask_downscaling(masks)

    def places(self) -> Tensor:
        """Positions (h · w, width) of the embedding's cells, row by row."""
        grid = self.side // PATCH
        device = self.no_mask_embed.weight.device
        centres = (torch.arange(grid, device=device) + 0.5) / grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return self.pe_layer(torch.stack([x, y], dim=-1)).flatten(0, 1)


class PositionEmbedding(nn.Module):
    """Random Fourier features of a place (arXiv 2006.10739)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, places: Tensor) -> Tensor:
        """Map x and y (…, 2), in [0, 1], to (…, width)."""
        x, y = (2 * places - 1).split(1, dim=-1)
        matrix = self.positional_encoding_gaussian_matrix
        # Written out: a matrix product would fall to half precision under autocast, where a
        # phase of many turns has no digits left.
        phase = 2 * math.pi * (x * matrix[0] + y * matrix[1])
        return torch.cat([phase.sin(), phase.cos()], dim=-1)
