"""Layers that several parts of the network share, under the names SAM's checkpoints give them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a map, at each place by itself."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, channels, h, w)."""
        return self.over_last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def over_last(self, x: Tensor) -> Tensor:
        """Normalise (…, channels)."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class MLPBlock(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, width) to (…, width)."""
        return self.lin2(self.activation(self.lin1(x)))


def neck(channels: int, embedding: int = 256) -> nn.Sequential:
    """Bring an encoder's last map to the channels of the embedding; the size stays."""
    return nn.Sequential(
        nn.Conv2d(channels, embedding, kernel_size=1, bias=False),
        LayerNorm2d(embedding),
        nn.Conv2d(embedding, embedding, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(embedding),
    )


def to_windows(x: Tensor, side: int) -> Tensor:
    """Cut maps into windows, zeros filling the last ones at the right and at the bottom.

    Args:
        x: (B, H, W, C).
        side: of a window.

    Returns:
        (B · rows · columns, side, side, C).
    """
    batch, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    rows, columns = -(-height // side), -(-width // side)
    x = x.view(batch, rows, side, columns, side, channels).transpose(2, 3)
    return x.reshape(batch * rows * columns, side, side, channels)


def from_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Put windows together again: the inverse of ``to_windows``, (B, height, width, C)."""
    side, channels = windows.shape[1], windows.shape[-1]
    rows, columns = -(-height // side), -(-width // side)
    x = windows.view(-1, rows, columns, side, side, channels).transpose(2, 3)
    x = x.reshape(-1, rows * side, columns * side, channels)
    return x[:, :height, :width]
