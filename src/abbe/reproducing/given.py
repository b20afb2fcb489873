"""Data sets and weights that the user gives: recognised by their look, or named NAME=PATH."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from abbe import config
from abbe.datasets import KNOWN_SETS
from abbe.errors import ConfigError
from abbe.near import meant_beside
from abbe.reproducing.table import DataSet, Keys, Need, Table, Weights
from abbe.runs.from_python import kind_of_teacher

Place = str | os.PathLike[str]
SetLike = Place | Keys
"""A set's folder, or keys of the section ``data``."""


@dataclass(frozen=True)
class Material:
    """What was given for a table, by the names of its needs."""

    data: Mapping[str, Keys] = field(default_factory=dict)
    """Sections ``data`` of an experiment file."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Paths, and 'imagenet' or 'random' where nothing was given and something else is taken."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """By need, in words: what may be something else than the table names."""

    def __contains__(self, need: str) -> bool:
        return need in self.data or need in self.weights

    def missing(self, needs: Iterable[str]) -> tuple[str, ...]:
        """Those of the needs that were not given."""
        return tuple(need for need in needs if need not in self)


def material_of(
    table: Table,
    data: Mapping[str, SetLike],
    weights: Mapping[str, Place],
    *,
    random_weights: bool = False,
) -> Material:
    """What was given, as an experiment file says it.

    Args:
        table: whose needs they are.
        data: by need, a folder, or keys of the section ``data``.
        weights: by need, a path or a name.
        random_weights: begin at random where ImageNet's weights would be downloaded.

    Raises:
        ConfigError: a name is none of the table's, or a folder is not there.
    """
    _require_names(table, data, "--data", DataSet)
    _require_names(table, weights, "--weights", Weights)
    sections: dict[str, Keys] = {}
    paths = {name: os.fspath(path) for name, path in weights.items()}
    instead: dict[str, str] = {}
    for need in table.needs:
        if isinstance(need, DataSet) and need.name in data:
            sections[need.name] = section_of(need, data[need.name])
            if sections[need.name].get("kind") != need.name:
                instead[need.name] = (
                    f"{need.name} was not given in its own layout, but as "
                    f"{_told(sections[need.name])}: whether it is that set is not checked"
                )
        elif isinstance(need, Weights) and need.name in paths:
            name = Path(paths[need.name]).name
            if need.looks_like and not _named_so(name, need):
                instead[need.name] = (
                    f"{name} was given as {need.name} ({need.what}): whether it is that is not "
                    "checked"
                )
        elif isinstance(need, Weights) and need.otherwise:
            random = random_weights and need.may_be_random
            paths[need.name] = "random" if random else need.otherwise
            if random:
                instead[need.name] = f"random weights took the place of {need.what}"
    return Material(sections, paths, instead)


def section_of(need: DataSet, given: SetLike) -> Keys:
    """A set that was given as the section ``data`` of an experiment file.

    Raises:
        ConfigError: it is not there, or its file is none of keys.
    """
    if isinstance(given, Mapping):
        return {**given}
    path = Path(given)
    if not path.exists():
        raise ConfigError(
            f"--data {need.name}={path}: there is no such folder.{meant_beside(path)}"
        )
    if path.suffix in (".yaml", ".yml"):
        return config.read_values(path)
    folder = (path / "images").is_dir() and (path / "labels").is_dir()
    if folder and not looks_like(path, need):
        return {"kind": "folder", **need.as_folder, "path": str(path)}
    return {"kind": need.name, **need.section, "path": str(path)}


def looks_like(path: Path, need: DataSet) -> bool:
    """Whether a folder has the layout of a set."""
    return path.is_dir() and any(any(path.glob(pattern)) for pattern in need.looks_like)


def teacher_of(path: str, otherwise: str) -> Keys:
    """Weights as the section ``teacher``: what lies there says its kind."""
    return {"kind": kind_of_teacher(Path(path)) or otherwise, "path": path}


def named(
    words: Sequence[str], tables: Sequence[Table], option: str, *, strict: bool = True
) -> dict[str, str]:
    """The words of ``--data`` or ``--weights`` by the names of needs.

    A word is NAME=PATH, or a path whose look says what it is; of a folder, the folders in it count,
    too.

    Args:
        words: of the command line.
        tables: whose needs they may be.
        option: ``--data`` or ``--weights``.
        strict: refuse a path that is none of these.

    Raises:
        ConfigError: a path is not recognised, or two are the same need.
    """
    needs = {need.name: need for table in tables for need in table.needs if need.option == option}
    found: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if equals and (name in needs or not Path(word).exists()):
            pairs = [(name, path)]
        else:
            pairs = list(_recognised(Path(word), needs.values()))
        if not pairs and strict and not Path(word).exists():
            raise ConfigError(f"{option} {word}: there is no such file or folder")
        if not pairs and strict:
            known = ", ".join(needs)
            raise ConfigError(
                f"{option} {word}: its look does not say what it is. Name it, as one of {known}: "
                f"{option} {next(iter(needs))}={word}"
            )
        for need, place in pairs:
            if found.get(need, place) != place:
                raise ConfigError(
                    f"{option}: {found[need]} and {place} are both {need}. Name one: "
                    f"{option} {need}={place}"
                )
            found[need] = place
    return found


def where_to_get(need: Need) -> str:
    """Where a data set or weights can be had, and the option that takes them."""
    if isinstance(need, Weights):
        return f"{need.what}: {need.where}; then --weights {need.name}=PATH"
    known = KNOWN_SETS[need.name]
    how = (
        f"abbe data fetch {need.name} FOLDER, or by hand from {known.origin}"
        if known.sources
        else f"{known.origin} ({known.by_hand.partition(':')[0].partition('. ')[0]})"
    )
    return f"{known.what.partition(':')[0]}: {how}; then --data {need.name}=FOLDER"


def _recognised(path: Path, needs: Iterable[Need]) -> Iterator[tuple[str, str]]:
    inside = sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
    for need in needs:
        if isinstance(need, Weights):
            if _named_so(path.name, need):
                yield need.name, str(path)
        else:
            for place in (path, *inside):
                if looks_like(place, need):
                    yield need.name, str(place)
                    break


def _named_so(name: str, need: Weights) -> bool:
    return any(fnmatch(name.lower(), pattern) for pattern in need.looks_like)


def _require_names(table: Table, given: Mapping[str, Any], option: str, kind: type[Need]) -> None:
    names = [need.name for need in table.needs if isinstance(need, kind)]
    for name in given:
        if name not in names:
            raise ConfigError(
                f"{option} {name}: table {table.name} takes {', '.join(names)} by this option"
            )


def _told(section: Keys) -> str:
    path = section.get("path")
    place = "" if path is None else f" ({Path(str(path)).name})"
    return f"data of kind {section.get('kind', 'folder')}{place}"
