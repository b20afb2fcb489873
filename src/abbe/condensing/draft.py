"""A plan while it is made: keys of the experiment file, each with its value and the reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from abbe import config

SAID = "you said so"


@dataclass(frozen=True)
class Choice:
    """A value of the experiment file, and why it is that."""

    value: Any
    why: str


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by keys such as ``training.crop`` as sections of an experiment file.

    >>> nested({"training.crop": 96, "seed": 1})
    {'training': {'crop': 96}, 'seed': 1}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        *above, name = key.split(".")
        section = found
        for each in above:
            section = section.setdefault(each, {})
        section[name] = value
    return found


class Draft:
    """Choices by key, in order; what the user said goes before what is derived.

    >>> draft = Draft({"training.crop": 96})
    >>> draft.put("training.crop", 256, "a few objects wide")
    96
    >>> draft.choices["training.crop"].why
    'you said so'
    """

    def __init__(self, said: Mapping[str, Any]) -> None:
        """Begin with what the user ``said``: keys such as ``training.crop``."""
        self.said = dict(said)
        self.choices: dict[str, Choice] = {}

    def put(self, key: str, value: Any, why: str) -> Any:
        """Choose a value, unless the user did; what counts comes back."""
        self.choices[key] = Choice(self.said[key], SAID) if key in self.said else Choice(value, why)
        return self.choices[key].value

    def has(self, key: str) -> bool:
        """Whether the user gave this key, or one of the section of this name."""
        return any(each == key or each.startswith(f"{key}.") for each in self.said)

    def put_rest(self) -> None:
        """Add what the user said of keys that nothing is derived for."""
        for key, value in self.said.items():
            self.choices.setdefault(key, Choice(value, SAID))

    def values(self) -> dict[str, Any]:
        """All of it as sections of an experiment file; what the user said is among it."""
        chosen = {key: choice.value for key, choice in self.choices.items()}
        return nested({**self.said, **chosen})

    def experiment(self, source: str = "the plan") -> config.Experiment:
        """It, checked as a file is.

        Raises:
            ConfigError: a key is wrong, or of another recipe.
        """
        return config.parse(self.values(), source)
