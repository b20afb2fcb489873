"""What was asked of a table's items when they began, kept in the table's folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from abbe.errors import ConfigError, InputError
from abbe.files import parse_json, write_json
from abbe.reproducing.experiments import Settings, dotted
from abbe.reproducing.table import Item, Keys
from abbe.runs.folder import has_trained

FILE = "reproduce.json"


@dataclass(frozen=True)
class Begun:
    """What was asked, and what items were made with that is not what the table names.

    Attributes:
        settings: of the call.
        asked: by item, keys and values.
        made_with: by item, what may be something else than the table names, in words.
    """

    settings: Settings
    asked: dict[str, Any] = field(default_factory=dict)
    made_with: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, settings: Settings) -> "Begun":
        """What the folder holds.

        Raises:
            ConfigError: it is another table's, or a quick one's and this is none.
            InputError: the file is damaged.
        """
        path = settings.out / FILE
        if not path.is_file():
            return cls(settings)
        try:
            values = parse_json(path.read_text(encoding="utf-8"))
            table, quick = str(values["table"]), bool(values["quick"])
            asked, made_with = dict(values["items"]), dict(values["made_with"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: this file is damaged ({error}). Restore it, or give another --out"
            ) from error
        if table != settings.table.name:
            raise ConfigError(
                f"{settings.out}: holds table {table}, not {settings.table.name}. Give another "
                "--out"
            )
        if quick != settings.quick:
            words = ("a quick table", "--quick") if quick else ("a whole table", "no --quick")
            raise ConfigError(
                f"{settings.out}: holds {words[0]}. Give {words[1]}, or another --out"
            )
        return cls(settings, asked, made_with)

    def with_those_before(self, item: Item, asked: Keys, asks: Mapping[str, Keys]) -> Keys:
        """What is asked of an item, with what its encoder or its store is made by.

        Args:
            item: of the table.
            asked: of itself.
            asks: of the items before it, by name; of others it is what they were made with.
        """
        before = {name: asks.get(name, self.asked.get(name)) for name in item.after}
        return {**asked, "after": before} if before else asked

    def require_same(self, item: Item, asked: Keys) -> None:
        """Refuse to go on with an item that was begun with other settings.

        Raises:
            ConfigError: naming the keys.
        """
        folder, before = self.settings.folder(item.name), self.asked.get(item.name)
        if before is None or not has_trained(folder):
            return
        if "after" not in before:  # written before this was noted
            asked = {key: value for key, value in asked.items() if key != "after"}
        first, second = dotted(before), dotted(asked)
        differing = [key for key in sorted({*first, *second}) if first.get(key) != second.get(key)]
        if not differing:
            return
        raise ConfigError(
            f"{folder}: was made with other settings ({', '.join(differing)}). Give another --out, "
            "or delete this folder to have it made anew"
        )

    def note(self, item: Item, asked: Keys) -> None:
        """Keep what is asked of an item that begins."""
        settings = self.settings
        self.asked[item.name] = asked
        instead = settings.material.instead
        needs = {*settings.table.needs_of(item), *(each.need for each in item.given)}
        changes = dotted(settings.changes).items()
        self.made_with[item.name] = [
            *(instead[need] for need in instead if need in needs),
            *(f"set by the user: {key} {value}" for key, value in changes),
        ]
        values: Mapping[str, Any] = {
            "table": settings.table.name,
            "quick": settings.quick,
            "items": self.asked,
            "made_with": self.made_with,
        }
        write_json(settings.out / FILE, values)
