"""What benchmarks/foundation.py does, item by item: its form, its lengths, its places."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import foundation_sets as sets

SIDE = 256
"""Of the square that promptable students see, px."""


@dataclass(frozen=True)
class Sizes:
    """How long everything trains, on how much, and from how many seeds."""

    labels: int = 20
    """Of promptable networks."""
    thin: int = 1
    """One picture of so many is taken of what the full sets hold."""
    folds: int = max(sets.POLYP_FOLDS, sets.STAINED_FOLDS)
    """Of those that leave something out, the first so many."""
    grid: int = 20
    """Points on a side that MobileSAM is asked by on CODEX."""
    unet: int = 150
    embeddings: int = 600
    """Steps of promptable students."""
    masks: int = 150
    """Theirs after that; the twin has as many as both."""
    short_embeddings: int = 240
    """Steps where terms and encoders are compared."""
    short_masks: int = 100
    tuning: int = 120
    """Steps of two pictures that a teacher is tuned for."""
    pretraining: int = 100
    task: int = 40
    seeds: int = 5
    seeds_of_promptable: int = 3


QUICK = Sizes(
    labels=4,
    thin=6,
    folds=1,
    grid=4,
    unet=2,
    embeddings=2,
    masks=2,
    short_embeddings=2,
    short_masks=2,
    tuning=2,
    pretraining=2,
    task=2,
    seeds=1,
    seeds_of_promptable=1,
)


@dataclass(frozen=True)
class Item:
    """A call of abbe, or what must be there before."""

    name: str
    words: tuple[object, ...] = ()
    make: Callable[[], object] | None = None
    """It may give the seconds of processor time that programs took which it called."""
    more: bool = False
    """A question that came up on the way: run with ``--more`` alone."""


@dataclass(frozen=True)
class Places:
    """Where things lie."""

    data: Path
    weights: Path
    out: Path

    def set(self, name: str) -> Path:
        return self.out / "sets" / name

    @property
    def mobile_sam(self) -> Path:
        return self.weights / "mobile_sam.safetensors"

    @property
    def lite0(self) -> Path:
        return self.weights / "tf_efficientnet_lite0_imagenet.safetensors"


def answers_copied(source: Path, run: Path) -> Callable[[], object]:
    """Give a run the answers of its teacher; a copy that was stopped is made anew."""
    target = run / "targets.zarr"

    def copy() -> None:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)

    return copy


def carry_out_program(words: Sequence[object]) -> float:
    """Run a program to its end.

    Returns:
        Seconds of processor time that it and its own programs took: no other load is in them.

    Raises:
        SystemExit: with its exit code, if that is not 0.
    """
    process = subprocess.Popen(list(map(str, words)))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return usage.ru_utime + usage.ru_stime
