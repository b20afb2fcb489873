"""From a trained student to a package: networks, proof, card, all or nothing."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from abbe.errors import ConfigError
from abbe.exporting import example, openvino_files
from abbe.exporting.card import model_card
from abbe.exporting.comparison import Budget, Images
from abbe.exporting.folder import new_folder
from abbe.exporting.graphs import GRAPHS
from abbe.exporting.making import Making
from abbe.exporting.onnx_files import write_onnx
from abbe.exporting.proofs import PROOFS
from abbe.exporting.prove import Int8, Say, add_int8, prove
from abbe.exporting.speed import (
    Setting,
    Timed,
    choose,
    fastest,
    table,
    threads_to_try,
    time_settings,
)
from abbe.runtime.package import Package, read_package

LARGEST_TILE, LARGEST_MARGIN = 8192, 4096
"""px; a package's description holds no more."""


@dataclass(frozen=True)
class Settings:
    """What is asked of an export.

    Attributes:
        int8: auto: kept where it stays within the budget; required: else the export fails.
        budget: How much may be lost.
        budget_ms: Most milliseconds of a tile; None: no time is asked for.
        tiles: Sides to time, px; empty: the package's own.
        threads: Threads to time; None: from one to all cores where there is a time budget.
    """

    int8: Int8 = "auto"
    budget: Budget = field(default_factory=Budget)
    budget_ms: float | None = None
    tiles: tuple[int, ...] = ()
    threads: int | None = None


def write_package(
    out: Path,
    student: nn.Module,
    weights: Path,
    facts: Mapping[str, Any],
    images: Images,
    settings: Settings,
    say: Say = print,
) -> Package:
    """Export a student, prove it, and put the package at ``out``.

    Args:
        out: The folder to make.
        student: The network, in evaluation mode on the CPU.
        weights: Its safetensors file.
        facts: Keys of `PackageDescription`, without files, engine, parity and timings.
        images: What engines are calibrated and compared on.
        settings: What is asked for.
        say: Told of each step, in a line.

    Raises:
        ConfigError: ``out`` is taken, or nothing meets the time budget.
        InputError: torch cannot export the network.
        PackageError: An engine loses more than the budget; nothing is left at ``out``.
    """
    margin = facts.get("context", facts["halo"])
    check_tiles(settings.tiles or (facts["tile"],), facts["halo"], margin, facts["divisor"])
    with new_folder(out) as folder, tempfile.TemporaryDirectory() as cache:
        making = Making(folder, Path(cache), facts)
        shutil.copyfile(weights, folder / "model.safetensors")
        making.add("weights", "model.safetensors")
        say("writing ONNX and OpenVINO networks")
        _write_networks(making, student)
        proof = PROOFS[facts["task"]](student, images, facts)
        prove(making, proof, settings.budget, say)
        if settings.int8 != "none":
            required = settings.int8 == "required"
            add_int8(making, proof, images.calibration, settings.budget, say, required=required)
        proof.write_example(folder)
        making.add("test_image", example.IMAGE)
        making.add("expected", example.EXPECTED)
        _finish(making, settings, say)
    return read_package(out)


def check_tiles(tiles: Sequence[int], halo: int, margin: int, divisor: int) -> None:
    """Refuse tiles that do not fit the student or leave nothing between their margins.

    Raises:
        ConfigError: Naming what would fit.
    """
    for option, side in (("halo", halo), ("context", margin)):
        if side % divisor or not 0 <= side <= LARGEST_MARGIN:
            raise ConfigError(
                f"--{option} {side}: must be a multiple of {divisor} px, at most {LARGEST_MARGIN}"
            )
    for tile in tiles:
        if tile % divisor or not 2 * margin < tile <= LARGEST_TILE:
            raise ConfigError(
                f"--tile {tile}: must be a multiple of {divisor} px, at most {LARGEST_TILE}, and "
                f"more than twice the context of {margin} px. Give another --tile, or a smaller "
                "--context"
            )


def _write_networks(making: Making, student: nn.Module) -> None:
    for graph in GRAPHS[making.facts["task"]](student, making.facts):
        onnx = making.folder / f"{graph.name}.onnx"
        write_onnx(graph, onnx)
        making.add("onnx", onnx.name)
        xml = making.folder / f"{graph.name}.xml"
        openvino_files.save(openvino_files.convert(onnx), xml)
        making.add("openvino_xml", xml.name)
        making.add("openvino_bin", xml.with_suffix(".bin").name)


def _finish(making: Making, settings: Settings, say: Say) -> None:
    """Decide how the package runs, and write its card and description."""
    chosen, timed = _choose(making, settings, say)
    budget_ms, margin = settings.budget_ms, making.package().description.margin
    described = {
        "tile": chosen.tile,
        "engine": {
            "engine": chosen.engine,
            "precision": chosen.precision,
            "threads": settings.threads if budget_ms is None else chosen.threads,
        },
        "timings": {str(t.setting): t.figures(margin, budget_ms) for t in timed},
    }
    card = model_card(making.package(**described).description)
    (making.folder / "README.md").write_text(card, encoding="utf-8")
    making.add("card", "README.md")
    making.package(**described)


def _choose(making: Making, settings: Settings, say: Say) -> tuple[Setting, list[Timed]]:
    """How the package runs where nothing else is said: the fastest, or what fits the time."""
    margin, budget_ms = making.package().description.margin, settings.budget_ms
    cores = os.cpu_count() or 1
    say("timing")
    timed = time_settings(
        making.package(),
        making.kept,
        tiles=settings.tiles or (making.facts["tile"],),
        threads=(settings.threads or cores,)
        if budget_ms is None
        else threads_to_try(settings.threads),
        cache=making.cache,
    )
    say(table(timed, margin, budget_ms))
    chosen = (fastest(timed) if budget_ms is None else choose(timed, budget_ms, margin)).setting
    say(f"runs as: {chosen}")
    return chosen, timed
