"""Many images on the workers of a cluster: what is due is given out, what is finished is noted.

Only the client writes the log. Workers leave what they finished in small files of their own until
it has (`abbe.cluster.tries`), so a killed client loses nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abbe.cluster import Died, Done, Workers, carry_out
from abbe.cluster.tries import MOST_TRIES, Tries
from abbe.runtime.batch.find_images import stem_of
from abbe.runtime.batch.finished import settings_of
from abbe.runtime.batch.item import Beside, Common, Item, predict_item
from abbe.runtime.predictors.opening import RunOptions

if TYPE_CHECKING:
    from abbe.runtime.batch.many import Run

TRIES = ".predicted"
"""Folder, in that of the results, of what workers have begun and finished."""


@dataclass(frozen=True)
class Elsewhere:
    """Where and how images are worked on by others.

    Attributes:
        workers: Who does.
        options: How the user has the package run.
        prompts: File or folder of prompts, of a promptable package.
        most_tries: After how many deaths of its workers an image is given up.
    """

    workers: Workers
    options: RunOptions
    prompts: Path | None = None
    most_tries: int = MOST_TRIES


def predict_on_workers(run: Run, elsewhere: Elsewhere) -> None:
    """Have workers write the results of all images that have none yet.

    Raises:
        ClusterError: The scheduler has gone, or a worker has another Abbe or package.
    """
    common, tries = _common(run, elsewhere), Tries(run.out.absolute() / TRIES, elsewhere.most_tries)
    for path, line in tries.collect():
        if not run.finished.ends_with(line):  # the client was killed before it took it
            run.finished.take(line)
        path.unlink(missing_ok=True)
    for item, answer in carry_out(elsewhere.workers, tries, predict_item, _due(run, common)):
        _take(run, item, answer)
        run.tell(item.path.name, 1.0)


def _due(run: Run, common: Common) -> Iterator[tuple[str, Item]]:
    """The images to give out: those that are in the log already are looked at here first."""
    for path, below in run.images.items():
        stem = stem_of(below)
        if run.finished.knows(stem.as_posix()) and run.due(path) is None:
            run.tell(path.name, 1.0)
            continue
        begun = run.batch.leftovers.has(run.out / stem)
        item = Item(common, path, path.absolute(), below, begun)
        yield f"{common.key} {below.as_posix()}", item


def _take(run: Run, item: Item, answer: Done | Died) -> None:
    path = item.asked
    if isinstance(answer, Died):
        run.outcome.failed[str(path)] = f"{path}: {answer.words('this image')}"
        return
    beside = answer.beside or Beside()  # nothing where its client was killed meanwhile
    run.outcome.timings.add(beside.seconds)
    if answer.kept is None:
        run.outcome.notes.update(beside.opened)
        run.outcome.failed[str(path)] = beside.failed
        return
    run.outcome.notes.update(answer.kept.get("notes", ()))
    run.take(path, answer.kept)


def _common(run: Run, elsewhere: Elsewhere) -> Common:
    predictor = run.predictor
    settings = settings_of(predictor)
    options = elsewhere.options.copy()
    options["engine"], options["precision"] = settings["engine"], settings["precision"]
    options["tile"] = predictor.tile
    job = replace(run.job, prompts=None)
    prompts = None if elsewhere.prompts is None else elsewhere.prompts.absolute()
    same: dict[str, Any] = {**asdict(job), **settings, "options": options, "prompts": str(prompts)}
    key = hashlib.sha256(json.dumps(same, sort_keys=True).encode("ascii")).hexdigest()[:16]
    out = run.out.absolute()
    return Common(
        package=predictor.package.folder.absolute(),
        settings=settings,
        options=options,
        job=job,
        prompts=prompts,
        out=out,
        key=key,
        share=elsewhere.workers.share,
    )
