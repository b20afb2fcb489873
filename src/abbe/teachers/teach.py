"""Run a teacher over a data set into a target store: read, think and write at the same time."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from abbe.errors import ConfigError, InputError, MissingExtraError, StoreError, fault_of
from abbe.in_words import counted, faults
from abbe.machine.memory import freed_memory_kept
from abbe.progress import bar
from abbe.teachers.teacher import Teacher, missing_channels

if TYPE_CHECKING:
    from abbe.datasets import Dataset
    from abbe.datasets.collection import Record
    from abbe.imaging import Image
    from abbe.machine.pace import Pace
    from abbe.targets import Provenance, TargetWriter

READERS = 2
AHEAD = 4
"""Images that are decoded before the teacher asks for them: it bounds the memory."""
LARGEST_HELD = 128 << 20
"""Bytes of pixels; a larger image is not decoded ahead, and its teacher reads it by region."""

OF_THE_TEACHER = (ConfigError, MissingExtraError)
"""What a teacher raises that would fail on every image: it cannot do what its options ask for."""


@dataclass
class TeachReport:
    """What became of a data set's images.

    Attributes:
        done: images taught now, the empty ones included.
        skipped: images that the store had already.
        empty: images taught now on which the teacher found nothing.
        failed: by id, what went wrong with each of the others.
        images_per_second: taught now, over the whole time.
    """

    done: int = 0
    skipped: int = 0
    empty: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    images_per_second: float = 0.0

    def so_far(self) -> str:
        """For people who watch: images a second, and how many failed."""
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{self.images_per_second:.3g} images/s{failed}"

    def summary(self) -> str:
        """For people: one line, and one more for each fault."""
        line = (
            f"{counted(self.done, 'image')} taught ({self.empty} of them empty), {self.skipped} "
            f"already there, {len(self.failed)} failed; {self.images_per_second:.3g} images/s"
        )
        return "\n".join([line, *faults(self.failed)])


def teach(
    teacher: Teacher,
    dataset: Dataset,
    path: str | os.PathLike[str],
    *,
    progress: bool = True,
) -> TeachReport:
    """Store what ``teacher`` says about every image of ``dataset`` in the target store at ``path``.

    Images that the store has already are skipped, so the same call continues after any kind of
    end, a kill included. An image that cannot be read, or that the teacher fails on, is listed and
    the rest go on; it is never stored as empty. An interrupt or a full disk stops at once and
    keeps everything taught before.

    Args:
        teacher: who teaches.
        dataset: the images.
        path: the store, a folder; it is made if it is not there.
        progress: show a bar with images/s and the time left on standard error.

    Raises:
        InputError: the data set has no images, or lacks a channel that the teacher reads.
        StoreError: the store is another teacher's, or cannot be written.
        ConfigError: the teacher cannot do what its options ask for; what it answered is kept.
    """
    from abbe.targets import TargetWriter

    provenance = provenance_of(teacher, dataset)
    dataset = dataset.seen_as(provenance.channels)
    report, start = TeachReport(), time.perf_counter()
    with (
        freed_memory_kept("torch" in sys.modules),
        TargetWriter.open(Path(path), provenance) as writer,
        bar("teach", len(dataset), shown=progress) as moving,
        _pace(moving.note) as pace,
    ):
        for record, loading in read_ahead(dataset, provenance.channels):
            begun = time.perf_counter()
            _teach_one(teacher, record, loading, writer, report)
            if pace is not None:
                pace.after_step(time.perf_counter() - begun)
            report.images_per_second = report.done / (time.perf_counter() - start)
            moving.move_to(report.done + report.skipped + len(report.failed))
            moving.say(report.so_far())
        writer.flush()
    report.images_per_second = report.done / (time.perf_counter() - start)
    return report


def _pace(told: Callable[[str], object]) -> AbstractContextManager[Pace | None]:
    """What is told the seconds of each image, so that torch's threads fit a busy machine."""
    if "torch" not in sys.modules:  # a teacher without it has no threads of torch's
        return nullcontext()
    from abbe.machine.pace import Pace, use_threads

    use_threads()
    return Pace(told)


def provenance_of(teacher: Teacher, dataset: Dataset) -> Provenance:
    """What a store of ``teacher``'s answers about ``dataset`` says of itself.

    Raises:
        InputError: the data set has no images, or lacks a channel that the teacher reads.
    """
    from abbe.imaging.channels import RGB, lacking, matching

    provenance = teacher.provenance
    if not len(dataset):
        raise InputError(f"the data set '{dataset.name}' has no images to teach")
    has, input_channels = dataset.channels, provenance.channels
    if matching(has, input_channels) is None:
        where, who = f"the data set '{dataset.name}'", provenance.teacher
        if set(RGB) <= set(input_channels) and len(has) == 1:
            raise InputError(
                lacking(f"an image of {where}", has, input_channels, f"the teacher {who}")
            )
        missing = [name for name in input_channels if name not in has]
        raise InputError(missing_channels(where, has, missing, who))
    return replace(provenance, simulated=provenance.simulated or dataset.simulated)


def _teach_one(
    teacher: Teacher,
    record: Record,
    loading: Future[tuple[Image, str]],
    writer: TargetWriter,
    report: TeachReport,
) -> None:
    try:
        image, sha256 = loading.result()
        if writer.has(record.id, sha256):
            report.skipped += 1
            return
        prediction = teacher.predict(image, record.id)
        writer.append(
            record.id,
            prediction.maps,
            image_sha256=sha256,
            shape=image.shape,
            pixel_size=image.pixel_size,
            empty=prediction.empty,
        )
    except Exception as error:  # whatever it is belongs to this image and is reported with it
        if isinstance(
            error, ConfigError | MissingExtraError
        ):  # …but for what is asked of the teacher itself
            writer.flush()
            raise
        if isinstance(error, StoreError):
            writer.flush()  # …unless the store itself failed: then this raises, and all stops
        report.failed[record.id] = fault_of(error)
        return
    report.done += 1
    report.empty += prediction.empty


def read_ahead(
    dataset: Dataset, channels: Sequence[str]
) -> Iterator[tuple[Record, Future[tuple[Image, str]]]]:
    """The records in order, each with its pixels under way."""
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="read")
    waiting: deque[tuple[Record, Future[tuple[Image, str]]]] = deque()
    try:
        for record in dataset:
            waiting.append((record, pool.submit(load, record, channels)))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def load(record: Record, channels: Sequence[str]) -> tuple[Image, str]:
    """An image and the hash of its channels; what fits is in memory, with those channels only."""
    from abbe.imaging import Image

    image = record.image.open()
    different = tuple(dict.fromkeys(channels))  # the teacher may be shown one channel twice
    if len(different) * image.shape[0] * image.shape[1] * image.dtype.itemsize > LARGEST_HELD:
        return image, image.sha256(channels)
    pixels = image.read(channels=different)
    held = Image.from_array(pixels, different, image.pixel_size, image.name)
    return held, held.sha256(channels)
