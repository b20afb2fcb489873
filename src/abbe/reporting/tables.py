"""The tables of the page, and of the terminal: ready text, made from ``summary.json``."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from abbe import scoring
from abbe.caveats import listed
from abbe.reporting.numbers import (
    bounds_of,
    decimal,
    interval,
    p_value,
    percent,
    percent_interval,
)
from abbe.summary import BASELINES, Data, Labels, Model, RunSummary, Score, Summary

METRICS = {
    **scoring.CLASSIFICATION_METRICS,
    **scoring.REGION_METRICS,
    **scoring.METRICS,
    **scoring.TYPE_METRICS,
    **{key: each for key, each in scoring.PROMPTED_METRICS.items() if key not in scoring.METRICS},
}
"""All that this version knows, by key."""

_FAMILY = {
    **dict.fromkeys(("dice", "iou", "precision", "recall"), "Pixels"),
    **dict.fromkeys(("boundary_f1", "nsd", "hd95"), "Boundaries"),
    **dict.fromkeys(("mean_ap", "pq", "sq", "rq", "aji"), "Instances"),
    **dict.fromkeys(scoring.CLASSIFICATION_METRICS, "Classes"),
    **dict.fromkeys(scoring.TYPE_METRICS, "Types"),
    **dict.fromkeys(("mean_iou", "pixel_accuracy"), "Regions"),
    **{
        scoring.prompted_key(metric, kind): f"Asked by {words}"
        for kind, words in scoring.PROMPT_KINDS.items()
        for metric in scoring.MEASURED
        if kind != "box"
    },
}
_MAIN = ("dice", "dice_1_point", "dice_3_points", "boundary_f1", "f1@0.5", "pq", "aji")
_MOST_MAIN, _FEW = 5, 7
_IN_PIXELS = {scoring.prompted_key("hd95", kind) for kind in scoring.PROMPT_KINDS}


class Cell(NamedTuple):
    """A score: its mean, its 95 % interval, and over how many images where that is known."""

    mean: str
    interval: str
    n: int | None


class MetricRow(NamedTuple):
    """One metric and its cell for every model."""

    name: str
    arrow: str
    cells: tuple[Cell, ...]


class GainRow(NamedTuple):
    """What distillation bought in one metric, with the `verdict_of` it."""

    name: str
    arrow: str
    gain: str
    interval: str
    p: str
    verdict: str
    retention: str
    retention_interval: str


def models_of(summary: RunSummary) -> tuple[str, ...]:
    """The models of a run: teacher, student, baselines first, then whatever others there are."""
    models = summary.models
    first = [name for name in ("teacher", "student", *BASELINES) if name in models]
    return (*first, *(name for name in models if name not in first))


def abouts(summary: RunSummary) -> list[tuple[str, str]]:
    """(name, what it is) of models that a name does not explain."""
    trained = summary.teacher.trained_here if summary.teacher is not None else ""
    told = {"teacher": trained} if "teacher" in summary.models else {}
    told |= {name: model.about for name, model in summary.models.items() if model.about}
    return [(name, text) for name, text in told.items() if text]


def label_cells(summary: RunSummary) -> list[str]:
    """How many labelled images each of `models_of` has used; none where no model says it."""
    cells = [labels_in_words(summary, model) for model in models_of(summary)]
    return cells if any(cell != "—" for cell in cells) else []


def labels_in_words(summary: RunSummary, model: str) -> str:
    """``20``, ``20 + 54 for choosing``, or what a teacher was shown.

    >>> from abbe.summary import Labels
    >>> student = Model(labels=Labels(training=20, choosing=54))
    >>> labels_in_words(RunSummary(models={"student": student}), "student")
    '20 + 54 for choosing'
    """
    if model == "teacher" and summary.teacher_saw_labels:
        return "sees the labels"
    found = (summary.models[model].labels if model in summary.models else None) or Labels()
    trained = model == "teacher" and summary.teacher is not None and summary.teacher.trained_here
    training = ("its own" if trained else "") if found.training is None else str(found.training)
    choosing = f"{found.choosing} for choosing" if found.choosing else ""
    return " + ".join(part for part in (training, choosing) if part) or "—"


def metrics_of(summary: RunSummary) -> tuple[str, ...]:
    """The metrics that any model was scored with, in the order of ``abbe.scoring.METRICS``."""
    models = (summary.models[name] for name in models_of(summary))
    found = dict.fromkeys(metric for model in models for metric in model.metrics)
    order = list(METRICS)
    return tuple(sorted(found, key=lambda key: order.index(key) if key in METRICS else len(order)))


def primary_metric(summary: RunSummary) -> str | None:
    """The metric of the headline: Dice, or else the first that is defined for any model."""
    metrics = metrics_of(summary)
    if "dice" in metrics:
        return "dice"
    defined = (metric for metric in metrics if _is_defined(summary, metric))
    return next(defined, next(iter(metrics), None))


def full_name(summary: Summary, metric: str) -> str:
    """A metric's name for people, as the run recorded it."""
    known = METRICS[metric][0] if metric in METRICS else metric
    return summary.metric_names.get(metric, known)


