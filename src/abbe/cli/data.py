"""``abbe data``: list, fetch and check data sets."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro

from abbe import config
from abbe.cli.shared.arguments import parse, say
from abbe.cli.shared.experiment import SOME_DATA
from abbe.near import meant

DATA_HELP = """Look at data sets before anything is trained on them.

  abbe data list                      known public sets, their licences and sizes
  abbe data fetch bbbc038 data/       download one from its official address
  abbe data check tissue/             what Abbe sees in a folder, and every problem in it"""


def run(words: list[str]) -> int:
    """``abbe data list | fetch | check``."""
    parts: dict[str, Callable[[list[str]], int]] = {
        "list": data_list, "fetch": data_fetch, "check": data_check
    }  # fmt: skip
    if not words or words[0] not in parts:
        near = meant(words[0], parts) if words else ""
        print(f"usage: abbe data {{list,fetch,check}} …{near}\n\n{DATA_HELP}")
        return 0 if words and words[0] in ("-h", "--help") else 2
    return parts[words[0]](words[1:])


@dataclass(frozen=True)
class FetchArguments:
    """Arguments of ``abbe data fetch``."""

    name: tyro.conf.Positional[str]
    """Name of the set, from 'abbe data list'."""
    destination: tyro.conf.Positional[Path] = Path("data")
    """Folder that the set's own folder is made in."""


@dataclass(frozen=True)
class CheckArguments:
    """Arguments of ``abbe data check``."""

    data: config.Data = SOME_DATA
    crop: int | None = None
    """Side of the training crop, of which smaller images are pointed out; one is recommended."""
    contact_sheet: Path | None = None
    """Write a picture of some images with their labels here (.png)."""
    picture: Path | None = None
    """Draw here on each slide which tiles are taken and which not (.png; kind slides only)."""
    json: Path | None = None
    """Write everything that was found here as JSON."""
    cluster: str | None = None
    """Workers to look on: local:N (processes here), tcp://HOST:PORT (a dask scheduler), or a .yaml
    file of dask-jobqueue (SLURM, LSF, PBS, SGE); this process alone where omitted."""


def data_list(words: list[str]) -> int:
    """``abbe data list``."""
    from abbe import datasets

    @dataclass(frozen=True)
    class ListArguments:
        """No arguments."""

    parse(ListArguments, "data list", words, "Known public data sets, licences and sizes.")
    print(datasets.known_sets())
    return 0


def data_fetch(words: list[str]) -> int:
    """``abbe data fetch``."""
    arguments = parse(
        FetchArguments, "data fetch", words, "Download a data set from its official address.\n\n"
        "example:  abbe data fetch bbbc038 data/",
    )  # fmt: skip
    from abbe import datasets

    say(str(datasets.fetch(arguments.name, arguments.destination)))
    return 0


def data_check(words: list[str]) -> int:
    """``abbe data check``; exit code 1 where an error would stop a run, or a slide is left out."""
    description = """Tell what Abbe sees in a data set, and every problem in it.

usage: abbe data check [FOLDER] [--KEY VALUE …]

examples:
  abbe data check tissue/ --data.channels nucleus membrane --contact-sheet sheet.png
  abbe data check --data.kind tissuenet --data.path tissuenet/
  abbe data check tiles/ --data.kind classes
  abbe data check tissue/ --data.class-colours tumor=#ff0000 stroma=#00ff00
  abbe data check slides/ --data.kind slides --picture tiles.png"""
    if words and not words[0].startswith("-"):
        words = ["--data.path", *words]
    arguments = parse(CheckArguments, "data check", words, description)
    from abbe import datasets
    from abbe.runs import build
    from abbe.runs.slides import slide_tiles

    if arguments.picture is not None:  # before anything else: it shows why no tile is taken
        slide_tiles(arguments.data, arguments.picture)
        say(f"picture of the tiles: {arguments.picture}")
    dataset = build.collect(arguments.data)
    divide = partial(build.split, data=arguments.data)
    if arguments.cluster is None:
        report = datasets.check(dataset, crop=arguments.crop, divide=divide)
    else:
        from abbe.datasets.check import check_on_cluster

        report = check_on_cluster(
            arguments.cluster, dataset, crop=arguments.crop, divide=divide, say=say
        )
    say(report.text())
    if (used := build.labels_in_words(dataset, arguments.data)) is not None:
        say(used)
    if arguments.contact_sheet is not None:
        report.contact_sheet(arguments.contact_sheet)
        say(f"contact sheet: {arguments.contact_sheet}")
    if arguments.json is not None:
        from abbe.files import write_json

        write_json(arguments.json, report.to_json())
    return 0 if report.ok else 1
