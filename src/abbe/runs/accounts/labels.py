"""How many labelled images each model of a run has really used: to learn, and to choose."""

from collections.abc import Mapping
from typing import Any

from abbe import config
from abbe.datasets import Dataset
from abbe.recipes.recipe import Trained
from abbe.runs import build
from abbe.summary import Labels, RunSummary, Thresholds
from abbe.tasks.maps import threshold_records
from abbe.tasks.task import Task


def add_labels(
    summary: RunSummary,
    task: Task,
    experiment: config.Experiment,
    dataset: Any,
    trained: Mapping[str, Trained],
    teacher: Any,
) -> None:
    """Add to each model of a summary which labelled images it has used.

    Args:
        summary: with its thresholds.
        task: of the run.
        experiment: of the run.
        dataset: of the run; what is no `Dataset` counts its labels itself.
        trained: the networks by name.
        teacher: as it is scored; None where it is not.
    """
    if not isinstance(dataset, Dataset):
        return
    for name, each in trained.items():
        if name in summary.models:
            summary.models[name].labels = _labels_of(
                task,
                experiment,
                dataset,
                each,
                summary.thresholds.get(name),
                all_labelled=name == "supervised",
            )
    if "teacher" in summary.models and "teacher" in summary.thresholds:
        chosen = _choosing_thresholds(dataset, summary.thresholds["teacher"])
        answered = sum(teacher.has(dataset[id]) for id in chosen)
        summary.models["teacher"].labels = Labels(choosing=answered, thresholds=answered)


def _labels_of(
    task: Task,
    experiment: config.Experiment,
    dataset: Dataset,
    trained: Trained,
    thresholds: Thresholds | None,
    *,
    all_labelled: bool,
) -> Labels:
    taught: set[str] = set()
    if trained.by_labels and (all_labelled or _draws_labelled(task, experiment, dataset)):
        taught = {record.id for record in task.labelled(dataset.split("train"))}
    weights: set[str] = set()
    if trained.validated:
        held_out = build.held_out(task.labelled(dataset.split("val")), experiment)
        weights = {record.id for record in held_out}
    cut = set() if thresholds is None else _choosing_thresholds(dataset, thresholds)
    return Labels(
        training=len(taught),
        choosing=len((weights | cut) - taught),
        weights=len(weights),
        thresholds=len(cut),
    )


def _draws_labelled(task: Task, experiment: config.Experiment, dataset: Dataset) -> bool:
    """Whether any crop is drawn from labelled images, where there are both kinds."""
    train = dataset.split("train")
    mixed = len(task.labelled(train)) < len(train)
    reads = config.RECIPES[experiment.recipe].reads("training.labelled_share")
    return not (mixed and reads and experiment.training.labelled_share == 0)


def _choosing_thresholds(dataset: Dataset, thresholds: Thresholds) -> set[str]:
    chosen_on, records = threshold_records(dataset)
    return {record.id for record in records} if thresholds.chosen_on == chosen_on else set()
