"""What a label-efficiency curve leaves behind: scores with intervals, table, pictures, report."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import abbe
from abbe import config, report, scoring
from abbe.curves.label_subsets import Level
from abbe.curves.trainings import (
    Floats,
    Outcome,
    Training,
    image_scores_of,
    load_outcome,
    path_of,
    probe_of,
    scores_of,
)
from abbe.errors import InputError
from abbe.files import atomic_path, write_json, write_text
from abbe.foreign_text import cells
from abbe.runs import schedules
from abbe.runs.results import missing_answers

Outcomes = Mapping[Training, Outcome]
Scored = Mapping[Training, Mapping[str, Floats]]


def load_outcomes(folder: Path, trainings: Sequence[Training]) -> dict[Training, Outcome]:
    """What the finished ones of the trainings came to.

    Raises:
        InputError: some were scored on other test images than the others.
    """
    found = {
        training: load_outcome(path_of(folder, training.name))
        for training in trainings
        if path_of(folder, training.name).exists()
    }
    tests = {tuple(outcome.images) for outcome in found.values()}
    if len(tests) > 1:
        raise InputError(
            f"{folder / 'trainings'}: not all trainings were scored on the same test images: the "
            "data has changed since the curve was begun. Give another --out"
        )
    return found


def write_table(folder: Path, compared_as: str, outcomes: Outcomes) -> None:
    """Write curve.csv: one row a training, with its scores of all test images."""
    rows = [
        {
            compared_as: training.compared,
            "fraction": training.level.fraction,
            "labelled": training.level.labelled,
            "seed": training.seed,
            **{name: float(value[0]) for name, value in scores_of(outcome.arrays).items()},
            **_probe_scores(outcome),
            "steps": outcome.steps,
            "best_step": "" if outcome.best_step is None else outcome.best_step,
            "seconds": round(outcome.seconds, 1),
        }
        for training, outcome in outcomes.items()
    ]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(cells(list(rows[0])))
    writer.writerows(cells(list(row.values())) for row in rows)
    write_text(folder / "curve.csv", text.getvalue())


def _probe_scores(outcome: Outcome) -> dict[str, float]:
    probe = probe_of(outcome)
    scores = {} if probe is None else scores_of(probe.arrays)
    return {f"linear_probe_{name}": float(value[0]) for name, value in scores.items()}


def write_results(
    folder: Path,
    experiment: config.Experiment,
    outcomes: Outcomes,
    levels: Sequence[Level],
    compared: Sequence[str],
    planned: int,
    facts: Mapping[str, Any],
    teacher: Outcome | None = None,
) -> dict[str, Any]:
    """Write everything that can be said of the seeds that are finished.

    Args:
        folder: of the curve.
        experiment: what it was made from.
        outcomes: of the finished trainings.
        levels: shares of the labels, ascending.
        compared: what is compared, in order.
        planned: how many trainings there will be.
        facts: of task, data, teacher and pretraining.
        teacher: the teacher's own scores on the test images, where there are any.

    Returns:
        The summary; empty while no seed is finished.
    """
    seeds = finished_seeds(outcomes, len(levels) * len(compared))
    write_table(folder, facts["compared_as"], outcomes)
    if not seeds:
        return {}
    _write_image_scores(folder / "scores.parquet", facts["compared_as"], outcomes)
    first = next(iter(outcomes.values()))
    summary: dict[str, Any] = {
        "abbe": abbe.__version__,
        "kind": "curve",
        "recipe": experiment.recipe,
        "title": experiment.title
        or f"Label efficiency of {experiment.recipe} on {facts['data']['name']}",
        **facts,
        "compared": list(compared),
        "reference": reference_of(compared),
        "levels": [
            {"fraction": each.fraction, "labelled": each.labelled, "merged": list(each.merged)}
            for each in levels
        ],
        "seeds": seeds,
        "planned": planned,
        "finished": len(outcomes),
        "student_sees": list(experiment.student.sees),
        "architecture": experiment.student.architecture,
        "encoder_weights": str(experiment.student.encoder_weights),
        "steps": experiment.training.steps,
        "schedule": schedules.read_schedule(folder),
        "resamples": experiment.evaluation.resamples,
        "smallest_gain": experiment.evaluation.smallest_gain,
        "grouped": list(first.images) != list(first.groups),
        "test_groups": len(set(first.groups)),
        **summarise(outcomes, levels, compared, seeds, experiment.evaluation.resamples),
        "seconds": {
            name: sum(o.seconds for t, o in outcomes.items() if t.compared == name)
            for name in compared
        },
    }
    probes = {training: probe_of(outcome) for training, outcome in outcomes.items()}
    probed = {training: each for training, each in probes.items() if each is not None}
    if len(probed) == len(outcomes):
        summary["linear_probe"] = summarise(
            probed, levels, compared, seeds, experiment.evaluation.resamples
        )
    if teacher is not None:
        summary["teacher_scores"] = _teacher_scores(teacher, experiment.evaluation.resamples)
    summary["warnings"] = missing_answers(summary)
    write_json(folder / "summary.json", summary)
    report.write_report(folder)
    return summary


def finished_seeds(outcomes: Outcomes, needed: int) -> list[int]:
    """The seeds of which every training is done, in order."""
    seeds = dict.fromkeys(training.seed for training in outcomes)
    return [seed for seed in seeds if sum(t.seed == seed for t in outcomes) == needed]


def reference_of(compared: Sequence[str]) -> str:
    """What differences are taken to: random weights or the twin, else the first there is."""
    return next((name for name in ("random", "twin") if name in compared), compared[0])


def summarise(
    outcomes: Outcomes,
    levels: Sequence[Level],
    compared: Sequence[str],
    seeds: Sequence[int],
    resamples: int,
) -> dict[str, Any]:
    """Means over seeds with intervals at each share, and differences to the reference.

    In every resample the test images (or whole groups of them) are drawn once for all trainings,
    and the seeds once for everything compared, so that differences are paired in both.
    """
    first = next(iter(outcomes.values()))
    counts = scoring.draw_counts(first.groups, resamples=resamples)
    weights = scoring.draw_seeds(len(seeds), resamples=len(counts))
    n = len(first.images)
    scores: dict[str, list[dict[str, Any]]] = {}
    plain: dict[tuple[str, int, str], float] = {}
    drawn: dict[tuple[str, int, str], Floats] = {}
    for name in compared:
        scores[name] = []
        for level in levels:
            own = [outcomes[Training(name, level, seed)].arrays for seed in seeds]
            each = [scores_of(arrays) for arrays in own]
            resampled = [scores_of(arrays, counts) for arrays in own]
            metrics = {}
            for metric in each[0]:
                by_seed = [float(found[metric][0]) for found in each]
                key = (name, level.labelled, metric)
                plain[key] = float(np.mean(by_seed))
                drawn[key] = scoring.mean_over_seeds(
                    np.stack([found[metric] for found in resampled]), weights
                )
                interval = scoring.whole_interval(plain[key], drawn[key], n)
                metrics[metric] = {
                    "mean": interval.mean,
                    "ci95": [interval.low, interval.high],
                    "by_seed": by_seed,
                    "n": n,
                }
            scores[name].append({"labelled": level.labelled, "metrics": metrics})
    reference = reference_of(compared)
    differences = {}
    for name in compared:
        if name != reference:
            differences[name] = _differences(plain, drawn, name, reference, levels, n)
    return {"scores": scores, "differences": differences}


def _differences(
    plain: Mapping[tuple[str, int, str], float],
    drawn: Mapping[tuple[str, int, str], Floats],
    name: str,
    reference: str,
    levels: Sequence[Level],
    n: int,
) -> dict[str, Any]:
    """At each share, and their mean over all shares."""
    metrics = list(dict.fromkeys(metric for _, _, metric in plain))
    counts = [level.labelled for level in levels]

    def difference(metric: str, over: Sequence[int]) -> dict[str, Any]:
        first, second = (
            [plain[model, labelled, metric] for labelled in over] for model in (name, reference)
        )
        one, other = (
            np.mean([drawn[model, labelled, metric] for labelled in over], axis=0)
            for model in (name, reference)
        )
        found = scoring.whole_difference(
            float(np.mean(first)), float(np.mean(second)), one, other, n
        )
        return {"mean": found.mean, "ci95": [found.low, found.high], "p": found.p, "n": n}

    return {
        "levels": [
            {
                "labelled": labelled,
                "metrics": {metric: difference(metric, [labelled]) for metric in metrics},
            }
            for labelled in counts
        ],
        "all": {metric: difference(metric, counts) for metric in metrics},
    }


def _teacher_scores(teacher: Outcome, resamples: int) -> dict[str, Any]:
    counts = scoring.draw_counts(teacher.groups, resamples=resamples)
    plain, drawn = scores_of(teacher.arrays), scores_of(teacher.arrays, counts)
    found = {}
    for metric, value in plain.items():
        interval = scoring.whole_interval(float(value[0]), drawn[metric], len(teacher.images))
        found[metric] = {"mean": interval.mean, "ci95": [interval.low, interval.high]}
    return found


def _write_image_scores(path: Path, compared_as: str, outcomes: Outcomes) -> None:
    """Write scores.parquet: one row a training, image and metric."""
    import pyarrow
    from pyarrow import parquet

    rows = [
        {
            compared_as: training.compared,
            "fraction": training.level.fraction,
            "labelled": training.level.labelled,
            "seed": training.seed,
            "image": image,
            "group": group,
            "metric": metric,
            "value": value,
        }
        for training, outcome in outcomes.items()
        for metric, column in _columns_of(outcome).items()
        for image, group, value in zip(outcome.images, outcome.groups, column.tolist(), strict=True)
    ]
    with atomic_path(path) as temporary:
        parquet.write_table(pyarrow.Table.from_pylist(rows), temporary)


def _columns_of(outcome: Outcome) -> dict[str, Floats]:
    probe = probe_of(outcome)
    probed = {} if probe is None else image_scores_of(probe.arrays)
    return image_scores_of(outcome.arrays) | {
        f"linear_probe_{metric}": column for metric, column in probed.items()
    }


def table(summary: Mapping[str, Any]) -> str:
    """The main metric as plain text: one line a share of the labels, then the differences."""
    metric, compared = summary["metric"], summary["compared"]
    lines = [f"{metric:18}" + "".join(f"{name:>26}" for name in compared)]
    lines += _block(summary, summary)
    if "linear_probe" in summary:
        lines += ["linear probe on frozen features", *_block(summary, summary["linear_probe"])]
    return "\n".join(lines)


def _block(summary: Mapping[str, Any], part: Mapping[str, Any]) -> list[str]:
    """One line a share of the labels, then the differences; of networks, or of linear probes."""
    metric, compared = summary["metric"], summary["compared"]
    lines = []
    for number, level in enumerate(summary["levels"]):
        cells = [part["scores"][name][number]["metrics"][metric] for name in compared]
        label = f"{level['labelled']} ({100 * level['fraction']:g} %)"
        lines.append(f"{label:18}" + "".join(f"{_cell(cell):>26}" for cell in cells))
    differences = part["differences"]
    if differences:
        cells = [
            _cell(differences[name]["all"][metric], "+") if name in differences else ""
            for name in compared
        ]
        label = f"all − {summary['reference']}"
        lines.append(f"{label:18}" + "".join(f"{cell:>26}" for cell in cells))
    return lines


def _cell(value: Mapping[str, Any], sign: str = "") -> str:
    if value["mean"] is None or np.isnan(value["mean"]):
        return "–"
    low, high = value["ci95"]
    if low is None or high is None or np.isnan(low) or np.isnan(high):
        return f"{value['mean']:{sign}.3f}"
    return f"{value['mean']:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
