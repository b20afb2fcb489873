"""``abbe reproduce``: a published table, the paper's figure beside ours."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from abbe.cli.shared.arguments import Computing, parse, say
from abbe.errors import ConfigError
from abbe.foreign_text import shown
from abbe.progress import end_all


@dataclass(frozen=True)
class ReproduceArguments(Computing):
    """Arguments of ``abbe reproduce``."""

    table: tyro.conf.Positional[str | None] = None
    """Name of the table, from --list."""
    data: tuple[str, ...] = ()
    """Folders of data sets, or one that holds them; NAME=FOLDER where a set is in another layout
    (images/ and labels/), NAME=FILE.yaml for keys of the section data."""
    weights: tuple[str, ...] = ()
    """Files of weights; NAME=PATH where a file's name does not say what it is."""
    out: Path | None = None
    """The table's folder: table.md, table.csv, table.json, and the runs in items/;
    reproduced/TABLE where omitted."""
    quick: bool = False
    """A few steps on a few images with one seed: whether all works. Compares nothing."""
    seeds: int | None = None
    """How many seeds; as the table says where omitted. A finished table takes more later."""
    only: tuple[str, ...] = ()
    """Items to run, as --plan names them, or cells by row and column, such as Swin-Tiny/SAM/dice; *
    stands for anything. Those they build on are run, too."""
    random_weights: bool = False
    """Begin with random weights where ImageNet's would be downloaded; the table says so."""
    set: tuple[str, ...] = ()
    """KEY=VALUE for all items, such as training.passes=5: any key of the recipe that the table does
    not settle itself. The table lists them."""
    list: bool = False
    """Name the tables, what each needs, how long it takes, and what can run with what is given."""
    plan: bool = False
    """Show the items of the table and stop."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --list: as JSON."""


DESCRIPTION = """Run a published table item by item: the paper's figure beside ours.

Each item is a run of abbe distill in OUT/items. What is finished is not run again, what was stopped
goes on: give the same command. A set or weights that are not given leave their cells empty, and
the table says where to get them. The exit code is 1 where an item failed.

examples:
  abbe reproduce --list --data DATA
  abbe reproduce cmkd-tissuenet --data tissuenet_1.1/ --weights sam_vit_h_4b8939.pth \\
      cellsam=cellsam_general --out tables/tissuenet
  abbe reproduce kdsam --data DATA --weights sam_vit_h_4b8939.pth mobile_sam.pt --plan
  abbe reproduce kdsam --data busi=my_ultrasound/ --weights mobile_sam.pt sam=mobile_sam.pt --quick
  abbe reproduce rckd --data DATA --only 'csat-like-*' --set training.passes=5"""


def run(words: list[str]) -> int:
    """``abbe reproduce``; exit code 1 where an item failed."""
    for option in ("--data", "--weights", "--only", "--set"):  # the first would be lost
        if words.count(option) > 1:
            raise ConfigError(f"{option} stands twice: give all of it after one {option}")
    arguments = parse(ReproduceArguments, "reproduce", words, DESCRIPTION)
    if arguments.list:
        return _list(arguments)
    if arguments.table is None:
        raise ConfigError("name a table; abbe reproduce --list tells which there are")
    if arguments.json:
        raise ConfigError("--json goes with --list; a table always writes table.json")
    from abbe.reproducing.experiments import changes_of, settings_for
    from abbe.reproducing.given import material_of, named
    from abbe.reproducing.plan import plan_text, steps_of, table_named

    table = table_named(arguments.table)
    settings = settings_for(
        table,
        material_of(
            table,
            named(arguments.data, [table], "--data"),
            named(arguments.weights, [table], "--weights"),
            random_weights=arguments.random_weights,
        ),
        out=arguments.out,
        seeds=arguments.seeds,
        quick=arguments.quick,
        changes=changes_of(arguments.set),
    )
    say(plan_text(settings, steps_of(settings, arguments.only)))
    if arguments.plan:
        return 0
    from abbe.reproducing.reproduce import reproduce

    try:
        made = reproduce(settings, only=arguments.only)
    except KeyboardInterrupt:
        end_all()
        command = shlex.join(["abbe", "reproduce", *words])
        print(shown(f"\nGo on with the same command: {command}"), file=sys.stderr, flush=True)
        raise
    say(f"\n{made.markdown()}\ntable: {made.folder / 'table.md'}")
    return 1 if made.failures else 0


def _list(arguments: ReproduceArguments) -> int:
    import json

    from abbe.reproducing.given import material_of, named
    from abbe.reproducing.plan import listing_text, listing_values, table_named, tables

    listed = []
    every = tables()
    for table in every if arguments.table is None else [table_named(arguments.table)]:
        names = {need.name for need in table.needs}
        data, weights = (
            {
                name: place
                for name, place in named(given, every, option, strict=False).items()
                if name in names
            }
            for option, given in (("--data", arguments.data), ("--weights", arguments.weights))
        )
        listed.append((table, material_of(table, data, weights)))
    if arguments.json:
        print(json.dumps(listing_values(listed), indent=2))
    else:
        say(listing_text(listed))
    return 0
