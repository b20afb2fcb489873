"""How fast a package runs on this machine: the network alone, whole jobs by part, a cold start."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from abbe.errors import AbbeError, ConfigError
from abbe.imaging import open_image
from abbe.runtime.engine import EngineName, Precision, open_engine
from abbe.runtime.package import Package, read_package
from abbe.runtime.timing import PARTS

Setting = tuple[EngineName, Precision]
SETTINGS: tuple[Setting, ...] = (
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("onnxruntime", "fp32"),
)
EAGER = "eager torch/fp32"
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
        left_out: By "engine/precision" why it was not measured.
    """

    package: str
    machine: dict[str, str | int]
    tile: int
    milliseconds: dict[str, float]
    jobs: dict[str, WholeJob]
    cold_start: dict[str, float]
    left_out: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """All figures, as JSON can hold them."""
        return asdict(self)

    def table(self) -> str:
        """All figures, for people."""
        area = self.tile**2 / 1e6
        lines = [
            f"{self.package} on {self.machine['processor']}, {self.machine['cores']} cores",
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
        lines += [f"{name}: not measured ({why})" for name, why in self.left_out.items()]
        return "\n".join(lines)


def bench(
    package: Package,
    images: Sequence[Path] = (),
    *,
    side: int = 2048,
    repeats: int = 7,
    threads: int | None = None,
    compare: bool = False,
    cold: bool = True,
) -> Bench:
    """Measure a package that needs no prompts, by every engine and precision that it has.

    Args:
        package: The package.
        images: Images for the whole jobs; without any, the package's test image, mirrored side by
            side to ``side`` px.
        side: See ``images``.
        repeats: Timings of a tile; the engines take turns and the median counts.
        threads: For the network; None for all cores.
        compare: Also time the package's weights in eager torch.
        cold: Whether to time a cold start.

    Raises:
        ConfigError: There is no image to measure on.
        MissingExtraError: ``compare`` without torch.
    """
    description = package.description
    runs, left_out = _networks(package, threads)
    if compare:
        runs[EAGER] = _eager(package, threads)
    milliseconds = _time_networks(runs, _tile(package), repeats)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = list(images) or [_mosaic(package, side, folder)]
        jobs = {
            f"{engine}/{precision}": _in_child(package, inputs, engine, precision, folder)
            for engine, precision in SETTINGS
            if f"{engine}/{precision}" in runs
        }
        starts = _cold_starts(package, inputs[0], folder) if cold else {}
    return Bench(
        package=description.title,
        machine=_machine(),
        tile=description.tile,
        milliseconds=milliseconds,
        jobs=jobs,
        cold_start=starts,
        left_out=left_out,
    )


Run = Callable[[np.ndarray], np.ndarray]


def _networks(package: Package, threads: int | None) -> tuple[dict[str, Run], dict[str, str]]:
    runs: dict[str, Run] = {}
    left_out: dict[str, str] = {}
    for engine, precision in SETTINGS:
        name = f"{engine}/{precision}"
        try:
            opened = open_engine(package, engine=engine, precision=precision, threads=threads)
        except AbbeError as error:  # not installed, not in the package, not in the hardware
            left_out[name] = str(error)
        else:
            runs[name] = opened.logits
    return runs, left_out


def _eager(package: Package, threads: int | None) -> Run:
    import torch

    from abbe import students

    classifies = package.description.task == "classification"
    load = students.load_classifier if classifies else students.load
    student = load(package.file("weights"))[0]

    def run(batch: np.ndarray) -> np.ndarray:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or os.cpu_count() or 1)
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


