"""``abbe bench``: how fast a package runs here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from abbe.cli.arguments import parse, say
from abbe.errors import MissingExtraError


@dataclass(frozen=True)
class BenchArguments:
    """Arguments of ``abbe bench``."""

    package: tyro.conf.Positional[Path]
    """The package that abbe export wrote."""
    images: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Images, folders or patterns; without any, the package's test image, mirrored side by side."""
    side: int = 2048
    """Side of the mirrored test image, px."""
    repeats: int = 7
    """How often a tile is timed; the median counts."""
    threads: int | None = None
    """Processor threads for the network alone; all where omitted."""
    compare: bool = False
    """Also time the weights in eager torch, where that is installed."""
    cold: bool = True
    """Also time a cold start."""
    json: Path | None = None
    """Write all figures to this file."""
    picture: Path | None = None
    """Draw the whole jobs by part to this file (.png, .svg)."""


def run(words: list[str]) -> int:
    """``abbe bench``."""
    description = """Measure how fast a package runs on this machine.

The network alone by engine and precision; whole jobs from images to labels on disk, with the
shares of reading, network, instances and writing, and the memory; a cold start.

examples:
  abbe bench packages/nuclei
  abbe bench packages/nuclei images/ --compare --json bench.json --picture bench.png"""
    arguments = parse(BenchArguments, "bench", words, description)
    from abbe.files import write_json
    from abbe.runtime.bench import bench, draw
    from abbe.runtime.many import find_images
    from abbe.runtime.package import read_package

    result = bench(
        read_package(arguments.package),
        list(find_images(arguments.images)),
        side=arguments.side,
        repeats=arguments.repeats,
        threads=arguments.threads,
        compare=arguments.compare,
        cold=arguments.cold,
    )
    say(result.table())
    if arguments.json is not None:
        write_json(arguments.json, result.to_json())
    if arguments.picture is not None:
        try:
            draw(result, arguments.picture)
        except ModuleNotFoundError as error:
            raise MissingExtraError("matplotlib", "train", "A picture of the figures") from error
    return 0
