"""A published table as data: what it needs, its trainings, its cells, the paper's figures.

A new table is one file in `abbe.reproducing.tables` and a line in `abbe.registry`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

Keys = Mapping[str, Any]
"""Keys and sections of an experiment file; `Given`, `Left` and `ChannelsOf` stand for values."""


@dataclass(frozen=True)
class DataSet:
    """A data set that a table needs.

    Attributes:
        name: of `abbe.datasets.KNOWN_SETS`, and the ``data.kind`` of its own layout.
        looks_like: patterns of what lies in its folder, one of which is enough.
        section: keys of ``data`` beside kind and path.
        as_folder: keys in their place where the set is given as images/ and labels/.
    """

    name: str
    looks_like: tuple[str, ...]
    section: Keys = field(default_factory=dict)
    as_folder: Keys = field(default_factory=dict)
    option = "--data"


@dataclass(frozen=True)
class Weights:
    """A file of weights, or whatever else a network is read from.

    Attributes:
        name: by which it is given.
        what: it is.
        where: it can be had.
        looks_like: patterns of its file's name, one of which is enough.
        otherwise: what is taken where none is given, such as 'imagenet'; empty: nothing.
        may_be_random: whether ``--random-weights`` may stand in for ``otherwise``.
    """

    name: str
    what: str
    where: str
    looks_like: tuple[str, ...]
    otherwise: str = ""
    may_be_random: bool = False
    option = "--weights"


Need = DataSet | Weights


@dataclass(frozen=True)
class Given:
    """Stands for what was given: the section ``data`` of a set, the path of weights.

    Attributes:
        need: its name.
        optional: None where it was not given, and the item runs without.
        as_teacher: the section ``teacher`` of weights, whose kind their path shows.
    """

    need: str
    optional: bool = False
    as_teacher: bool = False


@dataclass(frozen=True)
class Left:
    """Stands for the path of a file that another item leaves in its run folder."""

    item: str
    file: str


@dataclass(frozen=True)
class ChannelsOf:
    """Stands for the channels of a data set that was given."""

    need: str


@dataclass(frozen=True)
class Item:
    """One run of ``abbe distill``.

    Attributes:
        name: also of its folder.
        recipe: the shipped recipe that it is a change of.
        keys: the change.
    """

    name: str
    recipe: str
    keys: Keys

    @cached_property
    def given(self) -> tuple[Given | ChannelsOf, ...]:
        """What it takes of what was given."""
        return tuple(_found(self.keys, Given)) + tuple(_found(self.keys, ChannelsOf))

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of what it cannot do without."""
        must = (each.need for each in self.given if not (isinstance(each, Given) and each.optional))
        return tuple(dict.fromkeys(must))

    @property
    def after(self) -> tuple[str, ...]:
        """Items that must be finished before."""
        return tuple(dict.fromkeys(each.item for each in _found(self.keys, Left)))


Quantity = str
"""Key of a metric, or a field of `abbe.summary.Model` such as ``parameters``."""


@dataclass(frozen=True)
class Source:
    """A number of a finished run: of which item, of which of its models, which one."""

    item: str
    model: str
    quantity: Quantity


@dataclass(frozen=True)
class Figure:
    """A figure of the paper, in the column's unit.

    Attributes:
        mean: as printed.
        spread: what stands behind its ±.
        derived: computed from figures that are printed; shown with ≈.
        source: where it stands, or how it was computed.
    """

    mean: float
    spread: float | None = None
    derived: bool = False
    source: str = "abstract"


How = Literal["first", "mean", "difference", "ratio"]
"""What a cell makes of its sources: the first that there is; the mean of all; the first minus, or
divided by, the second."""


@dataclass(frozen=True)
class Column:
    """A column: its key, its title with the unit, digits, and what our numbers are multiplied by.

    ``signed`` shows the sign of what is above 0, too.
    """

    key: str
    title: str
    digits: int = 1
    scale: float = 1.0
    signed: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell: where it stands, the numbers it is made of, and the paper's figure.

    ``needs`` are names of what it takes beside what its items cannot do without.
    """

    row: tuple[str, ...]
    column: str
    sources: tuple[Source, ...]
    how: How = "first"
    paper: Figure | None = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What the paper (as far as it could be read) does not state, and what we chose."""

    unstated: str
    chosen: str


@dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
        name: of ``abbe reproduce NAME``.
        title: for people.
        paper: authors, title, place.
        heads: what the parts of a row's name are.
        columns: in order.
        needs: data sets and weights.
        items: the runs, in the order in which they are made.
        cells: in the order of rows.
        choices: what is not stated.
        cautions: what a reader should know before comparing.
        long: how long it takes, in words.
        seeds: how many, where the user names none.

    Raises:
        ValueError: a part names another that is not there, or one stands twice.
    """

    name: str
    title: str
    paper: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    needs: tuple[Need, ...]
    items: tuple[Item, ...]
    cells: tuple[Cell, ...]
    choices: tuple[Choice, ...]
    cautions: tuple[str, ...]
    long: str
    seeds: int = 3

    def __post_init__(self) -> None:
        needs, columns = {each.name for each in self.needs}, {each.key for each in self.columns}
        before: set[str] = set()
        for item in self.items:
            _require(self.name, {each.need for each in item.given}, needs, "need")
            _require(self.name, item.after, before, "earlier item")
            if item.name in before:
                raise ValueError(f"table {self.name}: item {item.name} stands twice")
            before.add(item.name)
        places = [(cell.row, cell.column) for cell in self.cells]
        if len(set(places)) < len(places):
            raise ValueError(f"table {self.name}: a cell stands twice")
        for cell in self.cells:
            _require(self.name, [cell.column], columns, "column")
            _require(self.name, cell.needs, needs, "need")
            _require(self.name, [source.item for source in cell.sources], before, "item")
            if len(cell.row) != len(self.heads):
                raise ValueError(f"table {self.name}: row {cell.row} does not fit its heads")

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Names of the rows in order."""
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    def item(self, name: str) -> Item:
        """The item of this name."""
        return next(item for item in self.items if item.name == name)

    def need(self, name: str) -> Need:
        """The need of this name."""
        return next(need for need in self.needs if need.name == name)

    def needs_of(self, item: Item) -> tuple[str, ...]:
        """What an item and those before it cannot do without."""
        before = (need for name in item.after for need in self.needs_of(self.item(name)))
        return tuple(dict.fromkeys((*item.needs, *before)))


_Placeholder = TypeVar("_Placeholder", Given, Left, ChannelsOf)


def _found(values: Any, kind: type[_Placeholder]) -> Iterator[_Placeholder]:
    """The placeholders of a kind among keys and sections."""
    if isinstance(values, kind):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _found(value, kind)


def _require(table: str, wanted: Any, known: set[str], kind: str) -> None:
    for name in wanted:
        if name not in known:
            raise ValueError(f"table {table}: there is no {kind} '{name}'")
