"""From a trained student to a package: networks, parity check, card, all or nothing."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from abbe.errors import ConfigError
from abbe.exporting.builder import ROLES, PackageBuilder
from abbe.exporting.cards.model_card import model_card
from abbe.exporting.comparison import Images
from abbe.exporting.folder import new_folder
from abbe.exporting.networks import openvino_files
from abbe.exporting.networks.half_weights import halve_weights
from abbe.exporting.networks.onnx_files import write_onnx
from abbe.exporting.one_engine import one_engine
from abbe.exporting.parity.check import Say, add_int8, check_parity
from abbe.exporting.parity.promptable import Pictures
from abbe.exporting.request import ExportRequest
from abbe.exporting.tasks import PACKAGE_TASKS
from abbe.runtime.package import Package, read_package
from abbe.runtime.package.tasks import PACKAGE_TASKS as TRAITS
from abbe.summary import TRAINED_ON


def write_package(
    out: Path,
    student: nn.Module,
    weights: Path,
    facts: Mapping[str, Any],
    images: Images | Pictures,
    request: ExportRequest,
    say: Say = print,
) -> Package:
    """Export a student, check that the package answers alike, and put it at ``out``.

    Args:
        out: The folder to make.
        student: The network, in evaluation mode on the CPU.
        weights: Its safetensors file.
        facts: Keys of `PackageDescription`, without files, engine, parity and timings.
        images: What engines are calibrated and compared on; pictures of a promptable student.
        request: What is asked for.
        say: Told of each step, in a line.

    Raises:
        ConfigError: ``out`` is taken, tiles do not fit, or nothing meets the time budget.
        InputError: torch cannot export the network.
        PackageError: An engine loses more than the budget; nothing is left at ``out``.
    """
    task = PACKAGE_TASKS[facts["task"]]
    task.refuse(facts, request)
    if request.engine is not None and TRAITS[facts["task"]].prompted:
        raise ConfigError("--engine: a promptable package has two networks; leave it out")
    with new_folder(out) as folder, tempfile.TemporaryDirectory() as cache:
        builder = PackageBuilder(folder, Path(cache), facts)
        shutil.copyfile(weights, folder / "model.safetensors")
        builder.add("weights", "model.safetensors")
        if (weights.parent / TRAINED_ON).is_file():  # so that nobody tests on these unawares
            shutil.copyfile(weights.parent / TRAINED_ON, folder / TRAINED_ON)
            builder.add("training_images", TRAINED_ON)
        say("writing networks")
        _write_networks(builder, student, compact=request.compact)
        check = task.check(student, images, facts)
        check_parity(builder, check, request.budget, say, bf16=task.bf16)
        if request.int8 != "none" and request.engine != "onnxruntime":
            add_int8(builder, check, request.budget, say, required=request.int8 == "required")
        # what rounded weights changed is in the parity; the test is whether they answer alike here
        shown = check.packed(builder.package(), builder.cache) if request.compact else check
        image, expected = shown.write_example(folder)
        builder.add("test_image", image)
        builder.add("expected", expected)
        if request.engine is not None:
            builder.keep_engine(request.engine)
        described = task.choose(builder, check, request, say)
        if request.engine is not None:
            described = one_engine(builder, described, say)
        card = model_card(builder.package(**described).description)
        (folder / "README.md").write_text(card, encoding="utf-8")
        builder.add("card", "README.md")
        builder.package(**described)
    return read_package(out)


def _write_networks(builder: PackageBuilder, student: nn.Module, *, compact: bool) -> None:
    """ONNX, and OpenVINO beside it; of a compact package ONNX alone, which OpenVINO reads too."""
    for graph in PACKAGE_TASKS[builder.facts["task"]].graphs(student, builder.facts):
        roles = ROLES[graph.name]
        onnx = builder.folder / f"{graph.name}.onnx"
        write_onnx(graph, onnx)
        if compact:
            halve_weights(onnx)
        builder.add(roles.onnx, onnx.name)
        if compact:
            continue
        xml = onnx.with_suffix(".xml")
        openvino_files.save(openvino_files.convert(onnx), xml)
        builder.add(roles.xml, xml.name)
        builder.add(roles.bin, xml.with_suffix(".bin").name)
