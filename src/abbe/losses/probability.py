"""Matching a teacher's probability map: how high it is, and where it is higher."""

import torch
from torch import Tensor

from abbe.losses.reduction import (
    cross_entropy,
    image_sums,
    mean_of_images,
    mean_of_known,
    prepare,
)

SMALLEST_PROBABILITY = 1 / 510
"""Half a step of the 8 bits in which targets are stored: the nearest to 0 that they can tell."""
CWD_TEMPERATURE = 4.0
"""τ of the authors' scripts for logits."""


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
    return mean_of_known(cross_entropy(logits, q), known, weight)


def logit_mse(logits: Tensor, q: Tensor, valid: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared difference of logits, (z − log(q / (1 − q)))².

    q is kept `SMALLEST_PROBABILITY` away from 0 and 1, so teacher logits are within ±6.23.
    Arguments, mean and errors as in `probability_mse`.
    """
    logits, q, known = prepare(logits, q, valid)
    squares = (logits - q.logit(eps=SMALLEST_PROBABILITY)) ** 2
    return mean_of_known(squares, known, weight)


def cwd(logits: Tensor, q: Tensor, valid: Tensor, weight: Tensor | None = None) -> Tensor:
    """Channel-wise distillation (Shu et al. 2021), and `soft_bce` for the level.

    τ² KL(softmax(z_T / τ) ‖ softmax(z_S / τ)), the softmax over the known pixels of an image, with
    τ = 4 and z_T = log(q / (1 − q)), q kept `SMALLEST_PROBABILITY` away from 0 and 1. It does not
    change when all logits are raised alike, so that the cross-entropy must say how high they are.

    Args:
        logits: (B, H, W).
        q: (B, H, W) the teacher's probabilities in [0, 1]; anything where not valid.
        valid: (B, H, W) bool; true where the teacher has spoken.
        weight: (B,) how much each image counts; all alike where None.

    Returns:
        A scalar, least for p = q; 0 with zero gradient where nothing is valid.

    Raises:
        ValueError: The shapes differ.
    """
    z, targets, known = prepare(logits, q, valid)
    teacher = _log_share(targets.logit(eps=SMALLEST_PROBABILITY) / CWD_TEMPERATURE, known)
    student = _log_share(z / CWD_TEMPERATURE, known)
    counted = (known > 0).to(z.dtype)
    divergence = image_sums(teacher.exp() * (teacher - student) * counted) * CWD_TEMPERATURE**2
    level = soft_bce(logits, q, valid, weight)
    return mean_of_images(divergence, image_sums(known) > 0, weight) + level


def dist(logits: Tensor, q: Tensor, valid: Tensor, weight: Tensor | None = None) -> Tensor:
    """The relation within a class of DIST (Huang et al. 2022), and `soft_bce` for the level.

    1 − the Pearson correlation of p and q over the known pixels of an image; an image whose q is
    the same everywhere has none and counts by its cross-entropy alone. DIST's other relation,
    between classes, is ±1 for two of them whatever the network says, and teaches nothing.
    Arguments and errors as in `cwd`.

    Returns:
        A scalar, least for p = q; 0 with zero gradient where nothing is valid.
    """
    z, targets, known = prepare(logits, q, valid)
    student, teacher = _centred(z.sigmoid(), known), _centred(targets, known)
    spread = image_sums(student**2) * image_sums(teacher**2)
    correlation = image_sums(student * teacher) / spread.clamp(min=1e-12).sqrt()
    varies = image_sums(teacher**2) > 1e-6
    level = soft_bce(logits, q, valid, weight)
    return mean_of_images(1 - correlation, varies, weight) + level


def _log_share(values: Tensor, known: Tensor) -> Tensor:
    """Log-softmax over the known pixels of each image, (B, H, W); 0 elsewhere.

    A pixel that counts half stands for half a pixel in the sum.
    """
    lowest = torch.finfo(values.dtype).min
    counted = torch.where(known > 0, values + known.clamp(min=1e-12).log(), lowest)
    return counted.flatten(1).log_softmax(1).view_as(values) * (known > 0)


def _centred(values: Tensor, known: Tensor) -> Tensor:
    """Values less their mean over the known pixels of their image; 0 elsewhere.

    By the root of what each pixel counts, so that it counts so in a sum of products of two.
    """
    mean = image_sums(values * known) / image_sums(known).clamp(min=1)
    return (values - mean[:, None, None]) * known.sqrt()
