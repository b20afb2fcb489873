"""One image of a batch: opened, and written from its pixels to its files."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from abbe.errors import InputError
from abbe.imaging import Image
from abbe.runtime.batch.find_images import stem_of
from abbe.runtime.batch.finished import Task, line_of, task_of
from abbe.runtime.batch.image_lock import image_lock
from abbe.runtime.batch.leftovers import Leftovers
from abbe.runtime.job import DICOM, SUFFIXES, Block, Blocks, Job, Predictor, Tools, Written
from abbe.runtime.predictors.channels import flat_channels, remarks_on
from abbe.runtime.predictors.prompt_files import ObjectPrompt
from abbe.runtime.tiling.timing import Timings
from abbe.runtime.tiling.work import Work

Report = Callable[[str, float], None]
"""Told the name of an image and the share of it that is newly done."""


@dataclass(frozen=True)
class Batch:
    """What the images of a run have in common.

    Attributes:
        predictor: What runs on them.
        out: Folder of the results.
        job: What is asked for each.
        leftovers: What a killed run left half written.
        timings: Where to add the time of each part.
        tell: Told of progress.
    """

    predictor: Predictor
    out: Path
    job: Job
    leftovers: Leftovers
    timings: Timings
    tell: Report

    def open(self, path: Path, below: Path, task: Task | None = None) -> OneImage:
        """An image that can be worked on.

        Args:
            path: The image.
            below: Where it lies below its folder.
            task: What its results depend on, where it was opened and looked up before: of a
                folder each of its files is asked, of a slide in DICOM each level's header read.

        Raises:
            InputError: It cannot be read, or lacks what the package needs.
        """
        predictor, job = self.predictor, self.job
        if task is None and set(DICOM) & set(job.results):
            from abbe.imaging.formats.dicom.series import source_of

            source_of(path, slide="dicom-ann" in job.results)  # before hours of work
        image = job.reading.open(path)
        notes = remarks_on(image, predictor.package.description, predictor.channels_of(image))
        small = predictor.tiles(image) == 1
        prompts = job.prompts(stem_of(below).as_posix(), image.shape) if job.prompts else ()
        task = task or task_of(predictor, job, path, image, prompts)
        files = predictor.files(image, job.results)
        return OneImage(self, path, below, image, tuple(notes), prompts, task, files, small)


@dataclass(frozen=True)
class OneImage:
    """An image whose results are to be written; a small one is a single tile."""

    batch: Batch
    path: Path
    below: Path
    image: Image
    notes: tuple[str, ...]
    prompts: Sequence[ObjectPrompt]
    task: Task
    files: tuple[str, ...]
    small: bool

    @property
    def stem(self) -> str:
        """Where it lies below its folder, without ending."""
        return stem_of(self.below).as_posix()

    def files_of(self, count: int) -> tuple[str, ...]:
        """Suffixes of the files that it has with so many objects: DICOM has no list of none."""
        return tuple(each for each in self.files if count or each != SUFFIXES["dicom-ann"])

    def is_written(self, files: Sequence[str]) -> bool:
        """Whether these of its files are there."""
        return all(os.path.exists(f"{self.batch.out / self.stem}{each}") for each in files)

    @property
    def blocks(self) -> Blocks:
        """Blocks of a large image that may be computed apart; see `abbe.runtime.job.Predictor`."""
        return {} if self.small else self.batch.predictor.blocks(self.image, self.batch.job)

    @contextmanager
    def divided(self) -> Iterator[None]:
        """Nobody else may work on this image; its blocks may be computed, by anybody."""
        with image_lock(self._hidden):
            self._work()
            yield

    def compute(self, block: Block, pool: Executor) -> None:
        """A block of it, which is kept until the image is written; its maker has it `divided`."""
        batch, work = self.batch, self._work()
        with _named(self.image.source):
            tools = Tools(
                pool, work, batch.timings, partial(batch.tell, self.image.name), self.prompts,
                batch.job.all_tiles,
            )  # fmt: skip
            batch.predictor.compute(self.image, batch.job, tools, block)

    def _work(self) -> Work:
        """What is kept of it until it is written, by whoever computes or writes it."""
        # Tiles that an earlier version has left lie elsewhere.
        return Work(None if self.small else self._hidden, {**self.task, "windows": "even"})

    @property
    def _hidden(self) -> Path:
        """Where its tiles are kept."""
        stem = self.batch.out / self.stem
        return stem.with_name(f".{stem.name}.abbe")

    def write(self, pool: Executor) -> Written:
        """From its pixels to its files; that of a large image is kept tile by tile meanwhile."""
        batch, large = self.batch, not self.small
        stem = batch.out / self.stem
        with _named(self.image.source), image_lock(self._hidden) if large else nullcontext():
            files = batch.predictor.files(self.image, batch.predictor.results)
            batch.leftovers.remove(stem, files, alone=large)
            work = self._work()
            advance = partial(batch.tell, self.image.name)
            tools = Tools(pool, work, batch.timings, advance, self.prompts, batch.job.all_tiles)
            written = batch.predictor.write(self.image, stem, batch.job, tools)
            work.remove()
            flat = flat_channels(self.image, batch.predictor.channels_of(self.image))
        return replace(written, notes=(*written.notes, *flat))

    def line(self, written: Written) -> dict[str, Any]:
        """What is noted of it when it is finished."""
        notes, counts = self.notes + written.notes, self.batch.predictor.counts
        return line_of(self.stem, self.below.as_posix(), self.task, counts, written, notes)


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Blame an image for its size and its name; what else goes wrong is not the image's."""
    try:
        yield
    except MemoryError as error:
        raise InputError(
            f"{source}: there is too little memory for it. Close other programs, or give fewer "
            "--workers or a smaller --tile"
        ) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise InputError(
            f"{source}: its name is too long for the names of its results. Rename it"
        ) from error
