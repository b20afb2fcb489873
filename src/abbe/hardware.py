"""What a device computes natively, and memory that is kept for it, where torch computes."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Literal

from abbe.errors import ConfigError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: dict[str, Precision] = {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16"}

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # parameters of mallopt(3)
_NEVER, _USUAL_MMAP_MAX, _MOST = -1, 1 << 16, 32 << 20
"""The last: what glibc by itself raises its threshold to at most, which it no longer does once it
has been told one."""


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


@contextmanager
def freed_memory_kept(wanted: bool = True) -> Iterator[None]:
    """Have glibc keep what is freed, instead of returning it to the system.

    A training step frees gigabytes of activations and asks for them again, and so does SAM's
    decoder for each handful of prompts; returned memory must be cleared page by page each time,
    which is a fifth of a step, and a fifth to two fifths of a grid. At the end everything is
    returned.

    Args:
        wanted: False where no CPU computes. Nothing happens either where the C library has no
            mallopt(3) (macOS, Windows, musl).
    """
    libc = None
    if wanted:
        with suppress(OSError):
            libc = ctypes.CDLL("libc.so.6")
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, _USUAL_MMAP_MAX)
        libc.mallopt(_MMAP_THRESHOLD, _MOST)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _MOST)
        libc.malloc_trim(0)
