"""``abbe suggest``: which images to label next."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from abbe import config
from abbe.cli.shared.arguments import Computing, parse, say
from abbe.errors import ConfigError


@dataclass(frozen=True)
class SuggestArguments(Computing):
    """Arguments of ``abbe suggest``."""

    run: tyro.conf.Positional[Path]
    """A finished run whose student finds objects."""
    count: int = 20
    """How many images to choose."""
    data: Path | None = None
    """A folder of other images to choose from, laid out as for distill: DATA/images. Left out: the
    run's unlabelled training images."""
    channels: tuple[str, ...] | None = None
    """Names of these images' channels, in order, where their files do not say."""
    out: Path | None = None
    """Folder of suggestions.csv and suggestions.png; RUN/suggestions where left out."""


def run(words: list[str]) -> int:
    """``abbe suggest``."""
    description = """Choose images to label next: those on which teacher and student differ most.

The run's stored answers of its teacher are held against its students, or, where there are none,
the students of its seeds against each other. Each choice is unlike what is labelled or chosen
already. A table and a sheet of pictures are written: the student's outlines in blue, the teacher's
(or a second student's) in green.

examples:
  abbe suggest runs/a
  abbe suggest runs/a --count 50 --out next/
  abbe suggest runs/a --data new/ --channels nucleus"""
    arguments = parse(SuggestArguments, "suggest", words, description)
    from abbe.runs import build
    from abbe.suggesting.suggest import suggest

    other = None
    if arguments.data is not None:
        other = build.collect(config.Data(path=arguments.data, channels=arguments.channels))
    elif arguments.channels is not None:
        raise ConfigError("--channels names those of --data: give both, or neither")
    found = suggest(arguments.run, count=arguments.count, data=other, out=arguments.out)
    say(f"{found.text()}\n")
    say(
        f"{len(found.chosen)} of {found.looked_at} unlabelled images, chosen by how much "
        f"{found.between} differ on them.\ntable: {found.table}\npictures: {found.sheet}"
    )
    return 0
