"""Run a package's network: OpenVINO, or ONNX Runtime where that is installed."""

import hashlib
import os
import queue
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from abbe.errors import ConfigError, MissingExtraError, PackageError
from abbe.runtime.openvino_core import openvino_core
from abbe.runtime.package import Package, Role

EngineName = Literal["openvino", "onnxruntime"]
Precision = Literal["fp32", "bf16", "int8"]

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
# An ONNX file whose weights lie elsewhere names that place under this key.
_EXTERNAL_DATA = b"\x0a\x08location"


@dataclass(frozen=True)
class Engine:
    """A network that is ready to run; several threads may call it at once.

    Attributes:
        engine, precision: what runs, and how it computes.
        threads: processor threads that it uses in all.
        streams: calls that it works on at the same time, each with its share of the threads.
        notes: what was done otherwise than the package says, in sentences for people.
    """

    engine: EngineName
    precision: Precision
    threads: int
    streams: int
    notes: tuple[str, ...]
    package: Package
    _run: Callable[[np.ndarray], np.ndarray]

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """The network's own answer, float32: (B, K, H, W), or (B, K) for a classification.

        Args:
            batch: (B, C, H, W) float32, normalised; H and W multiples of the package's divisor.

        Raises:
            PackageError: The network fails, or its answer has another shape or is not finite.
        """
        description = self.package.description
        sides = batch.shape[2:] if description.of_pixels else ()
        expected = (len(batch), len(description.answers), *sides)
        try:
            logits = self._run(np.ascontiguousarray(batch, np.float32))
        except Exception as error:  # each engine has errors of its own
            raise PackageError(
                f"{self.package.folder}: its network fails on an input of shape {batch.shape} "
                f"({first_line(error)})"
            ) from error
        if logits.shape != expected:
            raise PackageError(
                f"{self.package.folder}: its network answers with an array of shape "
                f"{logits.shape}, but package.json promises {expected}"
            )
        if not np.isfinite(logits.sum(dtype=np.float64)):
            raise PackageError(
                f"{self.package.folder}: its network answers with NaN or infinity; an empty mask "
                f"would be wrong. Try --precision fp32 (this was {self.engine}, {self.precision})"
            )
        return logits

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Sigmoids of the logits of a segmentation's maps; softmax over classes.

        Args and errors are those of `logits`; values lie in [0, 1].
        """
        logits = self.logits(batch)
        if self.package.description.task == "segmentation":
            return _sigmoid(logits)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        return logits

    def __str__(self) -> str:
        return f"{self.engine}, {self.precision}, {self.threads} threads"


def open_engine(
    package: Package,
    *,
    engine: EngineName | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    streams: int = 1,
    cache: Path | None = None,
) -> Engine:
    """Load and compile the network of a package; a promptable one has two, and none of this kind.

    Args:
        package: The package.
        engine: None for what the package says.
        precision: None for what the package says. bf16 where only the package asks for it
            becomes fp32 on hardware without it, with a note.
        threads: None for what the package says, or else all cores.
        streams: Calls to work on at the same time.
        cache: Folder in which compiled networks are kept for the next start; None for
            ``default_cache()``.

    Raises:
        ConfigError: The engine or the hardware cannot compute in this precision.
        PackageError: The package holds no such network, or it is damaged.
        MissingExtraError: ONNX Runtime is not installed.
    """
    description = package.description
    if description.task == "promptable":
        raise ConfigError(
            f"{package.folder}: a promptable package needs prompts; it has no network that runs "
            "on an image alone"
        )
    told = description.engine
    chosen = engine or told.engine
    wanted = precision or (told.precision if chosen == told.engine else "fp32")
    threads = threads or told.threads or os.cpu_count() or 1
    streams = min(streams, threads)
    if chosen == "onnxruntime":
        if wanted != "fp32":
            raise ConfigError(f"onnxruntime runs packages in fp32, not {wanted}: use openvino")
        run = _onnxruntime(package, threads // streams)
        return Engine(chosen, wanted, threads, streams, (), package, run)
    core = openvino_core()
    notes: tuple[str, ...] = ()
    if wanted == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        if precision == "bf16":
            raise ConfigError("this processor does not compute in bf16: use --precision fp32")
        wanted = "fp32"
        notes = ("The package asks for bf16; this processor lacks it, so fp32 is computed.",)
    run = _openvino(core, package, wanted, threads, streams, cache or default_cache())
    return Engine(chosen, wanted, threads, streams, notes, package, run)


def default_cache() -> Path:
    """Where compiled networks are kept: ``$XDG_CACHE_HOME/abbe`` or ``~/.cache/abbe``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "abbe" / "networks"