def _time_networks(runs: dict[str, Run], tile: np.ndarray, repeats: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(tile)
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.perf_counter()
            run(tile)
            seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def _mosaic(package: Package, side: int, folder: Path) -> Path:
    """The test image, mirrored side by side, as an array file with one axis for channels."""
    description = package.description
    if not package.has("test_image"):
        raise ConfigError(f"{package.folder}: it has no test image; name images to measure on")
    image = open_image(package.file("test_image"), channels=description.channels)
    pixels = image.read()
    pads = [(0, max(side - length, 0)) for length in pixels.shape[1:]]
    path = folder / "mosaic.npy"
    np.save(path, np.pad(pixels, ((0, 0), *pads), mode="symmetric")[:, :side, :side])
    return path


_CHILD = "import sys; from abbe.runtime.bench import job_in_child; job_in_child(sys.argv[1])"


def _in_child(
    package: Package, images: list[Path], engine: str, precision: str, folder: Path
) -> WholeJob:
    """Run a whole job in a process of its own, so that its memory is its own."""
    task = {
        "package": str(package.folder),
        "images": [str(path) for path in images],
        "engine": engine,
        "precision": precision,
        "out": str(folder / f"{engine}-{precision}"),
    }
    command = [sys.executable, "-c", _CHILD, json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ConfigError(
            f"{package.folder}: the job with {engine}/{precision} failed: {done.stdout}"
        )
    return WholeJob(**json.loads(done.stdout.splitlines()[-1]))


def peak_mib() -> float:
    """The most memory that this process has held, in MiB.

    On Linux of this program alone; what getrusage(2) tells includes the process it came from.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def job_in_child(task: str) -> None:
    """Run the whole job that `bench` describes, and print its figures as JSON."""
    from abbe.runtime.many import Job, find_images, predict_many
    from abbe.runtime.tasks import ready_for_files

    told = json.loads(task)
    package = read_package(told["package"])
    description = package.description
    images = find_images(told["images"])
    names, size = None, None
    if all(path.name == "mosaic.npy" for path in images):
        names, size = description.channels, description.pixel_size
    ready = ready_for_files(
        package, images, names, size, engine=told["engine"], precision=told["precision"]
    )
    outcome = predict_many(ready, images, Path(told["out"]), Job(ready.results[:1], names, size))
    if outcome.failed:
        print(outcome.summary())
        raise SystemExit(1)
    figures = {
        "seconds": outcome.seconds,
        "megapixels": outcome.megapixels,
        "images": len(outcome.done),
        "objects": sum(outcome.done.values()),
        "parts": dict(outcome.timings.seconds),
        "peak_mib": peak_mib(),
    }
    print(json.dumps(figures))


def _cold_starts(package: Package, image: Path, folder: Path) -> dict[str, float]:
    """Time ``abbe predict`` as a whole process, twice: the second finds the network compiled."""
    description = package.description
    opened = open_image(image) if image.name != "mosaic.npy" else None
    channels = description.channels if opened is None else opened.channels
    pixels = (opened or open_image(image, channels=channels)).read()
    if len(channels) not in (1, 3) or pixels.dtype not in (np.uint8, np.uint16):
        return {}  # no PNG holds these channels
    from imagecodecs import png_encode

    height, width = (min(side, _COLD_SIDE) for side in pixels.shape[1:])
    pads = (0, 0), (0, _COLD_SIDE - height), (0, _COLD_SIDE - width)
    square = np.pad(pixels[:, :height, :width], pads, mode="symmetric")
    path = folder / "cold.png"
    planes = square[0] if len(channels) == 1 else np.ascontiguousarray(np.moveaxis(square, 0, -1))
    path.write_bytes(png_encode(planes))
    command = [sys.executable, "-m", "abbe", "predict", str(package.folder), str(path), "--out"]
    options = ["--channels", *channels]
    if description.pixel_size is not None:
        options += ["--pixel-size", str(description.pixel_size)]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    seconds = {}
    for name in ("first, compiling", "compiled before"):
        started = time.perf_counter()
        subprocess.run(
            [*command, str(folder / name), *options],
            env=environment, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        seconds[name] = time.perf_counter() - started
    return seconds


def _machine() -> dict[str, str | int]:
    import openvino

    core = openvino.Core()
    return {
        "processor": str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip(),
        "cores": os.cpu_count() or 1,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "openvino": openvino.get_version(),
    }


def draw(result: Bench, path: Path) -> None:
    """Draw whole jobs as stacked bars: seconds a megapixel by part. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 1.2 + 0.6 * len(result.jobs)), layout="tight")
    names = list(result.jobs)[::-1]
    left = np.zeros(len(names))
    for part, colour in zip(PARTS, ("#9aa5b1", "#2f6f9f", "#e0a030", "#6a9955"), strict=True):
        values = np.array(
            [
                1000
                * result.jobs[name].seconds
                * result.jobs[name].parts[part]
                / (sum(result.jobs[name].parts.values()) or 1.0)
                / result.jobs[name].megapixels
                for name in names
            ]
        )
        axes.barh(names, values, left=left, color=colour, label=part)
        left += values
    axes.set_xlabel("ms a megapixel, wall time")
    axes.set_title(f"{result.package}: {result.machine['cores']} cores")
    axes.legend(ncols=len(PARTS), frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
