"""The verb that fits a teacher to a task."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from abbe import config
from abbe.datasets import Dataset
from abbe.runs import build
from abbe.runs.from_python import DataLike, data_section, local_folder

if TYPE_CHECKING:
    from abbe.tuning.tune import Tuned


class TuneOptions(TypedDict, total=False):
    """How a teacher is tuned, as on the command line; see `abbe.tuning.tune.Tuning`."""

    rank: int
    alpha: int | None
    steps: int | None
    batch_size: int
    learning_rate: float
    side: int | None
    prompts: Literal["mixed", "box", "point"]
    objects: int
    validate_every: int
    seed: int
    precision: Literal["auto", "fp32", "bf16", "fp16"]


def tune_teacher(
    teacher: str | os.PathLike[str],
    data: DataLike,
    out: str | os.PathLike[str],
    *,
    channels: Sequence[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    **options: Unpack[TuneOptions],
) -> "Tuned":
    """Fit a network of SAM's family to a task with few labels, before it teaches.

    Args:
        teacher: a file, a folder of transformers, or a Hugging Face id.
        data: a data set with splits, its folder, or keys such as ``{"path": …, "labelled": 20}``.
        out: the folder to make.
        channels: of the images, that it is shown; all where None.
        resume: go on with a tuning that was interrupted.
        progress: show bars.
        options: ``rank``, ``steps``, ``side`` and the others of ``abbe tune-teacher --help``.

    Returns:
        What stands for the tuned network's file wherever a path is wanted, with ``before`` and
        ``after``: Dice on test images by box and by one point.

    Raises:
        AbbeError: whatever the user can mend; see :mod:`abbe.errors`.
    """
    from abbe.tuning.tune import Tuning, tune

    if isinstance(data, Dataset):
        dataset = data
    else:
        dataset = build.build_dataset(config.Data(**data_section(data, None)))
    build.tell_problems(dataset)
    return tune(
        teacher, dataset, local_folder(out), Tuning(**options),
        channels=channels, resume=resume, progress=progress,
    )  # fmt: skip
