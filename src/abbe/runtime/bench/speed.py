"""How fast a package runs on this machine: the network alone, whole jobs by part, a cold start."""

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from abbe.errors import ConfigError, InputError, MissingExtraError
from abbe.imaging import AS_THEY_SAY, Image, Reading, Region, open_image
from abbe.in_words import counted, faults
from abbe.machine.threads import default_threads
from abbe.runtime.bench.common import (
    REPEATS,
    check_counts,
    in_child,
    in_turns,
    machine,
    not_measured,
    open_all,
    output_of,
    peak_mib,
)
from abbe.runtime.package import Package, read_package
from abbe.runtime.package.engine import open_engine
from abbe.runtime.predictors.channels import channels_for
from abbe.runtime.tiling.cutting import scale_for
from abbe.runtime.tiling.timing import PARTS

Run = Callable[[np.ndarray], np.ndarray]
EAGER = "eager torch/fp32"
SIDE = 2048
"""px of the mirrored test image, where nothing else is said."""
_COLD_SIDE = 512


@dataclass(frozen=True)
class WholeJob:
    """Images to labels (or tables of classes) on disk, in a process of its own.

    Attributes:
        seconds: Wall time, the start of the process left out.
        megapixels, images, objects: How much was done; where tiles are classified or regions
            segmented, objects are tiles.
        parts: Seconds over all threads that went into read, network, instances and write.
        peak_mib: The most memory that the process held.
    """

    seconds: float
    megapixels: float
    images: int
    objects: int
    parts: dict[str, float]
    peak_mib: float

    @property
    def megapixels_per_second(self) -> float:
        """Of image."""
        return self.megapixels / self.seconds


@dataclass(frozen=True)
class Bench:
    """What was measured.

    Attributes:
        package: Its title.
        machine: Processor, cores, Python and engine versions.
        tile: Side of the tile that was timed, px.
        milliseconds: Median of one tile by "engine/precision".
        jobs: Whole jobs by "engine/precision".
        cold_start: Seconds from starting Python to the labels of a 512 × 512 px PNG, without and
            with the compiled network in the cache.
        left_out: By "engine/precision", or "cold start", why it was not measured.
        unsuitable: By image, what is wrong with it; the others were measured.
    """

    package: str
    machine: dict[str, str | int]
    tile: int
    milliseconds: dict[str, float]
    jobs: dict[str, WholeJob]
    cold_start: dict[str, float]
    left_out: dict[str, str]
    unsuitable: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """All figures, as JSON can hold them."""
        return asdict(self)

    def table(self) -> str:
        """All figures, for people."""
        area = self.tile**2 / 1e6
        lines = [
            f"{self.package} on {self.machine['processor']}, "
            f"{counted(self.machine['cores'], 'core')}",
            "",
            f"{f'network, tile {self.tile} px':26}{'ms':>9}{'MP/s':>9}",
            *(
                f"{name:26}{value:9.1f}{1000 * area / value:9.2f}"
                for name, value in self.milliseconds.items()
            ),
            "",
            f"{'whole job':22}{'images/s':>10}{'MP/s':>8}{'MiB':>7}"
            + "".join(f"{part:>11}" for part in PARTS),
        ]
        for name, job in self.jobs.items():
            total = sum(job.parts.values()) or 1.0
            shares = "".join(f"{100 * job.parts[part] / total:9.0f} %" for part in PARTS)
            lines.append(
                f"{name:22}{job.images / job.seconds:10.2f}{job.megapixels_per_second:8.2f}"
                f"{job.peak_mib:7.0f}{shares}"
            )
        if self.cold_start:
            lines += ["", "cold start to the first result of 512 × 512 px:"]
            lines += [f"  {name:24}{value:9.2f} s" for name, value in self.cold_start.items()]
        lines += not_measured(self.left_out)
        if self.unsuitable:
            lines += ["", f"left out: {counted(len(self.unsuitable), 'image')}"]
            lines += faults(self.unsuitable)
        return "\n".join(lines)


@dataclass(frozen=True)
class _Inputs:
    """Images for whole jobs, with where each lies below its folder, and what is told of them."""

    images: Mapping[Path, Path]
    reading: Reading


