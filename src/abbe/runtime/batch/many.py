"""Run a package on many images: each one lands whole, bad ones are listed, the rest go on."""

from __future__ import annotations

import errno
import glob
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from abbe.errors import ConfigError, InputError
from abbe.imaging import Image
from abbe.imaging.formats.other_kinds import not_read
from abbe.imaging.formats.plates import field_name, fields_of, is_plate
from abbe.imaging.opening import is_zarr
from abbe.runtime.batch.finished import LOG, Finished, Task, settings_of, task_of
from abbe.runtime.batch.image_lock import in_hand
from abbe.runtime.batch.leftovers import Leftovers
from abbe.runtime.job import SUFFIXES, Job, Ready, Tools, Written
from abbe.runtime.predictors.channels import remarks_on
from abbe.runtime.predictors.prompt_files import ObjectPrompt
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.timing import Timings
from abbe.runtime.tiling.work import Work

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".svs", ".qptiff", ".ndpi", ".scn", ".mrxs", ".bif",
    ".npy", ".npz", ".zarr",
)  # fmt: skip
"""What is taken from a folder; a file that is named is opened whatever it is called."""
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
    """

    done: dict[str, int] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    megapixels: float = 0.0
    seconds: float = 0.0
    timings: Timings = field(default_factory=Timings)
    counts: str = "objects"
    notes: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """Lines on what was done, what was noted of images, and why images failed."""
        speed = self.megapixels / self.seconds if self.seconds else 0.0
        lines = [
            f"{len(self.done)} images, {sum(self.done.values()):,} {self.counts}, "
            f"{self.megapixels:.1f} megapixels in {self.seconds:.1f} s ({speed:.2f} MP/s)"
        ]
        if self.kept:
            lines.append(f"{len(self.kept)} images had their results already")
        for note, count in self.notes.most_common(MOST_NOTES):
            lines.append(f"note on {count} image{'s' if count > 1 else ''}: {note}")
        if len(self.notes) > MOST_NOTES:
            lines.append(f"and {len(self.notes) - MOST_NOTES} more notes: see {LOG}")
        if self.failed:
            lines.append(f"{len(self.failed)} images failed:")
            lines += [f"  {reason}" for reason in self.failed.values()]
        return "\n".join(lines)


Report = Callable[[str, float], None]
"""Told the name of an image and the share of it that is newly done."""


def find_images(
    inputs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str] | None = None
) -> dict[Path, Path]:
    """The images that files, folders and patterns name, with where each lies below its folder.

    Folders are searched to any depth, hidden ones and ``out`` left out; an OME-Zarr folder is one
    image, and a plate all its fields of view (A1_0: row A, column 1, field 0). Of folders and
    patterns, what is called as a result of another image found, or as Cellpose's masks of one, is
    no image; a file that is named is always taken.

    Args:
        inputs: Files, folders, patterns.
        out: Folder that the results are written to, if any are.

    Raises:
        InputError: A name leads to nothing, or a folder holds no image.
        ConfigError: Two images would write the same results.
    """
    own = None if out is None else Path(out).resolve()
    found: dict[Path, Path] = {}
    named: set[Path] = set()
    for each in inputs:
        path = Path(each)
        if os.path.isdir(path) and is_plate(path):
            found |= {field: Path(name) for name, field in fields_of(path).items()}
        elif os.path.isdir(path) and not is_zarr(path):
            inside = sorted(_images_below(path, own))
            if not inside:
                unread = not_read(_files_below(path, own), path)
                raise InputError(unread or f"{path}: there is no image in this folder")
            found |= {image: _below(image, path) for image in inside}
        elif os.path.exists(path):  # Path.exists fails for names that are too long
            found[path] = _below(path, path.parent)
            named.add(path)
        else:
            matching = sorted(glob.glob(str(each), recursive=True))
            if not matching:
                raise InputError(f"{each}: there is no such image. Check the path")
            found |= {Path(match): _below(Path(match), Path(match).parent) for match in matching}
    results = _results_of(found, out)
    found = {
        image: below
        for image, below in found.items()
        if image in named or not (os.path.abspath(image) in results or _of_cellpose(image, found))
    }
    stems: dict[Path, Path] = {}
    for image, below in found.items():
        stem = stem_of(below)
        if other := stems.get(stem):
            raise ConfigError(
                f"{other} and {image} would both be written to '{stem}…': run them one after the "
                "other with different --out"
            )
        stems[stem] = image
    return found


def left_out(
    inputs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str] | None = None
) -> list[str]:
    """What to say of image files in folders that `find_images` passes over, a line a folder."""
    own = None if out is None else Path(out).resolve()
    folders = [Path(each) for each in inputs if os.path.isdir(each) and not is_zarr(Path(each))]
    told = (not_read(_files_below(folder, own), folder) for folder in folders)
    return [line for line in told if line is not None]


def predict_many(
    ready: Ready, images: dict[Path, Path], out: Path, job: Job, report: Report | None = None
) -> Outcome:
    """Run a package on every image and write the results.

    Small images go several at a time; large ones one after the other, their tiles at the same
    time. An image that cannot be read is noted in the outcome. Run again after an interrupt, what
    is finished is left out and a large image goes on at its next tile.

    Raises:
        ConfigError: A result is asked for that the package does not give, or prompts where it
            takes none, or none where it needs them.
        PackageError: The network fails.
        OSError: The disk is full or cannot be written to.
    """
    _check_job(ready, job)
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    outcome = Outcome(counts=ready.counts)
    answers: dict[str, Any] = {}
    finished = Finished(out / LOG)
    leftovers = Leftovers(out / stem_of(below) for below in images.values())
    running: dict[Future[Written], tuple[Path, Task, tuple[str, ...]]] = {}
    tell = report or (lambda name, share: None)

    def finish(image: Path, task: Task, notes: tuple[str, ...], ask: Callable[[], Written]) -> None:
        try:
            written = ask()
        except InputError as error:
            outcome.failed[str(image)] = str(error)
        else:
            outcome.done[str(image)] = written.count
            outcome.megapixels += task["megapixels"]
            below = images[image]
            answers[below.as_posix()] = written.answer
            stem = stem_of(below).as_posix()
            finished.add(stem, below.as_posix(), task, ready.counts, written, notes)

    def drain(most: int) -> None:
        while len(running) > most:
            for future in wait(running, return_when=FIRST_COMPLETED)[0]:
                finish(*running.pop(future), future.result)

    with ThreadPoolExecutor(ready.workers) as pool:
        try:
            for path, below in images.items():
                stem = stem_of(below)
                try:
                    image = job.reading.open(path)
                    channels = ready.channels_of(image)
                    notes = remarks_on(image, ready.package.description, channels)
                    outcome.notes.update(notes)
                    small = ready.tiles(image) == 1
                    prompts = job.prompts(stem.as_posix(), image.shape) if job.prompts else ()
                    task = task_of(ready, job, path, image, prompts)
                    files = ready.files(image, job.results)
                except InputError as error:
                    outcome.failed[str(path)] = str(error)
                    tell(path.name, 1.0)
                    continue
                earlier = finished.find(stem.as_posix(), task)
                if earlier and _written(out / stem, files):
                    outcome.kept.append(str(path))
                    answers[below.as_posix()] = earlier.get("answer")
                    tell(path.name, 1.0)
                    continue
                finished.begin(stem.as_posix(), task)
                one = _One(
                    ready, job, image, prompts, out / stem, task, leftovers, tell, outcome.timings
                )
                if small:
                    running[pool.submit(one.write, Inline())] = path, task, notes
                    drain(2 * ready.workers)
                else:
                    finish(path, task, notes, partial(one.write, pool))
            drain(0)
        finally:
            for future in running:
                future.cancel()
    ready.conclude(out, _with_earlier(answers, finished.answers(settings_of(ready)), images))
    outcome.seconds = time.perf_counter() - started
    return outcome


def _with_earlier(
    answers: Mapping[str, Any], earlier: Mapping[str, Any], images: Mapping[Path, Path]
) -> dict[str, Any]:
    """By name: the answers of this run, and those of earlier ones for images not in this."""
    asked = {below.as_posix() for below in images.values()}
    others = {name: answer for name, answer in earlier.items() if name not in asked}
    return dict(sorted({**others, **answers}.items()))


def _check_job(ready: Ready, job: Job) -> None:
    description = ready.package.description
    if job.prompts is None and description.task == "promptable":
        raise ConfigError(
            f"{ready.package.folder}: a promptable package must be shown each object: give "
            "--prompts FILE.csv or a folder of masks"
        )
    if job.prompts is not None and description.task != "promptable":
        raise ConfigError("--prompts: this package finds objects by itself; leave prompts out")
    for result in job.results:
        if result not in ready.results:
            raise ConfigError(
                f"--results {result}: a {description.task} package gives {', '.join(ready.results)}"
            )


@dataclass(frozen=True)
class _One:
    """One image that is due."""

    ready: Ready
    job: Job
    image: Image
    prompts: Sequence[ObjectPrompt]
    stem: Path
    task: Task
    leftovers: Leftovers
    tell: Report
    timings: Timings

    def write(self, pool: Executor) -> Written:
        """From its pixels to its files; that of a large image is kept tile by tile meanwhile."""
        hidden = self.stem.with_name(f".{self.stem.name}.abbe")
        large = not isinstance(pool, Inline)
        with _named(self.image.source), in_hand(hidden) if large else nullcontext():
            files = self.ready.files(self.image, self.ready.results)
            self.leftovers.remove(self.stem, files, alone=large)
            work = Work(hidden if large else None, self.task)
            advance = partial(self.tell, self.image.name)
            tools = Tools(pool, work, self.timings, advance, self.prompts)
            written = self.ready.write(self.image, self.stem, self.job, tools)
            work.remove()
        return written


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


def _written(stem: Path, suffixes: Sequence[str]) -> bool:
    return all(os.path.exists(f"{stem}{suffix}") for suffix in suffixes)


def stem_of(below: Path) -> Path:
    """The image's name without what says its kind."""
    name = below.name
    for suffix in (".ome.tif", ".ome.tiff", ".ome.zarr"):
        if name.lower().endswith(suffix):
            return below.with_name(name[: -len(suffix)])
    return below.with_suffix("")


