"""What a run leaves behind once it is trained: scores, summary, examples, report."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

import abbe
from abbe import config, report, scoring, students
from abbe.datasets import Dataset, Record, image_notes
from abbe.files import write_json
from abbe.runs import folder as run_folder
from abbe.runs import schedules
from abbe.runs.lost import Lost
from abbe.runs.normalising import scaling_of
from abbe.runs.pixel_sizes import student_pixel_size
from abbe.targets import Provenance, TargetStore
from abbe.tasks.costs import add_costs
from abbe.tasks.models import Model, NetworkModel, StoredModel
from abbe.tasks.scores import Scores, outlined, save_examples, save_scores, score, summarise
from abbe.teachers import Teacher
from abbe.training.fit import Fitted

Trained = Mapping[str, tuple[students.UNet, list[Fitted]]]


def write_results(
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
    teacher: Teacher | None,
    store: TargetStore | None,
    trained: Trained,
    speed: dict[str, float],
    lost: Lost,
    *,
    progress: bool,
) -> None:
    """Score teacher, student and twin on the test images and write everything the report needs."""
    sees, outputs = experiment.student.sees, experiment.student.outputs
    scaling, size = scaling_of(experiment.student), student_pixel_size(dataset)
    models: dict[str, Model] = {}
    if store is not None and _answers_tests(store, dataset):
        models["teacher"] = StoredModel(store)
    for name, (network, _) in trained.items():
        models[name] = NetworkModel(network, outputs, sees, scaling, size)
    settings = experiment.evaluation
    scores = score(
        models,
        dataset,
        tolerance=settings.tolerance,
        minimum_area=settings.minimum_area,
        progress=progress,
    )
    save_scores(scores, folder / "scores.parquet")
    save_thresholds(folder, scores, trained)
    save_examples(
        scores,
        folder / "examples",
        lambda id: outlined(models, dataset[id], scores, settings.minimum_area),
    )
    summary = {
        "abbe": abbe.__version__,
        "recipe": experiment.recipe,
        "title": experiment.title or f"{experiment.recipe} on {dataset.name}",
        "task": "instance segmentation" if "boundary" in outputs else "foreground segmentation",
        "data": describe_data(dataset),
        "student_sees": list(sees),
        "encoder_weights": str(experiment.student.encoder_weights),
        "normalisation": scaling.words,
        **describe_teacher(store, _asked(experiment, dataset)),
        "lost": lost.ids,
        "left_out": lost.left_out,
        **summarise(scores, settings.resamples),
        "metric_names": metric_names(scores),
        "speed": {**speed, **training_speed(trained)},
        "schedule": schedules.read_schedule(folder),
        "smallest_gain": settings.smallest_gain,
        "seed": experiment.seed,
    }
    add_costs(summary, models, dataset, teacher)
    summary["thresholds"] = {
        name: dataclasses.asdict(each) for name, each in scores.thresholds.items()
    }
    summary["thresholds_chosen_on"] = thresholds_chosen_on(summary["data"])
    summary["warnings"] = warnings(summary)
    finish(folder, summary)


def finish(folder: Path, summary: dict[str, Any]) -> None:
    """Write summary.json, when the run ended, and the report."""
    write_json(folder / "summary.json", summary)
    run_folder.write_end(folder)
    report.write_report(folder)


def save_thresholds(folder: Path, scores: Scores, trained: Trained) -> None:
    """Add to each network's file where its maps are to be cut."""
    for name in trained:
        path = folder / f"{name}.safetensors"
        network, facts = students.load(path)
        thresholds = dataclasses.asdict(scores.thresholds[name])
        del thresholds["chosen_on"]  # the summary says it; a file of weights holds numbers
        students.save(path, network, {**facts, "thresholds": thresholds})


def _answers_tests(store: TargetStore, dataset: Dataset) -> bool:
    known = set(store.ids)
    return any(record.id in known for record in dataset.split("test"))


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """Counts of the data set by split, and what was noted of its images."""
    train = dataset.split("train")
    return {
        "name": dataset.name,
        "licence": dataset.licence,
        "simulated": dataset.simulated,
        "channels": list(dataset.channels),
        "train_labelled": len(train.labelled),
        "train_unlabelled": len(train.unlabelled),
        "validation": len(dataset.split("val").labelled),
        "test": len(dataset.split("test").labelled),
        "image_notes": image_notes(dataset),
        **describe_groups(dataset.split("test").labelled),
    }


def describe_groups(records: Iterable[Record]) -> dict[str, Any]:
    """Whether the group of each image is known, and how many groups there are."""
    records = list(records)
    grouped = bool(records) and all(record.group is not None for record in records)
    return {"grouped": grouped, "test_groups": len({record.unit for record in records})}


def _asked(experiment: config.Experiment, dataset: Dataset) -> list[Record]:
    """The images that the store should have an answer for; a live teacher's training is not."""
    live = experiment.teacher.live
    return [record for record in dataset if not live or record.split != "train"]


