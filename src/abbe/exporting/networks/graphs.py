"""Which networks a package of each task holds, with their inputs and free sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

LARGEST_BATCH = 1 << 16
LARGEST_SIDE = 1 << 16  # px
LEAST_SIDE = 32
"""px of what a classifier sees: the stride of the encoders' last map."""


@dataclass(frozen=True)
class Graph:
    """One network to write.

    Attributes:
        name: Stem of its file.
        module: The network, in evaluation mode on the CPU.
        inputs: Example tensors by input name, in the order of the network's arguments.
        outputs: Names of its results.
        dynamic: By input name, the dimensions whose size is free.
        divisible: Whether every stride divides the sides of what it steps over.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: Mapping[str, Mapping[int, Any]]
    divisible: bool = False


def segmentation_graphs(student: Any) -> list[Graph]:
    """One network: ``image`` (B, C, H, W) to ``logits`` (B, K, H, W); B, H and W are free.

    H and W are multiples of the divisor. The example has more than one window of a Swin in each
    direction: a single one would be taken for a constant.

    Args:
        student: Any network with ``in_channels`` and ``divisor``.
    """
    divisor = student.divisor
    batch = Dim("batch", min=1, max=LARGEST_BATCH)
    rows = Dim("rows", min=1, max=LARGEST_SIDE // divisor)
    columns = Dim("columns", min=1, max=LARGEST_SIDE // divisor)
    example = torch.zeros(2, student.in_channels, 8 * divisor, 10 * divisor)
    sizes = {0: batch, 2: divisor * rows, 3: divisor * columns}
    image = {"image": example}
    return [Graph("model", student, image, ("logits",), {"image": sizes}, divisible=True)]


def classification_graphs(student: nn.Module, channels: int, divisor: int) -> list[Graph]:
    """One network: ``image`` (B, C, H, W) to ``logits`` (B, K); B, H and W are free.

    Args:
        student: The network.
        channels: C.
        divisor: H and W are multiples of it; most classifiers take any size.
    """
    batch = Dim("batch", min=1, max=LARGEST_BATCH)
    rows, columns = (
        Dim(name, min=LEAST_SIDE // divisor, max=LARGEST_SIDE // divisor)
        for name in ("rows", "columns")
    )
    example = torch.zeros(2, channels, 256, 320)
    free = (rows, columns) if divisor == 1 else (divisor * rows, divisor * columns)
    sizes = {0: batch, 2: free[0], 3: free[1]}
    return [Graph("model", student, {"image": example}, ("logits",), {"image": sizes})]
