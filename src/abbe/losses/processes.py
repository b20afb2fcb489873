"""Means over a whole batch of which each process holds a part.

Data-parallel training averages the gradients of its processes. That is the gradient of the whole
batch only where each process divides by what an average process knows, not by what it knows itself:
where one of two has the only label, its own mean would count half. Every function here is called by
all processes alike, in the same order, or they wait for each other for ever. With one process, or
none set up, nothing is sent.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many share a batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def total(values: Tensor) -> Tensor:
    """The sum over processes of a tensor that has one shape in all of them; it has a gradient.

    A loss made of such sums is the same in each process. Its gradient for the values of one process
    arrives once from each, which the averaging of gradients makes up for.
    """
    return _Total.apply(values) if processes() > 1 else values


def gathered(values: Tensor) -> Tensor:
    """The rows of all processes, (B, …) → (processes · B, …), with a gradient as `total` has it."""
    if processes() == 1:
        return values
    whole = values.new_zeros(processes(), *values.shape)
    mine = torch.arange(processes(), device=values.device) == dist.get_rank()
    mine = mine.reshape(-1, *[1] * values.ndim)
    return total(torch.where(mine, values[None], whole)).flatten(0, 1)


@torch.no_grad()
def average_count(known: Tensor) -> Tensor:
    """What is counted in an average process: a sum divided by it belongs to the whole batch's mean.

    Args:
        known: of any shape, bool or weights of 0 and more.

    Returns:
        A scalar above 0, also where nothing is known.
    """
    everything = total(known.float().sum())
    return torch.where(everything > 0, everything, 1.0) / processes()


@torch.no_grad()
def anywhere(known: Tensor) -> bool:
    """Whether any process knows anything; all of them get the same answer."""
    return bool(total(known.any().float()) > 0)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Total.apply(gradients[0])
