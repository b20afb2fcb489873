"""Whether a GPU can run packages here: NVIDIA's by ONNX Runtime, Intel's by OpenVINO."""

from typing import Any

from abbe.runtime.package.description import Package, Role
from abbe.runtime.package.network_files import onnxruntime_session
from abbe.runtime.package.openvino_core import openvino_core
from abbe.telemetry import switch_off

CUDA = "CUDAExecutionProvider"


class NoGpuError(Exception):
    """A GPU was asked for and cannot be used; the reason in words, for a note."""


def cuda_session(package: Package, role: Role, threads: int) -> Any:
    """An ``onnxruntime.InferenceSession`` on an NVIDIA GPU, in true fp32 (no TF32).

    ONNX Runtime goes on without CUDA where it cannot load it, and only logs that: the session is
    asked what it runs on.

    Args:
        package: The package.
        role: The role of the ONNX file.
        threads: Of the processor, for what the GPU does not compute.

    Raises:
        NoGpuError: ONNX Runtime is not installed, has no CUDA, or could not load it.
        PackageError: The file is no network.
    """
    switch_off()
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise NoGpuError("ONNX Runtime is not installed (pip install onnxruntime-gpu)") from None
    if CUDA not in onnxruntime.get_available_providers():
        raise NoGpuError(
            "this ONNX Runtime has no CUDA (pip uninstall onnxruntime; pip install onnxruntime-gpu)"
        )
    providers = [(CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"]
    session = onnxruntime_session(package, role, threads, providers)
    if CUDA not in session.get_providers():
        raise NoGpuError(
            "ONNX Runtime could not load CUDA: there is no NVIDIA GPU, or its driver, CUDA or "
            "cuDNN are missing or of other versions than it wants"
        )
    return session


def require_openvino_gpu() -> None:
    """Ask OpenVINO for an Intel GPU.

    Raises:
        NoGpuError: It sees none.
    """
    found = openvino_core().available_devices
    if not any(name.split(".")[0] == "GPU" for name in found):
        raise NoGpuError(f"OpenVINO sees no GPU of Intel's here (only {', '.join(found)})")
