"""A teacher on the workers of a cluster: each writes a part of the store, which the client adopts.

No two machines write to one file: a worker's part (``parts/NAME`` in the store) is a store of its
own, and the client alone writes the index that names the maps in them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abbe.cluster import Died, Done, Workers, carry_out, open_cluster
from abbe.cluster.own_threads import threads_wanted, use_threads
from abbe.cluster.shared import Shared, share
from abbe.cluster.tries import Tries
from abbe.errors import ClusterError, InputError, StoreError, fault_of
from abbe.files import remove_part
from abbe.progress import bar
from abbe.teachers.teach import TeachReport, load, provenance_of

if TYPE_CHECKING:
    from abbe.datasets import Dataset
    from abbe.datasets.collection import Record
    from abbe.targets import Provenance, TargetWriter
    from abbe.targets.entries import Entry
    from abbe.teachers.teacher import Teacher

TRIES = ".teaching"
"""Folder, in a store's, of what workers have begun and finished."""
MakeTeacher = Callable[[], "Teacher"]
"""Gives the teacher, on a worker."""


@dataclass(frozen=True)
class Common:
    """What all images of a run share.

    Attributes:
        make: Gives the teacher.
        provenance: Of the store.
        simulated: Whether the images are.
        path: The store, which the workers see under the same name, as all files.
        run: What this run's parts are called.
        threads: Of each image; None where a worker finds out what it was given.
    """

    make: MakeTeacher
    provenance: Provenance
    simulated: bool
    path: Path
    run: str
    threads: int | None


@dataclass(frozen=True)
class Item:
    """An image to teach.

    Attributes:
        common: What it shares with all others.
        record: The image.
        known: Its checksum when it was taught, where it was.
    """

    common: Shared[Common]
    record: Record
    known: str | None


def teach_on_cluster(
    cluster: str,
    make: MakeTeacher,
    dataset: Dataset,
    path: str | os.PathLike[str],
    *,
    teacher: Teacher,
    say: Callable[[str], None] = lambda line: None,
    progress: bool = True,
) -> TeachReport:
    """`teach_on_workers`, on what ``--cluster`` says; see `abbe.cluster.open_cluster`."""
    on_gpus = "torch" in sys.modules  # a teacher without it computes on processors
    with open_cluster(cluster, say, on_gpus=on_gpus) as workers:
        return teach_on_workers(make, teacher, dataset, path, workers, progress=progress)


def teach_on_workers(
    make: MakeTeacher,
    teacher: Teacher,
    dataset: Dataset,
    path: str | os.PathLike[str],
    workers: Workers,
    *,
    progress: bool = True,
) -> TeachReport:
    """What `abbe.teachers.teach` does, by workers; the store reads as one that it wrote.

    Args:
        make: Gives the teacher, on each worker; functions and values that can be sent.
        teacher: The same teacher, here.
        dataset: The images.
        path: The store.
        workers: Who do it.
        progress: Show a bar.

    Raises:
        InputError: The data set has no images, or lacks a channel that the teacher reads.
        StoreError: The store is another teacher's, or cannot be written.
        ClusterError: The scheduler has gone, or a worker's teacher is another.
    """
    from abbe.targets import TargetWriter
    from abbe.targets.writer import PARTS

    provenance = provenance_of(teacher, dataset)
    dataset, root = dataset.seen_as(provenance.channels), Path(path).absolute()
    report = TeachReport()
    with ExitStack() as stack:
        writer = stack.enter_context(TargetWriter.open(root, provenance))
        moving = stack.enter_context(bar("teach", len(dataset), shown=progress))
        _adopt_all(writer)
        tries = Tries(root / TRIES)
        tries.begin_anew()  # the parts hold what words say
        common = Common(
            make, provenance, dataset.simulated, root, uuid.uuid4().hex[:12],
            threads_wanted(workers),
        )  # fmt: skip
        shared = stack.enter_context(share(tries.folder, common))
        start = time.perf_counter()
        for item, answer in carry_out(workers, tries, teach_item, _due(dataset, shared, writer)):
            _take(item.record.id, answer, writer, report)
            report.images_per_second = report.done / (time.perf_counter() - start)
            moving.move_to(report.done + report.skipped + len(report.failed))
            moving.say(report.so_far())
        for half in (root / PARTS).glob(f"{common.run}-*/**/.*.part"):
            remove_part(half)  # of workers that died; nobody is at anything any more
    return report


