"""Results by URL: made in a folder of this machine, and delivered image by image.

An image's files are uploaded whole, then a small object that holds its line of the log, so that a
run which is killed, on whatever machine, leaves nothing half written and computes nothing twice.
At the end the lines become one log. What is delivered is removed here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from abbe.errors import InputError
from abbe.files import parse_json, remove_part, write_text
from abbe.remote import RemotePath
from abbe.remote.writing import put, put_bytes, remove, staging_of, writable
from abbe.runtime.batch.finished import LOG
from abbe.runtime.job import SUFFIXES

LINES = ".predicted"
"""Below the results: a small object for each image that was finished since the log was written."""


class Delivery:
    """The way of results to their bucket.

    Attributes:
        folder: Where they are made.
    """

    def __init__(self, place: RemotePath) -> None:
        """Look what is there, and take its log along.

        Raises:
            ConfigError: It is no bucket.
            RemoteError: There is no such bucket, or it may not be read or written.
            InputError: Its log is damaged.
        """
        self._place = writable(place)
        self.folder = staging_of(place)
        put_bytes(b"", place / LINES / "begun")  # a bucket that takes none is told of at once
        self._there = {_result_of(each.relative_to(place).as_posix()) for each in place.below()}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stems: set[str] = set()
        self._sent: set[str] = set()  # names of lines, which the log here has
        self._take_log()

    def has(self, stem: str, files: Sequence[str]) -> bool:
        """Whether all files of an image that is in the log are in the bucket."""
        return all(f"{stem}{suffix}" in self._there for suffix in files)

    def send(self, line: Mapping[str, Any]) -> None:
        """Upload the files of a finished image, then its line; a large upload may take a while.

        Raises:
            RemoteError: They cannot be written. They stay here, and go when the run goes on.
        """
        stem = line["stem"]
        made = [
            (file, f"{stem}{suffix}")
            for suffix in SUFFIXES.values()
            if (file := self.folder / f"{stem}{suffix}").exists()
        ]
        if stem in self._stems:  # until all are replaced, they are of two kinds
            self._put_line({"stem": stem, "replaced": line["task"]["results"]})
        for file, name in made:
            put(file, self._place / name)
            self._there.add(name)
        self._put_line(line)
        self._stems.add(stem)
        for file, _ in made:
            remove_part(file)

    @contextmanager
    def concluding(self) -> Iterator[None]:
        """Upload what the block writes of all images together, and the log; the folder here goes.

        Raises:
            RemoteError: It cannot be written.
        """
        before = self._files()
        yield
        for file in sorted(self._files() - before):
            put(file[0], self._place / file[0].name)
        lines = self._lines_there()
        self._take_log()  # others may have delivered here meanwhile
        put(self.folder / LOG, self._place / LOG)
        remove([*lines, self._place / LINES / "begun"])
        (self.folder / LOG).unlink()
        for folder in sorted(self.folder.rglob("*"), reverse=True):
            with suppress(OSError):  # what a large image had come to stays
                folder.rmdir()
        with suppress(OSError):
            self.folder.rmdir()

    def _files(self) -> set[tuple[Path, int]]:
        files = (each for each in self.folder.iterdir() if each.is_file() and each.name[0] != ".")
        return {(each, each.stat().st_mtime_ns) for each in files if each.name != LOG}

    def _put_line(self, line: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(line["stem"].encode("utf-8", "surrogatepass")).hexdigest()
        text = json.dumps({"finished": line})
        put_bytes(text.encode("ascii"), self._place / LINES / f"{digest[:32]}.json")
        self._sent.add(f"{digest[:32]}.json")

    def _lines_there(self) -> list[RemotePath]:
        return [each for each in (self._place / LINES).below() if each.suffix == ".json"]

    def _take_log(self) -> None:
        """Add to the log here what the bucket's and the lines beside it have more."""
        log, own = self._place / LOG, self.folder / LOG
        there = _lines_of(log.read_bytes() if log.exists() else b"", log)
        there += [_line_in(each) for each in self._lines_there() if each.name not in self._sent]
        here = _lines_of(own.read_bytes() if own.exists() else b"", own)
        known = set(here)
        news = [each for each in there if each not in known]
        if news or not own.exists():
            write_text(own, "".join(f"{each}\n" for each in [*here, *news]))
        self._stems |= {parse_json(each).get("stem", "") for each in there}


def _result_of(name: str) -> str:
    """The result that an object belongs to: those of a zarr folder to that."""
    folder, found, _ = name.partition(f"{SUFFIXES['zarr']}/")
    return f"{folder}{SUFFIXES['zarr']}" if found else name


def _lines_of(log: bytes, file: Path | RemotePath) -> list[str]:
    """Whole lines, all spelt alike."""
    try:
        return [json.dumps(parse_json(line)) for line in log[: log.rfind(b"\n") + 1].splitlines()]
    except ValueError as error:
        raise InputError(f"{file}: damaged ({error}). Remove it to start again") from error


def _line_in(file: RemotePath) -> str:
    try:
        return json.dumps(parse_json(file.read_bytes())["finished"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: damaged. Remove it; its image is then computed again") from error
