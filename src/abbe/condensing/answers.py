"""Images without any label: the teacher's answers stand in for labels to validate and test by."""

import os
from pathlib import Path

from abbe import config, teachers
from abbe.condensing.teacher import without_masks
from abbe.datasets import Dataset
from abbe.imaging import write_labels
from abbe.runs import build
from abbe.runs.accounts.overlap import hand_on
from abbe.runs.lost import Lost
from abbe.runs.teaching import STORE
from abbe.summary import Thresholds
from abbe.targets import TargetStore
from abbe.tasks.maps import StoredModel

FOLDER = "teacher-objects"
"""The teacher's objects as label files, in the folder of the run."""


def labels_of_teacher(
    teacher: config.Teacher,
    dataset: Dataset,
    out: Path,
    lost: Lost,
    *,
    trust_code: bool = False,
    progress: bool = True,
) -> Path:
    """A folder of the teacher's objects: its masks, or what it answers now.

    The answers go to the run's own target store, where the run finds them.

    Raises:
        InputError: no mask is named like an image, or the teacher failed on more images than may
            be lost.
    """
    assert teacher.path is not None  # the section demands it
    if teacher.kind == "masks":
        without_masks(teacher, dataset)
        return Path(os.path.abspath(teacher.path))
    store = _answers(teacher, dataset, out, lost, trust_code=trust_code, progress=progress)
    answers, cuts = StoredModel(store), Thresholds()
    least = config.Evaluation().minimum_area
    for record in dataset:
        file = out / FOLDER / f"{record.id}.tif"
        if answers.has(record) and not file.exists():
            write_labels(file, answers.predict(record).objects(cuts, least))
    return Path(os.path.abspath(out / FOLDER))


def _answers(
    teacher: config.Teacher,
    dataset: Dataset,
    out: Path,
    lost: Lost,
    *,
    trust_code: bool,
    progress: bool,
) -> TargetStore:
    if teacher.kind == "store":
        assert teacher.path is not None  # the section demands it
        return TargetStore(teacher.path)
    built = build.build_teacher(teacher, dataset, trust_code=trust_code)
    report = teachers.teach(built, dataset, out / STORE, progress=progress)
    hand_on(teacher.path, out / STORE)
    lost.add(report.failed, out / STORE)
    return TargetStore(out / STORE)
