"""A finished run of RCKD on another data set, as it is: the scores of its own task."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import abbe
from abbe import config, students
from abbe.datasets import Dataset
from abbe.errors import InputError
from abbe.files import write_json
from abbe.imaging import PERCENTILE, Scaling, scaling_in_words
from abbe.recipes.distill_rckd import task_images
from abbe.recipes.rckd import TaskModel
from abbe.recipes.rckd_results import describe_data, describe_networks, rows, save_task_examples
from abbe.report import write_report
from abbe.runs.folder import Run, open_run
from abbe.runs.lost import Lost
from abbe.runs.results import describe_teacher, missing_answers
from abbe.tasks import labelled as task_data
from abbe.tasks.answers import METRICS, answer, ask, summarise
from abbe.tasks.predictions import confusions, save_predictions
from abbe.tasks.scores import Scores, save_scores
from abbe.tasks.timing import add_times


def evaluate_task(
    run: Run,
    experiment: config.Experiment,
    dataset: Dataset,
    out: Path,
    sees: tuple[str, ...],
    lost: Lost,
) -> Run:
    """Score a run's student and twin on the test images of another data set.

    Args:
        run: the finished run.
        experiment: the run's own.
        dataset: the other set, with a test part; its classes are found by name.
        out: the folder to write.
        sees: the set's channels for the networks, in their order.
        lost: the images that were left out.

    Raises:
        InputError: nothing is labelled, channels are missing, or the classes are others.
    """
    task, classes = experiment.fine_tuning.task, run.summary["classes"]
    dataset = with_classes(dataset, tuple(classes), task)
    models, scaling, size = _models(run, task, sees)
    images = task_images(dataset, dataset.split("test").records, sees, task, scaling)
    if not images:
        need = "a class" if task == "classification" else "a label"
        raise InputError(f"data set '{dataset.name}' has no test image with {need}")
    groups = [dataset[image.id].unit for image in images]
    answers = {
        name: answer(each, images, sees, len(classes), size) for name, each in models.items()
    }
    out.mkdir(parents=True, exist_ok=True)
    scores = Scores(rows(task, answers, images, groups), {})
    save_scores(scores, out / "scores.parquet")
    if task == "segmentation":
        save_task_examples(scores, answers, images, out)
    else:
        alone = [dataset[image.id].group for image in images]
        save_predictions(out / "predictions.parquet", classes, answers, images, alone)
    config.save(experiment, out / "config.yaml")
    summary: dict[str, Any] = {
        "abbe": abbe.__version__,
        "recipe": experiment.recipe,
        "title": f"{run.summary['title']}, on {dataset.name}",
        "task": task,
        "evaluation_of": run.folder.name,
        "classes": list(classes),
        "data": describe_data(experiment, dataset, len(images)),
        "pretraining": experiment.pretraining.method,
        "student_sees": list(sees),
        "encoder_weights": run.summary["encoder_weights"],
        "initialisations": run.summary.get("initialisations", {}),
        "normalisation": scaling.words,
        **describe_teacher(None, ()),
        "lost": lost.ids,
        "left_out": lost.left_out,
        **summarise(task, answers, images, groups, experiment.evaluation.resamples),
        "metric_names": {metric: each.name for metric, each in METRICS[task].items()},
        "smallest_gain": experiment.evaluation.smallest_gain,
        "speed": {},
        "thresholds": {},
        "thresholds_chosen_on": "nothing: the answer is the most probable class",
        "warnings": [
            f"The models ({', '.join(models)}) come from {run.summary['data']['name']} and have "
            "seen no image of this set."
        ],
    }
    for name, facts in describe_networks(models, len(sees)).items():
        summary["models"][name] |= facts
    add_times(summary, models, ask, len(sees), images[0].shape)
    if task == "classification":
        for name, table in confusions(answers, images).items():
            summary["models"][name]["confusion"] = table
    summary["warnings"] += missing_answers(summary)
    write_json(out / "summary.json", summary)
    write_report(out)
    return open_run(out)


def with_classes(dataset: Dataset, classes: tuple[str, ...], task: str) -> Dataset:
    """The data set with the classes of a run, in its order.

    Args:
        dataset: the other set.
        classes: names by number; of pixels, 0 is the background.
        task: classification, where classes are found by name and some may be missing, or
            segmentation, where pixels are numbered, so that all must be the same.

    Raises:
        InputError: a class of the set is none of the run's, or numbers mean others.
    """
    if task == "segmentation":
        found = task_data.classes_of(dataset, task)
        if found != classes:
            raise InputError(
                f"data set '{dataset.name}': its pixels are of the classes {', '.join(found)}, "
                f"those of the run are {', '.join(classes)}. Name and number them alike"
            )
        return dataset
    unknown = sorted({r.columns["class"] for r in dataset if r.columns.get("class")} - set(classes))
    if unknown:
        raise InputError(
            f"data set '{dataset.name}': has images of {', '.join(unknown)}, which the run does "
            f"not know; its classes are {', '.join(classes)}. Rename them, or leave them out"
        )
    return replace(dataset, classes=classes)


def _models(
    run: Run, task: str, sees: tuple[str, ...]
) -> tuple[dict[str, TaskModel], Scaling, float | None]:
    """Student and twin, how both were shown images, and at which pixel size in µm."""
    models: dict[str, TaskModel] = {}
    scaling = PERCENTILE
    for name in ("student", "twin"):
        path = run.folder / f"{name}.safetensors"
        if not path.exists():
            continue
        if task == "classification":
            models[name], facts = students.load_classifier(path)
        else:
            models[name], facts = students.load(path)
        if len(sees) != len(facts["channels"]):
            raise InputError(
                f"{path}: reads {', '.join(facts['channels'])}; name as many channels of the other "
                "set, in that order, with --student-sees"
            )
        scaling = scaling_in_words(facts.get("normalisation"), str(path))
        size = facts.get("pixel_size")
    return models, scaling, size
