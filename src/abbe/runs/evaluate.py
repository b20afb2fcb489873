"""A finished run on another data set: as it is, and beside a student distilled there."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import abbe
from abbe import config, students, teachers
from abbe.datasets import Dataset
from abbe.errors import ConfigError, InputError
from abbe.files import write_json
from abbe.foreign_text import shown
from abbe.imaging import matching, scaling_in_words
from abbe.report import write_report
from abbe.runs import build
from abbe.runs.distill import distill
from abbe.runs.folder import Run, open_run, read_experiment, require_student
from abbe.runs.lost import Lost, readable
from abbe.runs.results import (
    describe_data,
    describe_teacher,
    metric_names,
    missing_answers,
)
from abbe.targets import Provenance, TargetStore
from abbe.tasks.costs import add_costs
from abbe.tasks.models import Model, NetworkModel, StoredModel, Thresholds
from abbe.tasks.scores import outlined, save_examples, save_scores, score, summarise
from abbe.teachers import Teacher

HERE = {"student": "student distilled here", "twin": "twin trained here"}
"""Names of the models that were trained on the other data set."""


def evaluate_run(
    folder: str | os.PathLike[str],
    data: config.Data,
    *,
    name: str,
    distil: bool = False,
    teacher_sees: tuple[str, ...] | None = None,
    student_sees: tuple[str, ...] | None = None,
    trust_code: bool = False,
    allow_failed: int = 0,
) -> Run:
    """Score a run's student and twin on another data set with the thresholds they came with.

    A run of RCKD is scored for its task, one of KD SAM by kind of prompt; both without a teacher.

    Without splits of its own, all of the other set is tested on, unless ``distil`` needs a part.

    Args:
        folder: the finished run.
        data: the other data set.
        name: the evaluation is written to ``folder``/evaluations/``name``.
        distil: also distil a student there, from the same frozen teacher and with the same
            settings; it is named "student distilled here".
        teacher_sees: the other set's channels for the teacher, in its order. A channel may stand
            twice, as when a teacher of two channels is shown a set of one.
        student_sees: the same for the student.
        trust_code: a teacher of kind 'torch' may import and call the code that the run names:
            a run folder may be somebody else's.
        allow_failed: how many images may be lost (unreadable, or the teacher failed on them).

    Raises:
        InputError: the run is not finished, channels are missing, or more images are lost than
            allowed; the teacher's answers for the others are kept, and the same call goes on.
        ConfigError: the evaluation exists already, the teacher cannot answer for other images, or
            an option does not fit the recipe.
    """
    run = open_run(folder)
    require_student(run)
    out = run.folder / "evaluations" / name
    if (out / "summary.json").exists():
        raise ConfigError(f"{out}: exists already; give another --name")
    experiment = read_experiment(run.folder)
    if experiment.recipe in ("rckd", "kdsam"):
        _refuse_teacher(experiment.recipe, distil, teacher_sees)
    else:
        build.require_trust(experiment.teacher, trust_code=trust_code)
    lost = Lost(allow_failed)
    sees = student_sees or experiment.student.sees
    dataset = build.seen_by(
        _test_set(data, distil), sees, "the student", "say what it is shown with --student-sees"
    )
    dataset = readable(dataset, lost, progress=True)
    if experiment.recipe == "rckd":
        from abbe.recipes.transfer_task import evaluate_task

        return evaluate_task(run, experiment, dataset, out, sees, lost)
    if experiment.recipe == "kdsam":
        from abbe.recipes.transfer_promptable import evaluate_promptable

        return evaluate_promptable(run, experiment, dataset, out, sees, lost)
    scored = dataset.split("test").labelled
    if not len(scored):
        raise InputError(
            f"data set '{dataset.name}' has no labelled test image, so nothing could be scored: "
            "label some, or change data.split and data.fractions"
        )
    out.mkdir(parents=True, exist_ok=True)

    models, thresholds = _trained_models(run, sees)
    _tell_unknown_pixel_size(run, models, dataset)
    teacher = _on_other_data(experiment.teacher, teacher_sees)
    answering: Teacher | None = None
    store, left_out = None, ""
    if distil:
        local = experiment.model_copy(update={"allow_failed": allow_failed})
        there = _distil_there(local, data, teacher, sees, out / "distilled", trust_code)
        lost.reasons |= dict.fromkeys(there.summary["lost"], "lost while distilling")
        store = _stored_targets(there)
        if teacher is not None:  # it taught there, and its cost is to be known here
            answering = build.build_teacher(teacher, dataset, trust_code=trust_code)
        own, _ = _trained_models(there, sees)
        models |= {HERE[key]: model for key, model in own.items()}
    elif teacher is not None:
        answering, left_out = _teacher_here(
            teacher, scored, chosen=teacher_sees is not None, trust_code=trust_code
        )
        if answering is not None:
            taught = teachers.teach(answering, scored, out / "targets.zarr")
            lost.add(taught.failed, out / "targets.zarr")
            store = TargetStore(out / "targets.zarr")
    else:
        store = _own_answers(run, dataset)
    if store is not None:
        models = {"teacher": StoredModel(store), **models}
        if "teacher" in run.summary["thresholds"]:
            thresholds["teacher"] = Thresholds(**run.summary["thresholds"]["teacher"])
    doubts = [left_out] if left_out else []
    if store is not None:
        doubts += _shown_otherwise(store.provenance)
    return _write(
        run, experiment, dataset, out, models, thresholds, answering, store, sees, lost, doubts
    )


def _teacher_here(
    settings: config.Teacher, dataset: Dataset, *, chosen: bool, trust_code: bool
) -> tuple[Teacher | None, str]:
    """The teacher where it can answer for these images, else why it is left out; that is printed.

    Raises:
        AbbeError: it cannot answer, although ``chosen`` channels were named for it.
    """
    try:
        teacher = build.build_teacher(settings, dataset, trust_code=trust_code)
        sees = teacher.provenance.channels
        if matching(dataset.channels, sees) is None:
            raise InputError(
                f"it sees {', '.join(sees)}, and the images of '{dataset.name}' have "
                f"{', '.join(dataset.channels)}. Say what it is shown with --teacher-sees"
            )
    except (ConfigError, InputError) as error:
        if chosen:
            raise
        text = f"The teacher is left out, for it cannot answer here: {error}"
        print(shown(f"note: {text}"), flush=True)
        return None, text
    return teacher, ""


def _shown_otherwise(provenance: Provenance) -> list[str]:
    """A doubt where one channel was shown to the teacher in the place of several."""
    often = [name for name, count in Counter(provenance.channels).items() if count > 1]
    if not often:
        return []
    return [
        f"The teacher was shown {', '.join(often)} more than once, in the place of channels that "
        "these images lack: its scores are not those that it has with its own, and retention is of "
        "a teacher so handicapped."
    ]


def _refuse_teacher(recipe: str, distil: bool, teacher_sees: tuple[str, ...] | None) -> None:
    """Refuse what only runs with a teacher of the same task have."""
    for option, given in (("--distil", distil), ("--teacher-sees", teacher_sees is not None)):
        if given:
            raise ConfigError(
                f"{option}: a run of recipe '{recipe}' is evaluated as it is, without its teacher. "
                "Leave it out"
            )


def _test_set(data: config.Data, distil: bool) -> Dataset:
    dataset = build.collect(data)
    if data.split == "auto" and not distil and not any(record.split for record in dataset):
        return dataset.with_splits(dict.fromkeys(dataset.ids, "test"))
    return build.choose_labels(build.split(dataset, data), data)


def _trained_models(
    run: Run, sees: tuple[str, ...]
) -> tuple[dict[str, Model], dict[str, Thresholds]]:
    models: dict[str, Model] = {}
    for name in ("student", "twin"):
        path = run.folder / f"{name}.safetensors"
        if path.exists():
            network, facts = students.load(path)
            if len(sees) != len(facts["channels"]):
                raise InputError(
                    f"{path}: reads {', '.join(facts['channels'])}; name as many channels of the "
                    "other set, in that order, with --student-sees"
                )
            models[name] = NetworkModel(
                network,
                network.outputs,
                sees,
                scaling_in_words(facts.get("normalisation"), str(path)),
                facts.get("pixel_size"),
            )
    thresholds = {name: Thresholds(**run.summary["thresholds"][name]) for name in models}
    return models, thresholds


def _tell_unknown_pixel_size(run: Run, models: Mapping[str, Model], dataset: Dataset) -> None:
    """Say once that images are seen as they are, where the run does not know its pixel size."""
    if any(isinstance(each, NetworkModel) and each.pixel_size for each in models.values()):
        return
    size = next((record.image.open().pixel_size for record in dataset.split("test")), None)
    if size is not None:
        text = (
            f"note: {run.folder} does not say for which pixel size its student was made: images "
            f"are seen as they are, whatever theirs ({size:g} µm)"
        )
        print(shown(text), flush=True)


def _on_other_data(teacher: config.Teacher, sees: tuple[str, ...] | None) -> config.Teacher | None:
    """The same frozen teacher, or None where it is a folder of finished answers."""
    if teacher.kind in ("none", "masks", "store"):
        return None
    return teacher.model_copy(update={"sees": sees or teacher.sees})


def _own_answers(run: Run, dataset: Dataset) -> TargetStore | None:
    """The run's targets, if they were made of these very images: only the labels are others."""
    path = run.folder / "targets.zarr"
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