def bench(
    package: Package,
    images: Mapping[Path, Path] | None = None,
    *,
    reading: Reading = AS_THEY_SAY,
    side: int = SIDE,
    repeats: int = REPEATS,
    threads: int | None = None,
    compare: bool = False,
    cold: bool = True,
) -> Bench:
    """Measure a package that needs no prompts, by every engine and precision that it has.

    Args:
        package: The package.
        images: Images for the whole jobs, as `abbe.runtime.batch.find_images` gives them;
            without any, the package's test image, mirrored side by side to ``side`` px.
        reading: What is said of all images.
        side: See ``images``.
        repeats: Timings of a tile; the engines take turns and the median counts.
        threads: For the network; None for OMP_NUM_THREADS, or else all cores.
        compare: Also time the package's weights in eager torch.
        cold: Whether to time a cold start.

    Raises:
        ConfigError: A number is below 1, there is no image to measure on, or a whole job fails.
        InputError: No image suits the package.
        PackageError: A network of the package is damaged.
        MissingExtraError: ``compare`` without torch.
    """
    check_counts(side=side, repeats=repeats, threads=threads)
    description = package.description
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if images:
            inputs, unsuitable = _suitable(package, _Inputs(images, reading))
        elif reading != AS_THEY_SAY:
            raise ConfigError(
                "--channels, --pixel-size, --override-pixel-size: tell of images; name images to "
                "measure on"
            )
        else:
            inputs, unsuitable = _mosaic(package, side, folder), {}
        opened, left_out = open_all(partial(open_engine, package, threads=threads))
        runs: dict[str, Run] = {name: engine.logits for name, engine in opened.items()}
        if compare:
            runs[EAGER] = _eager(package, threads)
        tile = _tile(package)
        milliseconds = in_turns({name: partial(run, tile) for name, run in runs.items()}, repeats)
        jobs: dict[str, WholeJob] = {}
        for name, engine in opened.items():
            jobs[name], failed = _whole_job(
                package, inputs, engine.engine, engine.precision, folder
            )
            unsuitable |= failed
        starts, reason = _cold_starts(package, inputs, folder) if cold else ({}, "")
        if reason:
            left_out["cold start"] = reason
    return Bench(
        package=description.title,
        machine=machine(),
        tile=description.tile,
        milliseconds=milliseconds,
        jobs=jobs,
        cold_start=starts,
        left_out=left_out,
        unsuitable=unsuitable,
    )


def _eager(package: Package, threads: int | None) -> Run:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "train", "--compare") from error

    from abbe import students

    student, _ = students.load_any(package.file("weights"))

    def run(batch: np.ndarray) -> np.ndarray:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or default_threads())
        try:
            with torch.inference_mode():
                return student(torch.from_numpy(batch)).numpy()
        finally:
            torch.set_num_threads(before)

    return run


def _tile(package: Package) -> np.ndarray:
    description = package.description
    shape = 1, len(description.channels), description.tile, description.tile
    return np.random.default_rng(0).random(shape, np.float32)


def _suitable(package: Package, given: _Inputs) -> tuple[_Inputs, dict[str, str]]:
    """The images that the package can see, and by image what is wrong with the others."""
    suitable: dict[Path, Path] = {}
    unsuitable: dict[str, str] = {}
    for path, below in given.images.items():
        try:
            image = given.reading.open(path)
            channels_for(image, package.description.channels)
            scale_for(image, package.description)
        except InputError as error:
            unsuitable[str(path)] = str(error)
        else:
            suitable[path] = below
    if not suitable:
        raise InputError(
            f"none of {counted(len(unsuitable), 'image')} suits the package:\n"
            + "\n".join(faults(unsuitable))
        )
    return replace(given, images=suitable), unsuitable


