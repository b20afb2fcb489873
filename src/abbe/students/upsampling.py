"""Upsampling, joining and convolving in fewer operations, for training on CPUs.

A 3 x 3 convolution of a map that was doubled by repeating its pixels sees each pixel up to four
times. A transposed convolution of the small map, by a 4 x 4 kernel in which those repetitions are
summed, gives the same in four ninths of the operations and without the large map in between.
"""

import torch.nn.functional as F
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn

FEWEST_PIXELS = 1024
"""Of a batch's small maps. To sum the kernel costs as much as is saved in half as many pixels,
however many channels there are: both grow with their number."""


def decode_block(block: UnetDecoderBlock, x: Tensor, skip: Tensor | None) -> Tensor:
    """The decoder's block: (B, C, H, W) and what joins it, (B, D, 2H, 2W), to (B, K, 2H, 2W).

    The same on both ways but for rounding. The shorter one is taken where it is faster, in training
    on a CPU; packages are made of the plain operations.
    """
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    if not block.training or x.device.type != "cpu" or pixels < FEWEST_PIXELS:
        return block(x, 2 * x.shape[-2], 2 * x.shape[-1], skip)
    convolution, *others = block.conv1
    assert isinstance(convolution, nn.Conv2d)
    x = convolved_double(x, skip, convolution.weight)
    for layer in others:
        x = layer(x)
    return block.conv2(x)


def convolved_double(x: Tensor, skip: Tensor | None, weight: Tensor) -> Tensor:
    """conv2d(cat(nearest(x, 2), skip), weight, padding=1) by a transposed convolution.

    Args:
        x: (B, C, H, W), to be doubled.
        skip: (B, D, 2H, 2W), joined after it; None for nothing.
        weight: (K, C + D, 3, 3).

    Returns:
        (B, K, 2H, 2W).
    """
    channels = x.shape[1]
    turned = weight[:, :channels].flip(2, 3).transpose(0, 1)
    wider = F.pad(turned, (0, 1)) + F.pad(turned, (1, 0))
    kernel = F.pad(wider, (0, 0, 0, 1)) + F.pad(wider, (0, 0, 1, 0))
    doubled = F.conv_transpose2d(x, kernel, stride=2, padding=1)
    if skip is None:
        return doubled
    return doubled + F.conv2d(skip, weight[:, channels:], padding=1)
