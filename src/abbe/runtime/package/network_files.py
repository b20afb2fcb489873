"""Open the network files of a package with OpenVINO or ONNX Runtime; refuse what is unsafe."""

import queue
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from abbe.errors import MissingExtraError, PackageError
from abbe.runtime.package.description import Package, Role
from abbe.runtime.package.network_cache import cache_folder, forget_oldest, writing_to
from abbe.runtime.package.network_limits import refuse_excess, refuse_onnx
from abbe.runtime.package.openvino_core import openvino_core
from abbe.telemetry import switch_off


def compile_network(
    core: Any,
    package: Package,
    role: Role,
    options: Mapping[str, Any],
    cache: Path,
    device: str = "CPU",
) -> Any:
    """An ``openvino.CompiledModel``, from the cache where it is kept there.

    Args:
        core: An ``openvino.Core``.
        package: The package.
        role: The role of the network's file, ONNX or XML.
        options: OpenVINO's properties.
        cache: The folder of compiled networks.
        device: OpenVINO's name of what computes.

    Raises:
        PackageError: The file is no network, its weights are not the ones packed with it, an ONNX
            file keeps them elsewhere, or the network asks for too much.
    """
    path = package.file(role)
    if role.endswith("onnx"):
        refuse_onnx(path)
    else:
        _check_weights(package, role, path)
    folder = cache_folder(cache, package, role)
    _refuse_excess(core, package, role, folder)
    kept = {} if folder is None else {"CACHE_DIR": str(folder)}
    try:
        with nullcontext() if folder is None else writing_to(folder):
            compiled = core.compile_model(str(path), device, {**options, **kept})
    except RuntimeError as error:
        raise _unreadable(package, role, error) from error
    forget_oldest(cache)
    return compiled


def idle_requests(compiled: Any, count: int) -> "queue.SimpleQueue[Any]":
    """So many requests of a compiled network; a thread takes one and puts it back."""
    idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(count):
        idle.put(compiled.create_infer_request())
    return idle


def onnxruntime_session(
    package: Package,
    role: Role,
    threads: int,
    providers: Sequence[Any] = ("CPUExecutionProvider",),
) -> Any:
    """An ``onnxruntime.InferenceSession``, on the processor where nothing else is asked for.

    Args:
        package: The package.
        role: The role of the ONNX file.
        threads: Threads to compute one call with.
        providers: ONNX Runtime's names of what computes, the first that it can load.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        PackageError: The file is no network, or its weights lie in another file.
    """
    switch_off()
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnxruntime", "train", "The engine 'onnxruntime'") from error
    path = package.file(role)
    refuse_onnx(path)
    _refuse_excess(openvino_core(), package, role, None)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # its errors have no common base
        raise _unreadable(package, role, error) from error


def first_line(error: Exception) -> str:
    """What an engine's error says, short enough for a message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]


def _check_weights(package: Package, role: Role, xml: Path) -> None:
    """OpenVINO takes the weights of the same stem, which must be those that the package names."""
    weights = cast(Role, role.removesuffix("xml") + "bin")
    if package.file(weights) != xml.with_suffix(".bin"):
        raise PackageError(f"{package.folder}: {role} and {weights} must differ in suffix only")


def _refuse_excess(core: Any, package: Package, role: Role, folder: Path | None) -> None:
    """Once for each network and size, because reading it takes longer than taking it compiled."""
    description = package.description
    sides = description.image_size or (description.tile,)
    done = folder and folder / f"checked-{'x'.join(map(str, sides))}"
    if done is not None and done.exists():
        return
    path = package.folder / description.files[role].path
    try:
        model = core.read_model(str(path))
    except RuntimeError as error:
        raise _unreadable(package, role, error) from error
    refuse_excess(model, path, description)
    if done is not None:
        done.touch()


def _unreadable(package: Package, model: Role, error: Exception) -> PackageError:
    path = package.folder / package.description.files[model].path
    return PackageError(
        f"{path}: cannot be read as a network ({first_line(error)}). "
        "Copy or export the package again"
    )
