"""Run a package's network: OpenVINO, or ONNX Runtime where that is installed."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict, get_args

import numpy as np

from abbe.errors import ConfigError, PackageError
from abbe.in_words import counted
from abbe.machine.threads import default_threads, given
from abbe.runtime.package.description import Package, Role
from abbe.runtime.package.gpu import NoGpuError, require_openvino_gpu
from abbe.runtime.package.network import Device, EngineName, Network, Precision, load_network
from abbe.runtime.package.network_cache import default_cache
from abbe.runtime.package.openvino_core import computes_bf16


class EngineOptions(TypedDict, total=False):
    """How networks are to be run; what is left out, or None, is as the package says.

    Attributes:
        engine, precision, threads, streams, cache, device: See `open_engine`.
    """

    engine: EngineName | None
    device: Device | None
    precision: Precision | None
    threads: int | None
    streams: int
    cache: Path | None


@dataclass(frozen=True)
class Engine:
    """A network that is ready to run; several threads may call it at once.

    Attributes:
        engine, precision: what runs, and how it computes.
        threads: processor threads that it uses in all.
        streams: calls that it works on at the same time, each with its share of the threads.
        notes: what was done otherwise than the package says, in sentences for people.
        network: takes one array and gives one.
        device: where it computes.
    """

    engine: EngineName
    precision: Precision
    threads: int
    streams: int
    notes: tuple[str, ...]
    network: Network
    device: Device = "cpu"

    @property
    def package(self) -> Package:
        """The package that the network is of."""
        return self.network.package

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """The network's own answer, float32: (B, K, H, W), or (B, K) for a classification.

        Args:
            batch: (B, C, H, W) float32, normalised; H and W multiples of the package's divisor.

        Raises:
            PackageError: The network fails, or its answer has another shape or is not finite.
        """
        description = self.package.description
        sides = batch.shape[2:] if description.traits.of_pixels else ()
        expected = (len(batch), len(description.logit_names), *sides)
        inputs = {self.network.inputs[0]: np.ascontiguousarray(batch, np.float32)}
        return self.network(inputs, [expected])[0]

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Sigmoids of the logits of a segmentation's maps; softmax over classes.

        Args and errors are those of `logits`; values lie in [0, 1].
        """
        logits = self.logits(batch)
        if not self.package.description.traits.tells_classes:
            return _sigmoid(logits)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        return logits

    def __str__(self) -> str:
        if self.device != "cpu":
            return f"{self.engine}, {self.precision}, {self.device}"
        return f"{self.engine}, {self.precision}, {counted(self.threads, 'thread')}"


def open_engine(
    package: Package,
    *,
    engine: EngineName | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    streams: int = 1,
    cache: Path | None = None,
    device: Device | None = None,
) -> Engine:
    """Load and compile the network of a package; a promptable one has two, and none of this kind.

    Args:
        package: The package.
        engine: None for what the package says; OpenVINO where bf16 or int8 is asked for, and, with
            a note, where that is not installed.
        precision: None for what the package says. bf16 where only the package asks for it
            becomes fp32 on hardware without it, with a note.
        threads: None for OMP_NUM_THREADS, or else what the package says, or all cores.
        streams: Calls to work on at the same time.
        cache: Folder in which compiled networks are kept for the next start; None for
            ``default_cache()``.
        device: Where to compute: cpu, also where None; cuda, an NVIDIA GPU by ONNX Runtime, or
            gpu, one of Intel's by OpenVINO, both in fp32. Where that cannot be had, the processor
            computes as the package says, with a note.

    Raises:
        ConfigError: An option is unknown or below 1, or the engine or the hardware cannot compute
            in this precision.
        PackageError: The package holds no such network, or it is damaged.
        MissingExtraError: ONNX Runtime is asked for and not installed.
    """
    description = package.description
    if description.traits.prompted:
        raise ConfigError(
            f"{package.folder}: a promptable package needs prompts; it has no network that runs "
            "on an image alone"
        )
    check_options(engine, precision, threads=threads, streams=streams)
    cache = cache or default_cache()
    gpu_notes: tuple[str, ...] = ()
    if device is not None and device != "cpu":
        of_host = threads or default_threads()
        try:
            chosen = gpu_engine(device, engine, precision)
            network = load_network(
                package, _role(package, chosen, "fp32"), "network", engine=chosen,
                precision="fp32", threads=of_host, streams=1, cache=cache, device=device,
            )  # fmt: skip
        except NoGpuError as error:
            gpu_notes = (no_gpu(device, error),)
        else:
            _require_one_of_each(package, network)
            return Engine(chosen, "fp32", of_host, streams, (), network, device)
    told = description.engine
    if engine is None and precision in ("bf16", "int8"):  # whichever runs it otherwise
        engine = "openvino"
    chosen, notes = (engine, ()) if engine else _engine_here(told.engine)
    notes = (*gpu_notes, *notes)
    wanted = precision or (told.precision if chosen == told.engine else "fp32")
    threads = threads or given() or told.threads or default_threads()
    streams = min(streams, threads)
    if chosen == "onnxruntime" and wanted != "fp32":
        raise ConfigError(f"onnxruntime runs packages in fp32, not {wanted}: use openvino")
    if wanted == "bf16" and not computes_bf16():
        if precision == "bf16":
            raise ConfigError("this processor does not compute in bf16: use --precision fp32")
        wanted = "fp32"
        notes += ("The package asks for bf16; this processor lacks it, so fp32 is computed.",)
    role = _role(package, chosen, wanted)
    network = load_network(
        package, role, "network", engine=chosen, precision=wanted, threads=threads,
        streams=streams, cache=cache,
    )  # fmt: skip
    _require_one_of_each(package, network)
    return Engine(chosen, wanted, threads, streams, notes, network)


