"""Experiment files: read, checked, completed by the command line, written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from abbe.config.experiment import Experiment
from abbe.config.section import Section, allowed_keys, describe
from abbe.errors import ConfigError
from abbe.files import write_text
from abbe.foreign_text import has_control_characters
from abbe.yaml_text import read_yaml


def parse(values: Mapping[str, Any], source: str) -> Experiment:
    """Check ``values`` against the schema.

    Raises:
        ConfigError: naming ``source``, each wrong key, what it holds and what is allowed.
    """
    try:
        return Experiment.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{source}:\n{describe(error, Experiment)}") from error


def read_values(path: Path) -> dict[str, Any]:
    """The contents of an experiment file, not yet checked.

    Raises:
        ConfigError: if the file is missing or is no YAML mapping.
    """
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such experiment file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    if strange := _with_control_characters(values):
        raise ConfigError(f"{path}: {strange!r} holds control characters. Take them out")
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: an experiment file holds keys and values, such as 'recipe: cmkd'"
        )
    return values


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
    """Read and check an experiment file."""
    return parse(read_values(path), str(path))


def draft(values: Mapping[str, Any], source: str) -> Experiment:
    """The experiment as far as ``values`` give it, for the command line to complete.

    Keys and types are checked here; whether the parts fit, once the command line has been read.

    Raises:
        ConfigError: naming ``source`` and each wrong key.
    """
    return _draft_section(Experiment, values, source, ())


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
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            inner = values.get(key, {})
            drafted[key] = _draft_section(field.annotation, inner, source, (*location, key))
        elif key in values:
            drafted[key] = _draft_value(field, values[key], source, (*location, key))
    return section.model_construct(**drafted)


def _draft_value(field: FieldInfo, value: Any, source: str, location: tuple[str, ...]) -> Any:
    try:
        # A constrained annotation keeps its limits only together with the field's metadata.
        return TypeAdapter(Annotated[field.annotation, field]).validate_python(value)
    except ValidationError as error:
        problems = "; or: ".join(problem["msg"] for problem in error.errors(include_url=False))
        key = ".".join(location)
        raise ConfigError(f"{source}:\n  {key}: {problems} (it is {value!r})") from error


def save(experiment: Experiment, path: Path) -> None:
    """Write the resolved experiment as YAML, atomically."""
    text = yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(path, text)
