"""The verbs that teach, train and score, and the one that looks at data before."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from abbe import config, datasets, teachers
from abbe.datasets import Dataset
from abbe.datasets.check import CheckReport, check_on_cluster
from abbe.errors import ConfigError, InputError
from abbe.foreign_text import shown
from abbe.remote import as_path
from abbe.remote.folders import worked_on
from abbe.runs import build
from abbe.runs.accounts.overlap import hand_on
from abbe.runs.from_python import (
    DataLike,
    FurtherKeys,
    Keys,
    Place,
    RunKeys,
    StudentLike,
    TeacherLike,
    data_section,
    experiment_of,
    local_folder,
    teacher_section,
    values_for,
)
from abbe.targets import TargetStore
from abbe.teachers import Teacher
from abbe.teachers.on_workers import teach_on_cluster

if TYPE_CHECKING:
    from abbe.curves.folder import Curve
    from abbe.runs.folder import Run
    from abbe.runtime.package import Package
    from abbe.suggesting.suggest import Suggestions


def teach(
    teacher: Teacher | Place | Keys | config.Teacher | Sequence[TargetStore | Place],
    data: DataLike,
    out: Place,
    *,
    allow_failed: int = 0,
    trust_code: bool = False,
    progress: bool = True,
    cluster: str | None = None,
) -> TargetStore:
    """Have a teacher answer for every image, once, and open the store of its answers.

    Args:
        teacher: from :mod:`abbe.teachers`; or the path of an earlier run, an ONNX file or a
            bioimage.io package; or keys such as ``{"kind": "sam", "path": "sam_vit_h.pth"}``. A
            list of target stores: their mean, weighed by labelled validation images.
        data: the images: a data set, its folder, or keys such as ``{"kind": "tissuenet", …}``.
        out: the target store to make or to continue.
        allow_failed: how many images may fail, or be unreadable; their reasons are printed.
        trust_code: a teacher of kind 'torch' may run the code that its path names.
        progress: show a progress bar.
        cluster: workers to teach on: "local:4", "tcp://host:8786" or a .yaml file of
            dask-jobqueue; None for this process alone. The teacher is then given by its path or
            its keys.

    Raises:
        InputError: the teacher failed on more images; the store holds all the others, and the
            same call goes on from there.
        AbbeError: whatever else the user can mend; see :mod:`abbe.errors`.
    """
    dataset, settings = dataset_of(data), None
    build.tell_problems(dataset)
    taught_by: list[config.Teacher] = []
    if isinstance(teacher, str | os.PathLike | Mapping | config.Teacher):
        settings = config.Teacher(**teacher_section(teacher, None))
        if settings.also:
            teacher, settings = _stores_of(settings), None
    if isinstance(teacher, list | tuple):
        places = [as_path(each) for each in teacher]
        taught_by = [config.Teacher(kind="store", path=each) for each in places]
        section = None if isinstance(data, Dataset) else config.Data(**data_section(data, None))
        teacher = build.build_mean(places, dataset, section)
    elif settings is not None:
        _require_answers(settings)
        teacher = build.build_teacher(settings, dataset, trust_code=trust_code)
        taught_by = [settings]
    assert isinstance(teacher, Teacher)
    with worked_on(out) as folder:
        if cluster is None:
            report = teachers.teach(teacher, dataset, folder, progress=progress)
        elif settings is None:
            raise ConfigError(
                "cluster: give the path or the keys of a teacher, which workers can open"
            )
        else:
            make = partial(build.build_teacher, settings, dataset, trust_code=trust_code)
            report = teach_on_cluster(
                cluster, make, dataset, folder, teacher=teacher, progress=progress
            )
        hand_on(folder, *taught_by)
    report.failed |= dataset.left_out
    if len(report.failed) > allow_failed:
        raise InputError(f"{out}: {report.summary()}")
    if report.failed:
        print(shown(f"warning: {out}: {report.summary()}"), flush=True)
    return TargetStore(out)


def _stores_of(settings: config.Teacher) -> list[Path]:
    """The stores of keys that name several teachers."""
    if settings.kind != "store" or settings.path is None or settings.tta:
        raise ConfigError(
            "teacher.also: abbe.teach takes the mean of stores, without tta. Have each teacher "
            "answer into one, then give the stores as a list"
        )
    return [settings.path, *settings.also]


def _require_answers(settings: config.Teacher) -> None:
    """Refuse keys of what does not answer by itself, and those of students."""
    if settings.kind not in teachers.TEACHERS:
        raise ConfigError(f"teacher.kind: choose from {', '.join(teachers.TEACHERS)}")
    for key in ("live", "trust"):  # of students, not of answers
        if getattr(settings, key) != config.Teacher.model_fields[key].default:
            raise ConfigError(f"teacher.{key}: belongs to abbe.distill. Leave it out here")


def distill(
    recipe: Place,
    data: DataLike | None = None,
    teacher: TeacherLike | None = None,
    *,
    student: StudentLike | None = None,
    input_channels: Sequence[str] | None = None,
    encoder_weights: Place | None = None,
    out: Place | None = None,
    resume: bool = False,
    trust_code: bool = False,
    progress: bool = True,
    **keys: Unpack[RunKeys],
) -> "Run":
    """Train a student and what it is held against; score all, and write the report.

    Args:
        recipe: a shipped recipe ('cmkd', 'rckd', 'kdsam', 'supervised', 'imagenet'), an experiment
            file, or the folder of a run that was begun.
        data: the images: a data set with splits (see :func:`abbe.datasets.assign_splits`), a
            folder, which is read and split as the recipe says, or keys of the section ``data``.
            What the recipe's file says where None.
        teacher: whom the student learns from: a target store; an earlier run, an ONNX file, a
            bioimage.io package, for 'kdsam' weights of SAM's family; or keys of the section
            ``teacher``, such as ``{"kind": "masks", "path": "masks"}``. None for 'supervised' and
            'imagenet', and where the recipe's file says it.
        student: its architecture, such as 'unet-resnet18', or keys of the section ``student``.
        input_channels: the student's channels, by name.
        encoder_weights: 'imagenet', 'random', or the path of a weight file. There is no default.
        out: the run folder; what the recipe's file says where None.
        resume: finish a run that was interrupted, or add evidence to a finished one
            (``evidence="full"``).
        trust_code: a teacher of kind 'torch' may run the code that its path names.
        progress: show progress bars.
        keys: the recipe's other keys and sections as keywords: ``seed=1``,
            ``training={"steps": 500}``, for 'rckd' ``pretrain_data="tiles"``. Keys that are not
            given are as the recipe's file has them.

    Returns:
        The finished run, with ``gain`` and ``retention``.

    Raises:
        ConfigError: a key is wrong, or belongs to another recipe, as in an experiment file.
        AbbeError: whatever else the user can mend; see :mod:`abbe.errors`.
    """
    from abbe.runs.distill import distill as carry_out

    source, values = values_for(recipe)
    experiment, dataset = experiment_of(
        values,
        source,
        data=data,
        teacher=teacher,
        student=student,
        input_channels=input_channels,
        encoder_weights=encoder_weights,
        out=out,
        keys=keys,
    )
    return carry_out(
        experiment, dataset=dataset, resume=resume, trust_code=trust_code, progress=progress
    )


def curve(
    recipe: Place,
    data: DataLike | None = None,
    teacher: TeacherLike | None = None,
    *,
    student: StudentLike | None = None,
    input_channels: Sequence[str] | None = None,
    encoder_weights: Place | None = None,
    out: Place | None = None,
    fractions: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    initialisations: Sequence[str] | None = None,
    pretrain_per_seed: bool = False,
    resume: bool = False,
    trust_code: bool = False,
    progress: bool = True,
    cluster: str | None = None,
    **keys: Unpack[FurtherKeys],
) -> "Curve":
    """Train at growing shares of the labels, over seeds, and plot what the labels buy.

    Args:
        recipe: 'rckd' (initialisations are compared), 'cmkd' (student and baselines), an experiment
            file of either, or the folder of a curve that was begun.
        data, teacher, student, input_channels, encoder_weights, out, keys: as for
            :func:`abbe.distill`. All training images must have their labels.
        fractions: shares of the training labels, from 0 to 1; 0.01 to 1 where None.
        seeds: each draws its own labels, new layers and batches; 0, 1 and 2 where None.
        initialisations: of 'rckd': random, given, contrastive, rckd, rckd+contrastive; all that
            teacher and weights allow where None.
        pretrain_per_seed: pretrain anew for each seed.
        resume: finish a curve that was interrupted, or add to it.
        trust_code: a teacher of kind 'torch' may run the code that its path names.
        progress: show progress.
        cluster: workers by which the teacher answers and networks are trained: "local:4",
            "tcp://host:8786" or a .yaml file of dask-jobqueue; None for this process alone.

    Returns:
        The curve, with ``summary`` and the paths of table, picture and report.

    Raises:
        ConfigError: a key is wrong, or belongs to another recipe, as in an experiment file.
        AbbeError: whatever else the user can mend; see :mod:`abbe.errors`.
    """
    from abbe.curves.curve import curve as carry_out
    from abbe.curves.plan import for_curve

    source, values = values_for(recipe)
    experiment, dataset = experiment_of(
        for_curve(values),
        source,
        data=data,
        teacher=teacher,
        student=student,
        input_channels=input_channels,
        encoder_weights=encoder_weights,
        out=out,
        keys=keys,
    )
    return carry_out(
        experiment,
        fractions=fractions,
        seeds=seeds,
        initialisations=initialisations,
        pretrain_per_seed=pretrain_per_seed,
        dataset=dataset,
        resume=resume,
        trust_code=trust_code,
        progress=progress,
        cluster=cluster,
    )


def evaluate(
    run: "Run | Place",
    data: DataLike,
    *,
    name: str,
    distil: bool = False,
    teacher_channels: Sequence[str] | None = None,
    student_channels: Sequence[str] | None = None,
    allow_failed: int = 0,
    allow_overlap: bool = False,
    trust_code: bool = False,
    cluster: str | None = None,
) -> "Run":
    """Score a finished run on another data set, as it is, with the thresholds it came with.

    A run of RCKD is scored for its task, one of KD SAM by kind of prompt; both without a teacher.
    Without splits of its own, all of the other set is tested on, unless ``distil`` needs a part.

    Args:
        run: the run, or its folder.
        data: the other data set, its folder, or keys of the section ``data``.
        name: the evaluation is written to ``evaluations/NAME`` in the run's folder.
        distil: also distil a student there, from the same frozen teacher and with the same
            settings.
        teacher_channels: the other set's channels for the teacher, in its order; one may stand
            twice.
        student_channels: the same for the student.
        allow_failed: how many images may be lost (unreadable, or the teacher failed on them).
        allow_overlap: go on where the run, or what it learned from, was trained on test images;
            the report says so.
        trust_code: the run's teacher of kind 'torch' may run the code that it names.
        cluster: workers by which teacher and networks answer and are scored: "local:4",
            "tcp://host:8786" or a .yaml file of dask-jobqueue; None for this process alone.

    Returns:
        The evaluation, which is read like a run.

    Raises:
        InputError: the run is not finished, channels are missing, test images were trained on, or
            more images are lost than allowed; the teacher's answers for the others are kept, and
            the same call goes on.
        ConfigError: the evaluation exists already, the teacher cannot answer for other images, or
            an option does not fit the recipe.
    """
    from abbe.runs.elsewhere.evaluate import evaluate_run

    other = data if isinstance(data, Dataset) else config.Data(**data_section(data, None))
    return evaluate_run(
        run,
        other,
        name=name,
        distil=distil,
        teacher_channels=None if teacher_channels is None else tuple(teacher_channels),
        student_channels=None if student_channels is None else tuple(student_channels),
        trust_code=trust_code,
        allow_failed=allow_failed,
        allow_overlap=allow_overlap,
        cluster=cluster,
    )


def suggest(
    run: "Run | Place",
    *,
    count: int = 20,
    data: DataLike | None = None,
    out: Place | None = None,
    progress: bool = True,
) -> "Suggestions":
    """Unlabelled images to label next: those on which teacher and student differ most.

    Args:
        run: the run, or its folder; its student finds objects.
        count: how many images, fewer where there are no more.
        data: images to choose from, their folder, or keys of the section ``data``; the run's
            unlabelled training images where None.
        out: folder of suggestions.csv and suggestions.png; ``suggestions`` in the run where None.
        progress: show a bar.

    Returns:
        ``chosen``, the best first, each with ``image``, ``disagreement``, ``distance`` and
        ``objects``; and the files ``table`` and ``sheet``.

    Raises:
        InputError: the run is not finished, no image is without a label, or one cannot be read.
        ConfigError: the run's student finds no objects, or there is but one answer for an image.
    """
    from abbe.suggesting.suggest import suggest as choose

    other = None if data is None else dataset_of(data)
    place = None if out is None else local_folder(out)
    return choose(Path(run), count=count, data=other, out=place, progress=progress)


class ExportOptions(TypedDict, total=False):
    """What is asked of an export, as on the command line; see `abbe.exporting.request`.

    Of what may be several, one may be given alone: ``tile=512``.
    """

    int8: Literal["auto", "required", "none"]
    pixel_size: float | None
    budget_dice: float
    budget_pq: float
    budget_mean_iou: float
    budget_accuracy: float
    budget_probability: float
    budget_ms: float | None
    tile: int | Sequence[int]
    halo: int | None
    context: int | None
    threads: int | None
    images: int | None
    calibration_images: int
    compact: bool
    engine: Literal["openvino", "onnxruntime"] | None
    example: Place | None
    data_licence: str | None
    intended_use: str | None
    not_tested_on: str | Sequence[str]
    data_version: str | None
    teacher_version: str | None
    subgroups: str | Sequence[str]
    encoder_licence: str | None
    notes: str | Sequence[str]
    bioimageio: Place | None
    torchscript: Place | None
    authors: str | Sequence[str]
    licence: str | None


def export(
    run: "Run | Place",
    out: Place | None = None,
    *,
    data: Dataset | Place | None = None,
    say: Callable[[str], None] = print,
    **options: Unpack[ExportOptions],
) -> "Package":
    """Make a package of a finished run's student, and check that it answers alike.

    Args:
        run: the run, or its folder.
        out: the package, a folder to make; ``package`` in the run's folder where None.
        data: the images, for a run whose data set was given from Python; or the folder where they
            are now, if they were moved.
        say: told of each step, in a line.
        options: ``int8``, ``budget_dice``, ``tile``, ``bioimageio`` and the others of
            ``abbe export --help``.

    Returns:
        The package, as :func:`abbe.load_package` opens it.

    Raises:
        InputError: the run is not finished, or its weights or images are missing.
        ConfigError: ``out`` is taken, an option is out of its range or does not fit the run, or
            nothing meets the time budget.
        PackageError: the package would lose more than the budget.
    """
    from abbe.exporting.request import ExportRequest
    from abbe.runs.export import export_run

    given = data if isinstance(data, Dataset) else None
    moved = None if data is None or isinstance(data, Dataset) else Path(data)
    values: dict[str, Any] = {key: _as_asked(key, value) for key, value in options.items()}
    request = ExportRequest(**values)
    return export_run(run, out, request, dataset=given, data_path=moved, say=say)


def _as_asked(option: str, value: Any) -> Any:
    """An option of an export as the request has it: paths as such, several as a tuple."""
    if value is None:
        return None
    if option in ("example", "bioimageio", "torchscript"):
        return Path(value)
    if option in ("tile", "not_tested_on", "subgroups", "notes", "authors"):
        return (value,) if isinstance(value, str | int) else tuple(value)
    return value


def check(data: DataLike, *, crop: int | None = None, cluster: str | None = None) -> CheckReport:
    """What Abbe sees in a data set, and every problem in it.

    Args:
        data: a data set, its folder, or keys such as ``{"kind": "tissuenet", "path": "here"}``.
        crop: side of the training crop in px; smaller images are pointed out.
        cluster: workers to look on: "local:4", "tcp://host:8786" or a .yaml file of dask-jobqueue;
            None for this process alone.

    Returns:
        A report with ``ok``, the recommended ``crop``, ``text()``, ``to_json()`` and
        ``contact_sheet(path)``.

    Raises:
        InputError: there is no data set there.
    """
    divide = None
    if isinstance(data, Dataset):
        dataset = data
    else:
        section = config.Data(**data_section(data, None))
        dataset, divide = build.collect(section), partial(build.split, data=section)
    if cluster is None:
        return datasets.check(dataset, crop=crop, divide=divide)
    return check_on_cluster(cluster, dataset, crop=crop, divide=divide)


def dataset_of(data: DataLike) -> Dataset:
    """The data set itself, or what its folder or keys name, as it lies there.

    Raises:
        InputError: something is wrong with the files.
        ConfigError: a key is wrong.
    """
    if isinstance(data, Dataset):
        return data
    return build.collect(config.Data(**data_section(data, None)))
