"""What a run leaves behind once it is trained: scores, summary, examples, report."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import abbe
from abbe import config, reporting
from abbe.datasets import Dataset, Record
from abbe.files import atomic_path
from abbe.recipes.recipe import Material, Recipe, Trained
from abbe.runs import schedules
from abbe.runs.accounts.environment import write_end
from abbe.runs.accounts.labels import add_labels
from abbe.runs.evidence import Gathered, evidence_of
from abbe.runs.lost import Lost
from abbe.runs.normalising import scaling_of
from abbe.runs.session import Session
from abbe.students.files.unchanged import weights_of_run
from abbe.summary import Calibration, Model, RunSummary, Speed, Targets, Teacher
from abbe.targets import Provenance, TargetStore
from abbe.tasks.calibration import calibrate
from abbe.tasks.scores import Scores, ranking_of, save_examples, save_scores
from abbe.tasks.slides import write_slides
from abbe.tasks.task import BySeed, Scored, Task, first_of

EITHER = "twin and supervised network in one: all that it trains on is labelled"


def write_results(
    recipe: Recipe,
    experiment: config.Experiment,
    dataset: Dataset,
    material: Material,
    gathered: Gathered,
    session: Session,
    *,
    complete: bool,
) -> None:
    """Score teacher, student and baselines on the test images; write what the report needs.

    Args:
        recipe: of the run.
        experiment: of the run.
        dataset: of the run.
        material: of the first seed.
        gathered: the networks.
        session: of the first seed.
        complete: whether nothing is left to train.
    """
    task, folder = recipe.task(experiment), session.folder
    seen = experiment.student.input_channels
    models: dict[str, BySeed] = {}
    if material.teacher is not None:
        models["teacher"] = {None: material.teacher}
    for name, by_seed in gathered.by_name.items():
        models[name] = {
            seed: task.model(each.network, each.metadata, seen) for seed, each in by_seed.items()
        }
    scored = task.score(
        models,
        dataset,
        experiment.evaluation,
        teacher=material.answering,
        progress=session.progress,
    )
    save_thresholds(task, scored, gathered, session)
    evidence = evidence_of(experiment, gathered, recipe.differs, complete=complete)
    summary = summarise(
        task,
        scored,
        experiment,
        dataset,
        session.lost,
        title=experiment.title or f"{experiment.recipe} on {dataset.name}",
        task_title=task.title(experiment),
        normalisation=scaling_of(experiment.student).words if task.scales_images else None,
        speed=speed_of(material, gathered.first["student"]),
        gain=scored.compared.gains.get(evidence.against, {}),
        evidence=evidence,
        schedule=schedules.read_schedule(folder),
        seed=experiment.seed,
        calibration=_calibration(task, models, (evidence.against, "student"), dataset),
        **describe_teacher(material.store, material.asked, material.provenance),
        **material.facts,
    )
    for name, text in material.about.items():
        if name in summary.models:
            summary.models[name].about = text
    summary.warnings += material.warnings
    add_labels(summary, task, experiment, dataset, gathered.first, material.teacher)
    same = {"supervised", "twin"} & set(evidence.baselines)
    if {"supervised", "twin"} <= set(experiment.compared_with) and len(same) == 1 and complete:
        summary.models[same.pop()].about = EITHER
    recipe.complete(summary, scored, gathered.first, experiment, dataset, material, session)
    write_scored(folder, scored)
    summary.weights_sha256 = weights_of_run(folder)
    summary.write(folder)
    write_end(folder)
    reporting.write_report(folder)


def _calibration(
    task: Task, models: Mapping[str, BySeed], names: Sequence[str], dataset: Dataset
) -> dict[str, dict[str, Calibration]]:
    """Of the networks of the first seed that may be handed over."""
    return calibrate(task.sample, first_of({n: models[n] for n in names if n in models}), dataset)


def summarise(
    task: Task,
    scored: Scored,
    experiment: config.Experiment,
    dataset: Dataset,
    lost: Lost,
    **facts: Any,
) -> RunSummary:
    """What scoring came to, of a run or of its evaluation elsewhere.

    Args:
        task: of the run.
        scored: by it.
        experiment: of the run.
        dataset: that was scored.
        lost: images that could not be used.
        facts: further fields of the summary.
    """
    compared, data = scored.compared, task.describe(dataset)
    known = {metric for scores in compared.scores.values() for metric in scores}
    values = {
        "thresholds_chosen_on": task.thresholds_chosen_on(data),
        "validation_score": task.validation_score,
        "encoder_weights": str(experiment.student.encoder_weights),
        "student_channels": list(experiment.student.input_channels),
    }
    return RunSummary(
        abbe=abbe.__version__,
        recipe=experiment.recipe,
        task=task.name,
        classes=list(task.classes(dataset)),
        data=data,
        lost=lost.ids,
        left_out=lost.left_out,
        overlaps=lost.overlaps,
        models={
            name: Model(metrics=scores, **scored.models.get(name, {}))
            for name, scores in compared.scores.items()
        },
        gains=compared.gains,
        retention=compared.retention,
        retention_ci95=compared.retention_ci95,
        metric_names={key: each.name for key, each in task.metrics.items() if key in known},
        smallest_gain=experiment.evaluation.smallest_gain,
        timing=scored.timing,
        thresholds=first_of(scored.thresholds),
        warnings=list(task.doubts),
        **values | facts,
    )


def write_scored(folder: Path, scored: Scored) -> None:
    """Write scores.parquet, examples, slides.csv, predictions.parquet, as far as there are any."""
    if scored.rows:
        scores = Scores(scored.rows)
        save_scores(scores, folder / "scores.parquet")
        if scored.example is not None:
            ranking = scored.ranking or ranking_of(scores)
            save_examples(ranking, folder / "examples", scored.example)
    if scored.slides:
        write_slides(folder / "slides.csv", scored.slides)
    if scored.predictions:
        save_predictions(folder / "predictions.parquet", scored.predictions)


def save_predictions(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write predictions.parquet: a row an image and model; what is no probability is a text."""
    import pyarrow
    from pyarrow import parquet

    fields = [
        (name, pyarrow.float64() if name.startswith("probability_") else pyarrow.string())
        for name in rows[0]
    ]
    table = pyarrow.Table.from_pylist(list(rows), pyarrow.schema(fields))
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary)


