"""Run a package on many images: each one lands whole, bad ones are listed, the rest go on."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abbe.errors import ConfigError, InputError
from abbe.imaging import Image, open_image
from abbe.runtime.job import Job, Ready, Tools, Written
from abbe.runtime.leftovers import Leftovers
from abbe.runtime.package import DESCRIPTION
from abbe.runtime.prediction import Inline
from abbe.runtime.timing import Timings
from abbe.runtime.work import Work

LOG = "predicted.jsonl"
"""One line for each finished image, in the folder of the results."""

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".svs", ".qptiff", ".ndpi", ".scn", ".mrxs", ".bif",
    ".npy", ".npz", ".zarr",
)  # fmt: skip
"""What is taken from a folder; a file that is named is opened whatever it is called."""


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
    """

    done: dict[str, int] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    megapixels: float = 0.0
    seconds: float = 0.0
    timings: Timings = field(default_factory=Timings)
    counts: str = "objects"

    def summary(self) -> str:
        """A line on what was done, and one for each image that failed."""
        speed = self.megapixels / self.seconds if self.seconds else 0.0
        lines = [
            f"{len(self.done)} images, {sum(self.done.values()):,} {self.counts}, "
            f"{self.megapixels:.1f} megapixels in {self.seconds:.1f} s ({speed:.2f} MP/s)"
        ]
        if self.kept:
            lines.append(f"{len(self.kept)} images had their results already")
        if self.failed:
            lines.append(f"{len(self.failed)} images failed:")
            lines += [f"  {reason}" for reason in self.failed.values()]
        return "\n".join(lines)


Report = Callable[[str, float], None]
"""Told the name of an image and the share of it that is newly done."""


def find_images(inputs: Sequence[str | os.PathLike[str]]) -> dict[Path, Path]:
    """The images that files, folders and patterns name, with where each lies below its folder.

    Folders are searched to any depth, hidden ones left out; an OME-Zarr folder is one image.

    Raises:
        InputError: A name leads to nothing, or a folder holds no image.
        ConfigError: Two images would write the same results.
    """
    found: dict[Path, Path] = {}
    for each in inputs:
        path = Path(each)
        if path.is_dir() and not _is_zarr(path):
            inside = sorted(_images_below(path))
            if not inside:
                raise InputError(f"{path}: there is no image in this folder")
            found |= {image: image.relative_to(path) for image in inside}
        elif path.exists():
            found[path] = Path(path.name)
        else:
            matching = sorted(glob.glob(str(each), recursive=True))
            if not matching:
                raise InputError(f"{each}: there is no such image. Check the path")
            found |= {Path(match): Path(Path(match).name) for match in matching}
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


def predict_many(
    ready: Ready, images: dict[Path, Path], out: Path, job: Job, report: Report | None = None
) -> Outcome:
    """Run a package on every image and write the results.

    Small images go several at a time; large ones one after the other, their tiles at the same
    time. An image that cannot be read is noted in the outcome. Run again after an interrupt, what
    is finished is left out and a large image goes on at its next tile.

    Raises:
        ConfigError: A result is asked for that the package does not give.
        PackageError: The network fails.
        OSError: The disk is full or cannot be written to.
    """
    _check_results(ready, job)
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    outcome = Outcome(counts=ready.counts)
    answers: dict[str, Any] = {}
    log = _Log(out / LOG)
    leftovers = Leftovers(out / stem_of(below) for below in images.values())
    running: dict[Future[Written], tuple[Path, dict[str, Any]]] = {}

    def finish(image: Path, task: dict[str, Any], ask: Callable[[], Written]) -> None:
        try:
            written = ask()
        except InputError as error:
            outcome.failed[str(image)] = str(error)
        else:
            outcome.done[str(image)] = written.count
            outcome.megapixels += task["megapixels"]
            answers[images[image].as_posix()] = written.answer
            log.add(task, ready.counts, written)

    def drain(most: int) -> None:
        while len(running) > most:
            for future in wait(running, return_when=FIRST_COMPLETED)[0]:
                finish(*running.pop(future), future.result)

    with ThreadPoolExecutor(ready.workers) as pool:
        tell = report or (lambda name, share: None)
        try:
            for path, below in images.items():
                stem = out / stem_of(below)
                try:
                    image = open_image(path, channels=job.channels, pixel_size=job.pixel_size)
                    small = ready.tiles(image) == 1
                except InputError as error:
                    outcome.failed[str(path)] = str(error)
                    tell(path.name, 1.0)
                    continue
                task = _task(ready, job, path, image)
                earlier = log.find(task)
                if earlier is not None and _written(stem, ready.files(image, job.results)):
                    outcome.kept.append(str(path))
                    answers[below.as_posix()] = earlier.get("answer")
                    tell(path.name, 1.0)
                    continue
                leftovers.remove(stem, ready.files(image, ready.results))
                if small:
                    arguments = ready, job, image, stem, task, Inline(), tell, outcome.timings
                    running[pool.submit(_one, *arguments)] = path, task
                    drain(2 * ready.workers)
                else:
                    finish(
                        path,
                        task,
                        lambda image=image, stem=stem, task=task: _one(
                            ready, job, image, stem, task, pool, tell, outcome.timings
                        ),
                    )
            drain(0)
        finally:
            for future in running:
                future.cancel()
    names = [below.as_posix() for below in images.values()]
    ready.conclude(out, {name: answers[name] for name in names if name in answers})
    outcome.seconds = time.perf_counter() - started
    return outcome


