"""Which number format a device computes natively."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal

from abbe.errors import ConfigError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: dict[str, Precision] = {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16"}


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """``wanted``, or for ``auto`` what the hardware computes natively.

    bf16 on GPUs that have it and on CPUs with AVX-512 bf16 or AMX (elsewhere CPUs emulate it and
    lose time), fp16 on older NVIDIA GPUs, else fp32.

    Raises:
        ConfigError: there is no such precision.
    """
    if wanted in PRECISIONS:
        return PRECISIONS[wanted]
    if wanted != "auto":
        raise ConfigError(f"precision '{wanted}': choose from auto, {', '.join(PRECISIONS)}")
    if device.type == "cuda":
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and _cpu_has_bf16() else "fp32"


def autocast_for(device: torch.device, precision: str = "auto") -> AbstractContextManager[object]:
    """A context in which a network computes in what ``choose_precision`` says for its device."""
    import torch

    chosen = choose_precision(precision, device)
    if chosen == "fp32":
        return nullcontext()
    half = torch.bfloat16 if chosen == "bf16" else torch.float16
    return torch.autocast(device.type, half)


def _cpu_has_bf16() -> bool:
    import torch

    if not hasattr(torch.cpu, "get_capabilities"):  # before torch 2.12
        return torch.cpu._is_avx512_bf16_supported()
    features = torch.cpu.get_capabilities()
    return any(features.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
