"""``predicted.jsonl``: which images are finished, and what their results depend on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from abbe.errors import InputError
from abbe.files import parse_json
from abbe.files.locks import alone, lock_beside
from abbe.imaging import Image
from abbe.remote import as_remote
from abbe.runtime.job import AS_FOUND, Job, Predictor, Written
from abbe.runtime.package import DESCRIPTION
from abbe.runtime.predictors.prompt_files import ObjectPrompt
from abbe.runtime.tiling.cutting import may_be_slide

LOG = "predicted.jsonl"
"""One line for each finished image, in the folder of the results, and for results to replace."""

Task = dict[str, Any]
"""All that the results of an image depend on."""


def task_of(
    predictor: Predictor, job: Job, path: Path, image: Image, prompts: Sequence[ObjectPrompt]
) -> Task:
    """All that the results of an image depend on; a result of another task is not kept.

    Its values are as JSON gives them back, for it is held against what was written: lists, no
    tuples.

    Args:
        predictor: What runs on it.
        job: What is asked for every image.
        path, image: The image.
        prompts: What a promptable package is asked for.

    Raises:
        InputError: The image is removed meanwhile.
    """
    asked: dict[str, Any] = {} if job.prompts is None else {"prompts": _digest(prompts)}
    if image.diameter is not None:
        asked["diameter"] = image.diameter
    if may_be_slide(image) and not job.all_tiles:
        asked["tissue"] = "first"
    if image.stain is not None:
        asked["stain"] = asdict(image.stain)
    if job.outlining != AS_FOUND:
        asked["outlining"] = asdict(job.outlining)
    task = {
        "image": str(path.resolve()),
        **_contents(path),
        "megapixels": image.shape[0] * image.shape[1] / 1e6,
        "pixel_size": image.pixel_size,
        "channels": list(image.channels),
        **settings_of(predictor),
        **asked,
        "results": list(job.results),
        "zarr_version": job.zarr_version,
    }
    return parse_json(json.dumps(task))


def line_of(
    stem: str,
    name: str,
    task: Task,
    counts: str,
    written: Written,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What is noted of an image whose results are written.

    Args:
        stem: The image's path below its folder, without ending.
        name: The same with it.
        task: See `task_of`.
        counts: What is counted.
        written: What became of the image.
        notes: What was done or taken for granted when it was opened.
    """
    line: dict[str, Any] = {counts: written.count, "stem": stem, "name": name, "task": task}
    if notes:
        line["notes"] = list(notes)
    if written.diameter is not None:
        line["diameter"] = round(written.diameter, 3)
    if written.answer is not None:
        line["answer"] = written.answer
    return line


def settings_of(predictor: Predictor) -> dict[str, Any]:
    """What makes the answers for two images those of one table."""
    package = predictor.package.folder / DESCRIPTION
    return {
        "package": hashlib.sha256(package.read_bytes()).hexdigest(),
        "engine": predictor.engine.engine,
        "precision": predictor.engine.precision,
        "tile": predictor.tile,
    }


def _digest(prompts: Sequence[ObjectPrompt]) -> str:
    text = json.dumps([asdict(each) for each in prompts])
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _contents(path: Path) -> dict[str, Any]:
    """Size and time of a file; of a folder those of its files, which the folder's own tell not.

    Behind a URL, the server's checksum stands for the time.
    """
    if (remote := as_remote(path)) is not None:
        return remote.contents()
    try:
        if not path.is_dir():
            status = path.stat()
            return {"bytes": status.st_size, "modified": status.st_mtime_ns}
        sizes, times = zip(*_files_below(path), strict=True)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: {error.filename} was removed while it was looked at. Start again when "
            "nothing writes to it"
        ) from error
    return {"bytes": sum(sizes), "modified": max(times), "files": len(sizes)}


