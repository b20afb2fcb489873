"""The teacher's answers for a run: given once, before anything is trained."""

from abbe import config, teachers
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError
from abbe.foreign_text import shown
from abbe.imaging import Scaling
from abbe.runs import build
from abbe.runs.accounts.overlap import hand_on
from abbe.runs.normalising import scaling_of
from abbe.runs.session import Session
from abbe.targets import TargetStore
from abbe.teachers import Teacher

STORE = "targets.zarr"
"""The store of a run's own answers, in its folder."""


def asked(experiment: config.Experiment, dataset: Dataset) -> list[Record]:
    """The images that the store should have an answer for.

    A live teacher answers for training images while the student learns, and nobody would look at
    answers for test images without a label.
    """
    live = experiment.teacher.live
    unseen = ("train",) if live else ()
    return [
        record
        for record in dataset
        if record.split not in unseen and (record.split != "test" or record.label is not None)
    ]


def teach(
    experiment: config.Experiment, dataset: Dataset, session: Session
) -> tuple[Teacher | None, TargetStore | None, dict[str, float]]:
    """Have the teacher answer, once, for the images that are `asked`.

    Returns:
        The teacher, unless its answers were given in a store; the store; and how fast it was.

    Raises:
        InputError: with what the teacher failed on, more images are lost than allowed; the store
            keeps all other answers.
        ConfigError: the teacher cannot run live.
    """
    settings = experiment.teacher
    if settings.kind == "none":
        return None, None, {}
    if settings.kind == "store":
        assert settings.path is not None  # the experiment file demands it
        store = TargetStore(settings.path)
        if session.is_main:
            print(shown(teachers.introduction(store.provenance)), flush=True)
        return None, store, {}
    teacher = build.build_teacher(settings, dataset, trust_code=session.trust_code)
    if settings.live and not hasattr(teacher, "network"):
        raise ConfigError(f"teacher of kind '{settings.kind}' cannot run live: leave live out")
    if settings.live:
        _check_live(teacher.provenance.normalisation, scaling_of(experiment.student))
    if session.is_main:
        introduced = teachers.introduction(teachers.provenance_of(teacher, dataset))
        print(shown(introduced), flush=True)
    store, speed = stored_predictions(teacher, dataset.having(asked(experiment, dataset)), session)
    if session.is_main:
        hand_on(settings.path, store.path)
    return teacher, store, speed


def stored_predictions(
    teacher: Teacher, dataset: Dataset, session: Session
) -> tuple[TargetStore, dict[str, float]]:
    """The store of a teacher's answers in the run's folder, once they are there; how fast it was.

    Raises:
        InputError: more images are lost than allowed; the store keeps all other answers.
    """
    path, speed = session.folder / STORE, {}
    if session.is_main:
        report = teachers.teach(teacher, dataset, path, progress=session.progress)
        if report.done:  # a resumed run has nothing left to teach
            speed = {"teach_images_per_s": report.images_per_second}
        session.lost.add(report.failed, path)
    session.accelerator.wait_for_everyone()
    return TargetStore(path), speed


def _check_live(reads: str, scaling: Scaling) -> None:
    """A live teacher is shown the student's crops, so both must read images scaled alike.

    Raises:
        ConfigError: they do not.
    """
    if reads not in (scaling.kind, scaling.words):
        raise ConfigError(
            f"teacher.live: the teacher reads images normalised by '{reads}', the student by "
            f"'{scaling.words}'. Leave live out, so that targets are stored, or give both the same "
            "(--student.normalisation)"
        )
