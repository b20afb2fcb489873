"""From an image of any size to probability maps, in one piece or in overlapping tiles."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from abbe.errors import InputError
from abbe.imaging.windows import pad_to, spans
from abbe.students.unet import UNet

TOGETHER = {"cpu": 1 << 16}
"""px of images that are answered together, by kind of device. One image of 256² px keeps a CPU and
its caches busy, and more at a time are no faster; `TOGETHER_ON_GPU` elsewhere."""
TOGETHER_ON_GPU = 1 << 21


def predict(
    model: UNet,
    pixels: np.ndarray,
    *,
    tile: int = 1024,
    halo: int = 64,
    precision: torch.dtype = torch.float32,
    logits: bool = False,
) -> np.ndarray:
    """Predict the probability maps of one image.

    The image is continued at its lower and right border by mirroring (the border pixel repeated)
    up to the next multiple of the model's divisor. An image larger than a tile is cut into tiles
    that overlap by two halos; each pixel is taken from a tile in which it lies at least a halo from
    any cut. Tiles start at multiples of the divisor, so the result is that of the whole image where
    the halo covers what the network sees around a pixel. A network with global pooling (the
    squeeze-and-excitation of EfficientNet and MobileNetV3) or attention (Swin) sees the whole tile:
    there the results differ slightly, the less the larger the tile.

    Args:
        model: The student, on any device; its training mode is restored afterwards.
        pixels: (C, H, W) float, normalised to [0, 1], at least 1 x 1 px.
        tile: Side of a tile with its halo, in px; a multiple of the model's divisor.
        halo: Margin in px, a multiple of the divisor, less than half a tile.
        precision: float32, or bfloat16 or float16 by autocast.
        logits: Give the logits instead. Of maps that exclude each other their largest is the
            answer; sigmoids of all that are above 17 are 1.

    Returns:
        (K, H, W) float32 probabilities in [0, 1], or logits.

    Raises:
        InputError: The image is no (C, H, W), is empty, has other channels than the model, or holds
            NaN or infinity.
        ValueError: Tile and halo do not fit each other or the divisor.
    """
    return predict_together(
        model, [pixels], tile=tile, halo=halo, precision=precision, logits=logits
    )[0]


def predict_together(
    model: UNet,
    images: Sequence[np.ndarray],
    *,
    tile: int = 1024,
    halo: int = 64,
    precision: torch.dtype = torch.float32,
    logits: bool = False,
) -> list[np.ndarray]:
    """Predict the probability maps of images that are of one size once they are padded.

    Each is answered as `predict` answers it alone, but for rounding; see `together` for which.

    Args:
        model: See `predict`.
        images: (C, H, W) each, at least one.
        tile: See `predict`.
        halo: See `predict`.
        precision: See `predict`.
        logits: See `predict`.

    Returns:
        For each image, (K, H, W) float32 probabilities in [0, 1], or logits.

    Raises:
        InputError: See `predict`.
        ValueError: Tile and halo do not fit each other or the divisor, or the sizes differ.
    """
    for pixels in images:
        _check_image(pixels, model)
    _check_tiling(tile, halo, model.divisor)
    padded = np.stack([pad_to(np.array(each, np.float32), model.divisor) for each in images])
    height, width = padded.shape[2:]
    answers = np.empty((len(padded), len(model.outputs), height, width), dtype=np.float32)
    with _evaluating(model), torch.inference_mode():
        for rows in spans(height, tile, halo):
            for columns in spans(width, tile, halo):
                window = padded[:, :, rows.start : rows.stop, columns.start : columns.stop]
                result = _answers(model, window, precision, logits=logits)
                answers[
                    :, :, rows.core_start : rows.core_stop, columns.core_start : columns.core_stop
                ] = result[
                    :,
                    :,
                    rows.core_start - rows.start : rows.core_stop - rows.start,
                    columns.core_start - columns.start : columns.core_stop - columns.start,
                ]
    return [
        np.ascontiguousarray(maps[:, : each.shape[1], : each.shape[2]])
        for maps, each in zip(answers, images, strict=True)
    ]


def together(
    shapes: Sequence[tuple[int, int]], divisor: int, device: torch.device
) -> list[list[int]]:
    """Which images are answered together: numbers of those of one size once they are padded.

    Images of other sizes stay apart: padding them to one size would change what a network with
    global pooling or attention says of them.

    Args:
        shapes: (H, W) of each image.
        divisor: what sides are padded to multiples of; 1 where a network takes any size.
        device: that computes; it says how many px go together. A larger image goes alone.
    """
    most = TOGETHER.get(device.type, TOGETHER_ON_GPU)
    found: dict[tuple[int, int], list[list[int]]] = {}
    for number, (height, width) in enumerate(shapes):
        size = -(-height // divisor) * divisor, -(-width // divisor) * divisor
        lists = found.setdefault(size, [[]])
        if lists[-1] and (len(lists[-1]) + 1) * size[0] * size[1] > most:
            lists.append([])
        lists[-1].append(number)
    return [numbers for lists in found.values() for numbers in lists]


def _check_image(pixels: np.ndarray, model: UNet) -> None:
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise InputError(f"an image must be (C, H, W) with pixels in it, but is {pixels.shape}")
    if pixels.shape[0] != model.in_channels:
        raise InputError(
            f"the image has {pixels.shape[0]} channels, the student sees {model.in_channels}. "
            "Choose the channels that it was trained on."
        )
    if not np.isfinite(pixels).all():
        raise InputError("the image holds NaN or infinite pixels. Repair or leave it out.")


def _check_tiling(tile: int, halo: int, divisor: int) -> None:
    if tile % divisor or halo % divisor or not 0 <= 2 * halo < tile:
        raise ValueError(
            f"tile {tile} px and halo {halo} px must be multiples of {divisor} px, "
            "and two halos less than a tile"
        )


def _answers(
    model: nn.Module, window: np.ndarray, precision: torch.dtype, *, logits: bool
) -> np.ndarray:
    device = next(model.parameters()).device
    images = torch.from_numpy(np.ascontiguousarray(window)).to(device)
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        answers = model(images).float()
    return (answers if logits else answers.sigmoid()).cpu().numpy()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation, and afterwards give each module back the mode that it had."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
