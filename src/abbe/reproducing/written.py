"""A table as Markdown, CSV and JSON: the paper's figure beside ours, and what stands under them."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import abbe
from abbe.errors import InputError
from abbe.files import write_json, write_text
from abbe.foreign_text import cells as safe_cells
from abbe.reproducing.experiments import Settings
from abbe.reproducing.figures import Number, number_of
from abbe.reproducing.given import where_to_get
from abbe.reproducing.plan import summary_of
from abbe.reproducing.table import Cell, Column, Figure
from abbe.summary import RunSummary

FORMAT = 1
"""Of table.json."""
EMPTY = "—"
INSTEAD = "†"


@dataclass(frozen=True)
class Filled:
    """A cell with what there is in it.

    Attributes:
        cell: of the table.
        ours: our number.
        instead: whether it was made with something else than the table names, or may have been.
        lacks: names of what was not given, where it is empty.
        failed: names of its items that failed, where it is empty.
    """

    cell: Cell
    ours: Number | None
    instead: bool = False
    lacks: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """A table as far as it is filled.

    Attributes:
        settings: how it was run.
        filled: its cells.
        summaries: of the runs, by item.
        failures: by item, what its run said.
        made_with: by item, what may be something else than the table names, in words.
    """

    settings: Settings
    filled: tuple[Filled, ...]
    summaries: Mapping[str, RunSummary]
    failures: Mapping[str, str]
    made_with: Mapping[str, Sequence[str]]

    @property
    def instead(self) -> list[str]:
        """All that is not what the table names, once."""
        there = (words for item, words in self.made_with.items() if item in self.summaries)
        return list(dict.fromkeys(each for words in there for each in words))


def result_of(
    settings: Settings, failures: Mapping[str, str], made_with: Mapping[str, Sequence[str]]
) -> Result:
    """Fill the cells from the runs that there are.

    Args:
        settings: of the table.
        failures: by item, what its run said.
        made_with: by item, what may be something else than the table names, in words.
    """
    table, failed = settings.table, dict(failures)
    summaries: dict[str, RunSummary] = {}
    for item in table.items:
        try:
            summary = summary_of(settings, item)
        except InputError as error:
            failed.setdefault(item.name, str(error))
            continue
        if summary is not None and summary.evidence.complete:
            summaries[item.name] = summary
    columns = {column.key: column for column in table.columns}
    filled = []
    for cell in table.cells:
        ours = number_of(cell, columns[cell.column], summaries)
        items = dict.fromkeys(source.item for source in cell.sources)
        if ours is not None:
            filled.append(Filled(cell, ours, any(made_with.get(name) for name in items)))
            continue
        lacks = _lacks(settings, cell)
        wrong = tuple(name for name in items if name in failed)
        filled.append(Filled(cell, None, lacks=lacks, failed=wrong))
    return Result(settings, tuple(filled), summaries, failed, made_with)


def _lacks(settings: Settings, cell: Cell) -> tuple[str, ...]:
    """What must be given before a cell can be filled; of several sources one may be enough."""
    table, missing = settings.table, settings.material.missing
    by_item = [missing(table.needs_of(table.item(source.item))) for source in cell.sources]
    if cell.how == "first" and not all(by_item):
        by_item = []
    return tuple(
        dict.fromkeys([*missing(cell.needs), *(need for each in by_item for need in each)])
    )


def write(result: Result) -> Path:
    """Write table.md, table.csv and table.json into the table's folder; the first comes back."""
    out = result.settings.out
    write_text(out / "table.csv", csv_of(result))
    write_json(out / "table.json", values_of(result))
    write_text(out / "table.md", markdown_of(result))
    return out / "table.md"


def markdown_of(result: Result) -> str:
    """The table and what stands under it, for people."""
    table = result.settings.table
    lines = [f"# {title_of(result)}", "", table.paper + ".", "", *_grid(result), ""]
    for head, points in _under(result):
        lines += [f"## {head}", "", *(f"- {point}" for point in points), ""]
    return "\n".join(lines)


