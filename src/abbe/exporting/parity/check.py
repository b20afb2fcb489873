"""Which networks are good enough to be in a package."""

from collections.abc import Callable

from abbe.errors import PackageError
from abbe.exporting.builder import ROLES, PackageBuilder
from abbe.exporting.comparison import Comparison, ParityCheck
from abbe.exporting.networks import openvino_files
from abbe.exporting.networks.int8 import PRESETS, quantise
from abbe.exporting.request import Budget
from abbe.runtime.package.engine import EngineName, Precision
from abbe.runtime.package.openvino_core import computes_bf16

Say = Callable[[str], None]


def check_parity(
    builder: PackageBuilder, check: ParityCheck, budget: Budget, say: Say, *, bf16: bool
) -> None:
    """Hold the fp32 networks, and bf16 where this processor has it, against eager torch.

    Args:
        builder: With ONNX and OpenVINO networks.
        check: What they are held against.
        budget: What may be lost.
        say: Told of each comparison.
        bf16: Whether packages of this task run in it.

    Raises:
        PackageError: A network in fp32 loses more than the budget.
    """
    for engine in ("onnxruntime", "openvino"):
        compared = _compare(builder, engine, "fp32", check)
        say(in_words(f"{engine}/fp32", compared))
        if excess := compared.excess(budget):
            raise PackageError(f"{engine}/fp32 does not answer as the student does: {excess}")
        _keep(builder, f"{engine}/fp32", compared)
    if not bf16:
        return
    if not computes_bf16():
        reason = "not measured: this processor does not compute in bf16"
        builder.parity["openvino/bf16"] = {"kept": False, "reason": reason}
        say(f"openvino/bf16: {reason}")
        return
    compared = _compare(builder, "openvino", "bf16", check)
    say(in_words("openvino/bf16", compared))
    if excess := compared.excess(budget):
        _leave_out(builder, "openvino/bf16", compared, excess, say)
    else:
        _keep(builder, "openvino/bf16", compared)


def add_int8(
    builder: PackageBuilder,
    check: ParityCheck,
    budget: Budget,
    say: Say,
    *,
    required: bool = False,
) -> None:
    """Try quantization presets, the quickest network first, until one is within the budget.

    Args:
        builder: With an ONNX network.
        check: What it is held against.
        budget: What may be lost.
        say: Told of each comparison.
        required: Fail where no preset is within the budget, else leave int8 out and say why.

    Raises:
        PackageError: No preset is within the budget, and int8 is required.
    """
    name, roles = f"{check.rounded}-int8", ROLES[check.rounded].int8
    model = openvino_files.convert(builder.folder / f"{check.rounded}.onnx")
    batches = check.calibration()
    tried: list[tuple[str, Comparison]] = []
    for preset in PRESETS:
        openvino_files.save(quantise(model, batches, preset), builder.folder / f"{name}.xml")
        for role, suffix in zip(roles, ("xml", "bin"), strict=True):
            builder.add(role, f"{name}.{suffix}")
        compared = _compare(builder, "openvino", "int8", check)
        say(f"{in_words('openvino/int8', compared)} ({preset.name})")
        if compared.excess(budget) is None:
            _keep(builder, "openvino/int8", compared)
            builder.parity["openvino/int8"]["preset"] = preset.name
            return
        tried.append((preset.name, compared))
    builder.remove(*roles)
    best_name, best = min(tried, key=lambda each: sum(each[1].lost.values()))
    reason = f"{best.excess(budget)}; of {len(PRESETS)} presets this was the best: {best_name}"
    if required:
        options = " and ".join(f"--budget-{name.replace('_', '-')}" for name in best.lost)
        raise PackageError(
            f"openvino/int8 loses more than the budget: {reason}. Allow more with {options}, give "
            "more --calibration-images, or leave --int8 required out"
        )
    _leave_out(builder, "openvino/int8", best, reason, say)


def _compare(
    builder: PackageBuilder, engine: EngineName, precision: Precision, check: ParityCheck
) -> Comparison:
    return check.compare_engine(builder.package(), engine, precision, builder.cache)


def in_words(name: str, compared: Comparison) -> str:
    """A comparison in a line."""
    return f"{name:17} against eager: {compared.words}"


def _keep(builder: PackageBuilder, name: str, compared: Comparison) -> None:
    builder.parity[name] = {**compared.figures, "kept": True}
    builder.kept[name] = compared


def _leave_out(
    builder: PackageBuilder, name: str, compared: Comparison, reason: str, say: Say
) -> None:
    builder.parity[name] = {**compared.figures, "kept": False, "reason": reason}
    say(f"{name} is left out: {reason}")
