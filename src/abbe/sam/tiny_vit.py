"""TinyViT (arXiv 2207.10666) as MobileSAM's image encoder (arXiv 2306.14289).

It differs from TinyViT in two ways: the last stage keeps the size of the one before, so that the
map has a sixteenth of the image's side, and SAM's neck follows.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from abbe.sam.layers import from_windows, neck, to_windows

WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)
STRIDES = (2, 2, 1)
"""Of the step after each stage but the last."""
CLASSES = 1000


class TinyViT(nn.Module):
    """Images (B, 3, side, side), normalised, to embeddings (B, 256, side / 16, side / 16).

    ``norm_head`` and ``head`` are TinyViT's classifier: MobileSAM's checkpoint has them, and
    nothing uses them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.layers = nn.ModuleList(Stage(stage) for stage in range(len(DEPTHS)))
        self.norm_head = nn.LayerNorm(WIDTHS[-1])
        self.head = nn.Linear(WIDTHS[-1], CLASSES)
        self.neck = neck(WIDTHS[-1])

    def forward(self, images: Tensor) -> Tensor:
        """Embed the images."""
        x = self.patch_embed(images)
        for layer in self.layers:
            x = layer(x)
        return self.neck(x)


class PatchEmbed(nn.Module):
    """Two convolutions, to a quarter of the side."""

    def __init__(self) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            conv_norm(3, WIDTHS[0] // 2, 3, stride=2),
            nn.GELU(),
            conv_norm(WIDTHS[0] // 2, WIDTHS[0], 3, stride=2),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, 64, H / 4, W / 4)."""
        return self.seq(images)


class Stage(nn.Module):
    """Blocks of one width, convolutions in the first stage, attention in the others."""

    def __init__(self, stage: int) -> None:
        super().__init__()
        width = WIDTHS[stage]
        if stage == 0:
            blocks = [ConvBlock(width) for _ in range(DEPTHS[0])]
        else:
            blocks = [Block(width, HEADS[stage], WINDOWS[stage]) for _ in range(DEPTHS[stage])]
        self.blocks = nn.ModuleList(blocks)
        last = stage == len(WIDTHS) - 1
        self.downsample = None if last else Step(width, WIDTHS[stage + 1], STRIDES[stage])

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the next stage's width and size."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class ConvBlock(nn.Module):
    """An inverted residual block (MBConv) with an expansion of 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = conv_norm(width, 4 * width, 1)
        self.conv2 = conv_norm(4 * width, 4 * width, 3, groups=4 * width)
        self.conv3 = conv_norm(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Step(nn.Module):
    """From one stage to the next: another width, and half of the side where ``stride`` is 2."""

    def __init__(self, width: int, wider: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv_norm(width, wider, 1)
        self.conv2 = conv_norm(wider, wider, 3, stride=stride, groups=wider)
        self.conv3 = conv_norm(wider, wider, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to (B, wider, H / stride, W / stride)."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class Block(nn.Module):
    """Attention within windows, a depthwise convolution, an MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads, window)
        self.mlp = MLP(width)
        self.local_conv = conv_norm(width, width, 3, groups=width)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        x = x.permute(0, 2, 3, 1)
        height, width = x.shape[1:3]
        x = x + from_windows(self.attn(to_windows(x, self.window)), height, width)
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (x + self.mlp(x)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Self-attention in a window, with a learned bias for each distance."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (B, window, window, width) to the same shape."""
        batch, height, width, channels = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, height * width, self.heads, -1)
        q, k, v = qkv.transpose(1, 2).chunk(3, dim=-1)
        bias = self.attention_biases[:, _distances(self.window, x.device)]
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype).unsqueeze(0))
        return self.proj(x.transpose(1, 2).reshape(batch, height, width, channels))


def _distances(window: int, device: torch.device) -> Tensor:
    """Which bias each pair of places has, (window², window²): rows apart, then columns apart."""
    line = torch.arange(window, device=device)
    y, x = (axis.flatten() for axis in torch.meshgrid(line, line, indexing="ij"))
    return (y[:, None] - y).abs() * window + (x[:, None] - x).abs()


class MLP(nn.Module):
    """A norm and two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, width) to the same shape."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


def conv_norm(
    channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution without bias, ``c``, and batch normalisation, ``bn``."""
    layers = nn.Sequential()
    padding = kernel // 2
    layers.add_module("c", nn.Conv2d(channels, out, kernel, stride, padding, 1, groups, bias=False))
    layers.add_module("bn", nn.BatchNorm2d(out))
    return layers
