"""OpenVINO, safe to be called by several threads and to be interrupted; and nncf, which rounds."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from threading import Lock
from typing import Any

import numpy as np

from abbe.errors import MissingExtraError
from abbe.runtime.package.signal_stack import signal_stack_kept
from abbe.telemetry import switch_off

_FIRST = Lock()


def load_openvino() -> Any:
    """The module ``openvino``, loaded so that it does not report its use over the network."""
    switch_off()
    import openvino

    return openvino


def openvino_core() -> Any:
    """An ``openvino.Core`` with its processor plugin loaded; see `signal_stack`.

    The tables of element types in openvino 2026.4 are made when first looked into, by code that
    gives up Python's lock on the way. A second thread that looks then waits for the table, with
    Python's lock in hand, and the first for the lock: both wait for ever.

    Its threads are not bound to cores. Each process would bind its first to the first core, so
    workers beside each other would wait for one core while others have nothing to do.
    """
    openvino = load_openvino()
    with _FIRST:
        tensor = openvino.Tensor(np.zeros(1, np.float32))
        tensor.element_type.to_dtype()
        _ = tensor.data
    with signal_stack_kept():
        core = openvino.Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin
        core.set_property("CPU", {"ENABLE_CPU_PINNING": False})
    return core


def computes_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor; elsewhere it quietly takes fp32."""
    return "BF16" in _capabilities()


def _capabilities() -> list[str]:
    return openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@contextlib.contextmanager
def nncf_for(what: str) -> Iterator[Any]:
    """The module ``nncf``, which rounds networks to int8; its bars go to where somebody watches.

    Args:
        what: What it is needed for, for the message where it is not installed.

    Raises:
        MissingExtraError: It is not installed.
    """
    switch_off()
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # that there is no GPU
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise MissingExtraError("nncf", "train", what) from error
    nncf.set_log_level(logging.ERROR)
    with _progress_on_stderr(), signal_stack_kept():
        yield nncf


def weights_of_7_bits() -> Any:
    """What nncf is told besides: a processor without VNNI adds products in 16 bits, which overflow
    with weights of 8 bits, and no parity on a processor that has VNNI shows it.
    """
    from nncf.quantization import advanced_parameters as advanced

    return advanced.AdvancedQuantizationParameters(overflow_fix=advanced.OverflowFix.ENABLE)


@contextlib.contextmanager
def _progress_on_stderr() -> Iterator[None]:
    """Move what is printed from standard output to where somebody watches, if anybody does."""
    if sys.stderr.isatty():
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
