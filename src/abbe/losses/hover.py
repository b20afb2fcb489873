"""Horizontal and vertical maps of instances, and learning them from a teacher (HoVer-Net)."""

import torch
from torch import Tensor

from abbe.losses.reduction import mean_of_known


def hv_maps(labels: Tensor) -> Tensor:
    """How far each pixel of an instance is from the instance's centre of mass, right and down.

    After HoVer-Net (Graham et al. 2019, section 3.1): distances along one axis are divided by the
    largest on their own side of the centre, so that an instance reaches from −1 to 1. The centre is
    not rounded to a pixel, as it is in the code published with the paper.

    Args:
        labels: (B, H, W) integers: 0 background, −1 unknown.

    Returns:
        (B, 2, H, W) float32: horizontal, vertical, in [−1, 1]; 0 outside instances.
    """
    count, height, width = labels.shape
    inside = labels > 0
    if not inside.any():
        return torch.zeros(count, 2, height, width, device=labels.device)
    # One number for each instance of each image, from 0 without gaps.
    first = torch.arange(count, device=labels.device)[:, None, None] * (labels.max().long() + 1)
    instances, index = torch.unique((first + labels)[inside], return_inverse=True)
    rows = torch.arange(height, device=labels.device)[:, None].expand(height, width)
    columns = torch.arange(width, device=labels.device)[None].expand(height, width)
    maps = torch.zeros(count, 2, height, width, device=labels.device)
    for axis, places in enumerate((columns, rows)):
        along = places.expand_as(labels)[inside].double()
        maps[:, axis][inside] = _from_centre(along, index, len(instances)).float()
    return maps


def _from_centre(places: Tensor, index: Tensor, count: int) -> Tensor:
    """Signed distance of each place from the mean of its instance, scaled on either side to 1."""
    sums = torch.zeros(count, dtype=places.dtype, device=places.device)
    means = sums.index_add(0, index, places) / sums.index_add(0, index, torch.ones_like(places))
    distance = places - means[index]
    farthest = [
        sums.scatter_reduce(0, index, side.clamp(min=0), "amax") for side in (distance, -distance)
    ]
    scale = torch.where(distance > 0, farthest[0][index], farthest[1][index])
    return torch.where(scale > 0, distance / scale, 0.0)


def hv_mse(maps: Tensor, teacher_maps: Tensor, q: Tensor, valid: Tensor) -> Tensor:
    """Mean squared difference of the two maps where the teacher sees a nucleus (q > 0.5).

    Args:
        maps: (B, 2, H, W) the student's, any value.
        teacher_maps: (B, 2, H, W) in [−1, 1]; anything where not valid.
        q: (B, H, W) the teacher's nuclei probability.
        valid: (B, H, W) bool; true where the teacher has spoken.

    Returns:
        A scalar ≥ 0: the mean over both maps and the nuclear pixels of each image, then over the
        images that have any; 0 with zero gradient where there is none.

    Raises:
        ValueError: The shapes differ.
    """
    pixels = (maps.shape[0], *maps.shape[2:])
    if maps.ndim != 4 or maps.shape[1] != 2 or teacher_maps.shape != maps.shape:
        raise ValueError(
            "both maps must be (B, 2, H, W), but are "
            f"{tuple(maps.shape)} and {tuple(teacher_maps.shape)}"
        )
    if q.shape != pixels or valid.shape != pixels or valid.dtype != torch.bool:
        raise ValueError(
            f"q and valid must be {pixels}, and valid bool, but are "
            f"{tuple(q.shape)} and {tuple(valid.shape)} {valid.dtype}"
        )
    dtype = torch.promote_types(maps.dtype, torch.float32)
    nuclei = valid & (q > 0.5)
    teacher_maps = torch.where(nuclei[:, None], teacher_maps.to(dtype), 0.0)
    difference = torch.where(nuclei[:, None], maps.to(dtype) - teacher_maps, 0.0)
    return mean_of_known(difference.square().mean(1), nuclei.to(dtype))
