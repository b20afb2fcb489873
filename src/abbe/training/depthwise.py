"""Depthwise convolutions whose gradient CPUs find faster in fp32 than in bf16."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Size = int | Iterable[int]
T = TypeVar("T")


def depthwise_format(device: torch.device, mixed_precision: str) -> AbstractContextManager[object]:
    """What a forward pass is to run within, inside of autocast; nothing but in bf16 on a CPU."""
    slow = device.type == "cpu" and mixed_precision == "bf16"
    return DepthwiseInFull() if slow else nullcontext()


class DepthwiseInFull(TorchFunctionMode):
    """Within autocast, computes depthwise convolutions in fp32, but for plain ones of 3 x 3.

    CPUs have a fast gradient in bf16 for 3 x 3 with stride 1 alone. Others take up to four times as
    long as in fp32, forward and back (benchmarks/depthwise.py), and EfficientNet and MobileNetV3
    are full of those.
    """

    def __torch_function__(
        self,
        func: Callable[..., T],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> T:
        """Called for every function of torch; all but slow convolutions pass."""
        known = kwargs or {}
        if func is torch.conv2d and torch.is_grad_enabled() and _is_slow(*args, **known):
            return cast(T, _in_full(*args, **known))
        return func(*args, **known)


def _in_full(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **known: Any
) -> Tensor:
    """A convolution in fp32, its result in the format that autocast would have given it."""
    with torch.autocast("cpu", enabled=False):
        full = torch.conv2d(
            input.float(), weight.float(), None if bias is None else bias.float(), *rest, **known
        )
    return full.to(torch.get_autocast_dtype("cpu"))


def _is_slow(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> bool:
    """Whether a convolution, with the arguments of ``torch.conv2d``, is one to compute in fp32."""
    plain = tuple(weight.shape[2:]) == (3, 3) and _ones(stride) and _ones(dilation)
    return groups > 1 and weight.shape[1] == 1 and not plain


def _ones(size: Size) -> bool:
    return size == 1 or (not isinstance(size, int) and set(size) == {1})
