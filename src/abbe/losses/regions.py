"""Learning regions of several classes that exclude each other."""

import torch
import torch.nn.functional as F
from torch import Tensor

from abbe.losses.processes import anywhere, average_count, total


def region_loss(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy plus 1 − Dice, the mean over classes, of the softmax.

    Dice is 2 Σ p t / (Σ p + Σ t) over the valid pixels of the whole batch, in all processes
    (Milletari et al. 2016, with plain sums below); a class that no valid pixel has counts no Dice,
    for its answer would only be pushed down, which cross-entropy does already.

    Args:
        logits: (B, K, H, W), K two or more.
        truth: (B, H, W) class numbers in [0, K); anything where not valid.
        valid: (B, H, W) bool.

    Returns:
        A scalar ≥ 0; 0 with zero gradient where nothing is valid.

    Raises:
        ValueError: The shapes differ, or there is one class only.
    """
    if logits.ndim != 4 or logits.shape[1] < 2 or truth.shape != logits[:, 0].shape:
        raise ValueError(
            "logits must be (B, K, H, W) of two classes or more and truth (B, H, W), but are "
            f"{tuple(logits.shape)} and {tuple(truth.shape)}"
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if not anywhere(valid):
        return (logits * 0).sum()
    truth = torch.where(valid, truth, -1)
    crossed = F.cross_entropy(logits, truth, ignore_index=-1, reduction="sum")
    probability = logits.softmax(1).movedim(1, -1)[valid]
    true = F.one_hot(truth[valid], logits.shape[1]).to(probability.dtype)
    overlap, found = total(torch.stack([(probability * true).sum(0), probability.sum(0)]))
    there = total(true.sum(0))
    present = there > 0
    dice = 2 * overlap[present] / (found + there)[present]
    return crossed / average_count(valid) + (1 - dice).mean()
