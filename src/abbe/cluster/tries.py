"""Items that are begun, finished or given up, as small files where results go.

Each item has a file of its own, written by whoever works on it: no two machines write to the same
one, so a network file system needs no lock that holds over machines. A file says how often the item
was begun, or what became of it. The client takes the finished ones into its own log and removes
them; what it could not take before it was killed, it finds when it comes again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abbe.files import parse_json
from abbe.files.locks import alone, lock_beside
from abbe.files.whole import part_beside

MOST_TRIES = 3
"""An item whose workers died so often is given up."""


@dataclass(frozen=True)
class Tries:
    """A folder of such files.

    Attributes:
        folder: Where they lie.
        most: How often an item may be begun.
    """

    folder: Path
    most: int = MOST_TRIES

    def path(self, name: str) -> Path:
        """The file of an item, whatever letters its name has."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / f"{digest[:32]}.json"

    @contextmanager
    def begin(self, name: str) -> Iterator[Attempt]:
        """Work on an item alone: another worker that is at it still is waited for."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(lock_beside(path), wait=True):
            attempt = Attempt(path, _read(path), self.most)
            _IN_HAND.add(attempt)
            try:
                yield attempt
            finally:
                _IN_HAND.discard(attempt)

    def collect(self) -> list[tuple[Path, Any]]:
        """Files of finished items that no client has taken, and what each says; counts end."""
        found: list[tuple[Path, Any]] = []
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            said = _read(path)
            if "finished" in said:
                found.append((path, said["finished"]))
            else:
                path.unlink(missing_ok=True)
        return found

    def begin_anew(self) -> None:
        """Forget what a client left that was killed: it needs no words of finished items."""
        for path, _ in self.collect():
            path.unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Remove the file of an item that the client has taken."""
        self.path(name).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder; it stays where others still work with it.

        A worker that died may have left word of an item that was given out twice.
        """
        for each in self.folder.glob("*.json"):
            with suppress(BlockingIOError), alone(lock_beside(each)):
                if "finished" not in _read(each):
                    each.unlink(missing_ok=True)
        for pattern in (".*.lock", ".*.part"):
            for each in self.folder.glob(pattern):
                each.unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except OSError:
            return


class Attempt:
    """One go at an item, with its lock held.

    Attributes:
        number: 1 for the first.
        given_up: Whether too many workers died of it.
        finished: What another worker made of it meanwhile, or None.
    """

    def __init__(self, path: Path, said: dict[str, Any], most: int) -> None:
        self._path = path
        self.finished: Any = said.get("finished")
        self._kept = self.finished is not None
        self.number = said.get("begun", 0) + 1
        self.given_up = self.number > most
        if self.finished is None and not self.given_up:
            path.write_text(json.dumps({"begun": self.number}), "utf-8")

    def finish(self, value: Any) -> None:
        """Keep what became of it until the client has taken it."""
        self._kept = True
        part = part_beside(self._path)
        # Not synced to the disk: what a power cut takes is done again.
        part.write_text(json.dumps({"finished": value}), "utf-8")
        os.replace(part, self._path)

    def end(self) -> None:
        """Forget that it was begun: it ended by itself, as by an error or a deadline."""
        if not self._kept:
            self._path.unlink(missing_ok=True)


_IN_HAND: set[Attempt] = set()
"""Of this process."""


def end_all() -> None:
    """Forget that anything in hand was begun: this process ends, whatever becomes of it."""
    for attempt in list(_IN_HAND):
        attempt.end()


def _read(path: Path) -> dict[str, Any]:
    try:
        said = parse_json(path.read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # left short by a power cut
        return {}
    return said if isinstance(said, dict) else {}
