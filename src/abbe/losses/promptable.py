"""Losses of promptable networks: masks that answer prompts, and how well they say they did.

After Kirillov et al., "Segment Anything", arXiv 2304.02643, appendix A: several masks may answer an
ambiguous prompt, and only the best of them is taught.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from abbe.losses.reduction import mean_of_images


def at_size(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (N, M, h, w) resized bilinearly to (N, M, H, W), in float32."""
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)


def mask_dice(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Dice loss of each mask, 1 − 2 Σ p g / (Σ p + Σ g) (KD SAM's), with 1 added above and below.

    Args:
        logits: (N, M, H, W); p is their sigmoid.
        truth: (N, H, W) bool g.
        valid: (N, H, W) bool; true where the truth is known.

    Returns:
        (N, M) in [0, 1]; 0 for a perfect mask, and finite for an empty one.
    """
    known = valid[:, None].float()
    p, g = logits.float().sigmoid() * known, truth[:, None].float() * known
    overlap, total = (p * g).sum((-2, -1)), (p + g).sum((-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


def mask_bce(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy of each mask, its mean over known pixels; arguments as `mask_dice`."""
    known = valid[:, None].float()
    target = truth[:, None].expand(logits.shape).float()
    values = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return (values * known).sum((-2, -1)) / known.sum((-2, -1)).clamp(min=1)


def best_of(values: Tensor, counts: Tensor) -> Tensor:
    """Mean over the prompts of the smallest loss among each one's masks.

    Args:
        values: (N, M).
        counts: (N,) bool; prompts that do not count, such as those whose object fell between the
            pixels at which masks are compared, of which Dice says nothing (see
            `abbe.losses.reduction.dice_loss`).

    Returns:
        A scalar; 0 where none counts. Of several processes, the mean is that over all prompts.
    """
    return mean_of_images(values.min(dim=1).values, counts)


def mask_iou(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """IoU of each mask cut at 0 with the truth, (N, M); of two empty masks it is 1."""
    known = valid[:, None]
    p, g = (logits > 0) & known, truth[:, None] & known
    union = (p | g).sum((-2, -1))
    return torch.where(union > 0, (p & g).sum((-2, -1)) / union.clamp(min=1), 1.0)


def iou_error(predicted: Tensor, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error of the IoU that the network predicts for its masks, (N, M) → scalar."""
    return F.mse_loss(predicted.float(), mask_iou(logits.detach(), truth, valid).float())
