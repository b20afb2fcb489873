"""Images without any label: the teacher's answers stand in for labels to validate and test by."""

import math
import os
import shutil
from pathlib import Path

from abbe import config, teachers
from abbe.condensing.budget import in_words
from abbe.condensing.teacher import without_masks
from abbe.datasets import Dataset
from abbe.errors import ConfigError
from abbe.imaging import write_labels
from abbe.in_words import counted
from abbe.runs import build
from abbe.runs.accounts.overlap import hand_on
from abbe.runs.lost import Lost
from abbe.runs.teaching import STORE
from abbe.summary import Thresholds
from abbe.targets import TargetStore
from abbe.tasks.maps import StoredModel
from abbe.teachers import Teacher

FOLDER = "teacher-objects"
"""The teacher's objects as label files, in the folder of the run."""
TIMED = 2
"""Images by which is told how long a teacher takes for the others."""


def labels_of_teacher(
    teacher: config.Teacher,
    dataset: Dataset,
    out: Path,
    lost: Lost,
    *,
    seconds: float | None = None,
    trust_code: bool = False,
    progress: bool = True,
) -> Path:
    """A folder of the teacher's objects: its masks, or what it answers now.

    The answers go to the run's own target store, where the run finds them.

    Args:
        teacher: that answers.
        dataset: the images.
        out: the run's folder.
        lost: to which images are added that the teacher fails on.
        seconds: that it may take; None for any.
        trust_code: a teacher of kind 'torch' may run the code that its path names.
        progress: show a progress bar.

    Raises:
        ConfigError: it would take longer, going by its first images.
        InputError: no mask is named like an image, or the teacher failed on more images than may
            be lost.
    """
    assert teacher.path is not None  # the section demands it
    if teacher.kind == "masks":
        without_masks(teacher, dataset)
        return Path(os.path.abspath(teacher.path))
    store = _answers(
        teacher, dataset, out, lost, seconds=seconds, trust_code=trust_code, progress=progress
    )
    answers, cuts = StoredModel(store), Thresholds()
    least = config.Evaluation().minimum_area
    shutil.rmtree(out / FOLDER, ignore_errors=True)  # another teacher's, or of other images
    for record in dataset:
        if answers.has(record):
            objects = answers.predict(record).objects(cuts, least)
            write_labels(out / FOLDER / f"{record.id}.tif", objects)
    return Path(os.path.abspath(out / FOLDER))


def _answers(
    teacher: config.Teacher,
    dataset: Dataset,
    out: Path,
    lost: Lost,
    *,
    seconds: float | None,
    trust_code: bool,
    progress: bool,
) -> TargetStore:
    if teacher.kind == "store":
        assert teacher.path is not None  # the section demands it
        return TargetStore(teacher.path)
    built = build.build_teacher(teacher, dataset, trust_code=trust_code)
    if seconds is not None:
        _require_time(built, dataset, out / STORE, seconds, progress=progress)
    report = teachers.teach(built, dataset, out / STORE, progress=progress)
    hand_on(out / STORE, teacher)
    lost.add(report.failed, out / STORE)
    return TargetStore(out / STORE)


def _require_time(
    teacher: Teacher, dataset: Dataset, store: Path, seconds: float, *, progress: bool
) -> None:
    """Refuse a teacher that takes longer, going by a few images whose answers stay in the store."""
    some = dataset.having(dataset.records[:TIMED])
    report = teachers.teach(teacher, some, store, progress=progress)
    if not report.done:  # all are there already, or none can be had, which is told with the others
        return
    rest = (len(dataset) - len(some)) / report.images_per_second
    if rest > seconds:
        raise ConfigError(
            f"--hours: the teacher's answers for {counted(len(dataset), 'image')} take about "
            f"{in_words(rest)} on this machine, going by {report.done} of them. Give "
            f"--hours {math.ceil(rest / 180) / 10:g} or more, a faster teacher, or fewer images. "
            f"What it has answered is kept in {store}"
        )
