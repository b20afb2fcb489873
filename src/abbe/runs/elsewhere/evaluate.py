"""A finished run on another data set: as it is, and beside a student distilled there."""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from abbe import config, reporting, teachers
from abbe.cluster import Workers, open_cluster
from abbe.datasets import Dataset
from abbe.errors import ConfigError, InputError
from abbe.foreign_text import shown
from abbe.recipes.recipe import recipe_named
from abbe.remote.folders import worked_on
from abbe.runs import build
from abbe.runs.accounts import overlap
from abbe.runs.distill import distill
from abbe.runs.elsewhere.teacher import on_other_data, own_answers, shown_otherwise, teacher_here
from abbe.runs.folder import Run, open_run, read_experiment, require_student
from abbe.runs.lost import Lost, readable
from abbe.runs.results import describe_teacher, summarise, write_scored
from abbe.runs.teaching import STORE
from abbe.runs.trained import trained_models
from abbe.summary import BASELINES, Labels, Thresholds
from abbe.targets import TargetStore
from abbe.tasks.each import Each, OnWorkers
from abbe.tasks.maps import StoredModel
from abbe.tasks.task import BySeed, Task, first_of
from abbe.teachers import Teacher
from abbe.teachers.on_workers import teach_on_workers

HERE = {"student": "student distilled here"} | {name: f"{name} trained here" for name in BASELINES}
"""Names of the models that were trained on the other data set."""
TRIES = ".scoring"
"""Folder, in an evaluation's, of what workers have begun."""


