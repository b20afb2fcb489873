"""Run a package on many images: each one lands whole, bad ones are listed, the rest go on."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from abbe.errors import ConfigError, InputError
from abbe.in_words import counted, faults
from abbe.runtime.batch.delivery import Delivery
from abbe.runtime.batch.find_images import stem_of
from abbe.runtime.batch.finished import LOG, Finished, settings_of
from abbe.runtime.batch.leftovers import Leftovers
from abbe.runtime.batch.on_workers import Elsewhere, predict_on_workers
from abbe.runtime.batch.one_image import Batch, OneImage, Report
from abbe.runtime.job import DICOM, OUTLINES, Job, Outlining, Predictor, Result, Written
from abbe.runtime.package import Package
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.timing import Timings
from abbe.runtime.writing.simplified import require_shapely

MOST_NOTES = 10
"""Different notes on images that are printed; all are in the log."""


@dataclass
class Outcome:
    """What became of the images.

    Attributes:
        done: By image, the number of its objects, or of whatever is counted.
        kept: Images whose results an earlier run of the same job has written.
        failed: By image, what is wrong with it.
        megapixels: Of all images done.
        seconds: Wall time.
        timings: How long each part took.
        counts: What is counted.
        notes: What was done or taken for granted when images were opened, and of how many.
        diameters: By image, px across of its objects, where its scale was told by that.
    """

    done: dict[str, int] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    megapixels: float = 0.0
    seconds: float = 0.0
    timings: Timings = field(default_factory=Timings)
    counts: str = "objects"
    notes: Counter[str] = field(default_factory=Counter)
    diameters: dict[str, float] = field(default_factory=dict)

    def summary(self) -> str:
        """Lines on what was done, what was noted of images, and why images failed."""
        speed = self.megapixels / self.seconds if self.seconds else 0.0
        lines = [
            f"{counted(len(self.done), 'image')}, {self._found()}, "
            f"{self.megapixels:.1f} megapixels in {self.seconds:.1f} s ({speed:.2f} MP/s)"
        ]
        if self.kept:
            lines.append(f"results were there already: {counted(len(self.kept), 'image')}")
        if self.diameters:
            lines.append(_diameters_in_words(list(self.diameters.values())))
        for note, count in self.notes.most_common(MOST_NOTES):
            lines.append(f"note on {counted(count, 'image')}: {note}")
        if len(self.notes) > MOST_NOTES:
            lines.append(f"and {len(self.notes) - MOST_NOTES} more notes: see {LOG}")
        if self.failed:
            lines.append(f"{counted(len(self.failed), 'image')} failed:")
            lines += faults(self.failed)
        return "\n".join(lines)

    def _found(self) -> str:
        total = sum(self.done.values())
        return counted(total, self.counts.removesuffix("s"))


def _diameters_in_words(found: Sequence[float]) -> str:
    least, middle, most = min(found), median(found), max(found)
    if len(found) == 1 or least == most:
        return f"seen by their diameter: objects of {middle:.3g} px"
    return (
        f"seen by their diameter: objects of {least:.3g} to {most:.3g} px, median {middle:.3g} "
        f"(each image's: see {LOG})"
    )


def predict_many(
    predictor: Predictor,
    images: dict[Path, Path],
    out: Path,
    job: Job,
    report: Report | None = None,
    elsewhere: Elsewhere | None = None,
    delivery: Delivery | None = None,
) -> Outcome:
    """Run a package on every image and write the results, here or on the workers of a cluster.

    With a ``delivery``, ``out`` is its folder, and results go on to their bucket from there.

    Small images go several at a time; large ones one after the other, their tiles at the same
    time. An image that cannot be read is noted in the outcome. Run again after an interrupt, what
    is finished is left out and a large image goes on at its next tile.

    Raises:
        ConfigError: A result is asked for that the package does not give, or prompts where it
            takes none, or none where it needs them.
        PackageError: The network fails.
        ClusterError: The cluster's scheduler has gone.
        OSError: The disk is full or cannot be written to.
    """
    _check_job(predictor, job)
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    run = Run(predictor, images, out, job, report or (lambda name, share: None), delivery)
    if elsewhere is None:
        with ThreadPoolExecutor(predictor.workers) as pool:
            run.predict_all(pool)
    else:
        predict_on_workers(run, elsewhere)
    earlier = run.finished.answers(settings_of(predictor))
    with nullcontext() if delivery is None else delivery.concluding():
        predictor.conclude(out, _with_earlier(run.answers, earlier, images))
    run.outcome.seconds = time.perf_counter() - started
    return run.outcome


@dataclass
class Run:
    """One call of `predict_many`: which images are due, what became of them, what is in hand."""

    predictor: Predictor
    images: Mapping[Path, Path]
    out: Path
    job: Job
    tell: Report
    delivery: Delivery | None = None

    def __post_init__(self) -> None:
        self.outcome = Outcome(counts=self.predictor.counts)
        self.answers: dict[str, Any] = {}
        self.finished = Finished(self.out / LOG)
        leftovers = Leftovers(self.out / stem_of(below) for below in self.images.values())
        timings = self.outcome.timings
        self.batch = Batch(self.predictor, self.out, self.job, leftovers, timings, self.tell)

    def predict_all(self, pool: Executor) -> None:
        """Small images in threads, several at a time; of large ones the tiles."""
        running: dict[Future[Written], OneImage] = {}
        try:
            for path in self.images:
                one = self.due(path)
                if one is None:
                    self.tell(path.name, 1.0)
                elif one.small:
                    running[pool.submit(one.write, Inline())] = one
                    self._drain(running, 2 * self.predictor.workers)
                else:
                    self._finish(one, partial(one.write, pool))
            self._drain(running, 0)
        finally:
            for future in running:
                future.cancel()

    def due(self, path: Path) -> OneImage | None:
        """The image, if it can be worked on and has not its results yet."""
        try:
            one = self.batch.open(path, self.images[path])
        except InputError as error:
            self.outcome.failed[str(path)] = str(error)
            return None
        self.outcome.notes.update(one.notes)
        earlier = self.finished.find(one.stem, one.task)
        if earlier and self._has_results(one, earlier):
            self.outcome.kept.append(str(path))
            self.answers[one.below.as_posix()] = earlier.get("answer")
            return None
        self.finished.begin(one.stem, one.task)
        return one

    def _has_results(self, one: OneImage, line: dict[str, Any]) -> bool:
        files = one.files_of(line[self.predictor.counts])
        if self.delivery is None:
            return one.is_written(files)
        if self.delivery.has(one.stem, files):
            return True
        if one.is_written(files):  # and was not delivered before the run was killed
            self.delivery.send(line)
            return True
        return False

    def _drain(self, running: dict[Future[Written], OneImage], most: int) -> None:
        while len(running) > most:
            for future in wait(running, return_when=FIRST_COMPLETED)[0]:
                self._finish(running.pop(future), future.result)

    def _finish(self, one: OneImage, write: Callable[[], Written]) -> None:
        try:
            written = write()
        except InputError as error:
            self.outcome.failed[str(one.path)] = str(error)
            return
        self.outcome.notes.update(written.notes)
        self.take(one.path, one.line(written))

    def take(self, path: Path, line: dict[str, Any]) -> None:
        """Note that an image is finished, here and in the log."""
        self.outcome.done[str(path)] = line[self.predictor.counts]
        if "diameter" in line:
            self.outcome.diameters[str(path)] = line["diameter"]
        self.outcome.megapixels += line["task"]["megapixels"]
        self.answers[self.images[path].as_posix()] = line.get("answer")
        self.finished.take(line)
        if self.delivery is not None:
            self.delivery.send(line)


def _with_earlier(
    answers: Mapping[str, Any], earlier: Mapping[str, Any], images: Mapping[Path, Path]
) -> dict[str, Any]:
    """By name: the answers of this run, and those of earlier ones for images not in this."""
    asked = {below.as_posix() for below in images.values()}
    others = {name: answer for name, answer in earlier.items() if name not in asked}
    return dict(sorted({**others, **answers}.items()))


def check_prompts(package: Package, given: bool) -> None:
    """Refuse prompts for a package that takes none, and a promptable one without.

    Raises:
        ConfigError: The one or the other.
    """
    promptable = package.description.traits.prompted
    if promptable and not given:
        raise ConfigError(
            f"{package.folder}: a promptable package must be shown each object: give --prompts "
            "FILE.csv or a folder of masks"
        )
    if given and not promptable:
        raise ConfigError("--prompts: this package finds objects by itself; leave prompts out")


def check_outlining(package: Package, outlining: Outlining, results: Sequence[Result]) -> None:
    """Refuse what is said of outlines that there are none of, or that cannot be so.

    Args:
        package: What is run.
        outlining: What is said.
        results: What is asked for; empty for what is usual.

    Raises:
        ConfigError: Naming the option.
        MissingExtraError: Outlines are to be simplified, and shapely is not installed.
    """
    traits, task = package.description.traits, package.description.task
    given = {
        "--simplify": outlining.simplify != 0,
        "--minimum-area": outlining.minimum_area is not None,
        "--class-name": outlining.class_name is not None,
    }
    if not 0 <= outlining.simplify < math.inf:
        raise ConfigError(f"--simplify {outlining.simplify:g}: give px, such as 0.5")
    if given["--simplify"] and not (traits.of_pixels or traits.prompted):
        raise ConfigError(f"--simplify: a {task} package outlines tiles, which are squares already")
    if given["--simplify"]:
        require_shapely()  # before hours of work
    if given["--minimum-area"] and not traits.tells_areas:
        raise ConfigError(f"--minimum-area: is for packages of regions; this is a {task} package")
    if outlining.minimum_area is not None and outlining.minimum_area < 1:
        raise ConfigError(f"--minimum-area {outlining.minimum_area}: give px, 1 or more")
    named = traits.tells_classes or len(package.description.classes) > 1
    if given["--class-name"] and named:
        raise ConfigError("--class-name: this package names the classes itself; leave it out")
    if outlining.class_name is not None and not outlining.class_name.strip():
        raise ConfigError("--class-name: give a name that has letters, such as Tumor")
    if "dicom-seg" in results:
        given.pop("--class-name")  # of segments, too
    if any(given.values()) and not set(OUTLINES) & set(results):
        options = ", ".join(option for option, said in given.items() if said)
        raise ConfigError(
            f"{options}: outlines are not asked for. Add geojson to --results, or leave it out"
        )


def _check_job(predictor: Predictor, job: Job) -> None:
    description = predictor.package.description
    check_prompts(predictor.package, job.prompts is not None)
    for result in job.results:
        if result not in predictor.results:
            raise ConfigError(
                f"--results {result}: a {description.task} package gives "
                f"{', '.join(predictor.results)}"
            )
    if set(DICOM) & set(job.results):
        from abbe.imaging.formats.dicom.series import require_highdicom

        require_highdicom()
