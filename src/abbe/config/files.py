"""Experiment files: read, checked, completed by the command line, written."""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from abbe.config.evidence import without_twin
from abbe.config.experiment import Experiment
from abbe.config.foreign import keys_within, refusal, says_nothing, section_of, split_foreign
from abbe.config.networks import Student
from abbe.config.paths import found, written
from abbe.config.recipes import RECIPES, readers_of
from abbe.config.renamed import with_new_names, with_teachers
from abbe.config.section import Section, allowed_keys, describe, meant_of, message_of
from abbe.errors import ConfigError
from abbe.files import write_text
from abbe.files.yaml_text import read_yaml
from abbe.foreign_text import has_control_characters, shown
from abbe.near import meant_beside


def parse(values: Mapping[str, Any], source: str) -> Experiment:
    """Check ``values`` against the schema.

    Raises:
        ConfigError: naming ``source``, each wrong key, what it holds and what is allowed; a key
            that belongs to other recipes, and to which.
    """
    try:
        return Experiment.model_validate(own_keys(values, source))
    except ValidationError as error:
        raise ConfigError(f"{source}:\n{describe(error, Experiment)}") from error


def own_keys(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The values by today's names, without keys of other recipes, which may not say anything.

    Raises:
        ConfigError: naming ``source``, each key that does, and the recipes that it belongs to.
    """
    values, notes = with_new_names(with_teachers(values))
    for note in notes:
        print(shown(f"note: {source}: {note}"), flush=True)
    own, foreign = split_foreign(without_twin(values), Experiment)
    wrong = [key for key, value in foreign.items() if not says_nothing(value)]
    if wrong:
        lines = "\n".join(f"  {refusal(key, own['recipe'])}" for key in wrong)
        raise ConfigError(f"{source}:\n{lines}")
    return own


def read_values(path: Path) -> dict[str, Any]:
    """The contents of an experiment file, not yet checked; paths hold in the working folder.

    Raises:
        ConfigError: if the file is missing or is no YAML mapping.
    """
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such experiment file.{meant_beside(path)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    if strange := _with_control_characters(values):
        raise ConfigError(f"{path}: {strange!r} holds control characters. Take them out")
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: an experiment file holds keys and values, such as 'recipe: cmkd'"
        )
    return found(with_teachers(values), path)


def _with_control_characters(values: Any) -> str | None:
    """The first text that would steer a terminal when it is printed."""
    if isinstance(values, str):
        return values if has_control_characters(values) else None
    inner: list[Any] = []
    if isinstance(values, dict):
        inner = [*values, *values.values()]
    elif isinstance(values, list):
        inner = values
    return next(filter(None, map(_with_control_characters, inner)), None)


def load(path: Path) -> Experiment:
    """Read and check the experiment file of a run.

    Earlier versions saved the sections of all recipes; see `read_saved`.
    """
    return parse(read_saved(path), str(path))


def read_saved(path: Path) -> dict[str, Any]:
    """The contents of a run's experiment file, without keys that its recipe does not read.

    Earlier versions saved these with the rest. What such a key held is printed, unless it is the
    default.

    Raises:
        ConfigError: if the file is missing or is no YAML mapping.
    """
    values, _ = with_new_names(read_values(path))
    if not RECIPES.get(str(values.get("recipe")), RECIPES["cmkd"]).reads("evidence"):
        values.pop("twin", None)  # saved with the rest
    own, foreign = split_foreign(without_twin(values), Experiment)
    for key, value in foreign.items():
        if not says_nothing(value) and not _is_default(key, value):
            text = (
                f"note: {path}: {key} is {value!r}; it belongs to {', '.join(readers_of(key))}. "
                f"Recipe '{own['recipe']}' does not read it, and it is left out"
            )
            print(shown(text), flush=True)
    return own


_UNSET = Experiment.model_construct(student=Student.model_construct())


def _is_default(key: str, value: Any) -> bool:
    field = dict(keys_within(Experiment)).get(key)
    try:
        return field is not None and _checked(field, value) == reduce(
            getattr, key.split("."), _UNSET
        )
    except ValidationError:
        return False


def _checked(field: FieldInfo, value: Any) -> Any:
    # A constrained annotation keeps its limits only together with the field's metadata.
    return TypeAdapter(Annotated[field.annotation, field]).validate_python(value)


def draft(values: Mapping[str, Any], source: str) -> Experiment:
    """The experiment as far as ``values`` give it, for the command line to complete.

    Keys and types are checked here; whether the parts fit, once the command line has been read.

    Raises:
        ConfigError: naming ``source`` and each wrong key.
    """
    return _draft_section(Experiment, own_keys(values, source), source, ())


def _draft_section(
    section: type[Section], values: Any, source: str, location: tuple[str, ...]
) -> Any:
    if not isinstance(values, Mapping):
        key = ".".join(location)
        raise ConfigError(f"{source}:\n  {key}: must hold keys and values (it is {values!r})")
    for key in values:
        if key not in section.model_fields:
            name = ".".join((*location, str(key)))
            known = allowed_keys((*location, str(key)), Experiment)
            raise ConfigError(f"{source}:\n  {name}: unknown key; {known}")
    drafted = {}
    for key, field in section.model_fields.items():
        inner = section_of(field)
        if inner is not None:
            drafted[key] = _draft_section(inner, values.get(key, {}), source, (*location, key))
        elif key in values:
            drafted[key] = _draft_value(field, values[key], source, (*location, key))
    return section.model_construct(**drafted)


def _draft_value(field: FieldInfo, value: Any, source: str, location: tuple[str, ...]) -> Any:
    try:
        return _checked(field, value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = "; or: ".join(map(message_of, found))
        meaning = next(filter(None, map(meant_of, found)), "")
        key = ".".join(location)
        raise ConfigError(f"{source}:\n  {key}: {problems}{meaning}") from error


def save(experiment: Experiment, path: Path) -> None:
    """Write the resolved experiment as YAML, atomically: the keys that its recipe reads.

    Paths are relative to the file's folder, with a note of where that is; see
    `abbe.config.paths`.
    """
    values = written(experiment.model_dump(mode="json"), path.parent)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    write_text(path, text)