def evaluate_run(
    folder: str | os.PathLike[str],
    data: config.Data | Dataset,
    *,
    name: str,
    distil: bool = False,
    teacher_channels: tuple[str, ...] | None = None,
    student_channels: tuple[str, ...] | None = None,
    trust_code: bool = False,
    allow_failed: int = 0,
    allow_overlap: bool = False,
    cluster: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Run:
    """Score a run's student and baselines on another data set with the thresholds they came with.

    A run of RCKD is scored for its task, one of KD SAM by kind of prompt; both without a teacher.

    Without splits of its own, all of the other set is tested on, unless ``distil`` needs a part.

    Args:
        folder: the finished run.
        data: the other data set, or the section of the experiment file that names it.
        name: the evaluation is written to ``folder``/evaluations/``name``.
        distil: also distil a student there, from the same frozen teacher and with the same
            settings; it is named "student distilled here".
        teacher_channels: the other set's channels for the teacher, in its order. A channel may
            stand twice, as when a teacher of two channels is shown a set of one.
        student_channels: the same for the student.
        trust_code: a teacher of kind 'torch' may import and call the code that the run names:
            a run folder may be somebody else's.
        allow_failed: how many images may be lost (unreadable, or the teacher failed on them).
        allow_overlap: go on where the run, or what it learned from, was trained on test images;
            the report says so.
        cluster: workers by which teacher and networks answer and are scored, such as "local:4"; see
            `abbe.cluster.open_cluster`. Networks are trained and timed in this process.
        say: told of the workers, in lines.

    Raises:
        ClusterError: the cluster's scheduler has gone.
        InputError: the run is not finished, channels are missing, test images were trained on, or
            more images are lost than allowed; the teacher's answers for the others are kept, and
            the same call goes on.
        ConfigError: the evaluation exists already, the teacher cannot answer for other images, or
            an option does not fit the recipe.
    """
    with worked_on(folder) as place, ExitStack() as stack:
        here = _prepare(
            open_run(place), data, name=name, distil=distil, teacher_channels=teacher_channels,
            student_channels=student_channels, trust_code=trust_code, allow_failed=allow_failed,
            allow_overlap=allow_overlap,
        )  # fmt: skip
        if cluster is not None:
            on_gpus = recipe_named(here.experiment.recipe).evaluates_teacher  # networks are not
            workers = stack.enter_context(open_cluster(cluster, say, on_gpus=on_gpus))
            here = replace(here, workers=workers)
        return _evaluate(here, data, distil, teacher_channels, trust_code=trust_code)


def _prepare(
    run: Run,
    data: config.Data | Dataset,
    *,
    name: str,
    distil: bool,
    teacher_channels: tuple[str, ...] | None,
    student_channels: tuple[str, ...] | None,
    trust_code: bool,
    allow_failed: int,
    allow_overlap: bool,
) -> "_Elsewhere":
    """Refuse what cannot end well before anything is computed."""
    out = run.folder / "evaluations" / name
    if (out / "summary.json").exists():
        raise ConfigError(f"{out}: exists already; give another --name")
    experiment = read_experiment(run.folder)
    recipe = recipe_named(experiment.recipe)
    task, lost = recipe.task(experiment), Lost(allow_failed)
    if recipe.evaluates_teacher:
        build.require_trust(experiment.teacher, trust_code=trust_code)
    else:
        _refuse_teacher(experiment.recipe, distil, teacher_channels)
    require_student(run)
    input_channels = student_channels or experiment.student.input_channels
    dataset = build.seen_by(
        _test_set(data, distil),
        input_channels,
        "the student",
        "say what it is shown with --student-channels",
    )
    dataset = readable(dataset, lost, progress=True)
    build.tell_problems(dataset)
    dataset = task.adopt(dataset, run.summary.classes)
    if not task.labelled(dataset.split("test")):
        raise InputError(
            f"data set '{dataset.name}' has no labelled test image, so nothing could be scored: "
            "label some, or change data.split and data.fractions"
        )
    overlap.require_unseen_by_run(
        run.folder, experiment, run.folder / STORE, dataset, lost, allowed=allow_overlap
    )
    experiment = experiment.model_copy(update={"allow_overlap": allow_overlap})
    out.mkdir(parents=True, exist_ok=True)
    return _Elsewhere(run, experiment, task, dataset, input_channels, out, lost)


def _evaluate(
    here: "_Elsewhere",
    data: config.Data | Dataset,
    distil: bool,
    teacher_channels: tuple[str, ...] | None,
    *,
    trust_code: bool,
) -> Run:
    scored = _as_it_is(here)
    experiment = here.experiment
    if recipe_named(experiment.recipe).evaluates_teacher:
        teacher = on_other_data(experiment.teacher, teacher_channels)
        if distil:
            _distil(here, scored, data, teacher, trust_code=trust_code)
        elif teacher is None:
            scored.store = own_answers(here.run, here.dataset)
        else:
            _teach(
                here, scored, teacher, chosen=teacher_channels is not None, trust_code=trust_code
            )
    _write(here, scored)
    return open_run(here.out)


@dataclass(frozen=True)
class _Elsewhere:
    """A run, the other data, and where its evaluation goes."""

    run: Run
    experiment: config.Experiment
    task: Task
    dataset: Dataset
    input_channels: tuple[str, ...]
    out: Path
    lost: Lost
    workers: Workers | None = None

    @property
    def each(self) -> Each | None:
        """What has images answered and scored; None for this process."""
        if self.workers is None:
            return None
        return OnWorkers(self.workers, self.out.absolute() / TRIES, self.lost)


@dataclass
class _ToScore:
    """Models as they are scored, what is known of them, and the teacher's answers."""

    models: dict[str, BySeed]
    given: dict[str, Mapping[int | None, Thresholds]]
    doubts: list[str]
    labels: dict[str, Labels | None]
    store: TargetStore | None = None
    answering: Teacher | None = None


def _as_it_is(here: _Elsewhere) -> _ToScore:
    """The run's own networks, with the thresholds that they came with."""
    run = here.run
    models, given = trained_models(run, here.task, here.input_channels)
    kept = "keep the thresholds chosen there" if given else "have seen no image of this set"
    origin = f"The models ({', '.join(models)}) come from {run.summary.data.name} and {kept}."
    _tell_unknown_pixel_size(run, first_of(models), here.dataset)
    labels = {key: model.labels for key, model in run.summary.models.items()}
    return _ToScore(models, given, [origin], labels)


def _distil(
    here: _Elsewhere,
    scored: _ToScore,
    data: config.Data | Dataset,
    teacher: config.Teacher | None,
    *,
    trust_code: bool,
) -> None:
    """Add the networks that are trained there."""
    experiment = here.experiment.model_copy(update={"allow_failed": here.lost.allowed})
    there = _distil_there(
        experiment, data, teacher, here.input_channels, here.out / "distilled", trust_code
    )
    here.lost.reasons |= dict.fromkeys(there.summary.lost, "lost while distilling")
    own, _ = trained_models(there, here.task, here.input_channels)
    scored.models |= {HERE[key]: model for key, model in own.items()}
    scored.labels |= {HERE[key]: there.summary.models[key].labels for key in own}
    scored.store = TargetStore(there.folder / STORE)
    if teacher is not None:  # it taught there, and its cost is to be known here
        scored.answering = build.build_teacher(teacher, here.dataset, trust_code=trust_code)


def _teach(
    here: _Elsewhere,
    scored: _ToScore,
    settings: config.Teacher,
    *,
    chosen: bool,
    trust_code: bool,
) -> None:
    """Have the teacher answer for what is scored, or say why it does not.

    Where it cannot, as when it lies no longer where it was, the run's own answers count if they are
    for these very images.
    """
    tests, path = here.dataset.split("test").labelled, here.out / STORE
    teacher, reason = teacher_here(settings, tests, chosen=chosen, trust_code=trust_code)
    if teacher is None:
        scored.store = own_answers(here.run, here.dataset)
        kept = "The teacher's answers are those that the run keeps of these images"
        what = "The teacher is left out" if scored.store is None else kept
        text = f"{what}, for it cannot answer here: {reason}"
        print(shown(f"note: {text}"), flush=True)
        scored.doubts.append(text)
        return
    if here.workers is None:
        taught = teachers.teach(teacher, tests, path)
    else:
        make = partial(build.build_teacher, settings, tests, trust_code=trust_code)
        taught = teach_on_workers(make, teacher, tests, path, here.workers)
    here.lost.add(taught.failed, path)
    scored.answering, scored.store = teacher, TargetStore(path)


def _write(here: _Elsewhere, found: _ToScore) -> None:
    """Score, and write everything that the report needs."""
    run, out, store, models = here.run.summary, here.out, found.store, found.models
    if store is not None:
        models = {"teacher": {None: StoredModel(store)}, **models}
        if "teacher" in run.thresholds:
            found.given["teacher"] = {None: run.thresholds["teacher"]}
        found.doubts += shown_otherwise(store.provenance)
    scored = here.task.score(
        models,
        here.dataset,
        here.experiment.evaluation,
        given=found.given,
        teacher=found.answering,
        each=here.each,
    )
    write_scored(out, scored)
    config.save(here.experiment, out / "config.yaml")
    summary = summarise(
        here.task,
        scored,
        here.experiment,
        here.dataset,
        here.lost,
        evaluation_of=here.run.folder.name,
        title=f"{run.title}, on {here.dataset.name}",
        task_title=run.task_title,
        student_channels=list(here.input_channels),
        encoder_weights=run.encoder_weights,
        normalisation=run.normalisation,
        pretraining=run.pretraining,
        initialisations=run.initialisations,
        teacher_saw_labels=run.teacher_saw_labels,
        thresholds_chosen_on=run.thresholds_chosen_on,
        gain=scored.compared.gains.get(run.evidence.against, {}),
        evidence=run.evidence,
        trust=run.trust,
        seed=run.seed,
        **describe_teacher(store, here.task.labelled(here.dataset.split("test"))),
    )
    for name, labels in found.labels.items():
        if labels is not None and name in summary.models:
            summary.models[name].labels = labels
    summary.warnings = [found.doubts[0], *summary.warnings, *found.doubts[1:]]
    summary.write(out)
    reporting.write_report(out)


def _refuse_teacher(recipe: str, distil: bool, teacher_channels: tuple[str, ...] | None) -> None:
    """Refuse what only runs with a teacher of the same task have."""
    for option, given in (
        ("--distil", distil),
        ("--teacher-channels", teacher_channels is not None),
    ):
        if given:
            raise ConfigError(
                f"{option}: a run of recipe '{recipe}' is evaluated as it is, without its teacher. "
                "Leave it out"
            )


def _test_set(data: config.Data | Dataset, distil: bool) -> Dataset:
    given = isinstance(data, Dataset)
    dataset = data if given else build.collect(data)
    drawn = given or data.split == "auto"
    if drawn and not distil and not any(record.split for record in dataset):
        return dataset.with_splits(dict.fromkeys(dataset.ids, "test"))
    return dataset if given else build.choose_labels(build.split(dataset, data), data)


def _tell_unknown_pixel_size(run: Run, models: Mapping[str, Any], dataset: Dataset) -> None:
    """Say once that images are seen as they are, where the run does not know its pixel size."""
    if all(getattr(each, "pixel_size", 1.0) for each in models.values()):
        return  # known, or of a task that sees every image at one size
    size = next((record.image.open().pixel_size for record in dataset.split("test")), None)
    if size is not None:
        text = (
            f"note: {run.folder} does not say for which pixel size its student was made: images "
            f"are seen as they are, whatever theirs ({size:g} µm)"
        )
        print(shown(text), flush=True)


def _who(teacher: config.Teacher) -> str:
    """The teacher as the beginning of a sentence."""
    if teacher.also:
        return "several teachers, whose mean was stored, have"
    return f"a teacher of kind '{teacher.kind}' has"


def _distil_there(
    experiment: config.Experiment,
    data: config.Data | Dataset,
    teacher: config.Teacher | None,
    input_channels: tuple[str, ...],
    out: Path,
    trust_code: bool,
) -> Run:
    if teacher is None:
        raise ConfigError(
            f"--distil: {_who(experiment.teacher)} no answers for other images. "
            "Distil there with 'abbe distill' and that set's own targets"
        )
    student = experiment.student.model_copy(update={"input_channels": input_channels})
    given = data if isinstance(data, Dataset) else None
    section = config.Data(kind="given") if given is not None else data
    other = experiment.model_copy(
        update={"data": section, "teacher": teacher, "student": student, "out": out}
    )
    return distill(other, dataset=given, resume=True, trust_code=trust_code)
