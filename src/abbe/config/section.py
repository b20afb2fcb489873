"""A part of the experiment file, and what is said of a wrong key in it."""

import re
from typing import Any, ClassVar, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from abbe.errors import ConfigError
from abbe.near import meant

Made = TypeVar("Made")


class _SectionType(type(BaseModel)):
    """Calling a section (as the command line does) raises ConfigError, in the words of a file."""

    def __call__(cls: type[Made], **values: Any) -> Made:
        try:
            return super().__call__(**values)  # pyright: ignore[reportAttributeAccessIssue]
        except ValidationError as error:
            raise ConfigError(describe(error, cls).lstrip()) from error


class Section(BaseModel, metaclass=_SectionType):
    """A part of the experiment file: unknown keys are refused and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    whole: ClassVar[bool] = False
    """Whether this is the whole file, so that its keys follow no name."""


def describe(error: ValidationError, section: type[Any]) -> str:
    """One line a key, as it is written in the file: what is wrong with it and what is allowed."""
    messages: dict[str, list[str]] = {}
    meanings: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        key, message = _key(problem["loc"], section), message_of(problem)
        if problem["type"] == "extra_forbidden":
            message = f"unknown key; {allowed_keys(problem['loc'], section)}"
        elif problem["type"] == "model_type":
            message = f"must hold keys and values (it is {problem['input']!r})"
        messages.setdefault(key, []).append(message)
        meanings[key] = meanings.get(key) or meant_of(problem)
    return "\n".join(
        f"  {key}: {'; or: '.join(each)}{meanings[key]}" for key, each in messages.items()
    )


def message_of(problem: Any) -> str:
    """What is wrong with a value, and what it is; of one of pydantic's ``errors()``."""
    message = problem["msg"].removeprefix("Value error, ")
    told = problem["type"] in ("value_error", "missing")
    return message if told else f"{message} (it is {problem['input']!r})"


def meant_of(problem: Any) -> str:
    """Of a value that is none of those allowed, a sentence about the one like it; else empty.

    Args:
        problem: one of pydantic's ``errors()``.
    """
    if problem["type"] != "literal_error" or not isinstance(problem["input"], str):
        return ""
    known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
    near = meant(problem["input"], known)
    return f".{near}" if near else ""


def _key(location: tuple[int | str, ...], section: type[Any]) -> str:
    """The key in the file; pydantic adds the alternative it tried ('int', 'float')."""
    parts = [] if section.whole else [re.sub(r"(?<!^)(?=[A-Z])", "_", section.__name__).lower()]
    for part in location:
        parts.append(str(part))
        field = section.model_fields.get(str(part))
        if field is None:
            break
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            section = field.annotation
            continue
        if get_origin(field.annotation) in (tuple, dict):
            parts += [str(inner) for inner in location[location.index(part) + 1 :][:1]]
        break
    return ".".join(parts) or "experiment"


def allowed_keys(location: tuple[int | str, ...], section: type[Any]) -> str:
    """What may stand where an unknown key was found."""
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    known = section.model_fields
    return f"allowed here: {', '.join(known)}.{meant(str(location[-1]), known)}"
