"""What a run of RCKD leaves behind: scores of the task, summary, examples, report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import abbe
from abbe import config, datasets
from abbe.datasets import Dataset
from abbe.datasets.collection import SPLITS
from abbe.datasets.training.prepare import Prepared
from abbe.imaging import choose_rule, three_channels
from abbe.recipes.distill_rckd import Pretrained, Session, Trained, task_images
from abbe.recipes.encoder_probes import initialisations_of
from abbe.recipes.linear_probe import Probed
from abbe.recipes.rckd import TaskModel
from abbe.runs import results, schedules
from abbe.runs.normalising import scaling_of
from abbe.students import LinearProbe
from abbe.targets import TargetStore
from abbe.tasks import labelled as task_data
from abbe.tasks.answers import METRICS, Answers, answer, ask, score, summarise
from abbe.tasks.costs import describe_network
from abbe.tasks.predictions import confusions, save_predictions
from abbe.tasks.scores import Scores, save_examples, save_scores
from abbe.tasks.timing import add_times


def write_results(
    experiment: config.Experiment,
    dataset: Dataset,
    tiles: Dataset | None,
    session: Session,
    store: TargetStore | None,
    pretrained: Pretrained | None,
    trained: Trained,
    probes: Mapping[str, Probed],
    speed: dict[str, float],
) -> None:
    """Score networks and linear probes on the test images; write all that the report needs."""
    folder = session.folder
    task, sees = experiment.fine_tuning.task, experiment.student.sees
    scaling = scaling_of(experiment.student)
    classes = task_data.classes_of(dataset, task)
    images = task_images(dataset, dataset.split("test").records, sees, task, scaling)
    groups = [dataset[image.id].unit for image in images]
    answers = {
        name: answer(network, images, sees, len(classes)) for name, (network, _) in trained.items()
    }
    scores = Scores(rows(task, answers, images, groups), {})
    save_scores(scores, folder / "scores.parquet")
    if task == "segmentation":
        save_task_examples(scores, answers, images, folder)
    else:
        given = [dataset[image.id].group for image in images]
        probed = {f"linear probe of {name}": Answers(each.table) for name, each in probes.items()}
        told = answers | probed
        save_predictions(folder / "predictions.parquet", classes, told, images, given)
    summary: dict[str, Any] = {
        "abbe": abbe.__version__,
        "recipe": experiment.recipe,
        "title": experiment.title or f"{experiment.recipe} on {dataset.name}",
        "task": task,
        "classes": list(classes),
        "data": describe_data(experiment, dataset, len(images)),
        "pretraining": experiment.pretraining.method,
        "student_sees": list(sees),
        "encoder_weights": str(experiment.student.encoder_weights),
        "initialisations": initialisations_of(experiment),
        "normalisation": scaling.words,
        **results.describe_teacher(store, tiles or ()),
        "lost": session.lost.ids,
        "left_out": session.lost.left_out,
        **summarise(task, answers, images, groups, experiment.evaluation.resamples),
        "metric_names": {metric: each.name for metric, each in METRICS[task].items()},
        "speed": {**speed, **training_speed(pretrained, trained)},
        "schedule": schedules.read_schedule(folder),
        "smallest_gain": experiment.evaluation.smallest_gain,
        "seed": experiment.seed,
        "thresholds": {},
        "thresholds_chosen_on": "nothing: the answer is the most probable class",
    }
    networks = {name: network for name, (network, _) in trained.items()}
    for name, facts in describe_networks(networks, len(sees)).items():
        summary["models"][name] |= facts
    add_times(summary, networks, ask, len(sees), images[0].shape)
    if task == "classification":
        for name, table in confusions(answers, images).items():
            summary["models"][name]["confusion"] = table
    if probes:
        resamples = experiment.evaluation.resamples
        summary["linear_probe"] = summarise_probes(
            probes, summary["initialisations"], images, groups, resamples
        )
    summary["warnings"] = warnings(summary)
    results.finish(folder, summary)


def summarise_probes(
    probes: Mapping[str, Probed],
    initialisations: Mapping[str, str],
    images: Sequence[Prepared],
    groups: Sequence[str],
    resamples: int,
) -> dict[str, Any]:
    """Scores of linear probes by initialisation, and the gain of the student's over the twin's."""
    pair = {probes_of: model for model, probes_of in initialisations.items()}
    answers = {pair.get(name, name): Answers(each.table) for name, each in probes.items()}
    found = summarise("classification", answers, images, groups, resamples)
    models = {
        name: {**found["models"][pair.get(name, name)], "strength": each.strength}
        for name, each in probes.items()
    }
    return {"models": models, "gain": found["gain"]}


def describe_networks(
    networks: Mapping[str, TaskModel], channels: int
) -> dict[str, dict[str, Any]]:
    """Parameters, and MACs of one 256 x 256 image, by model."""
    found = {}
    for name, network in networks.items():
        base = network.classifier if isinstance(network, LinearProbe) else network
        found[name] = describe_network(base, channels)
    return found


def rows(
    task: str, answers: Mapping[str, Answers], images: Sequence[Prepared], groups: Sequence[str]
) -> list[dict[str, Any]]:
    """One row an image, model and metric; of a classified image, whether it is right."""
    found = []
    for name, each in answers.items():
        if task == "segmentation":
            values = score(task, each, images, np.eye(len(images)))
        else:
            truth = np.array([image.category for image in images])
            values = {"accuracy": (each.table.argmax(1) == truth).astype(float)}
        found += [
            {"image": image.id, "group": group, "model": name, "metric": metric, "value": value}
            for metric, column in values.items()
            for image, group, value in zip(images, groups, column.tolist(), strict=True)
        ]
    return found


def save_task_examples(
    scores: Scores, answers: Mapping[str, Answers], images: Sequence[Prepared], folder: Path
) -> None:
    """Keep the best, median and worst segmented images, by their mean Dice."""
    number = {image.id: index for index, image in enumerate(images)}

    def example(id: str) -> dict[str, np.ndarray]:
        image = images[number[id]]
        assert image.label is not None  # only labelled images are scored
        pixels = image.whole()
        arrays = {
            "id": np.array(id),
            "image": three_channels(pixels, choose_rule("auto", len(pixels))),
            "truth": image.label.astype(np.int32),
        }
        return arrays | {name: each.maps[number[id]] for name, each in answers.items()}

    save_examples(scores, folder / "examples", example)


def describe_data(experiment: config.Experiment, dataset: Dataset, tests: int) -> dict[str, Any]:
    """Counts of the data set by split, for the task; of a classification by class, too."""
    task = experiment.fine_tuning.task
    train = dataset.split("train")
    known = len(task_data.labelled(train, task))
    found: dict[str, Any] = {
        "name": dataset.name,
        "licence": dataset.licence,
        "simulated": dataset.simulated,
        "channels": list(dataset.channels),
        "train_labelled": known,
        "train_unlabelled": len(train) - known,
        "validation": len(task_data.labelled(dataset.split("val"), task)),
        "test": tests,
        "image_notes": datasets.image_notes(dataset),
        **results.describe_groups(task_data.labelled(dataset.split("test"), task)),
    }
    if task == "classification":
        counts = {part: datasets.class_counts(dataset.split(part)) for part in SPLITS}
        found["class_counts"] = counts
    return found


def training_speed(pretrained: Pretrained | None, trained: Trained) -> dict[str, float]:
    """Images a second and share of waiting for data, of the task and of pretraining."""
    speed = results.training_speed(trained)
    if pretrained is not None:
        speed["pretrain_images_per_s"] = pretrained.fitted.images_per_second
        speed["pretrain_share_waiting_for_data"] = pretrained.fitted.share_waiting
    return speed


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """What a reader should doubt, beyond what the report sees in the summary by itself."""
    said, data = [], summary["data"]
    if data["validation"] == 0:
        said.append("No validation image has a label: the last weights were taken.")
    if data["test"] < 100:
        said.append(f"{data['test']} test images are few: look at the intervals, not the means.")
    return said + results.missing_answers(summary)