def higher_is_better(metric: str) -> bool | None:
    """Which way is better; None for a metric that this version does not know."""
    return METRICS[metric][1] if metric in METRICS else None


def is_fraction(metric: str) -> bool:
    """Whether a metric lives in [0, 1] and can be spoken of in points of a hundred."""
    return metric not in _IN_PIXELS


def family(metric: str) -> str:
    """What a metric looks at: pixels, boundaries or instances."""
    return "Instances" if metric.startswith("f1@") else _FAMILY.get(metric, "Other")


VERDICTS = {
    "better": "helped",
    "worse": "harmed",
    "unclear": "not clear",
    "negligible": "no difference that matters",
    "unproven": "one seed: no claim",
}
"""What `verdict_of` says, in the report's words."""


def verdict_of(summary: Summary, metric: str, difference: Score) -> str:
    """What to think of a difference of scores.

    ``unproven`` where there is a single seed; ``better`` or ``worse`` where its interval leaves out
    0; ``negligible`` where the difference, or all of its interval, is below the smallest that
    matters (``smallest_gain``, of scores in [0, 1]); else ``unclear``.
    """
    if not summary.is_claim:
        return "unproven"
    upwards, bounds = higher_is_better(metric), bounds_of(difference.ci95)
    if bounds is None or upwards is None:
        return "unclear"
    low, high = bounds if upwards else (-bounds[1], -bounds[0])
    sure = low > 0 or high < 0
    if is_fraction(metric):
        least = summary.smallest_gain
        if max(-low, high) < least or (sure and abs(difference.mean or 0.0) < least):
            return "negligible"
    return "unclear" if not sure else "better" if low > 0 else "worse"


def main_metrics(summary: RunSummary) -> tuple[str, ...]:
    """Up to five metrics that are shown first; all of them where there are hardly more."""
    known = metrics_of(summary)
    first = [metric for metric in _MAIN if metric in known]
    return known if len(known) <= _FEW else tuple(dict.fromkeys([*first, *known]))[:_MOST_MAIN]


def metric_rows(summary: RunSummary, metrics: Sequence[str]) -> list[MetricRow]:
    """A row for each of some metrics."""
    return [
        MetricRow(
            full_name(summary, metric),
            _arrow(metric),
            tuple(
                _cell(metric, summary.models[model].metrics.get(metric))
                for model in models_of(summary)
            ),
        )
        for metric in metrics
    ]


def metric_tables(summary: RunSummary) -> list[tuple[str, list[MetricRow]]]:
    """(family, rows) of all metrics."""
    families: dict[str, list[str]] = {}
    for metric in metrics_of(summary):
        families.setdefault(family(metric), []).append(metric)
    return [(name, metric_rows(summary, metrics)) for name, metrics in families.items()]


def probe_tables(summary: RunSummary) -> list[tuple[str, list[MetricRow]]]:
    """(initialisation, rows) with a cell for the fine-tuned network and one for a linear probe."""
    if summary.linear_probe is None:
        return []
    tuned = {beginning: model for model, beginning in summary.initialisations.items()}
    found = []
    for name, probe in summary.linear_probe.models.items():
        network = summary.models.get(tuned.get(name, ""), Model())
        rows = [
            MetricRow(
                full_name(summary, metric),
                _arrow(metric),
                (_cell(metric, network.metrics.get(metric)), _cell(metric, score)),
            )
            for metric, score in probe.metrics.items()
        ]
        found.append((name, rows))
    return found


def gain_rows(summary: RunSummary, metrics: Sequence[str]) -> list[GainRow]:
    """Gain and retention, one row for each of some metrics that has either."""
    rows = []
    for metric in metrics:
        gain = summary.gain.get(metric)
        if gain is None and metric not in summary.retention:
            continue
        digits = 3 if is_fraction(metric) else 2
        kept = bounds_of(summary.retention_ci95.get(metric))
        rows.append(
            GainRow(
                full_name(summary, metric),
                _arrow(metric),
                value_of(gain, digits, signed=True),
                interval(bounds_of(gain.ci95), digits) if gain else "",
                p_value(gain.p) if gain else "",
                verdict_of(summary, metric, gain or Score()),
                percent(summary.retention.get(metric), 1),
                percent_interval(kept),
            )
        )
    return rows


class BaselineRow(NamedTuple):
    """What the student is held against, in the main metric: its score, and the gain over it."""

    name: str
    chosen: bool
    validation: str
    score: str
    score_interval: str
    gain: str
    interval: str
    p: str
    verdict: str


