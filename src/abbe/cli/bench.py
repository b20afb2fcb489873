"""``abbe bench``: how fast a package runs here, and whether it answers as it should."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from abbe.cli.shared.arguments import parse, say
from abbe.errors import ConfigError

if TYPE_CHECKING:
    from abbe.runtime.package import Package


@dataclass(frozen=True)
class BenchArguments:
    """Arguments of ``abbe bench``."""

    package: tyro.conf.Positional[Path]
    """The package that abbe export wrote."""
    images: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Images, folders or patterns; without any, the package's test image, mirrored side by side."""
    check: bool = False
    """Measure nothing: compare answers for the package's test image with those expected."""
    channels: tuple[str, ...] | None = None
    """Names of all the images' channels in order, where the files do not say."""
    pixel_size: float | None = None
    """µm per pixel of the images, where the files do not say."""
    override_pixel_size: float | None = None
    """µm per pixel of the images, whatever the files say."""
    side: int | None = None
    """Side of the mirrored test image, px; 2048 where omitted."""
    repeats: int | None = None
    """How often a tile is timed, the median counts; 7 where omitted."""
    threads: int | None = None
    """Processor threads for the network alone; OMP_NUM_THREADS or all where omitted."""
    compare: bool = False
    """Also time the weights in eager torch, where that is installed."""
    cold: bool = True
    """Also time a cold start."""
    json: Path | None = None
    """Write all figures to this file."""
    picture: Path | None = None
    """Draw the whole jobs by part to this file (.png, .svg)."""


_OF_OBJECTS = (
    "images", "channels", "pixel_size", "override_pixel_size", "side", "compare", "picture"
)  # fmt: skip
"""Options that a promptable package has no use for."""


def run(words: list[str]) -> int:
    """``abbe bench``; exit code 1 where an image did not suit, or a check found a difference."""
    description = """Measure how fast a package runs on this machine.

The network alone by engine and precision; whole jobs from images to labels on disk, with the
shares of reading, network, instances and writing, and the memory; a cold start. Images that do not
suit the package are listed; the rest go on. Of a promptable package: encoder, decoder for a prompt,
memory and cold start.

With --check nothing is measured: the package's own test image is run by every engine and
precision that there is here, and compared with the answer that the student gave when it was
exported. The exit code is 1 where fp32 differs by more than 0.001.

examples:
  abbe bench packages/nuclei
  abbe bench packages/nuclei --check
  abbe bench packages/nuclei images/ --compare --json bench.json --picture bench.png"""
    arguments = parse(BenchArguments, "bench", words, description)
    from abbe.runtime.package import read_package

    package = read_package(arguments.package)
    if arguments.json is not None:
        _check_folder("--json", arguments.json)
    if arguments.check:
        return _check(arguments, package)
    if package.description.traits.prompted:
        return _measure_promptable(arguments, package)
    return _measure(arguments, package)


def _check(arguments: BenchArguments, package: "Package") -> int:
    from abbe.runtime.bench.check import LARGEST, check_package

    _refuse(arguments, (*_OF_OBJECTS, "repeats", "cold"), "--check runs the test image alone")
    result = check_package(package, arguments.threads)
    _tell(result, arguments.json)
    if result.wrong:
        say(f"differs by more than {LARGEST:g}: {', '.join(result.wrong)}")
    return 1 if result.wrong else 0


def _measure_promptable(arguments: BenchArguments, package: "Package") -> int:
    from abbe.runtime.bench.common import REPEATS
    from abbe.runtime.bench.promptable import bench_promptable

    why = "a promptable package is timed on a square of its own size"
    _refuse(arguments, _OF_OBJECTS, why)
    result = bench_promptable(
        package,
        repeats=REPEATS if arguments.repeats is None else arguments.repeats,
        threads=arguments.threads,
        cold=arguments.cold,
    )
    _tell(result, arguments.json)
    return 0


def _measure(arguments: BenchArguments, package: "Package") -> int:
    from abbe.imaging import Reading
    from abbe.runtime.batch.find_images import find_images
    from abbe.runtime.bench.common import REPEATS
    from abbe.runtime.bench.picture import check_picture, draw
    from abbe.runtime.bench.speed import SIDE, bench

    if arguments.picture is not None:
        check_picture(arguments.picture)
        _check_folder("--picture", arguments.picture)
    result = bench(
        package,
        find_images(arguments.images),
        reading=Reading(arguments.channels, arguments.pixel_size, arguments.override_pixel_size),
        side=SIDE if arguments.side is None else arguments.side,
        repeats=REPEATS if arguments.repeats is None else arguments.repeats,
        threads=arguments.threads,
        compare=arguments.compare,
        cold=arguments.cold,
    )
    _tell(result, arguments.json)
    if arguments.picture is not None:
        draw(result, arguments.picture)
    return 1 if result.unsuitable else 0


def _refuse(arguments: BenchArguments, options: tuple[str, ...], why: str) -> None:
    """Refuse options that were given and would not be looked at."""
    for option in options:
        if getattr(arguments, option) != getattr(BenchArguments, option):
            name = "IMAGES" if option == "images" else f"--{option.replace('_', '-')}"
            name = "--no-cold" if option == "cold" else name
            raise ConfigError(f"{name}: {why}. Leave it out")


def _check_folder(option: str, path: Path) -> None:
    """Refuse a file that could not be written, before anything is measured."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"{option} {path}: give a file in a folder that exists")


def _tell(result: Any, json: Path | None) -> None:
    from abbe.files import write_json

    say(result.table())
    if json is not None:
        write_json(json, result.to_json())
