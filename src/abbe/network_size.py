"""How large a network is: parameters, and multiply-accumulate operations (MACs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def parameters_of(module: nn.Module) -> int:
    """Numbers that a module could learn; buffers, such as running means, are not among them."""
    return sum(parameter.numel() for parameter in module.parameters())


def macs_of(module: nn.Module, images: torch.Tensor) -> int:
    """MACs of one forward pass: half the FLOPs that torch counts.

    Convolutions, matrix products and attention count; normalisation, activation and interpolation
    do not. On the device ``meta`` nothing is computed, only shapes are followed.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(images)
    return counter.get_total_flops() // 2