def title_of(result: Result) -> str:
    """The table's title; of a quick one, that it compares nothing."""
    title = result.settings.table.title
    if result.settings.quick:
        return f"QUICK, a few steps on a few images, NO COMPARISON: {title}"
    return title


def _grid(result: Result) -> list[str]:
    """The rows of a Markdown table, in columns of equal width."""
    table = result.settings.table
    printed = {cell.column for cell in table.cells if cell.paper is not None}
    heads = list(table.heads)
    for column in table.columns:
        heads += [f"{column.title}: paper", "here"] if column.key in printed else [column.title]
    by_place = {(each.cell.row, each.cell.column): each for each in result.filled}
    rows = [heads]
    for row in table.rows:
        words = list(row)
        for column in table.columns:
            found = by_place.get((row, column.key))
            if column.key in printed:
                words.append(_figure(None if found is None else found.cell.paper, column))
            words.append("" if found is None else _number(found, column))
        rows.append(words)
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    names = len(table.heads)

    def line(words: Sequence[str]) -> str:
        padded = (
            word.ljust(width) if place < names else word.rjust(width)
            for place, (word, width) in enumerate(zip(words, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rules = ["-" * w if place < names else "-" * (w - 1) + ":" for place, w in enumerate(widths)]
    return [line(rows[0]), f"| {' | '.join(rules)} |", *map(line, rows[1:])]


def _under(result: Result) -> Iterator[tuple[str, list[str]]]:
    """What stands under the table: a heading and its points."""
    table = result.settings.table
    empty = [*_missing(result), *(f"{name}: {text}" for name, text in result.failures.items())]
    if empty:
        yield "Empty cells", empty
    yield "How to read it", _reading(result)
    given = [*result.instead, *_teachers(result)]
    if given:
        yield "What it was made with", given
    choices = [f"{choice.unstated}: {choice.chosen}" for choice in table.choices]
    yield "What the paper does not state, as far as it could be read: what was chosen here", choices
    yield "Before comparing", list(table.cautions)


def _reading(result: Result) -> list[str]:
    settings = result.settings
    points = [f"{EMPTY} is not printed by the paper, or not there"]
    derived = {
        f"{_figure(cell.paper, Column('', ''))}: {cell.paper.source}"
        for cell in settings.table.cells
        if cell.paper is not None and cell.paper.derived
    }
    points += sorted(derived)
    if any(each.instead for each in result.filled):
        points.append(
            f"{INSTEAD} was made with something else than the table names, or may have "
            "been: see below"
        )
    if settings.quick:
        points.append(
            "quick: networks saw a few steps and a few images, to show that all runs through. "
            "None of these numbers says anything about a method"
        )
    timed = {
        source.item
        for cell in settings.table.cells
        for source in cell.sources
        if source.quantity.startswith("ms_")
    }
    busy = [
        item
        for item, summary in result.summaries.items()
        if item in timed and summary.timing is not None and summary.timing.busy
    ]
    if busy:
        points.append(f"the machine was busy while {', '.join(busy)} was timed: too many ms")
    points.append(f"here: {_seeds(result)}; reports of the runs in items/NAME/report.html")
    return points


def _seeds(result: Result) -> str:
    """Over how many seeds the runs are that there are: fewer than were asked for, perhaps."""
    asked = result.settings.seeds
    made = {item: len(summary.evidence.seeds) for item, summary in result.summaries.items()}
    fewer = [f"{item} ({count})" for item, count in made.items() if count < asked]
    least, most = min(made.values(), default=asked), max(made.values(), default=asked)
    if most <= 1:
        told = "one seed, so nothing has a ±"
    else:
        told = f"{most} seeds" if least == most else f"{least} to {most} seeds"
    return f"{told}; not all of {asked} seeds yet: {', '.join(fewer)}" if fewer else told


def _teachers(result: Result) -> list[str]:
    """Who taught, as the files of the teachers say it."""
    names = {
        f"{item}: {summary.teacher.teacher}"
        + (" (a stand-in)" if summary.teacher.stand_in else "")
        + (", shown the true labels" if summary.teacher_saw_labels else "")
        for item, summary in result.summaries.items()
        if summary.teacher is not None
    }
    return [f"taught by, in {name}" for name in sorted(names)]


def _missing(result: Result) -> list[str]:
    """What was not given, where to get it, and how many cells wait for it."""
    table, points = result.settings.table, []
    for need in table.needs:
        waiting = sum(need.name in each.lacks for each in result.filled)
        if waiting:
            points.append(f"{waiting} for want of {need.name}. {where_to_get(need)}")
    lacking = {source.item for each in result.filled if each.lacks for source in each.cell.sources}
    done = lacking | result.summaries.keys() | result.failures.keys()
    if waiting := [item.name for item in table.items if item.name not in done]:
        points.append(f"not run, or not finished: {', '.join(waiting)}")
    return points


def csv_of(result: Result) -> str:
    """A row a cell, for spreadsheets."""
    text, table = io.StringIO(newline=""), result.settings.table
    writer = csv.writer(text)
    writer.writerow(
        [*table.heads, "column", "paper", "paper_plus_minus", "paper_derived", "here",
         "here_plus_minus", "instead", "seeds", "items", "lacks", "quick"]
    )  # fmt: skip
    titles = {column.key: column.title for column in table.columns}
    for each in result.filled:
        paper, ours = each.cell.paper, each.ours
        row = [
            *each.cell.row,
            titles[each.cell.column],
            "" if paper is None else paper.mean,
            "" if paper is None or paper.spread is None else paper.spread,
            "" if paper is None else int(paper.derived),
            "" if ours is None else ours.mean,
            "" if ours is None or ours.spread is None else ours.spread,
            int(each.instead),
            "" if ours is None else max(1, len(ours.by_seed)),
            " ".join(dict.fromkeys(source.item for source in each.cell.sources)),
            " ".join(each.lacks),
            int(result.settings.quick),
        ]
        writer.writerow(safe_cells(row))
    return text.getvalue()


def values_of(result: Result) -> dict[str, Any]:
    """The table for programs."""
    settings, table = result.settings, result.settings.table
    return {
        "format": FORMAT,
        "abbe": abbe.__version__,
        "table": table.name,
        "title": title_of(result),
        "quick": settings.quick,
        "paper": table.paper,
        "seeds": settings.seeds,
        "heads": list(table.heads),
        "columns": [asdict(column) for column in table.columns],
        "cells": [_cell_values(each) for each in result.filled],
        "missing": {
            need.name: where_to_get(need)
            for need in table.needs
            if any(need.name in each.lacks for each in result.filled)
        },
        "failed": dict(result.failures),
        "instead": result.instead,
        "set": settings.changes,
        "choices": [asdict(choice) for choice in table.choices],
        "cautions": list(table.cautions),
    }


def _cell_values(each: Filled) -> dict[str, Any]:
    ours = each.ours
    return {
        "row": list(each.cell.row),
        "column": each.cell.column,
        "paper": None if each.cell.paper is None else asdict(each.cell.paper),
        "here": None
        if ours is None
        else {"mean": ours.mean, "spread": ours.spread, "by_seed": list(ours.by_seed)},
        "instead": each.instead,
        "how": each.cell.how,
        "sources": [asdict(source) for source in each.cell.sources],
        "lacks": list(each.lacks),
        "failed": list(each.failed),
    }


def _figure(figure: Figure | None, column: Column) -> str:
    """As the paper prints it."""
    if figure is None:
        return EMPTY
    sign = "+" if column.signed and figure.mean > 0 else ""
    spread = "" if figure.spread is None else f" ± {figure.spread:g}"
    return f"{'≈ ' if figure.derived else ''}{sign}{figure.mean:g}{spread}"


def _number(filled: Filled, column: Column) -> str:
    number = filled.ours
    if number is None:
        return EMPTY
    sign = "+" if column.signed else ""
    spread = "" if number.spread is None else f" ± {number.spread:.{column.digits}f}"
    mark = f" {INSTEAD}" if filled.instead else ""
    return f"{number.mean:{sign}.{column.digits}f}{spread}{mark}"
