"""From an item of a table to the experiment that ``abbe distill`` carries out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from abbe import config
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError
from abbe.recipes.shipped import values_of
from abbe.reproducing.given import Material, teacher_of
from abbe.reproducing.table import ChannelsOf, Given, Item, Keys, Left, Table, Weights
from abbe.runs import build

_SHORT = {"steps": 2, "batch_size": 2, "crop": 64, "validate_every": 2, "workers": 0, "ema": 0}
QUICK: Mapping[str, Keys] = {
    "cmkd": {"training": _SHORT},
    "rckd": {
        "training": _SHORT,
        "pretraining": {"steps": 2, "batch_size": 2, "crop": 64},
    },
    "kdsam": {
        "training": {key: value for key, value in _SHORT.items() if key != "crop"},
        "promptable": {"decoder_steps": 2, "objects": 1},
    },
}
"""By recipe, what ``--quick`` changes: a look at whether all works, of which no figure counts."""
QUICK_IMAGES = {"train": 4, "val": 2, "test": 4}
"""Labelled images of each split that ``--quick`` takes; half as many of each class."""


@dataclass(frozen=True)
class Settings:
    """How a table is run.

    Attributes:
        table: that is run.
        material: that was given.
        out: the table's folder.
        seeds: how many.
        quick: a few steps on a few images.
        changes: keys of the experiment file that all items take beside their own.
    """

    table: Table
    material: Material
    out: Path
    seeds: int
    quick: bool = False
    changes: Keys = field(default_factory=dict)

    def folder(self, item: str) -> Path:
        """The run folder of an item."""
        return self.out / "items" / item


def settings_for(
    table: Table,
    material: Material,
    *,
    out: Path | None = None,
    seeds: int | None = None,
    quick: bool = False,
    changes: Keys | None = None,
) -> Settings:
    """How a table is run, with the usual place and number of seeds where none is said.

    Raises:
        ConfigError: there are to be no seeds.
    """
    if seeds is not None and seeds < 1:
        raise ConfigError(f"seeds: at least 1 is needed, not {seeds}")
    usual = Path("reproduced") / (f"{table.name}-quick" if quick else table.name)
    return Settings(
        table,
        material,
        usual if out is None else out,
        seeds or (1 if quick else table.seeds),
        quick,
        changes or {},
    )


def experiment_of(settings: Settings, item: Item) -> config.Experiment:
    """What an item does; where ``--quick`` takes a part of the data, they are given from Python.

    Raises:
        ConfigError: a change is about what the table compares, or is none of the recipe's keys.
        InputError: something is wrong with a set whose channels are looked at.
    """
    _require_free(settings.table, item, settings.changes)
    own = _resolved(item.keys, settings)
    _, values = values_of(item.recipe)
    values.pop("evidence", None)  # an item names seeds and baselines
    if settings.quick:
        del own["data"]
        values["data"] = {"kind": "given"}
    further = {"out": str(settings.folder(item.name)), "seeds": settings.seeds}
    for changes in (own, QUICK[item.recipe] if settings.quick else {}, settings.changes, further):
        values = merged(config.without_rivals(values, dotted(changes)), changes)
    return config.parse(values, f"table {settings.table.name}, item {item.name}")


def part_of(settings: Settings, item: Item) -> Dataset | None:
    """The part of the data that ``--quick`` takes; None where an item reads its set itself.

    Raises:
        InputError: something is wrong with the set.
    """
    if not settings.quick:
        return None
    return few(build.build_dataset(config.Data(**_resolved(item.keys, settings)["data"])))


def few(dataset: Dataset) -> Dataset:
    """A few labelled images of each split, spread over classes."""
    kept: list[Record] = []
    for split, count in QUICK_IMAGES.items():
        by_class: dict[str, list[Record]] = {}
        for record in dataset.records:
            classed = record.columns.get("class", "")
            if record.split == split and (record.label is not None or classed):
                by_class.setdefault(classed, []).append(record)
        each = count if len(by_class) < 2 else max(2, count // 2)
        kept += [record for records in by_class.values() for record in records[:each]]
    return replace(dataset, records=tuple(kept))


def merged(values: Keys, changes: Keys) -> dict[str, Any]:
    """The values with the changes, section by section.

    >>> merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 5}})
    {'a': {'b': 5, 'c': 2}, 'd': 3}
    """
    found = dict(values)
    for key, change in changes.items():
        inner = found.get(key)
        if isinstance(inner, Mapping) and isinstance(change, Mapping):
            change = merged(inner, change)
        found[key] = change
    return found


def dotted(values: Keys, above: str = "") -> dict[str, Any]:
    """All values by their keys, such as ``training.steps``.

    >>> dotted({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        inside = isinstance(value, Mapping) and value
        found |= dotted(value, f"{above}{key}.") if inside else {f"{above}{key}": value}
    return found


def changes_of(words: Sequence[str]) -> dict[str, Any]:
    """The words of ``--set``, KEY=VALUE, as keys and sections.

    >>> changes_of(["training.passes=5", "promptable.side=512"])
    {'training': {'passes': 5}, 'promptable': {'side': 512}}

    Raises:
        ConfigError: a word is none.
    """
    from yaml import YAMLError

    from abbe.files.yaml_text import read_yaml

    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {word}: give KEY=VALUE, such as training.passes=5")
        try:
            value = read_yaml(text)
        except YAMLError as error:
            raise ConfigError(f"--set {word}: the value is not readable ({error})") from error
        for part in reversed(key.replace("-", "_").split(".")):
            value = {part: value}
        found = merged(found, value)
    return found


def _require_free(table: Table, item: Item, changes: Keys) -> None:
    """Refuse a change of what the table settles itself, which would make its rows lie."""
    settled = {*dotted(item.keys), "out", "seeds", "recipe", "evidence"}
    for key in sorted(dotted(changes)):
        above = {".".join(key.split(".")[:count]) for count in range(1, key.count(".") + 2)}
        if above & settled or any(each.startswith(f"{key}.") for each in settled):
            raise ConfigError(
                f"--set {key}: table {table.name} settles this itself, item by item. Leave it out"
            )


def _resolved(values: Keys, settings: Settings) -> dict[str, Any]:
    """The keys with what was given in the place of what stands for it."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found[key] = _resolved(value, settings)
        elif isinstance(value, Left):
            found[key] = str(settings.folder(value.item) / value.file)
        elif isinstance(value, ChannelsOf):
            data = config.Data(**settings.material.data[value.need])
            found[key] = build.collect(data).channels
        elif isinstance(value, Given):
            found[key] = _given(value, settings)
        else:
            found[key] = value
    return found


def _given(given: Given, settings: Settings) -> Any:
    material = settings.material
    if given.need in material.data:
        return dict(material.data[given.need])
    path = material.weights.get(given.need) if given.optional else material.weights[given.need]
    if path is None or not given.as_teacher:
        return path
    need = settings.table.need(given.need)
    assert isinstance(need, Weights)
    return teacher_of(path, "package" if path == need.otherwise else "run")


def asked(settings: Settings, experiment: config.Experiment, item: Item) -> dict[str, Any]:
    """What was asked of an item, to be held against what is asked the next time."""
    told = experiment.model_dump(mode="json", exclude={"out", "seeds", "title"})
    data = [
        settings.material.data[each.need]
        for each in item.given
        if each.need in settings.material.data
    ]
    return {**told, "quick": settings.quick, "given": _plain(data)}


def _plain(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {str(key): _plain(value) for key, value in values.items()}
    if isinstance(values, Iterable) and not isinstance(values, str):
        return [_plain(value) for value in values]
    return values if isinstance(values, int | float | str | None) else str(values)