def describe_teacher(store: TargetStore | None, asked: Iterable[Record]) -> dict[str, Any]:
    """Where the targets came from, how many were empty, and how many of those asked for lack."""
    if store is None:
        return {"teacher": None, "teacher_sees": [], "targets": None, "stand_in": []}
    known = set(store.ids)
    return {
        "teacher": describe_provenance(store.provenance),
        "teacher_sees": list(store.provenance.channels),
        "targets": {
            "images": len(store.ids),
            "empty": len(store.empty_ids),
            "missing": sum(record.id not in known for record in asked),
        },
        "stand_in": [store.provenance.teacher] if store.provenance.stand_in else [],
    }


def describe_provenance(provenance: Provenance) -> dict[str, Any]:
    """Where targets came from, as plain values."""
    return {**dataclasses.asdict(provenance), "thresholds": dict(provenance.thresholds)}


def training_speed(trained: Mapping[str, tuple[nn.Module, list[Fitted]]]) -> dict[str, float]:
    """Images a second and share of waiting for data, of the student's last stage."""
    fitted = trained["student"][1][-1]
    return {
        "train_images_per_s": fitted.images_per_second,
        "train_share_waiting_for_data": fitted.share_waiting,
    }


def thresholds_chosen_on(data: Mapping[str, Any]) -> str:
    """In words, where thresholds come from."""
    if data["validation"]:
        return f"{data['validation']} validation images"
    if data["train_labelled"]:
        return f"{data['train_labelled']} labelled training images, for want of validation images"
    return "nothing: all are 0.5"


def metric_names(scores: Scores) -> dict[str, str]:
    """Each metric's full name."""
    return {metric: scoring.METRICS[metric].name for metric in scores.metrics}


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """What a reader should doubt, beyond what the report sees in the summary by itself."""
    said = []
    data, teacher = summary["data"], summary["teacher"]
    if teacher and "teacher" not in summary["models"]:
        said.append("The teacher gave no answer for the test images, so it is not in the table.")
    if data["validation"] == 0:
        said.append(
            "No validation image is labelled: the last weights were taken, and thresholds come "
            f"from {thresholds_chosen_on(data)}."
        )
    said += missing_answers(summary)
    return said


def missing_answers(summary: Mapping[str, Any]) -> list[str]:
    """Sentences on images without an answer of the teacher, and on those left out, if any."""
    missing = summary["targets"]["missing"] if summary.get("targets") else 0
    said = [f"The teacher gave no answer for {missing} images."] if missing else []
    left_out = summary.get("left_out", ())
    if left_out:
        more = f" and {len(left_out) - SHOWN_IDS} more" if len(left_out) > SHOWN_IDS else ""
        said.append(
            f"{len(left_out)} images could not be read and were left out, as was allowed: "
            f"{', '.join(left_out[:SHOWN_IDS])}{more}."
        )
    return said


SHOWN_IDS = 5
"""Images that a warning names."""


SHOWN = (
    "dice", "dice_1_point", "dice_3_points", "f1@0.5", "pq", "balanced_accuracy", "accuracy",
    "macro_f1", "auroc", "mean_iou", "top5_accuracy",
)  # fmt: skip
"""Metrics of the short table, as far as a run has them."""


def table(summary: Mapping[str, Any], metrics: Sequence[str] | None = None) -> str:
    """The main table as plain text: one line a model, then gain and retention."""
    metrics = metrics or [metric for metric in SHOWN if metric in summary["metric_names"]]
    probed = summary.get("linear_probe", {}).get("models", {})
    width = 1 + max(len(name) for name in (*summary["models"], *probed, "retention"))
    lines = [f"{'':{width}}" + "".join(f"{metric:>24}" for metric in metrics)]
    for name, model in summary["models"].items():
        cells = [_cell(model["metrics"].get(metric)) for metric in metrics]
        lines.append(f"{name:{width}}" + "".join(f"{cell:>24}" for cell in cells))
    if summary["gain"]:
        cells = [_cell(summary["gain"].get(metric), sign="+") for metric in metrics]
        lines.append(f"{'gain':{width}}" + "".join(f"{cell:>24}" for cell in cells))
    if summary["retention"]:
        kept = [summary["retention"].get(metric) for metric in metrics]
        cells = ["—" if share is None else f"{share:.1%}" for share in kept]
        lines.append(f"{'retention':{width}}" + "".join(f"{cell:>24}" for cell in cells))
    if probed:
        lines.append("linear probe on frozen features, by what the encoder began with")
        for name, model in probed.items():
            cells = [_cell(model["metrics"].get(metric)) for metric in metrics]
            lines.append(f"{name:{width}}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


def _cell(value: Mapping[str, Any] | None, sign: str = "") -> str:
    if value is None or value["mean"] is None:
        return "—"
    low, high = value["ci95"]
    if low is None or high is None:  # a single image has no interval
        return f"{value['mean']:{sign}.3f}"
    return f"{value['mean']:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
