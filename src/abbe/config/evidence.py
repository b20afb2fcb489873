"""How much evidence a run gathers: what its student is held against, and over how many seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from abbe.config.recipes import RECIPES
from abbe.errors import ConfigError

Level = Literal["quick", "standard", "full"]
Baseline = Literal["supervised", "twin", "self-training"]


class Amount(NamedTuple):
    """Baselines, and seeds."""

    baselines: tuple[Baseline, ...]
    seeds: int


LEVELS: dict[Level, Amount] = {
    "quick": Amount((), 1),
    "standard": Amount(("supervised", "twin"), 3),
    "full": Amount(("supervised", "twin", "self-training"), 5),
}


def without_twin(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of an experiment file without the key ``twin`` of earlier versions.

    It meant one seed, with the twin or without.

    >>> without_twin({"recipe": "cmkd", "twin": False})
    {'recipe': 'cmkd', 'evidence': 'quick'}
    >>> without_twin({"recipe": "cmkd", "twin": True})
    {'recipe': 'cmkd', 'baselines': ['twin'], 'seeds': 1}

    Of a recipe that has no baselines, false is left out, and true is refused as they are.

    Raises:
        ConfigError: a key of today says the same.
    """
    if "twin" not in values:
        return dict(values)
    rest = {key: value for key, value in values.items() if key != "twin"}
    if rivals := {"evidence", "baselines", "seeds"} & set(rest):
        raise ConfigError(f"twin: {sorted(rivals)[0]} says the same today. Take twin out")
    recipe = values.get("recipe")
    if not values["twin"] and recipe in RECIPES and not RECIPES[str(recipe)].reads("evidence"):
        return rest
    return rest | ({"baselines": ["twin"], "seeds": 1} if values["twin"] else {"evidence": "quick"})


def words_without_twin(words: Sequence[str]) -> list[str]:
    """The words of a command line without the option of earlier versions, likewise.

    >>> words_without_twin(["--seed", "1", "--no-twin"])
    ['--seed', '1', '--evidence', 'quick']
    """
    now = {"--no-twin": ["--evidence", "quick"], "--twin": ["--baselines", "twin", "--seeds", "1"]}
    return [new for word in words for new in now.get(word, [word])]