def _below(image: Path, folder: Path) -> Path:
    """Where results of an image lie below its folder; a field of a plate is called by its well."""
    below = image.relative_to(folder)
    name = None if image.suffix else field_name(image)
    if name is None:
        return below
    return stem_of(below.parents[2]) / name if len(below.parts) > 3 else Path(name)


def _images_below(folder: Path, out: Path | None) -> Iterator[Path]:
    """Images at any depth, and folders that cannot be looked into, for the images in them."""
    for path in _files_below(folder, out):
        if path.is_dir() and is_plate(path):
            yield from fields_of(path).values()
        elif path.suffix.lower() in IMAGE_SUFFIXES or (path.is_dir() and not is_zarr(path)):
            yield path


def _files_below(
    folder: Path, out: Path | None, above: frozenset[str] = frozenset()
) -> Iterator[Path]:
    """Files and zarr folders at any depth, and folders that cannot be looked into.

    What is hidden and the folder ``out`` are left out.
    """
    own = os.path.realpath(folder)
    if own in above:  # a link leads back to where it lies
        return
    try:
        found = sorted(folder.iterdir())
    except PermissionError:
        yield folder
        return
    for path in found:
        if path.name.startswith("."):
            continue
        if os.path.isdir(path) and not is_zarr(path):
            if path.resolve() != out:
                yield from _files_below(path, out, above | {own})
        else:
            yield path


def _of_cellpose(path: Path, images: Mapping[Path, Path]) -> bool:
    """Whether this is called as Cellpose's masks, or its own file, of an image beside it."""
    stems = {stem_of(image) for image in images}
    end = "_seg" if path.suffix == ".npy" else "_cp_masks"
    own = stem_of(path)
    return own.name.endswith(end) and own.with_name(own.name.removesuffix(end)) in stems


def _results_of(images: Mapping[Path, Path], out: str | os.PathLike[str] | None) -> set[str]:
    """Where results of these images lie, or would: in ``out``, and beside the images."""
    stems = {stem_of(image) for image in images}
    if out is not None:
        stems |= {out / stem_of(below) for below in images.values()}
    return {os.path.abspath(f"{stem}{suffix}") for stem in stems for suffix in SUFFIXES.values()}