def _openvino(
    core: Any, package: Package, precision: Precision, threads: int, streams: int, cache: Path
) -> Callable[[np.ndarray], np.ndarray]:
    model = _model_file(package, precision)
    options = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
    }
    if kept := cache_folder(cache, package, model):
        options["CACHE_DIR"] = str(kept)
    try:
        compiled = core.compile_model(str(package.file(model)), "CPU", options)
    except RuntimeError as error:
        raise unreadable(package, model, error) from error
    _check_ports(package, model, len(compiled.inputs), len(compiled.outputs))
    idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(streams):
        idle.put(compiled.create_infer_request())

    def run(batch: np.ndarray) -> np.ndarray:
        request = idle.get()
        try:
            request.infer({0: batch}, share_inputs=True)
            return np.array(request.get_output_tensor(0).data, np.float32)
        finally:
            idle.put(request)

    return run


def _model_file(package: Package, precision: Precision) -> Role:
    """The role of the file to load; its partner of weights is checked as well."""
    if precision == "int8":
        if not package.has("int8_xml"):
            raise ConfigError(
                f"{package.folder}: the package has no int8 network. Export it with --int8, "
                "or use --precision fp32"
            )
        xml, weights = "int8_xml", "int8_bin"
    elif package.has("openvino_xml"):
        xml, weights = "openvino_xml", "openvino_bin"
    else:
        refuse_external_data(package.file("onnx"))
        return "onnx"
    beside = package.file(xml).with_suffix(".bin")
    if package.file(weights) != beside:
        raise PackageError(f"{package.folder}: {xml} and {weights} must differ in suffix only")
    return xml


def cache_folder(cache: Path, package: Package, model: Role) -> Path | None:
    """A folder of the network's own, named by its contents; None where none can be written."""
    files = package.description.files
    parts = [each.sha256 for role, each in files.items() if role in (model, _weights_of(model))]
    folder = cache / hashlib.sha256("".join(parts).encode()).hexdigest()[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None  # only the next start is slower
    return folder if os.access(folder, os.W_OK) else None


def _weights_of(model: Role) -> str:
    return model.replace("_xml", "_bin")


def _onnxruntime(package: Package, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnxruntime", "train", "The engine 'onnxruntime'") from error
    path = package.file("onnx")
    refuse_external_data(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no common base
        raise unreadable(package, "onnx", error) from error
    _check_ports(package, "onnx", len(session.get_inputs()), len(session.get_outputs()))
    name = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {name: batch})[0], np.float32)


def refuse_external_data(path: Path) -> None:
    """Refuse an ONNX file whose weights lie in another file.

    Raises:
        PackageError: They do.
    """
    if _EXTERNAL_DATA in path.read_bytes():
        raise PackageError(
            f"{path}: its weights are stored in another file, which a package does not allow. "
            "Save the network as one file"
        )


def _check_ports(package: Package, model: Role, inputs: int, outputs: int) -> None:
    if (inputs, outputs) != (1, 1):
        raise PackageError(
            f"{package.folder}: the network ({model}) has {inputs} inputs and {outputs} outputs; "
            "one of each is expected"
        )


def unreadable(package: Package, model: Role, error: Exception) -> PackageError:
    """What to raise where an engine cannot read a file of the package."""
    path = package.folder / package.description.files[model].path
    return PackageError(
        f"{path}: cannot be read as a network ({first_line(error)}). "
        "Copy or export the package again"
    )


def first_line(error: Exception) -> str:
    """What an engine's error says, short enough for a message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(−x)), in place; clipped where float32 would overflow."""
    np.clip(logits, -80.0, 80.0, out=logits)
    np.negative(logits, out=logits)
    np.exp(logits, out=logits)
    logits += 1.0
    return np.reciprocal(logits, out=logits)