def gpu_engine(
    device: Device, engine: EngineName | None, precision: Precision | None
) -> EngineName:
    """What runs networks on a GPU of this machine.

    Raises:
        ConfigError: As for `engine_on`.
        NoGpuError: It is OpenVINO, which sees no GPU here.
    """
    chosen = engine_on(device, engine, precision)
    if device == "gpu":
        require_openvino_gpu()
    return chosen


def engine_on(device: Device, engine: EngineName | None, precision: Precision | None) -> EngineName:
    """What runs networks on a GPU, of whichever machine.

    Raises:
        ConfigError: There is no such device, or it does not go with engine and precision.
    """
    engines: dict[str, EngineName] = {"cuda": "onnxruntime", "gpu": "openvino"}
    if device not in engines:
        raise ConfigError(f"device '{device}': known are {', '.join(get_args(Device))}")
    if engine not in (None, engines[device]) or precision not in (None, "fp32"):
        raise ConfigError(
            f"device {device}: {engines[device]} computes there, in fp32; leave engine and "
            "precision out"
        )
    return engines[device]


STANDS_IN = "The processor computes."


def no_gpu(device: Device, error: NoGpuError) -> str:
    """The note where the processor stands in."""
    return f"No {device}: {error}. {STANDS_IN}"


def _require_one_of_each(package: Package, network: Network) -> None:
    if (len(network.inputs), network.outputs) != (1, 1):
        raise PackageError(
            f"{package.folder}: the network ({network.how}) has {len(network.inputs)} inputs and "
            f"{network.outputs} outputs; one of each is expected"
        )


def _engine_here(told: EngineName) -> tuple[EngineName, tuple[str, ...]]:
    """The engine that a package asks for, or else OpenVINO, and what to say of it."""
    if told == "openvino" or find_spec(told) is not None:
        return told, ()
    return "openvino", (
        "The package asks for ONNX Runtime, which is not installed (pip install onnxruntime): "
        "OpenVINO computes.",
    )


def check_options(engine: str | None, precision: str | None, **counts: int | None) -> None:
    """Refuse options that mean nothing, by their names; None is always allowed.

    Raises:
        ConfigError: An engine or precision is unknown, or a count is below 1.
    """
    for option, value in counts.items():
        if value is not None and value < 1:
            raise ConfigError(f"{option} {value}: at least 1 is needed")
    for option, value, known in (
        ("engine", engine, get_args(EngineName)),
        ("precision", precision, get_args(Precision)),
    ):
        if value is not None and value not in known:
            raise ConfigError(f"{option} '{value}': known are {', '.join(known)}")


def _role(package: Package, engine: EngineName, precision: Precision) -> Role:
    if engine == "onnxruntime":
        if not package.has("onnx"):
            raise ConfigError(
                f"{package.folder}: the package was made for OpenVINO alone (abbe export "
                "--engine). Use --engine openvino, or export it again"
            )
        return "onnx"
    if precision == "int8":
        if not package.has("int8_xml"):
            raise ConfigError(
                f"{package.folder}: the package has no int8 network. Export it with --int8, "
                "or use --precision fp32"
            )
        return "int8_xml"
    if package.has("openvino_xml"):
        return "openvino_xml"
    if not package.has("onnx"):
        raise ConfigError(
            f"{package.folder}: the package was made for int8 alone (abbe export --engine). Use "
            "--precision int8, or export it again"
        )
    return "onnx"


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(−x)), in place; clipped where float32 would overflow."""
    np.clip(logits, -80.0, 80.0, out=logits)
    np.negative(logits, out=logits)
    np.exp(logits, out=logits)
    logits += 1.0
    return np.reciprocal(logits, out=logits)
