"""A SAM teacher's image encoder in int8: rounded by some images, held to account by others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from abbe.errors import ConfigError, MissingExtraError
from abbe.in_words import counted
from abbe.teachers.sam.encoders import (
    Encode,
    EngineChoice,
    ImageEncoder,
    compiled_encoder,
    converted_encoder,
)

if TYPE_CHECKING:
    import torch

    from abbe.sam import SAM

CALIBRATION, GUARD = 4, 4
"""The first images set the ranges of int8, the next hold it to account. torch encodes them."""
LEAST_IOU = 0.99
"""Of masks by int8 with those by torch, as mean over the masks that are looked at."""
POINTS = 8
"""A side: of the grid of points that ask for these masks."""
WORTH = 0.5
"""Expected IoU from which on a mask is looked at; worse ones are of no object."""


def image_encoder(network: SAM, precision: str, engine: EngineChoice) -> Encode:
    """What runs a network's image encoder.

    Args:
        network: of SAM's family, on its device, in evaluation mode.
        precision: ``int8``, or as `ImageEncoder` takes it.
        engine: as `ImageEncoder` takes it.

    Raises:
        ConfigError: there is no such engine, or it does not compute so there.
        MissingExtraError: nncf is not installed.
    """
    if precision != "int8":
        return ImageEncoder(network, precision, engine)
    device = next(network.parameters()).device
    if engine == "torch" or device.type != "cpu":
        raise ConfigError(
            "precision int8: OpenVINO encodes in it, on CPUs. Set engine openvino and device cpu, "
            "or another precision"
        )
    if find_spec("nncf") is None:  # before images are encoded
        raise MissingExtraError("nncf", "train", "An encoder in int8")
    return Int8Encoder(network)


class Int8Encoder:
    """The image encoder in int8, once the first images have shown that its masks stay the same.

    torch encodes the first ``CALIBRATION + GUARD`` images, whose embeddings are its own. With the
    next one int8 takes over: nncf rounds weights and activations by the first of these images, and
    masks by the embeddings of the others must agree with those by torch's to ``LEAST_IOU``.

    Args:
        network: of SAM's family, on the CPU, in evaluation mode.
    """

    def __init__(self, network: SAM) -> None:
        self._network, self._by_torch = network, ImageEncoder(network, "auto")
        self._images: list[torch.Tensor] = []
        self._embeddings: list[torch.Tensor] = []
        self._by_int8: Encode | None = None

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Embed images, (B, 3, side, side) normalised.

        Raises:
            InputError: the images are not of the network's size.
            ConfigError: masks by int8 do not agree with those by torch.
        """
        if self._by_int8 is None and len(self._images) >= CALIBRATION + GUARD:
            self._by_int8 = self._rounded()
            self._images, self._embeddings = [], []
        if self._by_int8 is not None:
            return self._by_int8(images)
        started = time.perf_counter()
        found = self._by_torch(images)
        self._seconds = (time.perf_counter() - started) / len(images)
        self._images += images.split(1)
        self._embeddings += found.float().split(1)
        return found

    def _rounded(self) -> Encode:
        """The encoder in int8.

        Raises:
            ConfigError: masks by it do not agree with those by torch.
        """
        encode = rounded_encoder(self._network, self._images[:CALIBRATION])
        agreed: list[float] = []
        seconds = 0.0
        guard = zip(self._images[CALIBRATION:], self._embeddings[CALIBRATION:], strict=True)
        for image, expected in guard:
            started = time.perf_counter()
            found = encode(image)
            seconds = time.perf_counter() - started
            agreed += mask_agreement(self._network, image, found, expected)
        mean = float(np.mean(agreed)) if agreed else float("nan")
        told = f"masks agree with torch's to a mean IoU of {mean:.4f} over {len(agreed)} masks"
        if not mean >= LEAST_IOU:  # a NaN is not
            raise ConfigError(
                f"precision int8: {told} of {counted(GUARD, 'image')}; {LEAST_IOU} is needed. "
                "What was "
                "answered so far, by torch, is kept. Set another precision, and another --out"
            )
        print(
            f"the image encoder runs in OpenVINO, int8: {seconds:.3g} s an image where torch takes "
            f"{self._seconds:.3g} s ({told})",
            flush=True,
        )
        return encode


def rounded_encoder(network: SAM, images: Sequence[torch.Tensor]) -> Encode:
    """The image encoder in int8, compiled by OpenVINO for one image at a time.

    Args:
        network: of SAM's family, on the CPU, in evaluation mode.
        images: (1, 3, side, side) each, from which the ranges of int8 are measured.
    """
    from abbe.runtime.package.openvino_core import computes_bf16, nncf_for, weights_of_7_bits

    with nncf_for("An encoder in int8") as nncf:
        model = nncf.quantize(
            converted_encoder(network),
            nncf.Dataset([image.numpy() for image in images]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            model_type=nncf.ModelType.TRANSFORMER,
            advanced_parameters=weights_of_7_bits(),
        )
    # What is not rounded to int8 need not be more exact than torch is here.
    return compiled_encoder(model, "bf16" if computes_bf16() else "fp32")


def mask_agreement(
    network: SAM, image: torch.Tensor, found: torch.Tensor, expected: torch.Tensor
) -> list[float]:
    """IoU of the masks that two embeddings of an image lead to, for a grid of points.

    Only masks that are expected to be worth something are compared (``WORTH``), and no point lies
    in the padding. Both masks empty is no agreement to count, and left out.

    Args:
        network: whose decoder draws the masks.
        image: (1, 3, side, side), normalised and padded with zeros.
        found, expected: (1, 256, side / 16, side / 16).
    """
    import torch

    from abbe.sam import Prompts

    places = (torch.arange(POINTS) + 0.5) * network.side / POINTS
    points = torch.cartesian_prod(places, places)
    columns, rows = points.long().T
    points = points[(image[0, :, rows, columns] != 0).any(0)]
    if not len(points):
        return []
    prompts = Prompts(points=points[:, None], point_labels=torch.ones(len(points), 1))
    with torch.inference_mode():
        theirs, worth = network.decode(expected, prompts, multimask=False)
        ours, _ = network.decode(found.float(), prompts, multimask=False)
    both = [(a > 0, b > 0) for a, b, w in zip(ours, theirs, worth[:, 0], strict=True) if w >= WORTH]
    counts = [(int((a & b).sum()), int((a | b).sum())) for a, b in both]
    return [shared / union for shared, union in counts if union]
