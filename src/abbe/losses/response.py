"""Learning a teacher's response to an image: its nuclei probability, or its map of types.

The student need not have the teacher's task afterwards, only its view of the same tiles (RCKD: Kim
et al., Bioengineering 2023, 10(11), 1279). The paper's formulas could not be read; these are the
ones that the field means by response-based distillation.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from abbe.losses.probability import SMALLEST_PROBABILITY, soft_bce
from abbe.losses.reduction import mean_of_known


def response_bce(logits: Tensor, q: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy to the probabilities of a teacher of independent maps.

    −q log p − (1 − q) log(1 − p), the mean over maps and over the valid pixels of each image, then
    over images; see `abbe.losses.soft_bce`.

    Args:
        logits: (B, K, H, W); p is their sigmoid.
        q: (B, K, H, W) the teacher's probabilities in [0, 1]; anything where not valid.
        valid: (B, H, W) bool; true where the teacher has spoken.

    Returns:
        A scalar ≥ 0, least for p = q; 0 with zero gradient where nothing is valid.

    Raises:
        ValueError: The shapes differ.
    """
    _check(logits, q, valid)
    every = valid[:, None].expand_as(logits).flatten(0, 1)
    return soft_bce(logits.flatten(0, 1), q.flatten(0, 1), every)


def temperature_kl(
    logits: Tensor, teacher_logits: Tensor, valid: Tensor, temperature: float = 2.0
) -> Tensor:
    """T² KL(softmax(z_T / T) ‖ softmax(z_S / T)) of classes that exclude each other.

    After Hinton et al. (2015): T² keeps the gradient's size, which falls with 1 / T². The mean is
    over the valid pixels of each image, then over images.

    Args:
        logits: (B, C, H, W) the student's, z_S; two or more classes.
        teacher_logits: (B, C, H, W), z_T; for stored probabilities, `logits_of` them. Anything
            where not valid.
        valid: (B, H, W) bool.
        temperature: T above 0; higher weighs the classes that the teacher holds unlikely more.

    Returns:
        A scalar ≥ 0; 0 only where the distributions agree, and where nothing is valid.

    Raises:
        ValueError: The shapes differ, there is one class only, or T is not above 0.
    """
    _check(logits, teacher_logits, valid)
    if logits.shape[1] < 2:
        raise ValueError("one map excludes no other: use response_bce")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    dtype = torch.promote_types(logits.dtype, torch.float32)
    teacher_logits = torch.where(valid[:, None], teacher_logits.to(dtype), 0.0)
    student = F.log_softmax(logits.to(dtype) / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction="none", log_target=True).sum(1)
    return temperature**2 * mean_of_known(divergence, valid.to(dtype))


def logits_of(probabilities: Tensor) -> Tensor:
    """Logits that have these softmax probabilities, up to a constant that softmax does not see.

    Args:
        probabilities: (B, C, H, W) in [0, 1], over classes of sum 1. They are kept
            `SMALLEST_PROBABILITY` away from 0, half a step of the 8 bits in which they are stored.

    Returns:
        (B, C, H, W) their logarithms, at most 0.
    """
    dtype = torch.promote_types(probabilities.dtype, torch.float32)
    return probabilities.to(dtype).clamp(min=SMALLEST_PROBABILITY).log()


def _check(logits: Tensor, target: Tensor, valid: Tensor) -> None:
    if (
        logits.ndim != 4
        or logits.shape != target.shape
        or valid.shape != logits[:, 0].shape
        or valid.dtype != torch.bool
    ):
        raise ValueError(
            "logits and target must both be (B, C, H, W) and valid (B, H, W) bool, but are "
            f"{tuple(logits.shape)}, {tuple(target.shape)} and {tuple(valid.shape)} {valid.dtype}"
        )
