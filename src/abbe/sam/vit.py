"""SAM's image encoder: a plain vision transformer with windows (ViTDet, arXiv 2203.16527)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from abbe.sam.layers import MLPBlock, from_windows, neck, to_windows
from abbe.sam.layout import PATCH, Layout

BIAS_ELEMENTS = 2**23
"""Values of the attention's bias held at a time: 32 MiB in float32."""


class ImageEncoderViT(nn.Module):
    """Images (B, 3, side, side), normalised, to embeddings (B, 256, side / 16, side / 16)."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(layout.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, layout.grid, layout.grid, layout.width))
        self.blocks = nn.ModuleList(
            Block(layout.width, layout.heads, layout.grid, window)
            for window in (
                None if layer in layout.global_layers else layout.window
                for layer in range(layout.depth)
            )
        )
        self.neck = neck(layout.width)

    def forward(self, images: Tensor) -> Tensor:
        """Embed the images; the neck's output has no activation."""
        x = self.patch_embed(images) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))


class PatchEmbed(nn.Module):
    """A linear map of each patch of 16 by 16 pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=PATCH, stride=PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to tokens (B, H / 16, W / 16, width)."""
        return self.proj(images).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Attention within windows, or over the whole image where ``window`` is None, and an MLP."""

    def __init__(self, width: int, heads: int, grid: int, window: int | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, window or grid)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLPBlock(width, 4 * width, F.gelu)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, H, W, width) to the same shape."""
        x = x + self.attn(self.norm1(x), self.window)
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Self-attention with decomposed relative positions (MViTv2, arXiv 2112.01526, eq. 4).

    The score of a query at (y, x) and a key at (y', x') is
    ``q·k / √d + q·rel_pos_h[y − y'] + q·rel_pos_w[x − x']``.
    """

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, x: Tensor, window: int | None) -> Tensor:
        """Map tokens (B, H, W, width) to the same shape."""
        height, width = x.shape[1:3]
        if window is None:
            return self.proj(self._attend(self.qkv(x)))
        # SAM pads with tokens of zeros, whose q, k and v are the bias: only what was padded is
        # added after the projection, which then has fewer tokens to map.
        bias = self.qkv.bias
        windows = to_windows(self.qkv(x) - bias, window) + bias
        return self.proj(from_windows(self._attend(windows), height, width))

    def _attend(self, qkv: Tensor) -> Tensor:
        batch, height, width, channels = qkv.shape
        shape = (batch, height * width, 3, self.heads, channels // 3 // self.heads)
        q, k, v = qkv.reshape(shape).permute(2, 0, 3, 1, 4)
        down = _relative(self.rel_pos_h, height)
        right = _relative(self.rel_pos_w, width)
        # The bias has a value for each pair of tokens and head; a few heads at a time bound it.
        group = max(1, BIAS_ELEMENTS // (batch * (height * width) ** 2))
        heads = [
            _attend_with_positions(*each, down, right)
            for each in zip(q.split(group, 1), k.split(group, 1), v.split(group, 1), strict=True)
        ]
        x = torch.cat(heads, dim=1).transpose(1, 2)
        return x.reshape(batch, height, width, channels // 3)


def _relative(table: Tensor, size: int) -> Tensor:
    """Pick a position for each query and key along one axis: (size, size, d)."""
    place = torch.arange(size, device=table.device)
    return table[place[:, None] - place[None, :] + size - 1]


def _attend_with_positions(q: Tensor, k: Tensor, v: Tensor, down: Tensor, right: Tensor) -> Tensor:
    batch, heads, tokens, depth = q.shape
    height, width = down.shape[0], right.shape[0]
    places = q.reshape(batch, heads, height, width, depth)
    vertical = torch.einsum("bnhwd,hkd->bnhwk", places, down).contiguous()
    horizontal = torch.einsum("bnhwd,wkd->bnhwk", places, right).contiguous()
    bias = vertical[..., :, None] + horizontal[..., None, :]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=bias.view(batch, heads, tokens, tokens)
    )
