"""An export of several files that was killed between two of them: the same call goes on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abbe.errors import AbbeError
from abbe.files import parse_json, sha256_of_file, write_text
from abbe.runtime.package import DESCRIPTION, Package, read_package


class Unfinished:
    """A note beside a package that files are still to be written next to it.

    It holds what was asked for and which package came of it, so that only the same call takes the
    package for its own, and no package that another call has put there since.
    """

    def __init__(self, out: Path, asked: Mapping[str, Any]) -> None:
        self._out = out.absolute()
        self._note = self._out.with_name(f".{self._out.name}.export.json")
        self._asked = json.loads(json.dumps(dict(asked), default=str))

    def package(self) -> Package | None:
        """The package that the same call has made already; None where there is none."""
        try:
            if parse_json(self._note.read_text("utf-8")) != self._made():
                return None
            return read_package(self._out)
        except (OSError, ValueError, AbbeError):  # nothing is there, or not from this call
            return None

    def begin(self) -> None:
        """Say that files will follow the package, which is there now."""
        write_text(self._note, json.dumps(self._made(), sort_keys=True, indent=1))

    def end(self) -> None:
        """All of them are there."""
        self._note.unlink(missing_ok=True)

    def _made(self) -> dict[str, Any]:
        """What was asked for, and the checksum of the package's description."""
        return {"asked": self._asked, "package": sha256_of_file(self._out / DESCRIPTION)}
