"""An export of several files that was killed between two of them: the same call goes on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abbe.errors import AbbeError
from abbe.files import parse_json, write_text
from abbe.runtime.package import Package, read_package


class Unfinished:
    """A note beside a package that files are still to be written next to it.

    It holds what was asked for, so that only the same call takes the package for its own.
    """

    def __init__(self, out: Path, asked: Mapping[str, Any]) -> None:
        self._out = out.absolute()
        self._note = self._out.with_name(f".{self._out.name}.export.json")
        self._text = json.dumps(dict(asked), default=str, sort_keys=True, indent=1)

    def package(self) -> Package | None:
        """The package that the same call has made already; None where there is none."""
        try:
            if parse_json(self._note.read_text("utf-8")) != json.loads(self._text):
                return None
            return read_package(self._out)
        except (OSError, ValueError, AbbeError):  # nothing is there, or not from this call
            return None

    def begin(self) -> None:
        """Say that files will follow the package."""
        self._out.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._note, self._text)

    def end(self) -> None:
        """All of them are there."""
        self._note.unlink(missing_ok=True)
