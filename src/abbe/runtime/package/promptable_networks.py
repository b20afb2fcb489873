"""The two networks of a promptable package, ready to run."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, PackageError
from abbe.runtime.package.description import Package, Role
from abbe.runtime.package.engine import EngineName, Precision, check_options
from abbe.runtime.package.network_cache import default_cache
from abbe.runtime.package.network_files import (
    compile_network,
    first_line,
    idle_requests,
    onnxruntime_session,
)
from abbe.runtime.package.openvino_core import openvino_core

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

Arrays = Mapping[str, NDArray[np.float32]]
_Run = Callable[[Arrays], list[NDArray[np.float32]]]


@dataclass(frozen=True)
class PromptableNetworks:
    """Encoder and decoder of a package; several threads may call them at once.

    Attributes:
        package: The package.
        side: Of the square that the encoder sees, px.
        engine: What runs them.
        precision: Of the encoder; the decoder computes in fp32.
        notes: What was done otherwise than the package says: nothing.
    """

    package: Package
    side: int
    engine: EngineName
    precision: Precision
    _encoder: _Run
    _decoder: _Run
    notes: tuple[str, ...] = ()

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
        (embedding,) = self._answers(
            "encoder", self._encoder, {"image": image}, [(len(image), EMBEDDING, *[self.grid] * 2)]
        )
        return embedding

    def decode(self, inputs: Arrays) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Answer one prompt: logits (1, 4, side / 4, side / 4) and expected IoU (1, 4).

        Args:
            inputs: By the names in `DECODER_INPUTS`.

        Raises:
            PackageError: The network fails, or answers with another shape or with NaN.
        """
        shapes = [(1, MASKS, *[4 * self.grid] * 2), (1, MASKS)]
        low, scores = self._answers("decoder", self._decoder, inputs, shapes)
        return low, scores

    def _answers(
        self, name: str, run: _Run, inputs: Arrays, shapes: list[tuple[int, ...]]
    ) -> list[NDArray[np.float32]]:
        try:
            answers = run(inputs)
        except Exception as error:  # each engine has errors of its own
            raise PackageError(
                f"{self.package.folder}: its {name} fails ({first_line(error)})"
            ) from error
        for answer, shape in zip(answers, shapes, strict=True):
            if answer.shape != shape:
                raise PackageError(
                    f"{self.package.folder}: its {name} answers with an array of shape "
                    f"{answer.shape}, but the package promises {shape}"
                )
            if not np.isfinite(answer.sum(dtype=np.float64)):
                raise PackageError(
                    f"{self.package.folder}: its {name} answers with NaN or infinity; a mask made "
                    "of that would be wrong"
                )
        return answers


def open_networks(
    package: Package,
    *,
    engine: EngineName | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    streams: int = 1,
    cache: Path | None = None,
) -> PromptableNetworks:
    """Load and compile both networks of a promptable package.

    Args:
        package: The package.
        engine: None for what the package says.
        precision: Of the encoder, fp32 or int8; None for what the package says.
        threads: None for what the package says, or else all cores.
        streams: Calls to compute at the same time, each with its share of the threads.
        cache: Folder in which compiled networks are kept for the next start; None for
            ``default_cache()``.

    Raises:
        ConfigError: The package is no promptable one, or the engine does not compute so.
        PackageError: A network is missing or damaged, or has other inputs or outputs.
        MissingExtraError: ONNX Runtime is not installed.
    """
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
    chosen = engine or description.engine.engine
    told = description.engine.precision if chosen == description.engine.engine else "fp32"
    wanted = precision or told
    if wanted == "bf16" or (wanted == "int8" and chosen == "onnxruntime"):
        raise ConfigError(f"a promptable package does not run in {wanted} with {chosen}: use fp32")
    threads = threads or description.engine.threads or os.cpu_count() or 1
    open_one = partial(
        _open, package, engine=chosen, threads=threads, streams=min(streams, threads),
        cache=cache or default_cache(),
    )  # fmt: skip
    encoder = open_one("encoder_int8" if wanted == "int8" else "encoder", ENCODER_INPUTS, 1)
    decoder = open_one("decoder", DECODER_INPUTS, 2)
    return PromptableNetworks(package, size[0], chosen, wanted, encoder, decoder)


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
) -> _Run:
    onnx, xml = _ROLES[part]
    if part == "encoder_int8" and not package.has(xml):
        raise PackageError(
            f"{package.folder}: the package has no int8 encoder. Export it with --int8, or run it "
            "in fp32"
        )
    if engine == "onnxruntime":
        run, found, answers = _onnxruntime(package, onnx, threads // streams)
    else:
        role = xml if package.has(xml) else onnx
        run, found, answers = _openvino(package, role, threads, streams, cache)
    if found != set(inputs) or answers != outputs:
        raise PackageError(
            f"{package.folder}: its {part} takes {', '.join(sorted(found))} and gives {answers} "
            f"arrays; {', '.join(inputs)} and {outputs} are expected"
        )
    return run


_ROLES: Mapping[str, tuple[Role, Role]] = {
    "encoder": ("encoder_onnx", "encoder_xml"),
    "encoder_int8": ("encoder_onnx", "encoder_int8_xml"),
    "decoder": ("decoder_onnx", "decoder_xml"),
}


def _openvino(
    package: Package, role: Role, threads: int, streams: int, cache: Path
) -> tuple[_Run, set[str], int]:
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
    }
    compiled = compile_network(openvino_core(), package, role, options, cache)
    names = {port.get_any_name() for port in compiled.inputs}
    outputs = len(compiled.outputs)
    idle = idle_requests(compiled, streams)

    def run(inputs: Arrays) -> list[NDArray[np.float32]]:
        request = idle.get()
        try:
            request.infer(dict(inputs))
            return [np.array(request.get_output_tensor(i).data, np.float32) for i in range(outputs)]
        finally:
            idle.put(request)

    return run, names, outputs


def _onnxruntime(package: Package, role: Role, threads: int) -> tuple[_Run, set[str], int]:
    session = onnxruntime_session(package, role, threads)
    names = {port.name for port in session.get_inputs()}
    outputs = [port.name for port in session.get_outputs()]

    def run(inputs: Arrays) -> list[NDArray[np.float32]]:
        return [np.asarray(each, np.float32) for each in session.run(outputs, dict(inputs))]

    return run, names, len(outputs)
