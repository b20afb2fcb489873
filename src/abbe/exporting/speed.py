"""How long a tile takes, by engine, precision, tile and threads; and what meets a time budget."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from abbe.errors import ConfigError
from abbe.exporting.comparison import NAMES, Comparison
from abbe.in_words import counted
from abbe.machine.threads import cores, given
from abbe.runtime.bench.common import in_turns
from abbe.runtime.package import Figures, Package
from abbe.runtime.package.engine import Engine, EngineName, Precision, open_engine

REPEATS, FEWEST = 9, 3
"""Times that each setting is timed; the median counts."""
ENOUGH = 15.0
"""Seconds of timing after which the fewest repeats will do."""
CLEARLY = 1.5
"""So many times faster an engine must be than OpenVINO to be chosen, which every install has."""
SAME_LOSS = 5e-4
"""Losses that differ by less are taken for equal, and the faster setting is chosen."""


class Setting(NamedTuple):
    """One way to run a package."""

    engine: EngineName
    precision: Precision
    tile: int
    threads: int

    @property
    def run_as(self) -> str:
        """Engine and precision, as in the package's ``parity``."""
        return f"{self.engine}/{self.precision}"

    def __str__(self) -> str:
        threads = counted(self.threads, "thread")
        return f"{self.run_as}, tile {self.tile}, {threads}"


@dataclass(frozen=True)
class Timed:
    """How long one tile takes with a setting, and what it loses, by fields of `Budget`."""

    setting: Setting
    milliseconds: float
    lost: Mapping[str, float]

    def megapixels_per_second(self, margin: int) -> float:
        """Of image, without what is thrown away at the tile's edges."""
        return (self.setting.tile - 2 * margin) ** 2 / 1000 / self.milliseconds

    def figures(self, margin: int, budget_ms: float | None) -> Figures:
        """For ``package.json``."""
        figures: Figures = {
            "ms_per_tile": round(self.milliseconds, 3),
            "megapixels_per_s": round(self.megapixels_per_second(margin), 4),
            **{f"lost_{name}": lost for name, lost in self.lost.items()},
        }
        if budget_ms is not None:
            figures["within_budget"] = self.milliseconds <= budget_ms
        return figures


def threads_to_try(asked: int | None = None) -> tuple[int, ...]:
    """1, 2, 4, … and all cores; or what was asked for, by OMP_NUM_THREADS too."""
    if asked := asked or given():
        return (asked,)
    all_cores = cores()
    powers = itertools.takewhile(lambda n: n < all_cores, (1 << k for k in range(10)))
    return (*powers, all_cores)


def time_settings(
    package: Package,
    compared: Mapping[str, Comparison],
    *,
    tiles: Sequence[int],
    threads: Sequence[int],
    cache: Path,
) -> list[Timed]:
    """Time every engine that kept its budget, in turns, so that a busy moment hits all of them.

    Args:
        package: With every network that is to be timed.
        compared: By "engine/precision", what each lost.
        tiles: Sides in px.
        threads: Numbers of threads.
        cache: Folder for compiled networks.
    """
    found: list[Timed] = []
    for tile in tiles:
        settings = [
            Setting(engine, precision, tile, number)
            for engine, precision in (_parts(name) for name in compared)
            for number in threads
        ]
        engines = {setting: _open(package, setting, cache) for setting in settings}
        shape = (1, len(package.description.channels), tile, tile)
        batch = np.random.default_rng(0).random(shape, np.float32)
        runs = {setting: partial(engine.logits, batch) for setting, engine in engines.items()}
        timed = in_turns(runs, REPEATS, fewest=FEWEST, enough=ENOUGH)
        found += [Timed(each, ms, compared[each.run_as].lost) for each, ms in timed.items()]
    return found


def _parts(name: str) -> tuple[EngineName, Precision]:
    engine, precision = name.split("/")
    return engine, precision  # pyright: ignore[reportReturnType]


def _open(package: Package, setting: Setting, cache: Path) -> Engine:
    return open_engine(
        package,
        engine=setting.engine,
        precision=setting.precision,
        threads=setting.threads,
        cache=cache,
    )


def fastest(timed: Sequence[Timed]) -> Timed:
    """The quickest setting of OpenVINO, or that of another engine where it is clearly quicker."""

    def milliseconds(each: Timed) -> float:
        return each.milliseconds

    # A package of one engine has no other to compare with.
    ours = [each for each in timed if each.setting.engine == "openvino"] or timed
    everywhere = min(ours, key=milliseconds)
    first = min(timed, key=milliseconds)
    return first if CLEARLY * first.milliseconds < everywhere.milliseconds else everywhere


def choose(timed: Sequence[Timed], budget_ms: float, margin: int) -> Timed:
    """Of the settings within the time budget, one that loses least.

    Of equals, OpenVINO goes first, which every install has, then the fastest.

    Raises:
        ConfigError: None meets the budget; the message names the fastest.
    """
    within = [each for each in timed if each.milliseconds <= budget_ms]
    if not within:
        best = min(timed, key=lambda each: each.milliseconds)
        raise ConfigError(
            f"--budget-ms {budget_ms:g}: nothing is that fast here; the fastest is "
            f"{best.setting}, {best.milliseconds:.1f} ms a tile. Allow more time, a smaller --tile "
            "or more threads, or distil a smaller student"
        )
    least = min(_loss(each) for each in within)
    equals = [each for each in within if _loss(each) <= least + SAME_LOSS]
    return max(
        equals,
        key=lambda each: (each.setting.engine == "openvino", each.megapixels_per_second(margin)),
    )


def _loss(each: Timed) -> float:
    return sum(max(lost, 0.0) for lost in each.lost.values())


def table(timed: Sequence[Timed], margin: int, budget_ms: float | None = None) -> str:
    """The timings as text, fastest first."""
    lost = "".join(f"{f'{NAMES[name]} lost':>16}" for name in timed[0].lost)
    lines = [f"{'setting':44}{'ms/tile':>9}{'MP/s':>8}{lost}"]
    for each in sorted(timed, key=lambda each: each.milliseconds):
        mark = "" if budget_ms is None else ("  yes" if each.milliseconds <= budget_ms else "  no")
        lines.append(
            f"{each.setting!s:44}{each.milliseconds:9.1f}{each.megapixels_per_second(margin):8.2f}"
            f"{''.join(f'{value:16.4f}' for value in each.lost.values())}{mark}"
        )
    return "\n".join(lines)