def _mosaic(package: Package, side: int, folder: Path) -> _Inputs:
    """The test image, mirrored side by side, as an array file with one axis for channels."""
    description = package.description
    if not package.has("test_image"):
        raise ConfigError(f"{package.folder}: it has no test image; name images to measure on")
    image = open_image(package.file("test_image"), channels=description.channels)
    pixels = image.read()
    pads = [(0, max(side - length, 0)) for length in pixels.shape[1:]]
    path = folder / "mosaic.npy"
    np.save(path, np.pad(pixels, ((0, 0), *pads), mode="symmetric")[:, :side, :side])
    return _Inputs({path: Path(path.name)}, Reading(description.channels, description.pixel_size))


def _whole_job(
    package: Package, inputs: _Inputs, engine: str, precision: str, folder: Path
) -> tuple[WholeJob, dict[str, str]]:
    """A whole job in a process of its own, and by image what was wrong with it."""
    task = {
        "package": str(package.folder),
        "images": [(str(path), str(below)) for path, below in inputs.images.items()],
        "reading": asdict(inputs.reading),
        "engine": engine,
        "precision": precision,
        "out": str(folder / f"{engine}-{precision}"),
    }
    try:
        figures = in_child(f"{__name__}:job_in_child", task)
    except ConfigError as error:
        raise ConfigError(
            f"{package.folder}: the whole job with {engine}/{precision} failed: {error}"
        ) from error
    failed = figures.pop("failed")
    return WholeJob(**figures), failed


def job_in_child(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run the whole job that `bench` describes: the fields of `WholeJob`, and what failed.

    Raises:
        InputError: No image could be read.
    """
    from abbe.runtime.batch.many import Job, predict_many
    from abbe.runtime.predictors.tasks import open_predictor_for

    package = read_package(task["package"])
    images = {Path(path): Path(below) for path, below in task["images"]}
    names = task["reading"].pop("channels")
    reading = Reading(names and tuple(names), **task["reading"])
    predictor = open_predictor_for(
        package, images, reading, engine=task["engine"], precision=task["precision"]
    )
    outcome = predict_many(
        predictor, images, Path(task["out"]), Job(predictor.results[:1], reading, all_tiles=True)
    )
    if not outcome.done:
        raise InputError(next(iter(outcome.failed.values())))
    return {
        "seconds": outcome.seconds,
        "megapixels": outcome.megapixels,
        "images": len(outcome.done),
        "objects": sum(outcome.done.values()),
        "parts": dict(outcome.timings.seconds),
        "peak_mib": peak_mib(),
        "failed": outcome.failed,
    }


def _cold_starts(package: Package, inputs: _Inputs, folder: Path) -> tuple[dict[str, float], str]:
    """Time ``abbe predict`` as a whole process, twice: the second finds the network compiled.

    Returns:
        Seconds; or none, and the reason.
    """
    description = package.description
    path = next(iter(inputs.images))
    image = inputs.reading.open(path)
    channels = channels_for(image, description.channels)
    if len(channels) not in (1, 3) or image.dtype not in (np.uint8, np.uint16):
        return {}, f"no PNG holds {len(channels)} channels of {image.dtype}"
    picture = folder / "cold.png"
    _write_corner(image, channels, picture)
    command = [sys.executable, "-m", "abbe", "predict", str(package.folder), str(picture)]
    command += ["--channels", *description.channels]
    if description.pixel_size is not None:
        command += ["--pixel-size", str(description.pixel_size)]
    seconds: dict[str, float] = {}
    for name in ("first, compiling", "compiled before"):
        started = time.perf_counter()
        output_of([*command, "--out", str(folder / name)], cache=folder / "cache")
        seconds[name] = time.perf_counter() - started
    return seconds, ""


def _write_corner(image: Image, channels: tuple[str, ...], path: Path) -> None:
    """The upper left corner of an image as PNG, mirrored where the image is smaller."""
    from imagecodecs import png_encode

    height, width = (min(side, _COLD_SIDE) for side in image.shape)
    pixels = image.read(Region(0, 0, height, width), channels)
    pads = (0, 0), (0, _COLD_SIDE - height), (0, _COLD_SIDE - width)
    square = np.pad(pixels, pads, mode="symmetric")
    planes = square[0] if len(channels) == 1 else np.ascontiguousarray(np.moveaxis(square, 0, -1))
    path.write_bytes(png_encode(planes))
