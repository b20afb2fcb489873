"""What runs a SAM teacher's image encoder, nearly all of its work: torch, or OpenVINO on CPUs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

from abbe.errors import ConfigError
from abbe.machine.precision import autocast_for, choose_precision

if TYPE_CHECKING:
    import torch

    from abbe.sam import SAM

EngineChoice = Literal["auto", "torch", "openvino"]
Encode = Callable[["torch.Tensor"], "torch.Tensor"]
"""Images (B, 3, side, side), normalised, to embeddings (B, 256, side / 16, side / 16)."""

LEAST_SIDE = 512
"""px from which "auto" tries OpenVINO: converting a smaller network costs more than its images."""
TOLERANCE = {"fp32": 0.001, "bf16": 0.05}
"""How far OpenVINO's embeddings may be from torch's in the same number format: the root of the mean
squared difference, over that of torch's values. Two ways to round to bf16 differ by about 0.01."""
_HINTS = {"fp32": "f32", "bf16": "bf16"}


class ImageEncoder:
    """The image encoder of a network, run by what was chosen.

    OpenVINO takes the network over at the first image, which both encode: it must answer as torch
    does (`TOLERANCE`), and "auto" keeps it only if it was faster.

    Args:
        network: of SAM's family, on its device, in evaluation mode.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``auto``.
        engine: ``torch``, ``openvino``, or ``auto``.

    Raises:
        ConfigError: there is no such engine, or OpenVINO does not compute so there.
    """

    def __init__(self, network: SAM, precision: str, engine: EngineChoice = "torch") -> None:
        self._network, self._precision = network, precision
        self._device = next(network.parameters()).device
        computed = choose_precision(precision, self._device)
        self._tries = _tries(engine, network.side, self._device.type, computed)
        self._must = engine == "openvino"
        self._by_openvino: Encode | None = None

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Embed images, on the network's device.

        Raises:
            InputError: the images are not of the network's size.
            ConfigError: OpenVINO was demanded, and it cannot run the network or gives other
                embeddings.
        """
        if self._tries:
            self._tries = False
            return self._first(images)
        return (self._by_openvino or self._by_torch)(images)

    def _by_torch(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.inference_mode(), autocast_for(self._device, self._precision):
            return self._network.encode(images.to(self._device))

    def _first(self, images: torch.Tensor) -> torch.Tensor:
        """Encode by both, and keep the one or the other."""
        started = time.perf_counter()
        expected = self._by_torch(images)
        by_torch = time.perf_counter() - started
        computed = choose_precision(self._precision, self._device)
        try:
            encode = openvino_encoder(self._network, computed)
            encode(images)  # the first call prepares memory
            started = time.perf_counter()
            found = encode(images)
            seconds = time.perf_counter() - started
        except Exception as error:  # torch.export, the converter and the plugin raise many kinds
            return self._kept(expected, f"cannot run this image encoder ({_first_line(error)})")
        apart = difference(found, expected)
        if not apart <= TOLERANCE[computed]:  # a NaN is not
            return self._kept(
                expected, f"gives other embeddings ({apart:.2g} of their size; {computed})"
            )
        if seconds > by_torch and not self._must:
            return self._kept(expected, f"takes {seconds:.3g} s an image, torch {by_torch:.3g} s")
        self._by_openvino = encode
        print(
            f"the image encoder runs in OpenVINO, {computed}: {seconds:.3g} s an image where torch "
            f"takes {by_torch:.3g} s (embeddings differ by {apart:.2g} of their size)",
            flush=True,
        )
        return found

    def _kept(self, expected: torch.Tensor, why: str) -> torch.Tensor:
        if self._must:
            raise ConfigError(
                f"OpenVINO {why}: leave --teacher.options engine out, or set it torch"
            )
        print(f"the image encoder runs in torch: OpenVINO {why}", flush=True)
        return expected


def openvino_encoder(network: SAM, precision: str) -> Encode:
    """The image encoder compiled by OpenVINO for one image at a time, in fp32 or bf16.

    It uses as many threads as torch does.
    """
    return compiled_encoder(converted_encoder(network), precision)


def converted_encoder(network: SAM) -> Any:
    """The image encoder as an ``openvino.Model`` for one image."""
    import torch

    from abbe.runtime.package.openvino_core import load_openvino

    side, openvino = network.side, load_openvino()
    with torch.no_grad():
        program = torch.export.export(network.image_encoder, (torch.zeros(1, 3, side, side),))
    model = openvino.convert_model(program)
    model.reshape([1, 3, side, side])
    return model


def compiled_encoder(model: Any, precision: str) -> Encode:
    """What `converted_encoder` gives, ready to run in fp32 or bf16 where it is not rounded."""
    import torch

    from abbe.runtime.package.openvino_core import openvino_core

    options = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino_core().compile_model(model, "CPU", options)
    answer = compiled.output(0)

    def encode(images: torch.Tensor) -> torch.Tensor:
        rows = [compiled(image[None].numpy())[answer] for image in images]
        return torch.cat([torch.from_numpy(row.copy()) for row in rows])

    return encode


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The root of the mean squared difference, over that of what is expected."""
    expected = expected.float()
    apart = (found.float() - expected).square().mean() / expected.square().mean()
    return float(apart.sqrt())


def _tries(engine: str, side: int, device: str, precision: str) -> bool:
    """Whether OpenVINO is to be tried."""
    if engine not in get_args(EngineChoice):
        raise ConfigError(f"engine '{engine}': choose from {', '.join(get_args(EngineChoice))}")
    if engine == "openvino" and (device != "cpu" or precision not in _HINTS):
        raise ConfigError(
            f"engine openvino: it encodes on CPUs in fp32 and bf16, not in {precision} on {device}."
            " Set device cpu and precision auto, or engine torch"
        )
    if engine == "auto":
        return device == "cpu" and precision in _HINTS and side >= LEAST_SIDE
    return engine == "openvino"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
