"""The teacher's answers for a run: given once, before anything is trained."""

from functools import partial
from pathlib import Path

from abbe import config, teachers
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError
from abbe.foreign_text import shown
from abbe.imaging import Scaling
from abbe.runs import build
from abbe.runs.accounts.overlap import hand_on
from abbe.runs.from_python import kind_of_teacher
from abbe.runs.normalising import scaling_of
from abbe.runs.pixel_sizes import common, student_pixel_size
from abbe.runs.session import Session
from abbe.targets import Provenance, TargetStore
from abbe.teachers import Teacher
from abbe.teachers.on_workers import teach_on_workers

STORE = "targets.zarr"
"""The store of a run's own answers, in its folder."""
SINGLE = "teachers"
"""The folder, in a run's, of what each of several teachers has answered."""


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


def require_teachers(
    settings: config.Teacher, dataset: Dataset, *, trust_code: bool
) -> list[Provenance]:
    """What each teacher of the experiment is; none of them is asked for anything yet.

    They are built, and let go of: so whatever is missing of them is told before long work.

    Raises:
        ConfigError: an option is unknown, or the teacher cannot run live.
        InputError: files are missing or damaged.
        MissingPackageError: a teacher's own program is not installed.
    """
    found = []
    for each in each_of(settings) if settings.kind != "none" else ():
        if each.kind == "store":
            assert each.path is not None  # the experiment file demands it
            found.append(TargetStore(each.path).provenance)
            continue
        teacher = build.build_teacher(each, dataset, trust_code=trust_code)
        if each.live and not hasattr(teacher, "network"):
            raise ConfigError(f"teacher of kind '{each.kind}' cannot run live: leave live out")
        found.append(teacher.provenance)
    return found


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
    if settings.also:
        return None, *_mean_of(experiment, dataset, session)
    if settings.kind == "store":
        assert settings.path is not None  # the experiment file demands it
        store = TargetStore(settings.path)
        if session.shown:
            print(shown(teachers.introduction(store.provenance)), flush=True)
        return None, store, {}
    teacher = build.build_teacher(settings, dataset, trust_code=session.trust_code)
    if settings.live:
        check_live(teacher, scaling_of(experiment.student), dataset)
    if session.is_main:
        introduced = teachers.introduction(teachers.provenance_of(teacher, dataset))
        print(shown(introduced), flush=True)
    images = dataset.having(asked(experiment, dataset))
    store, speed = stored_predictions(teacher, images, session, settings=settings)
    if session.is_main:
        hand_on(store.path, settings)
    return teacher, store, speed


def _mean_of(
    experiment: config.Experiment, dataset: Dataset, session: Session
) -> tuple[TargetStore, dict[str, float]]:
    """The mean of what several teachers answer, weighed on the validation images with labels.

    Raises:
        ConfigError: what one of them is does not show.
        StoreError: they cannot be combined; see `abbe.teachers.several`.
        InputError: more images are lost than allowed; the stores keep all other answers.
    """
    settings = experiment.teacher
    images = dataset.having(asked(experiment, dataset))
    stores: list[TargetStore] = []
    for number, each in enumerate(each_of(settings), 1):
        if each.kind == "store":
            assert each.path is not None  # the experiment file demands it
            stores.append(TargetStore(each.path))
            continue
        teacher = build.build_teacher(each, dataset, trust_code=session.trust_code)
        name = f"{SINGLE}/{number}.zarr"
        stores.append(stored_predictions(teacher, images, session, name, settings=each)[0])
        if session.is_main:
            hand_on(stores[-1].path, each)
    labelled = build.held_out(dataset.split("val").labelled.records, experiment)
    teacher = teachers.several(stores, dataset.channels, labelled)
    if session.is_main:
        print(shown(teachers.introduction(teacher.provenance)), flush=True)
    store, speed = stored_predictions(teacher, images, session)
    if session.is_main:
        stored = (config.Teacher(kind="store", path=each.path) for each in stores)
        hand_on(store.path, *stored)
    return store, speed


def each_of(settings: config.Teacher) -> list[config.Teacher]:
    """The teacher of the experiment, and those that it names beside it.

    Raises:
        ConfigError: what lies at a path does not show what it is.
    """
    first = settings.model_copy(
        update={"also": (), "tta": settings.tta and settings.kind != "store"}
    )
    return [first, *(_at(path, settings.tta) for path in settings.also)]


def _at(path: Path, tta: bool) -> config.Teacher:
    kind = kind_of_teacher(path)
    if kind is None:
        raise ConfigError(
            f"teacher.also: {path} does not say what it is. Have it answer first (abbe teach --out "
            f"{path.stem or 'teacher'}.zarr …), and name that store"
        )
    return config.Teacher(kind=kind, path=path, tta=tta and kind != "store")


def stored_predictions(
    teacher: Teacher,
    dataset: Dataset,
    session: Session,
    name: str = STORE,
    *,
    settings: config.Teacher | None = None,
) -> tuple[TargetStore, dict[str, float]]:
    """The store of a teacher's answers in the run's folder, once they are there; how fast it was.

    Args:
        teacher: who is asked.
        dataset: the images.
        session: of the run.
        name: of the store in the run's folder.
        settings: what the teacher was built of, so that workers can; None for one that answers in
            this process whatever the session says.

    Raises:
        InputError: more images are lost than allowed; the store keeps all other answers.
    """
    path, speed = session.folder / name, {}
    if session.is_main:
        if session.helpers is None or settings is None:
            report = teachers.teach(teacher, dataset, path, progress=session.progress)
        else:
            trust = session.trust_code
            make = partial(build.build_teacher, settings, dataset, trust_code=trust)
            report = teach_on_workers(
                make, teacher, dataset, path, session.helpers, progress=session.progress
            )
        if report.done:  # a resumed run has nothing left to teach
            speed = {"teach_images_per_s": report.images_per_second}
        session.lost.add(report.failed, path)
    session.accelerator.wait_for_everyone()
    return TargetStore(path), speed


def check_live(teacher: Teacher, scaling: Scaling, dataset: Dataset) -> None:
    """A live teacher is shown the student's crops, so both must see images alike.

    Args:
        teacher: that is to run live.
        scaling: of the student's images.
        dataset: that it learns from.

    Raises:
        ConfigError: it reads images scaled otherwise, or is for another pixel size.
    """
    reads, size = teacher.provenance.normalisation, getattr(teacher, "pixel_size", None)
    if reads not in (scaling.kind, scaling.words):
        raise ConfigError(
            f"teacher.live: the teacher reads images normalised by '{reads}', the student by "
            f"'{scaling.words}'. Leave live out, so that targets are stored, or give both the same "
            "(--student.normalisation)"
        )
    own = None if size is None else student_pixel_size(dataset)
    if size is not None and common([own, size]) is None:
        told = "agree on none" if own is None else f"have {own:g} µm"
        raise ConfigError(
            f"teacher.live: the teacher is for pixels of {size:g} µm, and the training images "
            f"{told}: it would see crops at a scale that it was not trained for. Leave live out, "
            "so that images are resampled for it and targets are stored"
        )