def _distil_there(
    experiment: config.Experiment,
    data: config.Data,
    teacher: config.Teacher | None,
    sees: tuple[str, ...],
    out: Path,
    trust_code: bool,
) -> Run:
    if teacher is None:
        raise ConfigError(
            f"--distil: a teacher of kind '{experiment.teacher.kind}' has no answers for other "
            "images. Distil there with 'abbe distill' and that set's own targets"
        )
    student = experiment.student.model_copy(update={"sees": sees})
    other = experiment.model_copy(
        update={"data": data, "teacher": teacher, "student": student, "out": out}
    )
    return distill(other, resume=True, trust_code=trust_code)


def _stored_targets(run: Run) -> TargetStore:
    return TargetStore(run.folder / "targets.zarr")


def _write(
    run: Run,
    experiment: config.Experiment,
    dataset: Dataset,
    out: Path,
    models: dict[str, Model],
    thresholds: dict[str, Thresholds],
    teacher: Teacher | None,
    store: TargetStore | None,
    sees: tuple[str, ...],
    lost: Lost,
    doubts: list[str],
) -> Run:
    settings = experiment.evaluation
    scores = score(
        models,
        dataset,
        thresholds=thresholds,
        tolerance=settings.tolerance,
        minimum_area=settings.minimum_area,
    )
    save_scores(scores, out / "scores.parquet")
    save_examples(
        scores,
        out / "examples",
        lambda id: outlined(models, dataset[id], scores, settings.minimum_area),
    )
    config.save(experiment, out / "config.yaml")
    summary: dict[str, Any] = {
        "abbe": abbe.__version__,
        "recipe": experiment.recipe,
        "title": f"{run.summary['title']}, on {dataset.name}",
        "task": run.summary["task"],
        "evaluation_of": run.folder.name,
        "data": describe_data(dataset),
        "student_sees": list(sees),
        "encoder_weights": run.summary["encoder_weights"],
        **describe_teacher(store, dataset.split("test").labelled),
        "lost": lost.ids,
        "left_out": lost.left_out,
        **summarise(scores, settings.resamples),
        "metric_names": metric_names(scores),
        "smallest_gain": settings.smallest_gain,
        "speed": {},
        "warnings": [
            f"The models ({', '.join(thresholds)}) come from {run.summary['data']['name']} and "
            "keep the thresholds chosen there.",
            *doubts,
        ],
    }
    add_costs(summary, models, dataset, teacher)
    summary["thresholds"] = {name: dict(vars(each)) for name, each in scores.thresholds.items()}
    summary["warnings"] += missing_answers(summary)
    write_json(out / "summary.json", summary)
    write_report(out)
    return open_run(out)
