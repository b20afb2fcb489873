"""A package while it is being made: its folder, its files so far, and what is known of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abbe.exporting.comparison import Comparison
from abbe.runtime.package import (
    Figures,
    Package,
    PackageDescription,
    PackageFile,
    Role,
    describe_file,
    read_package,
    write_description,
)


@dataclass
class Making:
    """A package in the making.

    Attributes:
        folder: Where it is made, out of sight.
        cache: Folder for compiled networks, thrown away afterwards.
        facts: Keys of its description that do not depend on the networks.
        files: Files so far.
        parity: By "engine/precision", figures, also of what is not kept.
        kept: By "engine/precision", how those compare that stayed within the budget.
    """

    folder: Path
    cache: Path
    facts: Mapping[str, Any]
    files: dict[Role, PackageFile] = field(default_factory=dict)
    parity: dict[str, Figures] = field(default_factory=dict)
    kept: dict[str, Comparison] = field(default_factory=dict)

    def add(self, role: Role, name: str) -> None:
        """Declare a file that lies in the folder."""
        self.files[role] = describe_file(self.folder, name)

    def remove(self, *roles: Role) -> None:
        """Take files out again."""
        for role in roles:
            (self.folder / self.files.pop(role).path).unlink()

    def package(self, **changes: Any) -> Package:
        """The package as it stands, described and checked."""
        values = {**self.facts, "files": self.files, "parity": self.parity, **changes}
        write_description(self.folder, PackageDescription(**values))
        return read_package(self.folder)
