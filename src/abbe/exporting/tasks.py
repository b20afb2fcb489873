"""What differs between packages of different tasks while they are written."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from abbe import sam
from abbe.errors import ConfigError
from abbe.exporting.builder import PackageBuilder
from abbe.exporting.comparison import ParityCheck
from abbe.exporting.networks.graphs import Graph, classification_graphs, segmentation_graphs
from abbe.exporting.networks.promptable_graphs import promptable_graphs
from abbe.exporting.parity.check import Say
from abbe.exporting.parity.classes import class_check
from abbe.exporting.parity.instances import instance_check
from abbe.exporting.parity.promptable import Pictures, PromptableCheck, references
from abbe.exporting.parity.semantic import semantic_check
from abbe.exporting.request import ExportRequest
from abbe.exporting.speed import choose, fastest, table, threads_to_try, time_settings
from abbe.machine.threads import default_threads
from abbe.runtime.predictors.promptable import PromptablePredictor

LARGEST_TILE, LARGEST_MARGIN = 8192, 4096
"""px; a package's description holds no more."""
TURNS = 3
"""Encodings by which the quicker of two encoders is told."""

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class PackageTask:
    """What differs between packages of different tasks.

    Attributes:
        graphs: The networks of a package, from the student and the keys of its description.
        check: Asks the student itself about the images; what engines are held against.
        refuse: Refuses what does not fit the student, before any work.
        choose: How the package runs where nothing else is said: keys of its description.
        bf16: Whether its networks may run in bf16.
    """

    graphs: Callable[[Any, Facts], list[Graph]]
    check: Callable[[Any, Any, Facts], ParityCheck]
    refuse: Callable[[Facts, ExportRequest], None]
    choose: Callable[[PackageBuilder, ParityCheck, ExportRequest, Say], dict[str, Any]]
    bf16: bool


def refuse_tiles(facts: Facts, request: ExportRequest) -> None:
    """Refuse tiles that do not fit the student or leave nothing between their margins.

    Raises:
        ConfigError: Naming what would fit.
    """
    divisor, halo = facts["divisor"], facts["halo"]
    margin = facts.get("context", halo)
    for option, side in (("halo", halo), ("context", margin)):
        if side % divisor or not 0 <= side <= LARGEST_MARGIN:
            raise ConfigError(
                f"--{option} {side}: must be a multiple of {divisor} px, at most {LARGEST_MARGIN}"
            )
    for tile in request.tile or (facts["tile"],):
        if tile % divisor or not 2 * margin < tile <= LARGEST_TILE:
            raise ConfigError(
                f"--tile {tile}: must be a multiple of {divisor} px, at most {LARGEST_TILE}, and "
                f"more than twice the context of {margin} px. Give another --tile, or a smaller "
                "--context"
            )


def choose_setting(
    builder: PackageBuilder, check: ParityCheck, request: ExportRequest, say: Say
) -> dict[str, Any]:
    """Time a tile with each engine: the fastest is chosen, or what fits the time budget.

    Raises:
        ConfigError: Nothing meets the time budget.
    """
    margin, budget_ms = builder.package().description.margin, request.budget_ms
    say("timing")
    timed = time_settings(
        builder.package(),
        builder.kept,
        tiles=request.tile or (builder.facts["tile"],),
        threads=(request.threads or default_threads(),)
        if budget_ms is None
        else threads_to_try(request.threads),
        cache=builder.cache,
    )
    say(table(timed, margin, budget_ms))
    chosen = (fastest(timed) if budget_ms is None else choose(timed, budget_ms, margin)).setting
    say(f"runs as: {chosen}")
    return {
        "tile": chosen.tile,
        "engine": {
            "engine": chosen.engine,
            "precision": chosen.precision,
            "threads": request.threads if budget_ms is None else chosen.threads,
        },
        "timings": {str(each.setting): each.figures(margin, budget_ms) for each in timed},
    }


def choose_encoder(
    builder: PackageBuilder, check: ParityCheck, request: ExportRequest, say: Say
) -> dict[str, Any]:
    """The encoder in int8, where there is one and this processor encodes faster with it."""
    engine: dict[str, Any] = {"threads": request.threads}
    if "openvino/int8" in builder.kept and _int8_is_quicker(builder, check):
        engine["precision"] = "int8"
        say("runs its encoder in int8")
    return {"engine": engine}


def _int8_is_quicker(builder: PackageBuilder, check: ParityCheck) -> bool:
    """The two encoders take turns."""
    assert isinstance(check, PromptableCheck)
    picture = check.known[0].picture.picture
    predictors = {
        precision: PromptablePredictor(
            builder.package(), engine="openvino", precision=precision, cache=builder.cache
        )
        for precision in ("fp32", "int8")
    }
    seconds: dict[str, list[float]] = {precision: [] for precision in predictors}
    for _ in range(TURNS):
        for precision, predictor in predictors.items():
            start = time.perf_counter()
            predictor.set_image(picture)
            seconds[precision].append(time.perf_counter() - start)
    return min(seconds["int8"]) < min(seconds["fp32"])


def promptable_check(student: sam.SAM, pictures: Pictures, facts: Facts) -> PromptableCheck:
    """Ask the student itself about every picture."""
    known = references(sam.PromptablePredictor(student), pictures.parity)
    return PromptableCheck(known, pictures, facts["image_size"][0])


PACKAGE_TASKS: dict[str, PackageTask] = {
    "segmentation": PackageTask(
        lambda student, facts: segmentation_graphs(student),
        instance_check, refuse_tiles, choose_setting, bf16=True,
    ),
    "regions": PackageTask(
        lambda student, facts: segmentation_graphs(student),
        semantic_check, refuse_tiles, choose_setting, bf16=True,
    ),
    "classification": PackageTask(
        lambda student, facts: classification_graphs(
            student, len(facts["channels"]), facts["divisor"]
        ),
        class_check, refuse_tiles, choose_setting, bf16=True,
    ),
    "promptable": PackageTask(
        lambda student, facts: promptable_graphs(student),
        promptable_check, lambda facts, request: None, choose_encoder, bf16=False,
    ),
}  # fmt: skip
"""By task of the package."""
