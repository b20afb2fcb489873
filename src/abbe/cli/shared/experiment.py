"""Sections of the experiment file, and all that a recipe reads of it, as arguments of a verb."""

import re
from collections.abc import Collection, Mapping
from dataclasses import field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import tyro
from pydantic.fields import FieldInfo

from abbe import config
from abbe.cli.shared.arguments import parse
from abbe.config.section import Section
from abbe.errors import ConfigError
from abbe.remote.alike import plain

Options = TypeVar("Options")

HELP_ALL = "--help-all"
SOME_DATA = config.Data.model_construct(kind="folder")
SOME_TEACHER = config.Teacher.model_construct()
"""Sections as arguments of a verb: not checked, because its words are yet to complete them."""


def parse_experiment(
    verb: str,
    words: list[str],
    description: str,
    *,
    source: Path,
    values: Mapping[str, Any],
    options: type[Options],
    settled: Collection[str] = (),
) -> tuple[config.Experiment, Options]:
    """The experiment of a file, completed by a command line, and the verb's own options.

    ``--help`` shows the keys that matter first, ``--help-all`` all that the recipe reads.

    Args:
        verb: with the recipe, such as ``distill cmkd``.
        words: of the command line, after these.
        description: what the help begins with.
        source: the file.
        values: what it holds.
        options: a dataclass of the verb's own options.
        settled: keys in whose place the verb has options of its own; help leaves them out.

    Raises:
        ConfigError: naming each wrong key; one of another recipe, and of which.
    """
    words = config.words_without_twin(words)
    values = config.without_rivals(values, config.keys_of(words))
    drafted = config.draft(values, str(source))
    recipe = getattr(drafted, "recipe", None)
    if recipe is None:
        raise ConfigError(f"{source}:\n  recipe: choose from {', '.join(config.RECIPES)}")
    keys = [key for key, _ in config.keys_within(config.Experiment) if key != "recipe"]
    _refuse_foreign(words, keys, recipe)
    own = {
        each.name for each in fields(cast(Any, options))
    }  # the verb's own meaning of a name goes first
    taken = {key for key in keys if config.RECIPES[recipe].reads(key)} - own
    if HELP_ALL in words:
        taken, words = taken - set(settled), ["--help"]
    elif {"-h", "--help"} & set(words):
        taken = set(config.RECIPES[recipe].important or taken) - set(settled)
        words = ["--help"]
        description += (
            f"\n\nBelow are the keys of recipe '{recipe}' that matter first; all of them:\n"
            f"  abbe {verb} {HELP_ALL}"
        )
    form = make_dataclass(
        "Arguments",
        [
            ("options", Annotated[options, tyro.conf.arg(name="")], field(default=options())),
            *_fields_of(config.Experiment, drafted, taken),
        ],
        kw_only=True,
    )
    parsed = parse(form, verb, words, description)
    given = {name: value for name, value in _plain(parsed).items() if name != "options"}
    source_name = verb.partition(" ")[2]  # the verb is told by whoever prints the error
    return config.parse({"recipe": recipe, **given}, source_name), parsed.options


def _refuse_foreign(words: list[str], keys: Collection[str], recipe: str) -> None:
    """Name the recipe that a key of the command line belongs to, if it is not this one."""
    for word in words:
        if word.startswith("--"):
            name = word[2:].partition("=")[0].replace("-", "_")
            key = re.sub(r"(^|\.)no_(?=\w+$)", r"\1", name)  # --teacher.no-live
            for known in {name, key} & set(keys):
                if not config.RECIPES[recipe].reads(known):
                    raise ConfigError(config.refusal(known, recipe))


def _fields_of(
    section: type[Section], drafted: Any, taken: set[str], above: str = ""
) -> list[tuple[str, Any, Any]]:
    """The fields of a dataclass for a section: the keys that are taken, as the draft has them."""
    made: list[tuple[str, Any, Any]] = []
    for name, info in section.model_fields.items():
        key = f"{above}{name}"
        inner = config.section_of(info)
        if inner is not None:
            within = _fields_of(inner, getattr(drafted, name), taken, f"{key}.")
            if within:
                form = make_dataclass(inner.__name__, within, kw_only=True)
                form.__doc__ = inner.__doc__
                made.append((name, form, field(default_factory=form)))
        elif key in taken:
            kind = Annotated[info.annotation, tyro.conf.arg(help=_in_one_line(info))]
            given = hasattr(drafted, name)
            made.append((name, kind, _default(getattr(drafted, name)) if given else field()))
    return made


def _in_one_line(info: FieldInfo) -> str:
    return " ".join((info.description or "").split())


def _default(value: Any) -> Any:
    value = tuple(map(plain, value)) if isinstance(value, tuple) else plain(value)
    return field(default_factory=lambda: value)  # dictionaries among them


def _plain(parsed: Any) -> dict[str, Any]:
    """The arguments as nested dictionaries."""
    values = ((each.name, getattr(parsed, each.name)) for each in fields(parsed))
    return {name: _plain(value) if is_dataclass(value) else value for name, value in values}
