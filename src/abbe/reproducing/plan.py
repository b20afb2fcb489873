"""What a table's items wait for, which are done, and the texts that say so."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Literal

from abbe.errors import ConfigError, InputError
from abbe.in_words import counted
from abbe.near import meant
from abbe.registry import PUBLISHED
from abbe.reproducing.experiments import Settings
from abbe.reproducing.given import Material, where_to_get
from abbe.reproducing.table import Item, Table
from abbe.runs.folder import has_trained
from abbe.summary import FILE, RunSummary, read_summary

State = Literal["done", "begun", "waits", "lacks", "left out"]


@dataclass(frozen=True)
class Step:
    """An item and how it stands.

    Attributes:
        item: of the table.
        state: done; begun, and not finished; waits; lacks a set or weights; left out by ``only``.
        lacks: names of what is missing.
    """

    item: Item
    state: State
    lacks: tuple[str, ...] = ()


def steps_of(settings: Settings, only: Sequence[str] = ()) -> list[Step]:
    """Every item of a table and how it stands.

    Args:
        settings: of the table.
        only: items to run, or cells (ROW/…/COLUMN) whose items are meant, as names or patterns;
            those that they build on are run, too.

    Raises:
        ConfigError: a name of ``only`` is none of the items' or cells'.
    """
    chosen, steps = _chosen(settings.table, only), []
    for item in settings.table.items:
        lacks = settings.material.missing(settings.table.needs_of(item))
        state: State = "waits"
        if finished(settings, item) is not None:
            state, lacks = "done", ()
        elif item.name not in chosen:
            state = "left out"
        elif lacks:
            state = "lacks"
        elif has_trained(settings.folder(item.name)):
            state = "begun"
        steps.append(Step(item, state, lacks))
    return steps


def finished(settings: Settings, item: Item) -> RunSummary | None:
    """What an item came to, if it has all its seeds."""
    summary = summary_of(settings, item)
    if summary is None or not summary.evidence.complete:
        return None
    return summary if len(summary.evidence.seeds) >= settings.seeds else None


def summary_of(settings: Settings, item: Item) -> RunSummary | None:
    """What an item came to so far; None before anything was scored.

    Raises:
        InputError: its file is damaged.
    """
    folder = settings.folder(item.name)
    if not (folder / FILE).is_file():
        return None
    summary = read_summary(folder)
    if not isinstance(summary, RunSummary):
        raise InputError(f"{folder}: holds no run of this table. Give another --out")
    return summary


def _chosen(table: Table, only: Sequence[str]) -> set[str]:
    """Names of the items to run, with those before them."""
    names = [item.name for item in table.items]
    chosen = set() if only else set(names)
    for pattern in only:
        fitting = [name for name in names if fnmatch(name, pattern)]
        for cell in table.cells:
            if fnmatch("/".join((*cell.row, cell.column)), pattern):
                sources = cell.sources[:1] if cell.how == "first" else cell.sources
                fitting += [source.item for source in sources]
        if not fitting:
            raise ConfigError(
                f"--only {pattern}: table {table.name} has no such item; it has: "
                f"{', '.join(names)}. Cells are named by row and column: "
                f"{'/'.join((*table.cells[0].row, table.cells[0].column))}.{meant(pattern, names)}"
            )
        chosen.update(fitting)
    for item in reversed(table.items):  # an item stands behind those that it builds on
        if item.name in chosen:
            chosen.update(item.after)
    return chosen


def plan_text(settings: Settings, steps: Sequence[Step]) -> str:
    """The items of a table, what each does and how it stands."""
    table, width = settings.table, max(len(step.item.name) for step in steps)
    lines = [f"{table.name}: {table.title}", ""]
    for step in steps:
        told = {
            "done": "done",
            "begun": "begun: goes on where it stopped",
            "waits": "to do",
            "left out": "left out by --only",
            "lacks": f"lacks {', '.join(step.lacks)}",
        }[step.state]
        after = f" (after {', '.join(step.item.after)})" if step.item.after else ""
        lines.append(f"  {step.item.name:{width}}  {step.item.recipe:5}  {told}{after}")
    todo = [step.item for step in steps if step.state in ("waits", "begun")]
    quick = ", each a few steps on a few images" if settings.quick else ""
    lines += [
        "",
        f"{counted(len(todo), 'run')} to do{quick}, over {counted(settings.seeds, 'seed')}; "
        f"into {settings.out}",
        f"the whole table: {table.long}",
        *missing_lines(table, settings.material),
    ]
    return "\n".join(lines)


def missing_lines(table: Table, material: Material) -> list[str]:
    """Where what is missing can be had, a line each."""
    absent = [need for need in table.needs if need.name not in material]
    return [f"not given: {where_to_get(need)}" for need in absent]


def tables() -> list[Table]:
    """All published tables."""
    return [PUBLISHED[name] for name in PUBLISHED]


def table_named(name: str) -> Table:
    """A published table.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in PUBLISHED:
        raise ConfigError(
            f"there is no table '{name}'; there are: {', '.join(PUBLISHED)}."
            f"{meant(name, PUBLISHED)}"
        )
    return PUBLISHED[name]


def runnable(table: Table, material: Material) -> int:
    """How many of a table's items can run with what was given."""
    return sum(not material.missing(table.needs_of(item)) for item in table.items)


def listing_text(listed: Sequence[tuple[Table, Material]]) -> str:
    """The published tables, what each needs, and how much of each can run."""
    blocks = []
    for table, material in listed:
        able, absent = runnable(table, material), material.missing(n.name for n in table.needs)
        complete = "complete" if able == len(table.items) else f"{able} of {len(table.items)} runs"
        lines = [
            table.name,
            table.title,
            f"paper    {table.paper}",
            f"needs    {', '.join(need.name for need in table.needs)}",
            f"lacks    {', '.join(absent) or 'nothing'}",
            f"can run  {complete}",
            f"long     {table.long}",
        ]
        blocks.append("\n    ".join(lines))
    return "\n\n".join(blocks)


def listing_values(listed: Sequence[tuple[Table, Material]]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "name": table.name,
            "title": table.title,
            "paper": table.paper,
            "needs": [
                {
                    "name": need.name,
                    "option": need.option,
                    "given": need.name in material,
                    "where": where_to_get(need),
                }
                for need in table.needs
            ],
            "items": [item.name for item in table.items],
            "runnable": runnable(table, material),
            "complete": runnable(table, material) == len(table.items),
            "long": table.long,
        }
        for table, material in listed
    ]
