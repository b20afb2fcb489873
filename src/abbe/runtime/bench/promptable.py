"""How fast a promptable package runs on this machine: its encoder, its decoder, a cold start."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from abbe.errors import ConfigError
from abbe.in_words import counted
from abbe.runtime.bench.common import (
    REPEATS,
    check_counts,
    in_child,
    in_turns,
    machine,
    not_measured,
    open_all,
    peak_mib,
)
from abbe.runtime.package import Package
from abbe.runtime.package.engine import EngineName, Precision
from abbe.runtime.predictors.promptable import PromptablePredictor


@dataclass(frozen=True)
class PromptableBench:
    """What was measured, by "engine/precision"; the precision is the encoder's.

    Attributes:
        package: Its title.
        machine: Processor, cores, Python and engine versions.
        side: Of the square that the encoder sees, px.
        encoder: Median milliseconds of an image.
        decoder: Median milliseconds of a prompt.
        peak_mib: The most memory that a process held that answered one prompt.
        cold_start: Seconds from starting Python to the first mask, without and with the compiled
            networks in the cache.
        left_out: Why it was not measured.
    """

    package: str
    machine: dict[str, str | int]
    side: int
    encoder: dict[str, float]
    decoder: dict[str, float]
    peak_mib: dict[str, float]
    cold_start: dict[str, tuple[float, float]]
    left_out: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """All figures, as JSON can hold them."""
        return asdict(self)

    def table(self) -> str:
        """All figures, for people."""
        cold = f"{'first mask, s':>15}{'compiled before':>17}" if self.cold_start else ""
        lines = [
            f"{self.package} on {self.machine['processor']}, "
            f"{counted(self.machine['cores'], 'core')}",
            "",
            f"{f'image of {self.side} px':20}{'encoder ms':>12}{'decoder ms/prompt':>19}{'MiB':>7}"
            + cold,
        ]
        for name, milliseconds in self.encoder.items():
            line = f"{name:20}{milliseconds:12.1f}{self.decoder[name]:19.1f}"
            line += f"{self.peak_mib[name]:7.0f}"
            if name in self.cold_start:
                first, again = self.cold_start[name]
                line += f"{first:15.2f}{again:17.2f}"
            lines.append(line)
        return "\n".join([*lines, *not_measured(self.left_out)])


def open_promptable(
    package: Package, threads: int | None, *, engine: EngineName, precision: Precision
) -> PromptablePredictor:
    """A predictor by one engine, as `open_all` wants it.

    Raises:
        ConfigError: The package has no int8 encoder, or the engine does not compute so.
        PackageError: A network is damaged.
        MissingExtraError: The engine is not installed.
    """
    if precision == "int8" and not package.has("encoder_int8_xml"):
        raise ConfigError(f"{package.folder}: the package has no int8 encoder")
    return PromptablePredictor(package, engine=engine, precision=precision, threads=threads)


def bench_promptable(
    package: Package,
    *,
    repeats: int = REPEATS,
    threads: int | None = None,
    cold: bool = True,
) -> PromptableBench:
    """Measure a promptable package by every engine and precision that it has.

    What is shown takes no time of its own: every image becomes the same square, every prompt the
    same few numbers. So a square of noise is shown, and a box asked for.

    Args:
        package: The package.
        repeats: Timings of each; the engines take turns and the median counts.
        threads: For the networks; None for OMP_NUM_THREADS, or else all cores.
        cold: Whether to time a cold start.

    Raises:
        ConfigError: A number is below 1, or a cold start fails.
        PackageError: A network of the package is damaged.
    """
    check_counts(repeats=repeats, threads=threads)
    opened, left_out = open_all(partial(open_promptable, package, threads))
    picture = _noise(package)
    for predictor in opened.values():
        predictor.set_image(picture)
    encoder = in_turns(
        {name: partial(each.set_image, picture) for name, each in opened.items()}, repeats
    )
    decoder = in_turns({name: partial(_ask, each) for name, each in opened.items()}, repeats)
    memory: dict[str, float] = {}
    starts: dict[str, tuple[float, float]] = {}
    for name, each in opened.items():
        networks = each.networks
        task = {
            "package": str(package.folder),
            "engine": networks.engine,
            "precision": networks.precision,
            "threads": threads,
        }
        with tempfile.TemporaryDirectory() as cache:
            first, memory[name] = _first_mask(task, Path(cache))
            if cold:
                starts[name] = first, _first_mask(task, Path(cache))[0]
    return PromptableBench(
        package=package.description.title,
        machine=machine(),
        side=len(picture),
        encoder=encoder,
        decoder=decoder,
        peak_mib=memory,
        cold_start=starts,
        left_out=left_out,
    )


def _noise(package: Package) -> np.ndarray:
    """(side, side, 3) uint8, which needs no resizing."""
    height, width = package.description.image_size or (1, 1)
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def _ask(predictor: PromptablePredictor) -> None:
    side = predictor.networks.side
    predictor.predict(box=[side // 4, side // 4, side // 2, side // 2], multimask_output=False)


def _first_mask(task: Mapping[str, Any], cache: Path) -> tuple[float, float]:
    """Seconds of a process that answers one prompt, and the most memory that it held, in MiB."""
    started = time.perf_counter()
    try:
        memory = in_child(f"{__name__}:first_mask_in_child", task, cache)
    except ConfigError as error:
        raise ConfigError(
            f"{task['package']}: a cold start with {task['engine']}/{task['precision']} failed: "
            f"{error}"
        ) from error
    return time.perf_counter() - started, memory


def first_mask_in_child(task: Mapping[str, Any]) -> float:
    """Open the package, embed an image and answer one prompt; the most memory held, in MiB."""
    predictor = PromptablePredictor(
        task["package"],
        engine=task["engine"],
        precision=task["precision"],
        threads=task["threads"],
    )
    predictor.set_image(_noise(predictor.package))
    _ask(predictor)
    return peak_mib()
