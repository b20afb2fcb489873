"""What is asked of a condensation: by the command line, and by Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abbe import config
from abbe.condensing.draft import nested
from abbe.errors import ConfigError
from abbe.near import meant

KNOWN = ("cmkd", "supervised")
"""Recipes that are planned."""
OWN = frozenset(("teacher", "out", "recipe"))
"""Keys of the experiment file in whose place there are arguments of its own."""
GROWING = frozenset(("allow_failed", "allow_overlap", "evidence", "seeds", "baselines"))
"""Keys that may be given anew for a plan that is there: allowances, and more evidence."""
HOURS = 1.0


@dataclass(frozen=True)
class Asked:
    """What is to be condensed, and within which limits.

    Attributes:
        folder: of the images, with ``images/`` and perhaps ``labels/``.
        teacher: the section ``teacher`` of the experiment file; empty without a teacher.
        out: the folder of plan, run and package.
        hours: within which all of it is to be done, about.
        target_ms: that the student may take for a tile of 256 px on this machine's processor.
        recipe: cmkd or supervised; None to derive it.
        said: keys of the experiment file that the user gave, such as ``training.crop``.
    """

    folder: Path
    teacher: Mapping[str, Any]
    out: Path
    hours: float = HOURS
    target_ms: float | None = None
    recipe: str | None = None
    said: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse what no plan could be made for.

        Raises:
            ConfigError: naming the argument.
        """
        if not 0 < self.hours < 1000:
            raise ConfigError(f"--hours {self.hours:g}: give hours above 0, such as 0.5")
        if self.target_ms is not None and not 0 < self.target_ms < 1e6:
            raise ConfigError(f"--target-ms {self.target_ms:g}: give milliseconds above 0")
        if self.recipe not in (None, *KNOWN):
            raise ConfigError(
                f"--recipe {self.recipe}: condense plans {' and '.join(KNOWN)}. For others: "
                "abbe distill --help"
            )

    @property
    def grown(self) -> dict[str, Any]:
        """What was said of keys that may change once there is a plan."""
        return {key: value for key, value in self.said.items() if key in GROWING}

    def as_json(self) -> dict[str, Any]:
        """Plain values: what the same request has, and no other; without what may grow.

        Paths are as they stand in a file in the folder ``out``, so that the same request is known
        from anywhere, and after all of it was moved.
        """
        said = {key: value for key, value in sorted(self.said.items()) if key not in GROWING}
        values = nested(
            {
                "data.path": str(self.folder),
                **{f"teacher.{key}": value for key, value in self.teacher.items()},
                **said,
            }
        )
        values = config.paths_in_file(_plain(values), self.out)
        values.pop(config.PATHS_FROM, None)
        return {
            **flat(values),
            "hours": self.hours,
            "target_ms": self.target_ms,
            "recipe": self.recipe,
        }


def usual_out(folder: Path) -> Path:
    """Where plan, run and package go, if nothing else is said."""
    return Path("runs") / f"condensed-{folder.resolve().name}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Sections of an experiment file as keys such as ``training.crop``.

    >>> flat({"training": {"crop": 96}, "seed": 1})
    {'training.crop': 96, 'seed': 1}

    Raises:
        ConfigError: a key is unknown, or is one of `OWN`.
    """
    known = {key for key, _ in config.keys_within(config.Experiment)}
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{above}{name}"
        if key in known and key not in OWN:
            found[key] = _plain(value)
        elif isinstance(value, Mapping) and any(each.startswith(f"{key}.") for each in known):
            found |= flat(value, f"{key}.")
        else:
            raise ConfigError(
                f"{key}: is no key of the experiment file; see abbe.config.{meant(key, known)}"
            )
    return found
