"""What a label-efficiency curve leaves behind: scores with intervals, table, pictures, report."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import abbe
from abbe import config, reporting, scoring
from abbe.curves.label_subsets import Level as Share
from abbe.curves.trainings import (
    Arrays,
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
from abbe.files import atomic_path, write_text
from abbe.foreign_text import cells
from abbe.reporting.tables import plain_cell, tested_in_words
from abbe.runs import schedules
from abbe.scoring import Measured, Metric
from abbe.summary import (
    BASELINES,
    CurveBlock,
    CurveSummary,
    Data,
    Differences,
    Gain,
    Level,
    LevelGains,
    LevelScores,
    Score,
)
from abbe.tasks.scores import measured_gain, measured_score

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
    levels: Sequence[Share],
    compared: Sequence[str],
    *,
    planned: int,
    facts: Mapping[str, Any],
    metrics: Mapping[str, Metric],
    teacher: Outcome | None = None,
) -> CurveSummary | None:
    """Write everything that can be said of the seeds that are finished.

    Args:
        folder: of the curve.
        experiment: what it was made from.
        outcomes: of the finished trainings.
        levels: shares of the labels, ascending.
        compared: what is compared, in order.
        planned: how many trainings there will be.
        facts: of task, data, teacher and pretraining.
        metrics: of the task.
        teacher: the teacher's own scores on the test images, where there are any.

    Returns:
        The summary; None while no seed is finished.
    """
    seeds = finished_seeds(outcomes, len(levels) * len(compared))
    write_table(folder, facts["compared_as"], outcomes)
    if not seeds:
        return None
    _write_image_scores(folder / "scores.parquet", facts["compared_as"], outcomes)
    first = next(iter(outcomes.values()))
    block = summarise(outcomes, levels, compared, seeds, metrics)
    values: dict[str, Any] = dict(facts)
    probes = {training: probe_of(outcome) for training, outcome in outcomes.items()}
    probed = {training: each for training, each in probes.items() if each is not None}
    if len(probed) == len(outcomes):
        values["linear_probe"] = summarise(probed, levels, compared, seeds, metrics)
    if teacher is not None:
        values["teacher_scores"] = _teacher_scores(teacher, metrics)
    seconds = {
        name: sum(o.seconds for t, o in outcomes.items() if t.compared == name) for name in compared
    }
    summary = CurveSummary(
        abbe=abbe.__version__,
        kind="curve",
        recipe=experiment.recipe,
        title=experiment.title
        or f"Label efficiency of {experiment.recipe} on {facts['data'].name}",
        compared=list(compared),
        reference=reference_of(compared),
        levels=[
            Level(fraction=each.fraction, labelled=each.labelled, merged=list(each.merged))
            for each in levels
        ],
        seeds=seeds,
        planned=planned,
        finished=len(outcomes),
        student_channels=list(experiment.student.input_channels),
        architecture=experiment.student.architecture,
        encoder_weights=str(experiment.student.encoder_weights),
        steps=experiment.training.steps,
        schedule=schedules.read_schedule(folder),
        smallest_gain=experiment.evaluation.smallest_gain,
        grouped=list(first.images) != list(first.groups),
        test_groups=len(set(first.groups)),
        scores=block.scores,
        differences=block.differences,
        seconds=seconds,
        **values,
    )
    summary.write(folder)
    reporting.write_report(folder)
    return summary


def finished_seeds(outcomes: Outcomes, needed: int) -> list[int]:
    """The seeds of which every training is done, in order."""
    seeds = dict.fromkeys(training.seed for training in outcomes)
    return [seed for seed in seeds if sum(t.seed == seed for t in outcomes) == needed]


def reference_of(compared: Sequence[str]) -> str:
    """What differences are taken to: random weights, a baseline, else the first there is."""
    return next((name for name in ("random", *BASELINES) if name in compared), compared[0])


def summarise(
    outcomes: Outcomes,
    levels: Sequence[Share],
    compared: Sequence[str],
    seeds: Sequence[int],
    metrics: Mapping[str, Metric],
) -> CurveBlock:
    """Means over seeds with intervals at each share, and differences to the reference.

    Differences are paired in test images and in seeds. The variance of a mean is that over the test
    images (or whole groups of them) and that over the seeds.
    """
    first = next(iter(outcomes.values()))
    counts, sizes = scoring.leave_out(first.groups)
    measured: dict[tuple[str, int, str], Measured] = {}
    scores: dict[str, list[LevelScores]] = {}
    for name in compared:
        scores[name] = []
        for level in levels:
            own = [outcomes[Training(name, level, seed)].arrays for seed in seeds]
            found = measured_of(own, counts, sizes)
            measured |= {(name, level.labelled, metric): each for metric, each in found.items()}
            values = {
                metric: measured_score(each, metrics[metric].scale)
                for metric, each in found.items()
            }
            scores[name].append(LevelScores(labelled=level.labelled, metrics=values))
    reference = reference_of(compared)
    differences = {
        name: _differences(measured, name, reference, levels)
        for name in compared
        if name != reference
    }
    return CurveBlock(scores=scores, differences=differences)


def measured_of(
    arrays: Sequence[Arrays], counts: Floats, sizes: NDArray[np.intp]
) -> dict[str, Measured]:
    """By metric, what trainings that differ in their seed came to.

    Args:
        arrays: of their outcomes.
        counts: (G, N) from `abbe.scoring.leave_out`.
        sizes: (G,) likewise.
    """
    whole = [scores_of(each) for each in arrays]
    parts = [scores_of(each, counts) for each in arrays]
    return {
        metric: Measured(
            np.array([each[metric][0] for each in whole]),
            np.stack([each[metric] for each in parts]),
            sizes,
        )
        for metric in whole[0]
    }


def _differences(
    measured: Mapping[tuple[str, int, str], Measured],
    name: str,
    reference: str,
    levels: Sequence[Share],
) -> Differences:
    """At each share, and their mean over all shares."""
    metrics = list(dict.fromkeys(metric for _, _, metric in measured))
    counts = [level.labelled for level in levels]

    def difference(metric: str, over: Sequence[int]) -> Gain:
        each = [
            measured[name, labelled, metric].minus(measured[reference, labelled, metric])
            for labelled in over
        ]
        by_seed = np.mean([one.by_seed for one in each], axis=0)
        left_out = np.mean([one.left_out for one in each], axis=0)
        return measured_gain(Measured(by_seed, left_out, each[0].sizes))

    return Differences(
        levels=[
            LevelGains(
                labelled=labelled,
                metrics={metric: difference(metric, [labelled]) for metric in metrics},
            )
            for labelled in counts
        ],
        all={metric: difference(metric, counts) for metric in metrics},
    )


def _teacher_scores(teacher: Outcome, metrics: Mapping[str, Metric]) -> dict[str, Score]:
    found = measured_of([teacher.arrays], *scoring.leave_out(teacher.groups))
    return {metric: measured_score(each, metrics[metric].scale) for metric, each in found.items()}


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


def table(summary: CurveSummary) -> str:
    """The main metric as plain text: one line a share of the labels, then the differences."""
    lines = [f"{summary.metric:18}" + "".join(f"{name:>26}" for name in summary.compared)]
    lines += _block(summary, summary)
    if summary.linear_probe is not None:
        lines += ["linear probe on frozen features", *_block(summary, summary.linear_probe)]
    of = Data(test=summary.data.test, grouped=summary.grouped, test_groups=summary.test_groups)
    return "\n".join([*lines, *tested_in_words(of)])


def _block(summary: CurveSummary, part: CurveBlock) -> list[str]:
    """One line a share of the labels, then the differences; of networks, or of linear probes."""
    metric, compared = summary.metric, summary.compared
    lines = []
    for number, level in enumerate(summary.levels):
        cells = [plain_cell(part.scores[name][number].metrics[metric]) for name in compared]
        label = f"{level.labelled} ({100 * level.fraction:g} %)"
        lines.append(f"{label:18}" + "".join(f"{each:>26}" for each in cells))
    if part.differences:
        cells = [
            plain_cell(part.differences[name].all[metric], "+") if name in part.differences else ""
            for name in compared
        ]
        label = f"all − {summary.reference}"
        lines.append(f"{label:18}" + "".join(f"{each:>26}" for each in cells))
    return lines
