"""The two networks of a promptable package, ready to run."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, PackageError
from abbe.machine.threads import default_threads, given
from abbe.runtime.package.description import Package, Role
from abbe.runtime.package.engine import EngineOptions, check_options, gpu_engine, no_gpu
from abbe.runtime.package.gpu import NoGpuError
from abbe.runtime.package.network import (
    Arrays,
    Device,
    EngineName,
    Network,
    Precision,
    load_network,
)
from abbe.runtime.package.network_cache import default_cache

EMBEDDING = 256
"""Channels of the embedding."""
PATCH = 16
"""px of the square a side of one cell of the embedding."""
MASKS = 4
"""Masks a prompt: the single answer first, then whole, part and subpart."""

ENCODER_INPUTS = ("image",)
DECODER_INPUTS = (
    "image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input",
)  # fmt: skip
"""Names of the inputs, those that SAM's own export gives its decoder."""


@dataclass(frozen=True)
class PromptableNetworks:
    """Encoder and decoder of a package; several threads may call them at once.

    Attributes:
        package: The package.
        side: Of the square that the encoder sees, px.
        engine: What runs them.
        precision: Of the encoder; the decoder computes in fp32.
        notes: What was done otherwise than was asked for.
        device: Where they compute.
    """

    package: Package
    side: int
    engine: EngineName
    precision: Precision
    _encoder: Network
    _decoder: Network
    notes: tuple[str, ...] = ()
    device: Device = "cpu"

    @property
    def grid(self) -> int:
        """Cells a side of the embedding."""
        return self.side // PATCH

    def __str__(self) -> str:
        return f"{self.engine}, encoder in {self.precision}"

    def encode(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed images (B, 3, side, side): (B, 256, side / 16, side / 16).

        Raises:
            PackageError: The network fails, or answers with another shape or with NaN.
        """
        (embedding,) = self._encoder({"image": image}, [(len(image), EMBEDDING, *[self.grid] * 2)])
        return embedding

    def decode(self, inputs: Arrays) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Answer one prompt: logits (1, 4, side / 4, side / 4) and expected IoU (1, 4).

        Args:
            inputs: By the names in `DECODER_INPUTS`.

        Raises:
            PackageError: The network fails, or answers with another shape or with NaN.
        """
        shapes = [(1, MASKS, *[4 * self.grid] * 2), (1, MASKS)]
        low, scores = self._decoder(inputs, shapes)
        return low, scores


def open_networks(package: Package, **options: Unpack[EngineOptions]) -> PromptableNetworks:
    """Load and compile both networks of a promptable package.

    Args:
        package: The package.
        options: engine, precision (of the encoder, fp32 or int8), threads, streams, cache,
            device: see `open_engine`.

    Raises:
        ConfigError: The package is no promptable one, or the engine does not compute so.
        PackageError: A network is missing or damaged, or has other inputs or outputs.
        MissingExtraError: ONNX Runtime is not installed.
    """
    engine, precision = options.get("engine"), options.get("precision")
    threads, streams = options.get("threads"), options.get("streams", 1)
    check_options(engine, precision, threads=threads, streams=streams)
    description = package.description
    if not description.traits.prompted:
        raise ConfigError(
            f"{package.folder}: this is a {description.task} package, which takes no prompts: run "
            "it with abbe.predict"
        )
    size = description.image_size
    if size is None or size[0] != size[1] or size[0] % PATCH:
        raise PackageError(
            f"{package.folder}/package.json: image_size is {size}; a promptable package needs a "
            f"square whose side is a multiple of {PATCH} px"
        )
    threads = threads or given() or description.engine.threads or default_threads()
    cache = options.get("cache") or default_cache()
    notes: tuple[str, ...] = ()
    device = options.get("device") or "cpu"
    if device != "cpu":
        try:
            chosen = gpu_engine(device, engine, precision)
            parts = partial(
                _open, package, engine=chosen, threads=threads, streams=1, cache=cache,
                device=device,
            )  # fmt: skip
            encoder, decoder = (
                parts("encoder", ENCODER_INPUTS, 1),
                parts("decoder", DECODER_INPUTS, 2),
            )
        except NoGpuError as error:
            notes = (no_gpu(device, error),)
        else:
            return PromptableNetworks(
                package, size[0], chosen, "fp32", encoder, decoder, device=device
            )
    chosen = engine or description.engine.engine
    told = description.engine.precision if chosen == description.engine.engine else "fp32"
    wanted = precision or told
    if wanted == "bf16" or (wanted == "int8" and chosen == "onnxruntime"):
        raise ConfigError(f"a promptable package does not run in {wanted} with {chosen}: use fp32")
    open_one = partial(
        _open, package, engine=chosen, threads=threads, streams=min(streams, threads), cache=cache
    )
    encoder = open_one("encoder_int8" if wanted == "int8" else "encoder", ENCODER_INPUTS, 1)
    decoder = open_one("decoder", DECODER_INPUTS, 2)
    return PromptableNetworks(package, size[0], chosen, wanted, encoder, decoder, notes)


def _open(
    package: Package,
    part: Literal["encoder", "encoder_int8", "decoder"],
    inputs: tuple[str, ...],
    outputs: int,
    *,
    engine: EngineName,
    threads: int,
    streams: int,
    cache: Path,
    device: Device = "cpu",
) -> Network:
    onnx, xml = _ROLES[part]
    if part == "encoder_int8" and not package.has(xml):
        raise PackageError(
            f"{package.folder}: the package has no int8 encoder. Export it with --int8, or run it "
            "in fp32"
        )
    role = xml if engine == "openvino" and package.has(xml) else onnx
    network = load_network(
        package, role, part.partition("_")[0], engine=engine,
        precision="int8" if part == "encoder_int8" else "fp32",
        threads=threads, streams=streams, cache=cache, device=device,
    )  # fmt: skip
    if set(network.inputs) != set(inputs) or network.outputs != outputs:
        raise PackageError(
            f"{package.folder}: its {part} takes {', '.join(sorted(network.inputs))} and gives "
            f"{network.outputs} arrays; {', '.join(inputs)} and {outputs} are expected"
        )
    return network


_ROLES: Mapping[str, tuple[Role, Role]] = {
    "encoder": ("encoder_onnx", "encoder_xml"),
    "encoder_int8": ("encoder_onnx", "encoder_int8_xml"),
    "decoder": ("decoder_onnx", "decoder_xml"),
}