def save_thresholds(task: Task, scored: Scored, gathered: Gathered, session: Session) -> None:
    """Add to each network's file where its maps are to be cut; the numbers alone."""
    for name, by_seed in gathered.by_name.items():
        for seed, each in by_seed.items():
            if each.saved and seed in scored.thresholds.get(name, {}):
                thresholds = scored.thresholds[name][seed].model_dump(exclude={"chosen_on"})
                metadata = {**each.metadata, "thresholds": thresholds}
                path = session.of_seed(seed).folder / f"{name}.safetensors"
                task.save(path, each.network, metadata)


def describe_teacher(
    store: TargetStore | None,
    asked: Iterable[Record],
    provenance: Provenance | None = None,
) -> dict[str, Any]:
    """Fields of a summary: where targets came from, how many are empty, how many are missing.

    Args:
        store: the teacher's answers, where any are stored.
        asked: the images that it should hold an answer for.
        provenance: of the targets, where that is not what the store says.
    """
    provenance = provenance or (None if store is None else store.provenance)
    if provenance is None:
        return {"teacher": None}
    found: dict[str, Any] = {
        "teacher": Teacher.model_validate(provenance.to_json()),
        "teacher_channels": list(provenance.channels),
    }
    if store is not None:
        known = set(store.ids)
        found["targets"] = Targets(
            images=len(known),
            empty=len(store.empty_ids),
            missing=sum(record.id not in known for record in asked),
        )
    return found


def speed_of(material: Material, student: Trained) -> Speed:
    """Images a second and share of waiting for data, of the student's last stage."""
    last = student.fitted[-1]
    return Speed(
        train_images_per_s=last.images_per_second,
        train_share_waiting_for_data=last.share_waiting,
        train_share_validating=last.share_validating,
        **material.speed,
    )