def _files_below(folder: str | Path) -> Iterator[tuple[int, int]]:
    """Bytes and time of change, ns, of every file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):  # a link may lead back here
                yield from _files_below(entry.path)
            else:
                status = entry.stat()
                yield status.st_size, status.st_mtime_ns


class Finished:
    """Reader and writer of ``predicted.jsonl``; lines that other processes add meanwhile are seen.

    An image may come again, changed or with other settings, and so may another image of the same
    name: what counts is who wrote a result last. Of each image only is kept where its line begins,
    as there may be millions.
    """

    def __init__(self, path: Path) -> None:
        """Read the file, if there is one.

        Raises:
            InputError: A line is damaged.
        """
        self._path = path
        self._read, self._count = 0, 0  # bytes, lines
        self._last: dict[str, int] = {}  # by stem: where the last line of it begins
        self._several: dict[str, dict[str, int]] = {}  # by stem and result, if not all are of that
        self._read_on()

    def find(self, stem: str, task: Task) -> dict[str, Any] | None:
        """The line of an earlier run of the same task, if nothing was written over its results.

        Args:
            stem: The image's path below its folder, without ending.
            task: See `task_of`.
        """
        lines = self._writers(stem, task["results"])
        same = all(line is not None and _is_like(line["task"], task) for line in lines)
        return lines[-1] if lines and same else None

    def begin(self, stem: str, task: Task) -> None:
        """Note that results of other tasks are about to be replaced: from now on they may be mixed.

        Args:
            stem: The image's path below its folder, without ending.
            task: See `task_of`.
        """
        earlier = self._writers(stem, task["results"])
        if any(line is not None and not _is_like(line["task"], task) for line in earlier):
            self._append({"stem": stem, "replaced": task["results"]})

    def take(self, line: dict[str, Any]) -> None:
        """Add a line that was made elsewhere."""
        self._append(line)

    def ends_with(self, line: dict[str, Any]) -> bool:
        """Whether this is what was last noted of an image."""
        self._read_on()
        at = self._last.get(line["stem"])
        return at is not None and self._line(at) == line

    def knows(self, stem: str) -> bool:
        """Whether an image of this name, whichever, has been finished here."""
        return stem in self._last

    def _append(self, line: dict[str, Any]) -> None:
        # Names that are no UTF-8 hold surrogates: backslashes make JSON's own escapes of them.
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        with alone(lock_beside(self._path), wait=True), open(self._path, "a+b") as file:
            _cut_short_line(file)
            file.write(data)

    def answers(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The answers that were given with these settings, by the images' names."""
        self._read_on()
        lines = (self._line(at) for at in self._last.values())
        return {
            line["name"]: line["answer"]
            for line in lines
            if "answer" in line and settings.items() <= line["task"].items()
        }

    def _writers(self, stem: str, results: Sequence[str]) -> list[dict[str, Any] | None]:
        """The lines of whoever wrote each of these results last."""
        self._read_on()
        places = self._places(stem)
        lines = {at: self._line(at) for at in set(places.values())}
        return [lines[places[result]] if result in places else None for result in results]

    def _places(self, stem: str) -> dict[str, int]:
        """By result of an image, where the line of whoever wrote it last begins."""
        if stem in self._several:
            return self._several[stem]
        at = self._last.get(stem)
        return {} if at is None else dict.fromkeys(self._line(at)["task"]["results"], at)

    def _line(self, at: int) -> dict[str, Any]:
        with open(self._path, "rb") as file:
            file.seek(at)
            return parse_json(file.readline())

    def _read_on(self) -> None:
        """Take the whole lines that have been added since; others may be about to write one."""
        if not self._path.exists():
            return
        with open(self._path, "rb") as file:
            file.seek(self._read)
            for text in file:
                if not text.endswith(b"\n"):
                    return
                self._count += 1
                try:
                    self._take(parse_json(text), self._read)
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(
                        f"{self._path}: line {self._count} is damaged. Remove the file to start "
                        "again"
                    ) from error
                self._read += len(text)

    def _take(self, line: dict[str, Any], at: int) -> None:
        if "replaced" in line:
            stem, replaced = line["stem"], line["replaced"]
            places = self._places(stem)
            self._several[stem] = {each: at for each, at in places.items() if each not in replaced}
            return
        results = line["task"]["results"]
        if "stem" not in line:  # written before lines said which results are theirs
            return
        stem = line["stem"]
        places = {**self._places(stem), **dict.fromkeys(results, at)}
        self._last[stem] = at
        if len(places) > len(results):
            self._several[stem] = places
        else:
            self._several.pop(stem, None)


def _cut_short_line(file: BinaryIO) -> None:
    """Cut off what a killed run left of a line; only with the lock held."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if file.read(1) not in (b"", b"\n"):  # what is whole is not read: there may be a million lines
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _is_like(task: Task, other: Task) -> bool:
    """Whether two tasks differ in nothing but which results were asked for."""
    return {**task, "results": None} == {**other, "results": None}
