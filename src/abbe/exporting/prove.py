"""Which networks are good enough to be in a package."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from abbe.errors import PackageError
from abbe.exporting import openvino_files
from abbe.exporting.comparison import Budget, Comparison, Proof, fit
from abbe.exporting.int8 import WAYS, quantise
from abbe.exporting.making import Making
from abbe.runtime.package.engine import EngineName, Precision, open_engine
from abbe.runtime.package.openvino_core import computes_bf16

Int8 = Literal["auto", "required", "none"]
Say = Callable[[str], None]


def prove(making: Making, proof: Proof, budget: Budget, say: Say) -> None:
    """Hold the fp32 networks, and bf16 where this processor has it, against eager torch.

    Args:
        making: With ONNX and OpenVINO networks.
        proof: What they are held against.
        budget: What may be lost.
        say: Told of each comparison.

    Raises:
        PackageError: A network in fp32 loses more than the budget.
    """
    for engine in ("onnxruntime", "openvino"):
        compared = _compare(making, engine, "fp32", proof)
        say(in_words(f"{engine}/fp32", compared))
        if excess := compared.excess(budget):
            raise PackageError(f"{engine}/fp32 does not answer as the student does: {excess}")
        _keep(making, f"{engine}/fp32", compared)
    if not computes_bf16():
        reason = "not measured: this processor does not compute in bf16"
        making.parity["openvino/bf16"] = {"kept": False, "reason": reason}
        say(f"openvino/bf16: {reason}")
        return
    compared = _compare(making, "openvino", "bf16", proof)
    say(in_words("openvino/bf16", compared))
    if excess := compared.excess(budget):
        _leave_out(making, "openvino/bf16", compared, excess, say)
    else:
        _keep(making, "openvino/bf16", compared)


def add_int8(
    making: Making,
    proof: Proof,
    calibration: Sequence[np.ndarray],
    budget: Budget,
    say: Say,
    *,
    required: bool = False,
) -> None:
    """Try ways of rounding, the quickest network first, until one is within the budget.

    Args:
        making: With an ONNX network.
        proof: What they are held against.
        calibration: (C, H, W) float32, normalised.
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
        compared = _compare(making, "openvino", "int8", proof)
        say(f"{in_words('openvino/int8', compared)} ({way.name})")
        if compared.excess(budget) is None:
            _keep(making, "openvino/int8", compared)
            making.parity["openvino/int8"]["way"] = way.name
            return
        tried.append((way.name, compared))
    making.remove("int8_xml", "int8_bin")
    name, best = min(tried, key=lambda each: sum(each[1].lost.values()))
    reason = f"{best.excess(budget)}; of {len(WAYS)} ways this was the best: {name}"
    if required:
        options = " and ".join(f"--budget-{name.replace('_', '-')}" for name in best.lost)
        raise PackageError(
            f"openvino/int8 loses more than the budget: {reason}. Allow more with {options}, give "
            "more --calibration-images, or leave --int8 required out"
        )
    _leave_out(making, "openvino/int8", best, reason, say)


def _compare(making: Making, engine: EngineName, precision: Precision, proof: Proof) -> Comparison:
    opened = open_engine(making.package(), engine=engine, precision=precision, cache=making.cache)
    return proof.compare(opened.probabilities, strict=precision == "fp32")


def in_words(name: str, compared: Comparison) -> str:
    """A comparison in a line."""
    return f"{name:17} against eager: {compared.words}"


def _keep(making: Making, name: str, compared: Comparison) -> None:
    making.parity[name] = {**compared.figures, "kept": True}
    making.kept[name] = compared


def _leave_out(making: Making, name: str, compared: Comparison, reason: str, say: Say) -> None:
    making.parity[name] = {**compared.figures, "kept": False, "reason": reason}
    say(f"{name} is left out: {reason}")
