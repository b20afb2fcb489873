"""Builder for a package folder: adds files, records checksums and figures of the parity check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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


class Roles(NamedTuple):
    """The roles of one network's files in a package."""

    onnx: Role
    xml: Role
    bin: Role
    int8: tuple[Role, ...] = ()


ROLES: Mapping[str, Roles] = {
    "model": Roles("onnx", "openvino_xml", "openvino_bin", ("int8_xml", "int8_bin")),
    "encoder": Roles(
        "encoder_onnx", "encoder_xml", "encoder_bin", ("encoder_int8_xml", "encoder_int8_bin")
    ),
    "decoder": Roles("decoder_onnx", "decoder_xml", "decoder_bin"),
}
"""By the stem of the network's files."""


@dataclass
class PackageBuilder:
    """A package folder that is not finished.

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

    def keep_engine(self, engine: str) -> None:
        """Of what stayed within the budget, keep what this engine computes."""
        self.kept = {
            name: each for name, each in self.kept.items() if name.startswith(f"{engine}/")
        }

    def package(self, **changes: Any) -> Package:
        """The package as it stands, described and checked."""
        values = {**self.facts, "files": self.files, "parity": self.parity, **changes}
        write_description(self.folder, PackageDescription(**values))
        return read_package(self.folder)