def _check_results(ready: Ready, job: Job) -> None:
    for result in job.results:
        if result not in ready.results:
            raise ConfigError(
                f"--results {result}: a {ready.package.description.task} package gives "
                f"{', '.join(ready.results)}"
            )


def _one(
    ready: Ready,
    job: Job,
    image: Image,
    stem: Path,
    task: dict[str, Any],
    pool: Any,
    tell: Report,
    timings: Timings,
) -> Written:
    """One image, from its pixels to its files."""
    large = not isinstance(pool, Inline)
    work = Work(stem.with_name(f".{stem.name}.abbe") if large else None, task)
    tools = Tools(pool, work, timings, lambda share: tell(image.name, share))
    written = ready.write(image, stem, job, tools)
    work.remove()
    return written


def _task(ready: Ready, job: Job, path: Path, image: Image) -> dict[str, Any]:
    """All that the results of an image depend on; a result of another task is not kept."""
    status = path.stat()
    package = ready.package.folder / DESCRIPTION
    return {
        "image": str(path.resolve()),
        "bytes": status.st_size,
        "modified": status.st_mtime_ns,
        "megapixels": image.shape[0] * image.shape[1] / 1e6,
        "pixel_size": image.pixel_size,
        "channels": list(image.channels),
        "package": hashlib.sha256(package.read_bytes()).hexdigest(),
        "engine": ready.engine.engine,
        "precision": ready.engine.precision,
        "tile": ready.tile,
        "results": list(job.results),
        "zarr_version": job.zarr_version,
    }


class _Log:
    """The finished images, one a line; a line that a killed run left short is no line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.finished: dict[str, dict[str, Any]] = {}
        text = path.read_text("utf-8") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            os.truncate(path, len(whole.encode()))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                found = json.loads(line)
                self.finished[_key(found["task"])] = found
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{path}: line {number} is damaged. Remove the file to start again"
                ) from error

    def find(self, task: dict[str, Any]) -> dict[str, Any] | None:
        return self.finished.get(_key(task))

    def add(self, task: dict[str, Any], counts: str, written: Written) -> None:
        line: dict[str, Any] = {counts: written.count, "task": task}
        if written.answer is not None:
            line["answer"] = written.answer
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _key(task: dict[str, Any]) -> str:
    return json.dumps(task, sort_keys=True)


def _written(stem: Path, suffixes: Sequence[str]) -> bool:
    return all(stem.with_name(stem.name + suffix).exists() for suffix in suffixes)


def stem_of(below: Path) -> Path:
    """The image's name without what says its kind."""
    name = below.name
    for suffix in (".ome.tif", ".ome.tiff", ".ome.zarr"):
        if name.lower().endswith(suffix):
            return below.with_name(name[: -len(suffix)])
    return below.with_suffix("")


def _is_zarr(path: Path) -> bool:
    return any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray"))


def _images_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not _is_zarr(path):
            yield from _images_below(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            yield path
