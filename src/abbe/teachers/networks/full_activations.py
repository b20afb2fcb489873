"""A module's own sigmoid and softmax in full precision, whatever the rest of it computes in."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten
# In inference mode an operation that is made of others is seen before it is taken apart.
_ACTIVATIONS = (
    _ATEN.sigmoid.default,
    _ATEN.special_expit.default,
    _ATEN.softmax.int,
    _ATEN.special_softmax.default,
    _ATEN._softmax.default,
)


class _InFull(TorchDispatchMode):
    """Looks below autocast, where scripted modules pass, too."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _ACTIVATIONS and args[0].dtype in (torch.bfloat16, torch.float16):
            args = (args[0].float(), *args[1:])
            if func is _ATEN._softmax.default:
                args = (*args[:2], False)  # CUDA's "half to float" takes half alone
        return func(*args, **(kwargs or {}))


class FullActivations(nn.Module):
    """A module that gives probabilities: what it squashes by sigmoid or softmax becomes float32.

    In bf16, probabilities above one half are 1/256 apart, and those near 1 are 1.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor) -> Tensor:
        """What the module answers to (B, C, H, W)."""
        with _InFull():
            return self.module(image)
