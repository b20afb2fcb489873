"""Matching a teacher's probability map: three measures of the distance to it."""

import torch.nn.functional as F
from torch import Tensor

from abbe.losses.reduction import mean_of_known, prepare

SMALLEST_PROBABILITY = 1 / 510
"""Half a step of the 8 bits in which targets are stored: the nearest to 0 that they can tell."""


def probability_mse(
    logits: Tensor, q: Tensor, valid: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Mean squared difference of probabilities, (p − q)²: "MSE-based probability matching" (CMKD).

    Its gradient vanishes where p saturates (a factor p (1 − p)); those of `soft_bce` and
    `logit_mse` do not.

    Args:
        logits: (B, H, W); p is their sigmoid.
        q: (B, H, W) the teacher's probabilities in [0, 1]; anything where not valid.
        valid: (B, H, W) bool; true where the teacher has spoken.
        weight: (B,) how much each image counts; all alike where None.

    Returns:
        A scalar in [0, 1], 0 only for p = q; 0 with zero gradient where nothing is valid.

    Raises:
        ValueError: The shapes differ.
    """
    logits, q, known = prepare(logits, q, valid)
    return mean_of_known((logits.sigmoid() - q) ** 2, known, weight)


def soft_bce(logits: Tensor, q: Tensor, valid: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy to soft targets, −q log p − (1 − q) log(1 − p).

    It is KL(q ‖ p) plus the entropy of q, so it is least for p = q, though not 0 there. Arguments,
    mean and errors as in `probability_mse`.
    """
    logits, q, known = prepare(logits, q, valid)
    crossed = F.binary_cross_entropy_with_logits(logits, q, reduction="none")
    return mean_of_known(crossed, known, weight)


def logit_mse(logits: Tensor, q: Tensor, valid: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared difference of logits, (z − log(q / (1 − q)))².

    q is kept `SMALLEST_PROBABILITY` away from 0 and 1, so teacher logits are within ±6.23.
    Arguments, mean and errors as in `probability_mse`.
    """
    logits, q, known = prepare(logits, q, valid)
    squares = (logits - q.logit(eps=SMALLEST_PROBABILITY)) ** 2
    return mean_of_known(squares, known, weight)
