"""Many images on the workers of a cluster: what is due is given out, what is finished is noted.

Only the client writes the log. Workers leave what they finished in small files of their own until
it has (`abbe.cluster.tries`), so a killed client loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abbe.cluster import Died, Done, Workers, carry_out
from abbe.cluster.tries import MOST_TRIES, Tries
from abbe.errors import InputError
from abbe.runtime.batch.find_images import stem_of
from abbe.runtime.batch.finished import settings_of
from abbe.runtime.batch.item import Beside, Common, Item, predict_item
from abbe.runtime.job import Block
from abbe.runtime.package.engine import engine_on
from abbe.runtime.predictors.opening import RunOptions

if TYPE_CHECKING:
    from abbe.runtime.batch.many import Run

TRIES = ".predicted"
"""Folder, in that of the results, of what workers have begun and finished."""


@dataclass(frozen=True)
class Elsewhere:
    """Where and how images are worked on by others.

    Attributes:
        workers: Who does.
        options: How the user has the package run.
        prompts: File or folder of prompts, of a promptable package.
        most_tries: After how many deaths of its workers an image is given up.
    """

    workers: Workers
    options: RunOptions
    prompts: Path | None = None
    most_tries: int = MOST_TRIES


def predict_on_workers(run: Run, elsewhere: Elsewhere) -> None:
    """Have workers write the results of all images that have none yet.

    Raises:
        ClusterError: The scheduler has gone, or a worker has another Abbe or package.
    """
    common, tries = _common(run, elsewhere), Tries(run.out.absolute() / TRIES, elsewhere.most_tries)
    for path, line in tries.collect():
        if not run.finished.ends_with(line):  # the client was killed before it took it
            run.finished.take(line)
        path.unlink(missing_ok=True)
    giving = _Giving(run, common)
    try:
        for item, answer in carry_out(
            elsewhere.workers, tries, predict_item, giving.items(),
            long=lambda item: item.large, count=len(run.images),
        ):  # fmt: skip
            giving.take(item, answer)
    finally:
        giving.close()


def on_client(options: RunOptions) -> RunOptions:
    """How a package is opened where nothing is computed: it tells what workers compute with.

    Where these compute on GPUs none is needed here: a login node has none.

    Raises:
        ConfigError: There is no such device, or it does not go with engine and precision.
    """
    own = options.copy()
    own["workers"] = 1
    device = own.pop("device", None)
    if device is not None and device != "cpu":
        own["engine"] = engine_on(device, own.get("engine"), own.get("precision"))
        own["precision"] = "fp32"
    return own


@dataclass
class _Divided:
    """A large image whose blocks are given out.

    Attributes:
        lock: Held until it is written, so that no other process works on it.
        waiting: Blocks that are not due yet, each with those that must be done before.
        left: How many are not done.
        step: Share of the image that a block is counted as.
    """

    lock: ExitStack
    waiting: dict[Block, set[Block]]
    left: int
    step: float

    def due(self, done: Block | None = None) -> list[Block]:
        """Blocks that may be given out now that one is done, or at first."""
        for needed in self.waiting.values():
            needed.discard(done)
        due = [block for block, needed in self.waiting.items() if not needed]
        for block in due:
            del self.waiting[block]
        return due


class _Giving:
    """What is given out, and what comes of it: images, and the blocks of large ones."""

    def __init__(self, run: Run, common: Common) -> None:
        self._run, self._common = run, common
        self._ready: deque[Item] = deque()
        self._divided: dict[Path, _Divided] = {}
        self._outstanding = 0

    def items(self) -> Iterator[tuple[str, Item] | None]:
        """Parts of large images first; None while what comes next depends on what is in hand."""
        for item in self._images():
            while self._ready:
                yield self._give(self._ready.popleft())
            yield self._give(item)
        while self._outstanding or self._ready:
            yield self._give(self._ready.popleft()) if self._ready else None

    def take(self, item: Item, answer: Done | Died) -> None:
        """Note what came of an item; blocks of an image that failed are not gone on with."""
        self._outstanding -= 1
        path, run = item.asked, self._run
        beside = (answer.beside if isinstance(answer, Done) else None) or Beside()
        run.outcome.timings.add(beside.seconds)
        if isinstance(answer, Died):
            self._fail(item, f"{path}: {answer.words('this image')}")
        elif beside.divide:
            self._divide(item)
        elif answer.kept is not None:
            run.outcome.notes.update(answer.kept.get("notes", ()))
            run.take(path, answer.kept)
            self._end(item)
        elif item.block is None or beside.failed:
            run.outcome.notes.update(beside.opened)
            self._fail(item, beside.failed)
        elif path in self._divided:
            run.tell(path.name, self._divided[path].step)
            self._go_on(item)

    def close(self) -> None:
        """Let go of the images that are not finished."""
        for divided in self._divided.values():
            divided.lock.close()

    def _give(self, item: Item) -> tuple[str, Item]:
        self._outstanding += 1
        return item.name, item

    def _images(self) -> Iterator[Item]:
        """Those that are in the log already are looked at here first."""
        run = self._run
        for path, below in run.images.items():
            stem = stem_of(below)
            if run.finished.knows(stem.as_posix()) and run.due(path) is None:
                run.tell(path.name, 1.0)
                continue
            begun = run.batch.leftovers.has(run.out / stem)
            yield Item(self._common, path, path.absolute(), below, begun)

    def _divide(self, item: Item) -> None:
        lock = ExitStack()
        try:
            one = self._run.batch.open(item.asked, item.below)
            lock.enter_context(one.divided())
        except InputError as error:
            self._fail(item, str(error))
            return
        waiting = {block: set(needed) for block, needed in one.blocks.items()}
        count = len(waiting)
        self._divided[item.asked] = divided = _Divided(lock, waiting, count, 1 / (1 + count))
        self._ready += [replace(item, block=block, task=one.task) for block in divided.due()]

    def _go_on(self, item: Item) -> None:
        """A block is done: others may be due, and in the end the whole."""
        divided = self._divided[item.asked]
        divided.left -= 1
        self._ready += [replace(item, block=block) for block in divided.due(item.block)]
        if not divided.left:
            divided.lock.close()  # whoever writes it locks it
            self._ready.append(replace(item, block=None, task=None, whole=True))

    def _fail(self, item: Item, why: str) -> None:
        if str(item.asked) not in self._run.outcome.failed:  # by another of its blocks
            self._run.outcome.failed[str(item.asked)] = why
            self._end(item)

    def _end(self, item: Item) -> None:
        divided = self._divided.pop(item.asked, None)
        if divided is not None:
            divided.lock.close()
            self._ready = deque(each for each in self._ready if each.asked != item.asked)
        self._run.tell(item.path.name, 1.0 if divided is None else divided.step)


def _common(run: Run, elsewhere: Elsewhere) -> Common:
    predictor = run.predictor
    settings = settings_of(predictor)
    options = elsewhere.options.copy()
    options["engine"], options["precision"] = settings["engine"], settings["precision"]
    job = replace(run.job, prompts=None)
    prompts = None if elsewhere.prompts is None else elsewhere.prompts.absolute()
    same: dict[str, Any] = {**asdict(job), **settings, "options": options, "prompts": str(prompts)}
    key = hashlib.sha256(json.dumps(same, sort_keys=True).encode("ascii")).hexdigest()[:16]
    out = run.out.absolute()
    return Common(
        package=predictor.package.folder.absolute(),
        settings=settings,
        options=options,
        job=job,
        prompts=prompts,
        out=out,
        key=key,
        run=uuid.uuid4().hex,
        share=elsewhere.workers.share,
    )
