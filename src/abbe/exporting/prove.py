"""Which networks are good enough to be in a package."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from abbe.errors import PackageError
from abbe.exporting import openvino_files
from abbe.exporting.int8 import WAYS, quantise
from abbe.exporting.making import Making
from abbe.exporting.parity import Budget, Comparison, Cuts, Reference, compare, fit
from abbe.runtime.engine import EngineName, Precision, open_engine

Int8 = Literal["auto", "required", "none"]
Say = Callable[[str], None]


def prove(
    making: Making,
    known: Sequence[Reference],
    cuts: Cuts,
    images_of: str,
    budget: Budget,
    say: Say,
) -> None:
    """Hold the fp32 networks, and bf16 where this processor has it, against eager torch.

    Args:
        making: With ONNX and OpenVINO networks.
        known: Eager's answers.
        cuts: How maps become instances.
        images_of: Split of the images.
        budget: What may be lost.
        say: Told of each comparison.

    Raises:
        PackageError: A network in fp32 loses more than the budget.
    """
    for engine in ("onnxruntime", "openvino"):
        compared = _compare(making, engine, "fp32", known, cuts, images_of)
        say(in_words(f"{engine}/fp32", compared))
        if excess := compared.excess(budget):
            raise PackageError(f"{engine}/fp32 does not answer as the student does: {excess}")
        _keep(making, f"{engine}/fp32", compared)
    if not computes_bf16():
        reason = "not measured: this processor does not compute in bf16"
        making.parity["openvino/bf16"] = {"kept": False, "reason": reason}
        say(f"openvino/bf16: {reason}")
        return
    compared = _compare(making, "openvino", "bf16", known, cuts, images_of)
    say(in_words("openvino/bf16", compared))
    if excess := compared.excess(budget):
        _leave_out(making, "openvino/bf16", compared, excess, say)
    else:
        _keep(making, "openvino/bf16", compared)


def add_int8(
    making: Making,
    known: Sequence[Reference],
    cuts: Cuts,
    calibration: Sequence[np.ndarray],
    images_of: str,
    budget: Budget,
    say: Say,
    *,
    required: bool = False,
) -> None:
    """Try ways of rounding, the quickest network first, until one is within the budget.

    Args:
        making: With an ONNX network.
        known: Eager's answers.
        cuts: How maps become instances.
        calibration: (C, H, W) float32, normalised.
        images_of: Split of the images.
        budget: What may be lost.
        say: Told of each comparison.
        required: Fail where no way is within the budget, else leave int8 out and say why.

    Raises:
        PackageError: No way is within the budget, and int8 is required.
    """
    model = openvino_files.convert(making.folder / "model.onnx")
    batches = [fit(pixels, making.facts["divisor"])[None] for pixels in calibration]
    tried: list[tuple[str, Comparison]] = []
    for way in WAYS:
        openvino_files.save(quantise(model, batches, way), making.folder / "model-int8.xml")
        making.add("int8_xml", "model-int8.xml")
        making.add("int8_bin", "model-int8.bin")
        compared = _compare(making, "openvino", "int8", known, cuts, images_of)
        say(f"{in_words('openvino/int8', compared)} ({way.name})")
        if compared.excess(budget) is None:
            _keep(making, "openvino/int8", compared)
            making.parity["openvino/int8"]["way"] = way.name
            return
        tried.append((way.name, compared))
    making.remove("int8_xml", "int8_bin")
    name, best = min(tried, key=lambda each: each[1].lost_dice + each[1].lost_pq)
    reason = f"{best.excess(budget)}; of {len(WAYS)} ways this was the best: {name}"
    if required:
        raise PackageError(
            f"openvino/int8 loses more than the budget: {reason}. Allow more with --budget-dice "
            "and --budget-pq, give more --calibration-images, or leave --int8 required out"
        )
    _leave_out(making, "openvino/int8", best, reason, say)


def _compare(
    making: Making,
    engine: EngineName,
    precision: Precision,
    known: Sequence[Reference],
    cuts: Cuts,
    images_of: str,
) -> Comparison:
    opened = open_engine(making.package(), engine=engine, precision=precision, cache=making.cache)
    return compare(
        opened.probabilities,
        known,
        cuts,
        making.facts["divisor"],
        strict=precision == "fp32",
        images_of=images_of,
    )


def computes_bf16() -> bool:
    """Whether this processor computes in bf16; OpenVINO quietly takes fp32 where it does not."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def in_words(name: str, compared: Comparison) -> str:
    """A comparison in a line."""
    figures = compared.figures
    return (
        f"{name:17} against eager: Dice {figures['agreement_dice']:.4f}, "
        f"PQ {figures['agreement_pq']:.4f}, {figures['objects']} of {figures['objects_eager']} "
        f"objects, probabilities within {figures['max_difference']:.1g}; against "
        f"{figures['measured_against']}: {compared.lost_dice:.4f} Dice, "
        f"{compared.lost_pq:.4f} PQ lost"
    )


def _keep(making: Making, name: str, compared: Comparison) -> None:
    making.parity[name] = {**compared.figures, "kept": True}
    making.kept[name] = compared


def _leave_out(making: Making, name: str, compared: Comparison, reason: str, say: Say) -> None:
    making.parity[name] = {**compared.figures, "kept": False, "reason": reason}
    say(f"{name} is left out: {reason}")
