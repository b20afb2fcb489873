"""One image as an item for a worker of a cluster: what is sent to it, done there, and answered."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from abbe.cluster import Done
from abbe.cluster.deadline import go_on
from abbe.errors import ClusterError, InputError
from abbe.machine.threads import cores
from abbe.runtime.batch.finished import Task, settings_of
from abbe.runtime.batch.leftovers import Leftovers
from abbe.runtime.batch.one_image import Batch
from abbe.runtime.job import Block, Job, Predictor
from abbe.runtime.package import read_package
from abbe.runtime.package.engine import STANDS_IN
from abbe.runtime.predictors.opening import RunOptions
from abbe.runtime.predictors.prompt_files import Prompts, read_prompts
from abbe.runtime.predictors.tasks import open_predictor
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.timing import Part, Timings


@dataclass(frozen=True)
class Common:
    """What all items of a run share.

    Attributes:
        package: Its folder, which the workers see under the same name, as all files.
        settings: What the client's own predictor would compute with: see `settings_of`.
        options: How it is run; engine and precision are the client's, so that all workers
            compute alike, and so is the tile: what the user says, or else the package.
        job: What is asked for each image, without its prompts, which are no plain values.
        prompts: Their file or folder.
        out: Folder of the results.
        key: What makes an item of this run that of another which does the same.
        run: Its own name; the next may find other prompts in the same file.
        share: Cores of each worker; None where it finds out itself what it was given.
    """

    package: Path
    settings: dict[str, Any]
    options: RunOptions
    job: Job
    prompts: Path | None
    out: Path
    key: str
    run: str
    share: int | None


@dataclass(frozen=True)
class Item:
    """One image, or a part of the work on it.

    Attributes:
        common: What it shares with all others.
        asked: The file, as the user named it.
        path: The same from anywhere.
        below: Where it lies below its folder.
        begun: Whether a killed run left something half written of it.
        block: Compute this of it and write nothing; None for all of it.
        whole: Whether it is to be written, as its blocks are computed; else a large image comes
            back, to be divided.
        task: Of a block, what the image's results depend on. Who writes them looks again, and
            begins anew where the image has changed meanwhile.
    """

    common: Common
    asked: Path
    path: Path
    below: Path
    begun: bool
    block: Block | None = None
    whole: bool = False
    task: Task | None = None

    @property
    def large(self) -> bool:
        """Whether it is part of the work on an image that was divided."""
        return self.block is not None or self.whole

    @property
    def name(self) -> str:
        """Of its own among the items of a run."""
        part = f" {self.block or 'whole'}" if self.large else ""
        return f"{self.common.key} {self.below.as_posix()}{part}"


@dataclass(frozen=True)
class Beside:
    """What the client is told of an item beside its line in the log.

    Attributes:
        failed: Why there is no line.
        divide: It has none because it is large, and its blocks are to be given out.
        opened: What was noted when it was opened.
        seconds: How long each part took.
    """

    failed: str = ""
    divide: bool = False
    opened: tuple[str, ...] = ()
    seconds: dict[Part, float] = field(default_factory=dict)


def predict_item(item: Item, number: int) -> Done:
    """Work on an image, as a machine alone would; called on a worker.

    Returns:
        What is noted of it in the log, and `Beside`.
    """
    timings, again = Timings(), number > 1 or item.begun
    one = None
    try:
        batch = _batch(item, timings, again, many_tiles=item.large)
        one = batch.open(item.path, item.below, item.task)
        if one.small:
            written = one.write(Inline())
        elif not item.large and one.blocks:
            return Done(None, Beside(divide=True))
        else:
            batch = _batch(item, timings, again, many_tiles=True)
            one = one if item.large else batch.open(item.path, item.below, one.task)
            with ThreadPoolExecutor(max(1, batch.predictor.workers // _slots())) as pool:
                if item.block is not None:
                    one.compute(item.block, pool)
                    return Done(None, Beside(seconds=timings.seconds))
                written = one.write(pool)
    except InputError as error:
        opened = one.notes if one is not None else ()
        return Done(None, Beside(str(error), opened=opened, seconds=timings.seconds))
    return Done(one.line(written), Beside(opened=one.notes, seconds=timings.seconds))


def _batch(item: Item, timings: Timings, again: bool, *, many_tiles: bool) -> Batch:
    common = item.common
    predictor, prompts = _OPEN.get(common, many_tiles)
    stems: Sequence[Path] = [common.out / item.below] if again else ()
    job = replace(common.job, prompts=prompts)
    return Batch(predictor, common.out, job, Leftovers(stems), timings, go_on)


def _slots() -> int:
    """How many items this worker has in hand at a time."""
    from distributed import get_worker

    return get_worker().state.nthreads


class _Opened:
    """The package that this worker has open: of the last run, for small images and for large."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run = ""
        self._open: dict[int, tuple[Predictor, Prompts | None]] = {}

    def get(self, common: Common, many_tiles: bool) -> tuple[Predictor, Prompts | None]:
        """The predictor, and the prompts that were read beside it.

        Raises:
            ClusterError: This worker has another Abbe or another package, or lacks the device.
        """
        slots = _slots()
        given = common.share * slots if common.share else cores()
        # Many tiles are computed one a core; a single one has all cores of its item.
        workers = common.options.get("workers") or (given if many_tiles else slots)
        with self._lock:
            if self._run != common.run:
                self._open.clear()
                self._run = common.run
            if workers not in self._open:
                self._open[workers] = _open(common, given, workers)
            return self._open[workers]


_OPEN = _Opened()


def _open(common: Common, given: int, workers: int) -> tuple[Predictor, Prompts | None]:
    options = common.options.copy()
    options["threads"] = options.get("threads") or given
    options["workers"] = workers
    predictor = open_predictor(read_package(common.package), **options)
    device, engine = options.get("device") or "cpu", predictor.engine
    if engine.device != device:  # here the processor would stand in, and nobody would know
        why = engine.notes[0].removesuffix(f" {STANDS_IN}")
        raise ClusterError(
            f"--device {device}: a worker cannot compute there. {why} Give each worker what it "
            "lacks, or leave --device out"
        )
    if settings_of(predictor) != common.settings:
        raise ClusterError(
            f"{common.package}: on a worker this is another package, or runs otherwise, than "
            f"here: {settings_of(predictor)} and {common.settings}"
        )
    return predictor, None if common.prompts is None else read_prompts(common.prompts)
