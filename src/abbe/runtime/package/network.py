"""One network of a package, loaded by an engine; what it answers is looked at before it is used."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from abbe.errors import PackageError
from abbe.runtime.package.description import Package, Role
from abbe.runtime.package.gpu import cuda_session
from abbe.runtime.package.network_files import (
    compile_network,
    first_line,
    idle_requests,
    onnxruntime_session,
)
from abbe.runtime.package.openvino_core import openvino_core

EngineName = Literal["openvino", "onnxruntime"]
Precision = Literal["fp32", "bf16", "int8"]
Device = Literal["cpu", "cuda", "gpu"]
"""cuda: an NVIDIA GPU, by ONNX Runtime; gpu: an Intel GPU, by OpenVINO."""

Arrays = Mapping[str, NDArray[np.float32]]
_Answers = list[NDArray[np.float32]]

_HINTS: Mapping[Precision, str] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


@dataclass(frozen=True)
class Network:
    """A network that is ready to run; several threads may call it at once.

    Attributes:
        name: What it is in the package, for messages: network, encoder or decoder.
        package: The package.
        how: What runs it, and in which precision, for messages.
        inputs: Names of its inputs, in order.
        outputs: How many it has.
    """

    name: str
    package: Package
    how: str
    inputs: tuple[str, ...]
    outputs: int
    _run: Callable[[Arrays], _Answers]

    def __call__(self, inputs: Arrays, shapes: Sequence[tuple[int, ...]]) -> _Answers:
        """Its answers in order, float32, of these shapes.

        Raises:
            PackageError: It fails, or an answer has another shape or is not finite.
        """
        of = f"{self.package.folder}: its {self.name}"
        try:
            answers = self._run(inputs)
        except Exception as error:  # each engine has errors of its own
            shape = inputs[self.inputs[0]].shape
            raise PackageError(
                f"{of} fails on an input of shape {shape} ({first_line(error)})"
            ) from error
        for answer, shape in zip(answers, shapes, strict=True):
            if answer.shape != shape:
                raise PackageError(
                    f"{of} answers with an array of shape {answer.shape}, but package.json "
                    f"promises {shape}"
                )
            if not np.isfinite(answer.sum(dtype=np.float64)):
                raise PackageError(
                    f"{of} answers with NaN or infinity; an empty mask would be wrong. Try "
                    f"--precision fp32 (this was {self.how})"
                )
        return answers


def load_network(
    package: Package,
    role: Role,
    name: str,
    *,
    engine: EngineName,
    precision: Precision,
    threads: int,
    streams: int,
    cache: Path,
    device: Device = "cpu",
) -> Network:
    """Load and compile a network.

    Args:
        package: The package.
        role: The role of the network's file.
        name: What the network is, for messages.
        engine: What runs it.
        precision: How it computes.
        threads: For all calls together.
        streams: Calls to compute at the same time, each with its share of the threads.
        cache: Folder of compiled networks.
        device: Where it computes: cuda goes with onnxruntime, gpu with openvino.

    Raises:
        PackageError: The file is damaged, or more than a package may hold.
        MissingExtraError: ONNX Runtime is not installed.
    """
    how = f"{engine}, {precision}" + ("" if device == "cpu" else f", {device}")
    if engine == "onnxruntime":
        loaded = _onnxruntime(package, role, threads // streams, device)
    else:
        loaded = _openvino(package, role, precision, threads, streams, cache, device)
    return Network(name, package, how, *loaded)


def _openvino(
    package: Package,
    role: Role,
    precision: Precision,
    threads: int,
    streams: int,
    cache: Path,
    device: Device,
) -> tuple[tuple[str, ...], int, Callable[[Arrays], _Answers]]:
    options = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "NUM_STREAMS": streams}
    if device == "cpu":
        options["INFERENCE_NUM_THREADS"] = threads
    place = "CPU" if device == "cpu" else "GPU"
    compiled = compile_network(openvino_core(), package, role, options, cache, place)
    outputs = len(compiled.outputs)
    idle = idle_requests(compiled, streams)

    def run(inputs: Arrays) -> _Answers:
        request = idle.get()
        try:
            request.infer(dict(inputs), share_inputs=True)
            return [np.array(request.get_output_tensor(i).data, np.float32) for i in range(outputs)]
        finally:
            idle.put(request)

    return tuple(port.get_any_name() for port in compiled.inputs), outputs, run


def _onnxruntime(
    package: Package, role: Role, threads: int, device: Device
) -> tuple[tuple[str, ...], int, Callable[[Arrays], _Answers]]:
    if device == "cuda":
        session = cuda_session(package, role, threads)
    else:
        session = onnxruntime_session(package, role, threads)
    outputs = [port.name for port in session.get_outputs()]

    def run(inputs: Arrays) -> _Answers:
        return [np.asarray(each, np.float32) for each in session.run(outputs, dict(inputs))]

    return tuple(port.name for port in session.get_inputs()), len(outputs), run