def baseline_rows(summary: RunSummary) -> list[BaselineRow]:
    """One row a baseline; ``chosen`` is the one that the headline is over."""
    metric, evidence = primary_metric(summary), summary.evidence
    if metric is None:
        return []
    digits, rows = (3 if is_fraction(metric) else 2), []
    for name, gains in summary.gains.items():
        gain = gains.get(metric, Score())
        cell = _cell(metric, summary.models.get(name, Model()).metrics.get(metric))
        validation = [value for value in evidence.validation.get(name, []) if value is not None]
        rows.append(
            BaselineRow(
                name,
                name == evidence.against,
                decimal(fmean(validation), 3) if validation else "–",
                cell.mean,
                cell.interval,
                value_of(gain, digits, signed=True),
                interval(bounds_of(gain.ci95), digits),
                p_value(getattr(gain, "p", None)),
                verdict_of(summary, metric, gain),
            )
        )
    return rows


def value_of(score: Score | None, digits: int = 3, *, signed: bool = False) -> str:
    """The mean; ``not defined`` where it was computed and has no value."""
    if score is not None and score.mean is None:
        return "not defined"
    return decimal(None if score is None else score.mean, digits, signed=signed)


def _is_defined(summary: RunSummary, metric: str) -> bool:
    scores = (model.metrics.get(metric) for model in summary.models.values())
    return any(score is not None and score.mean is not None for score in scores)


def _cell(metric: str, score: Score | None) -> Cell:
    digits = 3 if is_fraction(metric) else 2
    bounds = None if score is None else bounds_of(score.ci95)
    n = None if score is None else score.n
    return Cell(value_of(score, digits), interval(bounds, digits), n)


def _arrow(metric: str) -> str:
    return {True: "↑", False: "↓", None: ""}[higher_is_better(metric)]


SHOWN = (
    "dice", "dice_1_point", "dice_3_points", "f1@0.5", "pq", "balanced_accuracy", "accuracy",
    "macro_f1", "auroc", "mean_iou", "top5_accuracy",
)  # fmt: skip
"""Metrics of the short table, as far as a run has them; of others, the first three there are."""


def plain_table(summary: RunSummary, metrics: Sequence[str] | None = None) -> str:
    """One line a model, then gain and retention.

    Args:
        summary: of the run.
        metrics: keys of those to show; some of the most important where None.
    """
    known = [metric for metric in SHOWN if metric in summary.metric_names]
    metrics = metrics or known or list(summary.metric_names)[:3]
    probes = summary.linear_probe.models if summary.linear_probe else {}
    over = [f"gain over {name}" for name in summary.gains]
    width = 1 + max(len(name) for name in (*summary.models, *probes, *over, "retention"))

    def line(name: str, cells: Iterable[str]) -> str:
        return f"{name:{width}}" + "".join(f" {each:>23}" for each in cells)

    told = label_cells(summary)
    lines = [line("", [*metrics, *(["labels"] if told else [])])]
    for name, model in summary.models.items():
        cells = [plain_cell(model.metrics.get(metric)) for metric in metrics]
        lines.append(line(name, [*cells, *([labels_in_words(summary, name)] if told else [])]))
    for name, gains in summary.gains.items():
        cells = [plain_cell(gains.get(metric), "+") for metric in metrics]
        lines.append(line(f"gain over {name}", cells))
    if summary.retention:
        kept = (summary.retention.get(metric) for metric in metrics)
        shares = ("—" if share is None else f"{share:.1%}" for share in kept)
        lines.append(line("retention", shares))
    if probes:
        lines.append("linear probe on frozen features, by what the encoder began with")
        for name, model in probes.items():
            lines.append(line(name, (plain_cell(model.metrics.get(metric)) for metric in metrics)))
    return "\n".join([*lines, *tested_in_words(summary.data), *_evidence_in_words(summary)])


def tested_in_words(data: Data) -> list[str]:
    """How many test images, and groups of them, a table's figures rest on, where that is known."""
    if not data.test:
        return []
    images = f"{data.test} test image{'s' * (data.test != 1)}"
    alone = ", each taken for independent" if data.grouped is False else ""
    return [f"over {images}{in_groups(data) or alone}"]


def _evidence_in_words(summary: RunSummary) -> list[str]:
    """What the means are over, what is handed over, and whether a gain may be claimed."""
    evidence, found = summary.evidence, []
    if len(evidence.seeds) > 1:
        seeds = listed([str(seed) for seed in evidence.seeds])
        first = f"seed {summary.seed}'s student, the first: named before any was scored"
        found.append(f"means over seeds {seeds}; the run hands over {first}")
    if evidence.chosen_on:
        found.append(f"the best baseline on validation images: {evidence.against}")
    if summary.gains and not summary.is_claim:
        found.append("one seed: no claim. More: abbe distill RUN --evidence standard --resume")
    return found


def in_groups(data: Data) -> str:
    """`` of 4 groups (patients, slides …)``, or nothing where groups are unknown."""
    count = data.test_groups
    if not data.grouped or count is None:
        return ""
    return f" of {count} group{'s' * (count != 1)} (patients, slides …)"


def plain_cell(value: Score | None, sign: str = "") -> str:
    """A score with its interval; a single image has none."""
    if value is None or value.mean is None:
        return "—"
    low, high = value.ci95 or (None, None)
    if low is None or high is None:
        return f"{value.mean:{sign}.3f}"
    return f"{value.mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
