"""From an image of any size to probability maps, in one piece or in overlapping tiles."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from abbe.errors import InputError
from abbe.imaging.windows import pad_to, spans
from abbe.students.unet import UNet


def predict(
    model: UNet,
    pixels: np.ndarray,
    *,
    tile: int = 1024,
    halo: int = 64,
    precision: torch.dtype = torch.float32,
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

    Returns:
        (K, H, W) float32 probabilities in [0, 1].

    Raises:
        InputError: The image is no (C, H, W), is empty, has other channels than the model, or holds
            NaN or infinity.
        ValueError: Tile and halo do not fit each other or the divisor.
    """
    _check_image(pixels, model)
    _check_tiling(tile, halo, model.divisor)
    height, width = pixels.shape[1:]
    padded = pad_to(np.array(pixels, dtype=np.float32), model.divisor)
    probabilities = np.empty((len(model.outputs), *padded.shape[1:]), dtype=np.float32)
    with _evaluating(model), torch.inference_mode():
        for rows in spans(padded.shape[1], tile, halo):
            for columns in spans(padded.shape[2], tile, halo):
                window = padded[:, rows.start : rows.stop, columns.start : columns.stop]
                result = _probabilities(model, window, precision)
                probabilities[
                    :, rows.core_start : rows.core_stop, columns.core_start : columns.core_stop
                ] = result[
                    :,
                    rows.core_start - rows.start : rows.core_stop - rows.start,
                    columns.core_start - columns.start : columns.core_stop - columns.start,
                ]
    return np.ascontiguousarray(probabilities[:, :height, :width])


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


def _probabilities(model: nn.Module, window: np.ndarray, precision: torch.dtype) -> np.ndarray:
    device = next(model.parameters()).device
    image = torch.from_numpy(np.ascontiguousarray(window))[None].to(device)
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        logits = model(image)
    return logits[0].float().sigmoid().cpu().numpy()


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
