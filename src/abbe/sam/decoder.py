"""SAM's mask decoder, in two steps: attend, which rates the masks, then draw those wanted."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from abbe.sam.layers import LayerNorm2d
from abbe.sam.two_way import WIDTH, ImageTokens, TwoWayTransformer

MASKS = 4
"""Masks a prompt: the first answers alone, the others are whole, part and subpart."""


class Attended(NamedTuple):
    """Prompts that have seen the image; their masks are not drawn yet.

    Args:
        image: (N, h · w, 256) image tokens.
        masks: (N, 4, 256) tokens of the four masks.
        iou: (N, 4) the IoU that the network expects of each.
        size: (h, w) of the embedding.
    """

    image: Tensor
    masks: Tensor
    iou: Tensor
    size: tuple[int, int]

    def scores(self, multimask: bool) -> Tensor:
        """The expected IoU (N, M) of the masks that answer."""
        return self.iou[:, wanted(multimask)]


def wanted(multimask: bool | None) -> slice:
    """Which of the four masks answer: the three of an ambiguous prompt, or the single one.

    None stands for all four, the single one first.
    """
    if multimask is None:
        return slice(0, MASKS)
    return slice(1, MASKS) if multimask else slice(0, 1)


class MaskDecoder(nn.Module):
    """Image embeddings and prompt tokens to mask logits and expected IoU."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer()
        self.iou_token = nn.Embedding(1, WIDTH)
        self.mask_tokens = nn.Embedding(MASKS, WIDTH)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(WIDTH, WIDTH // 4, kernel_size=2, stride=2),
            LayerNorm2d(WIDTH // 4),
            nn.GELU(),
            nn.ConvTranspose2d(WIDTH // 4, WIDTH // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(WIDTH // 8) for _ in range(MASKS))
        self.iou_prediction_head = MLP(MASKS)

    def prepare(self, image: Tensor, places: Tensor) -> ImageTokens:
        """See ``TwoWayTransformer.prepare``."""
        return self.transformer.prepare(image, places)

    def attend(self, image: ImageTokens, sparse: Tensor, size: tuple[int, int]) -> Attended:
        """Let prompts and image see each other, and rate the masks to come.

        Args:
            image: of G images; G divides N.
            sparse: (N, T, 256) tokens of points and boxes.
            size: (h, w) of the embedding.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        tokens, cells = self.transformer(image, tokens)
        iou = _in_full_precision(self.iou_prediction_head, tokens[:, 0])
        return Attended(cells, tokens[:, 1 : 1 + MASKS], iou, size)

    def decode_masks(self, attended: Attended, multimask: bool | None) -> Tensor:
        """Draw the masks: logits (N, 3 or 1, 4h, 4w), or (N, 4, 4h, 4w) for None."""
        masks = range(MASKS)[wanted(multimask)]
        kernels = [self.output_hypernetworks_mlps[i](attended.masks[:, i]) for i in masks]
        pixels = self._upscale(attended.image)
        logits = pixels @ torch.stack(kernels, dim=2)
        # The 4 × 4 pixels of each cell, as rows and columns of the first and the second step.
        height, width = attended.size
        logits = logits.view(-1, height, width, 2, 2, 2, 2, len(masks))
        logits = logits.permute(0, 7, 1, 3, 5, 2, 4, 6)
        return logits.reshape(-1, len(masks), 4 * height, 4 * width)

    def _upscale(self, cells: Tensor) -> Tensor:
        """Four by four pixels a cell: (N, h · w, 256) to (N, 16 h · w, 32).

        A transposed convolution with a kernel as large as its stride is a linear map of each
        place, so pixels need not be put in order before the masks are there.
        """
        first, norm, _, second, _ = self.output_upscaling
        assert isinstance(norm, LayerNorm2d)
        x = F.gelu(norm.over_last(_enlarge(cells, first)))
        return F.gelu(_enlarge(x, second))


def _in_full_precision(head: nn.Module, tokens: Tensor) -> Tensor:
    """Rate in float32 at least: masks are kept by ratings, which bf16 would round to 1/256."""
    if not torch.is_autocast_enabled(tokens.device.type):
        return head(tokens)
    with torch.autocast(tokens.device.type, enabled=False):
        return head(tokens.float())


def _enlarge(x: Tensor, layer: nn.Module) -> Tensor:
    """(N, P, channels) to (N, 4 P, fewer), the four pixels of each place one after the other."""
    assert isinstance(layer, nn.ConvTranspose2d)
    assert layer.bias is not None
    weight = layer.weight.permute(2, 3, 1, 0).reshape(-1, layer.in_channels)
    x = F.linear(x, weight, layer.bias.repeat(4))
    return x.unflatten(-1, (4, layer.out_channels)).flatten(1, 2)


class MLP(nn.Module):
    """Three linear layers, from a token to ``outputs`` values."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, outputs)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, 256) to (…, outputs)."""
        first, second, third = self.layers
        return third(F.relu(second(F.relu(first(x)))))
