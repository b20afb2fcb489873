"""Quantization presets: how a network is rounded to int8, from the plainest to the most careful.

Post-training quantisation by nncf: activations' ranges come from calibration images, weights are
rounded a channel at a time, biases corrected. Which preset costs a network least is not
known beforehand, so several are tried and measured (`abbe.exporting.parity.check.add_int8`).
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from abbe.errors import MissingExtraError
from abbe.runtime.package.signal_stack import signal_stack_kept
from abbe.telemetry import switch_off

CALIBRATION_SIDE = 256
"""Calibration images are cut to their middle of at most so many px a side."""


@dataclass(frozen=True)
class QuantizationPreset:
    """How to round.

    Attributes:
        name: For people and for ``package.json``.
        symmetric: Activations around 0, which is quicker; else negative ones have a range of
            their own where that helps.
        ends_exact: The first convolution and the last stay in fp32.
        half_range: Weights use 7 of 8 bits, so that processors without VNNI, which add products
            in 16 bits, do not overflow.
    """

    name: str
    symmetric: bool = False
    ends_exact: bool = False
    half_range: bool = False


PRESETS = (
    QuantizationPreset("symmetric", symmetric=True),
    QuantizationPreset("mixed"),
    QuantizationPreset("mixed, ends in fp32", ends_exact=True),
    QuantizationPreset("mixed, 7 bits, ends in fp32", ends_exact=True, half_range=True),
)


def quantise(model: Any, calibration: Sequence[np.ndarray], preset: QuantizationPreset) -> Any:
    """Round an ``openvino.Model`` to int8; the given model is left as it is.

    Args:
        model: The network in fp32.
        calibration: Arrays (1, C, H, W) float32 as the network sees them.
        preset: How.

    Raises:
        MissingExtraError: nncf is not installed.
    """
    switch_off()
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # that there is no GPU
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise MissingExtraError("nncf", "train", "An int8 network") from error
    from nncf.quantization import advanced_parameters as advanced

    nncf.set_log_level(logging.ERROR)
    kinds = nncf.QuantizationPreset
    exact = _ends(model) if preset.ends_exact else []
    overflow = advanced.OverflowFix
    with _progress_on_stderr(), signal_stack_kept():
        return nncf.quantize(
            model.clone(),
            nncf.Dataset(calibration),
            preset=kinds.PERFORMANCE if preset.symmetric else kinds.MIXED,
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(names=exact) if exact else None,
            advanced_parameters=advanced.AdvancedQuantizationParameters(
                overflow_fix=overflow.ENABLE if preset.half_range else overflow.FIRST_LAYER
            ),
        )


@contextlib.contextmanager
def _progress_on_stderr() -> Iterator[None]:
    """Move nncf's bars from standard output to where somebody watches, if anybody does."""
    if sys.stderr.isatty():
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _ends(model: Any) -> list[str]:
    """Names of the first and the last convolution."""
    convolutions = [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in ("Convolution", "GroupConvolution")
    ]
    return [convolutions[0], convolutions[-1]] if convolutions else []