def _adopt_all(writer: TargetWriter) -> None:
    """What workers of a client that was killed have taught since."""
    from abbe.targets.writer import PARTS

    for part in sorted((writer.path / PARTS).glob("*/zarr.json")):
        writer.adopt(part.parent.name)


def _due(
    dataset: Dataset, common: Shared[Common], writer: TargetWriter
) -> Iterator[tuple[str, Item]]:
    for record in dataset:
        yield record.id, Item(common, record, writer.known_sha256(record.id))


def _take(id: str, answer: Done | Died, writer: TargetWriter, report: TeachReport) -> None:
    from abbe.targets.entries import Entry

    if isinstance(answer, Died):
        report.failed[id] = answer.words("this image")
    elif answer.kept is not None:
        entry = Entry.from_json(answer.kept["entry"])
        writer.adopt(answer.kept["part"], [entry])
        report.done += 1
        report.empty += entry.empty
    elif answer.beside is None:
        report.skipped += 1
    else:
        report.failed[id] = answer.beside


def teach_item(item: Item, number: int) -> Done:
    """Have the teacher answer for an image; called on a worker.

    Returns:
        The part and the line of its index; nothing where the store has the answer; or what failed.
    """
    common = item.common.get()
    use_threads(common.threads)
    part = _OPEN.get(common)
    record = item.record
    try:
        image, sha256 = load(record, common.provenance.channels)
        if item.known == sha256:
            return Done()
        if item.known is not None:
            raise InputError(
                f"'{record.id}' has changed since it was taught (its pixels have another "
                "checksum); give the changed image another id, or teach into a new store"
            )
        with part.alone:  # teachers answer one image at a time; the next is read meanwhile
            if not part.writer.has(record.id, sha256):  # an answer that never came to the client
                answer = part.teacher.predict(image, record.id)
                part.writer.append(
                    record.id,
                    answer.maps,
                    image_sha256=sha256,
                    shape=image.shape,
                    pixel_size=image.pixel_size,
                    empty=answer.empty,
                )
            part.writer.flush()
            entry = part.recorded[record.id]
    except Exception as error:  # whatever it is belongs to this image and is reported with it
        if isinstance(error, StoreError):
            part.writer.flush()  # …unless the part itself failed: then this raises, and all stops
        return Done(None, fault_of(error))
    return Done({"part": part.writer.path.name, "entry": entry.to_json()})


@dataclass(frozen=True)
class _Part:
    """A worker's teacher and its part of the store."""

    teacher: Teacher
    writer: TargetWriter
    recorded: dict[str, Entry]
    alone: Any


class _Open:
    """What this worker has open: of the last run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run, self._part = "", None

    def get(self, common: Common) -> _Part:
        """Its teacher and its part.

        Raises:
            ClusterError: The teacher here is another than the client's.
        """
        with self._lock:
            if self._part is None or self._run != common.run:
                if self._part is not None:
                    self._part.writer.close()
                self._part, self._run = _open(common), common.run
            return self._part


_OPEN = _Open()


def _open(common: Common) -> _Part:
    from abbe.targets import TargetWriter
    from abbe.targets.writer import PARTS

    teacher = common.make()
    own = replace(teacher.provenance, simulated=teacher.provenance.simulated or common.simulated)
    if differing := common.provenance.differences(own):
        raise ClusterError(
            "on a worker the teacher is another, or computes otherwise, than here:\n  "
            + "\n  ".join(differing)
        )
    recorded: dict[str, Entry] = {}

    def told(entry: Entry) -> None:
        recorded[entry.id] = entry

    path = common.path / PARTS / f"{common.run}-{uuid.uuid4().hex[:12]}"
    writer = TargetWriter.open(path, common.provenance, locked=False, told=told)
    return _Part(teacher, writer, recorded, threading.Lock())
