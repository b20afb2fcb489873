"""From a trained student to a package: networks, proof, card, all or nothing."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from abbe.errors import ConfigError, PackageError
from abbe.exporting import openvino_files
from abbe.exporting.card import model_card
from abbe.exporting.eager import eager_probabilities
from abbe.exporting.example import write_example
from abbe.exporting.folder import check_free, new_folder
from abbe.exporting.graphs import GRAPHS
from abbe.exporting.int8 import WAYS, quantise
from abbe.exporting.onnx_files import write_onnx
from abbe.exporting.parity import Budget, Comparison, Cuts, ProofImage, compare, references
from abbe.exporting.speed import (
    Setting,
    Timed,
    choose,
    fastest,
    table,
    threads_to_try,
    time_settings,
)
from abbe.runtime.engine import open_engine
from abbe.runtime.package import (
    Figures,
    Package,
    PackageDescription,
    PackageFile,
    Role,
    describe_file,
    read_package,
    write_description,
)

Int8 = Literal["auto", "required", "none"]
Say = Callable[[str], None]


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


@dataclass(frozen=True)
class Images:
    """What the export looks at.

    Attributes:
        proof: Images on which engines are compared, from the split ``proof_split``.
        calibration: (C, H, W) float32, normalised, from training images.
        example: (C, H, W) as stored, a small part of an image: the package's test image.
    """

    proof: Sequence[ProofImage]
    proof_split: str
    calibration: Sequence[np.ndarray]
    example: np.ndarray


@dataclass
class _Making:
    """A package that is being made in a hidden folder."""

    folder: Path
    cache: Path
    facts: Mapping[str, Any]
    files: dict[Role, PackageFile]
    parity: dict[str, Figures]
    kept: dict[str, Comparison]

    def add(self, role: Role, name: str) -> None:
        self.files[role] = describe_file(self.folder, name)

    def package(self, **changes: Any) -> Package:
        """The package as it stands."""
        values = {**self.facts, "files": self.files, "parity": self.parity, **changes}
        write_description(self.folder, PackageDescription(**values))
        return read_package(self.folder)


def write_package(
    out: Path,
    student: nn.Module,
    weights: Path,
    facts: Mapping[str, Any],
    images: Images,
    settings: Settings,
    say: Say = print,
) -> Package:
    """Export a segmentation student, prove it, and put the package at ``out``.

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
    check_free(out)
    with new_folder(out) as folder, tempfile.TemporaryDirectory() as cache:
        making = _Making(folder, Path(cache), facts, {}, {}, {})
        cuts = Cuts(facts["outputs"], facts["thresholds"], facts["instances"])
        shutil.copyfile(weights, folder / "model.safetensors")
        making.add("weights", "model.safetensors")
        say("writing ONNX and OpenVINO networks")
        _write_networks(making, student)
        eager = eager_probabilities(student)
        known = references(eager, images.proof, cuts, facts["divisor"])
        _prove(making, known, cuts, images.proof_split, settings, say)
        if settings.int8 != "none":
            _add_int8(making, known, cuts, images, settings, say)
        write_example(folder, images.example, facts, eager, cuts)
        making.add("test_image", "test_image.tif")
        making.add("expected", "expected.npz")
        chosen, timed = _choose(making, settings, say)
        say(table(timed, facts["halo"], settings.budget_ms))
        say(f"runs as {chosen}")
        timings = {str(t.setting): t.figures(facts["halo"], settings.budget_ms) for t in timed}
        described = {
            "tile": chosen.tile,
            "engine": {
                "engine": chosen.engine,
                "precision": chosen.precision,
                "threads": chosen.threads if settings.budget_ms is not None else settings.threads,
            },
            "timings": timings,
        }
        card = model_card(making.package(**described).description)
        (folder / "README.md").write_text(card, encoding="utf-8")
        making.add("card", "README.md")
        making.package(**described)
    return read_package(out)


def _write_networks(making: _Making, student: nn.Module) -> None:
    for graph in GRAPHS[making.facts["task"]](student):
        onnx = making.folder / f"{graph.name}.onnx"
        write_onnx(graph, onnx)
        making.add("onnx", onnx.name)
        xml = making.folder / f"{graph.name}.xml"
        openvino_files.save(openvino_files.convert(onnx), xml)
        making.add("openvino_xml", xml.name)
        making.add("openvino_bin", xml.with_suffix(".bin").name)


