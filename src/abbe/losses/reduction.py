"""What all losses share: full precision, and means over what is known."""

import torch
from torch import Tensor

from abbe.losses.processes import average_count


def prepare(logits: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Check shapes and bring logits and target to at least float32, whatever autocast made of them.

    Where ``valid`` is false or 0 the target may hold anything (−1, NaN); it becomes 0.

    Args:
        logits: (B, H, W).
        target: (B, H, W), any number type.
        valid: (B, H, W) bool, true where the target is known; or floating point in [0, 1], how much
            each pixel counts.

    Returns:
        Logits, target and valid, all of the logits' type: float32, or float64 if it was that.

    Raises:
        ValueError: The shapes differ, or are not (B, H, W), or ``valid`` holds whole numbers.
    """
    if logits.ndim != 3 or not logits.shape == target.shape == valid.shape:
        raise ValueError(
            "logits, target and valid must all be (B, H, W), but are "
            f"{tuple(logits.shape)}, {tuple(target.shape)} and {tuple(valid.shape)}"
        )
    if valid.dtype != torch.bool and not valid.is_floating_point():
        raise ValueError(f"valid must be bool or floating point, but is {valid.dtype}")
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    target = torch.where(valid > 0, target.to(logits.dtype), 0.0)
    return logits, target, valid.to(logits.dtype)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of each value, −t log p − (1 − t) log(1 − p) with p = sigmoid(x).

    As (x + |x|) / 2 − xt − log sigmoid(|x|), for which CPUs need half the time that they need for
    log(1 + exp(−|x|)); the same to an absolute 10⁻⁶ in float32, in value and gradient.
    """
    size = logits.abs()
    return (logits + size) / 2 - logits * target - size.sigmoid().log()


def image_sums(values: Tensor) -> Tensor:
    """Sum of each image: (B, H, W) → (B,)."""
    return values.flatten(1).sum(1)


def mean_of_known(values: Tensor, known: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over known pixels of each image, then over the images that have any.

    Args:
        values: (B, H, W).
        known: (B, H, W) of 0 and 1, or between: what each pixel counts in the mean of its image.
        weight: see `mean_of_images`.

    Returns:
        A scalar; 0 with zero gradient where no pixel is known.
    """
    pixels = image_sums(known)
    return mean_of_images(image_sums(values * known) / pixels.clamp(min=1), pixels > 0, weight)


def mean_of_images(values: Tensor, known: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of ``values`` (B,) over the images ``known`` (B,) bool; 0 where there is none.

    Where several processes share the batch, the mean of what they return is that of the batch; see
    `abbe.losses.processes`.

    Args:
        values: (B,).
        known: (B,) bool.
        weight: (B,) how much each image counts, 1 in the mean of the whole training set: a batch of
            images that count little says little.
    """
    if weight is not None:
        values = values * weight
    return torch.where(known, values, 0.0).sum() / average_count(known)


def dice_loss(
    prediction: Tensor, target: Tensor, known: Tensor, weight: Tensor | None = None
) -> Tensor:
    """One minus the soft Dice of each image that shows something, smoothed by 1; their mean.

    1 − (2 Σ pt + 1) / (Σ p + Σ t + 1), sums over the known pixels of one image. An image whose
    target is empty does not count. Its loss would be Σ p / (Σ p + 1): near 1 for whatever little is
    foreseen in a large crop, with next to no gradient, so that a set of mostly empty crops would
    drown what the others say and pass for uncertain. That nothing is there, cross-entropy teaches.

    Args:
        prediction: (B, H, W) in [0, 1].
        target: (B, H, W) in [0, 1].
        known: (B, H, W) of 0 and 1.
        weight: see `mean_of_images`.

    Returns:
        A scalar in [0, 1]; 0 with zero gradient where no image has any known target above 0.
    """
    overlap = image_sums(prediction * target * known)
    there = image_sums(target * known)
    loss = 1 - (2 * overlap + 1) / (image_sums(prediction * known) + there + 1)
    return mean_of_images(loss, there > 0, weight)
