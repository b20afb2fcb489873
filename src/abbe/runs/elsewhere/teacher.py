"""A run's frozen teacher, asked about images of another data set."""

from collections import Counter

from abbe import config
from abbe.datasets import Dataset
from abbe.errors import ConfigError, InputError
from abbe.imaging import matching
from abbe.registry import traits_of
from abbe.runs import build
from abbe.runs.folder import Run
from abbe.runs.teaching import STORE
from abbe.targets import Provenance, TargetStore
from abbe.teachers import Teacher


def teacher_here(
    settings: config.Teacher, dataset: Dataset, *, chosen: bool, trust_code: bool
) -> tuple[Teacher | None, str]:
    """The teacher where it can answer for these images, else why it cannot.

    Raises:
        AbbeError: it cannot answer, although ``chosen`` channels were named for it.
    """
    try:
        teacher = build.build_teacher(settings, dataset, trust_code=trust_code)
        input_channels = teacher.provenance.channels
        if matching(dataset.channels, input_channels) is None:
            raise InputError(
                f"it sees {', '.join(input_channels)}, and the images of '{dataset.name}' have "
                f"{', '.join(dataset.channels)}. Say what it is shown with --teacher-channels"
            )
    except (ConfigError, InputError) as error:
        if chosen:
            raise
        return None, str(error)
    return teacher, ""


def shown_otherwise(provenance: Provenance) -> list[str]:
    """A doubt where one channel was shown to the teacher in the place of several."""
    often = [name for name, count in Counter(provenance.channels).items() if count > 1]
    if not often:
        return []
    return [
        f"The teacher was shown {', '.join(often)} more than once, in the place of channels that "
        "these images lack: its scores are not those that it has with its own, and retention is of "
        "a teacher so handicapped."
    ]


def on_other_data(
    teacher: config.Teacher, input_channels: tuple[str, ...] | None
) -> config.Teacher | None:
    """The same frozen teacher, or None where it is a folder of finished answers, or several."""
    if teacher.also or traits_of(teacher.kind).keeps_answers:
        return None
    return teacher.model_copy(update={"input_channels": input_channels or teacher.input_channels})


def own_answers(run: Run, dataset: Dataset) -> TargetStore | None:
    """The run's targets, if they were made of these very images: only the labels are others."""
    path = run.folder / STORE
    if not path.exists():
        return None
    store = TargetStore(path)
    channels = matching(dataset.channels, store.provenance.channels)
    if channels is None:
        return None
    shared = [record for record in dataset.split("test") if record.id in store.ids]
    same = [
        store.entry(record.id).image_sha256 == record.image.open().sha256(channels)
        for record in shared
    ]
    return store if same and all(same) else None
