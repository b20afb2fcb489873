"""Quantization presets: how a network is rounded to int8, from the plainest to the most careful.

Post-training quantisation by nncf: activations' ranges come from calibration images, weights are
rounded a channel at a time, biases corrected. Which preset costs a network least is not
known beforehand, so several are tried and measured (`abbe.exporting.parity.check.add_int8`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from abbe.exporting.networks.upsampled import join_upsampling
from abbe.runtime.package.openvino_core import nncf_for, weights_of_7_bits

CALIBRATION_SIDE = 256
"""Calibration images are cut to their middle of at most so many px a side."""


_EXACT = ("ReduceMean", "Multiply")
"""Operations that are not rounded: squeeze-and-excitation's mean and gate are as quick in fp32, and
rounding for them keeps the depthwise convolution's map from going on as it is."""


@dataclass(frozen=True)
class QuantizationPreset:
    """How to round.

    Attributes:
        name: For people and for ``package.json``.
        symmetric: Activations around 0, which is quicker; else negative ones have a range of
            their own where that helps.
        ends_exact: The first convolution and the last stay in fp32.
    """

    name: str
    symmetric: bool = False
    ends_exact: bool = False


PRESETS = (
    QuantizationPreset("symmetric", symmetric=True),
    QuantizationPreset("mixed"),
    QuantizationPreset("mixed, ends in fp32", ends_exact=True),
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
    with nncf_for("An int8 network") as nncf:
        kinds = nncf.QuantizationPreset
        model = model.clone()
        fold_constants(model)
        join_swish(model)
        join_upsampling(model, calibration[0].shape)
        number_names(model)
        exact = _ends(model) if preset.ends_exact else []
        return nncf.quantize(
            model,
            nncf.Dataset(calibration),
            preset=kinds.PERFORMANCE if preset.symmetric else kinds.MIXED,
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(names=exact, types=list(_EXACT), validate=False),
            advanced_parameters=weights_of_7_bits(),
        )


def fold_constants(model: Any) -> None:
    """Compute what depends on constants alone, in place.

    OpenVINO's ONNX reader leaves a reshape between a depthwise convolution and its weights, behind
    which nncf takes the kernel's columns for channels, and OpenVINO then computes it in fp32.
    """
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


def number_names(model: Any) -> None:
    """Name all constants and operations by their order, in place.

    New ones are called by a count of the process's, so two exports would differ.
    """
    for number, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{number}")


def join_swish(model: Any) -> None:
    """Make x · sigmoid(x) one operation, in place; ONNX has none for it.

    Otherwise nncf rounds before, within and after it, and OpenVINO cannot compute it with the
    convolution before: a third of an EfficientNet's time in int8.
    """
    from openvino import opset13
    from openvino.utils import replace_node

    for product in model.get_ordered_ops():
        if product.get_type_name() != "Multiply":
            continue
        one, other = (product.input_value(place) for place in (0, 1))
        for x, gate in ((one, other), (other, one)):
            sigmoid = gate.get_node()
            if sigmoid.get_type_name() == "Sigmoid" and sigmoid.input_value(0) == x:
                joined = opset13.swish(x)
                joined.set_friendly_name(product.get_friendly_name())
                replace_node(product, joined)
                break


def _ends(model: Any) -> list[str]:
    """Names of the first and the last convolution."""
    convolutions = [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in ("Convolution", "GroupConvolution")
    ]
    return [convolutions[0], convolutions[-1]] if convolutions else []
