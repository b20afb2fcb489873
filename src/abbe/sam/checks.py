"""Refuses NaN and infinity in what a network answers."""

import torch
from torch import Tensor

from abbe.errors import InputError


def require_finite(values: Tensor, what: str) -> None:
    """Refuse NaN and infinite values, which any threshold would drop as if nothing were there.

    Args:
        values: of any shape.
        what: they are, in the plural, for the message.

    Raises:
        InputError: one of them is not finite.
    """
    if not bool(torch.isfinite(values).all()):
        raise InputError(
            f"the network's {what} hold NaN or infinite values: half precision overflowed (choose "
            "--teacher.options precision fp32), or the weights are damaged"
        )