def _prove(
    making: _Making,
    known: Sequence[Any],
    cuts: Cuts,
    split: str,
    settings: Settings,
    say: Say,
) -> None:
    """Hold each unrounded engine against eager torch.

    Raises:
        PackageError: One loses more than the budget.
    """
    package = making.package()
    for engine, precision in (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")):
        name = f"{engine}/{precision}"
        if precision == "bf16" and not computes_bf16():
            making.parity[name] = {"kept": False, "reason": "not measured: no bf16 hardware here"}
            continue
        opened = open_engine(package, engine=engine, precision=precision, cache=making.cache)  # pyright: ignore[reportArgumentType]
        compared = compare(opened, known, cuts, strict=precision == "fp32", images_of=split)
        excess = compared.excess(settings.budget)
        say(f"{name:18} {_in_words(compared)}")
        if excess and precision == "fp32":
            raise PackageError(f"{name} does not answer as the student does: {excess}")
        making.parity[name] = {**compared.figures, "kept": excess is None}
        if excess:
            making.parity[name]["reason"] = excess
        else:
            making.kept[name] = compared


def _add_int8(
    making: _Making,
    known: Sequence[Any],
    cuts: Cuts,
    images: Images,
    settings: Settings,
    say: Say,
) -> None:
    """Try ways of rounding until one is within the budget.

    Raises:
        PackageError: None is, and int8 was required.
    """
    model = openvino_files.convert(making.folder / "model.onnx")
    calibration = [_fit(pixels, making.facts["divisor"])[None] for pixels in images.calibration]
    tried: list[tuple[str, Comparison]] = []
    for way in WAYS:
        openvino_files.save(quantise(model, calibration, way), making.folder / "model-int8.xml")
        making.add("int8_xml", "model-int8.xml")
        making.add("int8_bin", "model-int8.bin")
        package = making.package()
        opened = open_engine(package, engine="openvino", precision="int8", cache=making.cache)
        compared = compare(opened, known, cuts, strict=False, images_of=images.proof_split)
        say(f"openvino/int8      {_in_words(compared)} ({way.name})")
        tried.append((way.name, compared))
        if compared.excess(settings.budget) is None:
            making.kept["openvino/int8"] = compared
            making.parity["openvino/int8"] = {**compared.figures, "kept": True, "way": way.name}
            return
    for role in ("int8_xml", "int8_bin"):
        (making.folder / making.files.pop(role).path).unlink()
    way_name, best = min(tried, key=lambda each: each[1].lost_dice + each[1].lost_pq)
    reason = f"{best.excess(settings.budget)}; the best of {len(WAYS)} ways was '{way_name}'"
    if settings.int8 == "required":
        raise PackageError(
            f"openvino/int8 loses more than the budget: {reason}. Allow more with --budget-dice "
            "and --budget-pq, give more --calibration-images, or leave --int8 out"
        )
    say(f"openvino/int8 is left out: {reason}")
    making.parity["openvino/int8"] = {**best.figures, "kept": False, "reason": reason[:2000]}


def _choose(making: _Making, settings: Settings, say: Say) -> tuple[Setting, list[Timed]]:
    """How the package runs where nothing else is said: the fastest, or what fits the time."""
    facts = making.facts
    tiles = settings.tiles or (facts["tile"],)
    for tile in tiles:
        if tile % facts["divisor"] or 2 * facts["halo"] >= tile:
            raise ConfigError(
                f"--tile {tile}: must be a multiple of {facts['divisor']} px and more than twice "
                f"the halo ({facts['halo']} px). Give another --tile, or a smaller --halo"
            )
    cores = os.cpu_count() or 1
    timed = settings.budget_ms is not None
    threads = threads_to_try(settings.threads) if timed else (settings.threads or cores,)
    say("timing")
    found = time_settings(
        making.package(), making.kept, tiles=tiles, threads=threads, cache=making.cache
    )
    if settings.budget_ms is not None:
        return choose(found, settings.budget_ms, facts["halo"]).setting, found
    return fastest(found).setting, found


def computes_bf16() -> bool:
    """Whether this processor computes in bf16, which OpenVINO otherwise quietly replaces."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _fit(pixels: np.ndarray, divisor: int) -> np.ndarray:
    _, height, width = pixels.shape
    below, beside = -height % divisor, -width % divisor
    return np.pad(pixels, ((0, 0), (0, below), (0, beside)), mode="symmetric")


def _in_words(compared: Comparison) -> str:
    figures = compared.figures
    return (
        f"against eager: Dice {figures['agreement_dice']:.4f}, PQ {figures['agreement_pq']:.4f}, "
        f"{figures['objects']} of {figures['objects_eager']} objects, probabilities within "
        f"{figures['max_difference']:.2g}; lost {compared.lost_dice:+.4f} Dice, "
        f"{compared.lost_pq:+.4f} PQ"
    )
