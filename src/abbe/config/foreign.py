"""Keys of other recipes: refused in what a user writes, left out of what earlier versions saved."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from abbe.config.recipes import RECIPES, readers_of
from abbe.config.section import Section


def section_of(field: FieldInfo) -> type[Section] | None:
    """The section that a key holds; None where it holds a value."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def keys_within(section: type[Section], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key that holds a value, such as ``training.augmentation.blur``, with its field."""
    for name, field in section.model_fields.items():
        inner = section_of(field)
        if inner is None:
            yield f"{above}{name}", field
        else:
            yield from keys_within(inner, f"{above}{name}.")


def split_foreign(
    values: Mapping[str, Any], section: type[Section]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a recipe reads of an experiment file, and the rest: keys of other recipes by name.

    Unknown keys, and all where the recipe is unknown, stay with the first.

    >>> from abbe.config import Experiment
    >>> values = {"recipe": "cmkd", "training": {"crop": 64}, "promptable": {"side": 512}}
    >>> split_foreign(values, Experiment)
    ({'recipe': 'cmkd', 'training': {'crop': 64}}, {'promptable.side': 512})
    """
    recipe = values.get("recipe")
    if not isinstance(recipe, str) or recipe not in RECIPES:
        return dict(values), {}
    foreign: dict[str, Any] = {}
    return _own(values, section, recipe, "", foreign), foreign


def _own(
    values: Mapping[str, Any],
    section: type[Section],
    recipe: str,
    above: str,
    foreign: dict[str, Any],
) -> dict[str, Any]:
    own = {}
    for name, value in values.items():
        key, field = f"{above}{name}", section.model_fields.get(name)
        inner = None if field is None else section_of(field)
        reads = field is None or RECIPES[recipe].reads(key)
        if inner is not None and isinstance(value, Mapping):
            rest = _own(value, inner, recipe, f"{key}.", foreign)
            if reads:
                own[name] = rest
            else:  # keys that no recipe has
                foreign.update({f"{key}.{unknown}": held for unknown, held in rest.items()})
        elif reads:
            own[name] = value
        else:
            foreign[key] = value
    return own


def says_nothing(value: Any) -> bool:
    """Whether a key of another recipe is off, as it is anyway: ``live: false`` where none is."""
    if isinstance(value, Mapping):
        return all(map(says_nothing, value.values()))
    return value is None or value is False or value in ("off", "none")


def refusal(key: str, recipe: str) -> str:
    """What is wrong with a key in the file of a recipe that does not read it."""
    readers = readers_of(key)
    plural = "s" if len(readers) > 1 else ""
    return (
        f"{key}: belongs to recipe{plural} {', '.join(readers)}; recipe '{recipe}' does not read "
        "it. Take it out"
    )
