"""The tables of the page: rows of ready text, made from ``summary.json``."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from abbe import scoring
from abbe.report.numbers import (
    bounds_of,
    decimal,
    interval,
    is_number,
    p_value,
    percent,
    percent_interval,
)

Summary = Mapping[str, Any]
METRICS = {
    **scoring.CLASSIFICATION_METRICS,
    **scoring.REGION_METRICS,
    **scoring.METRICS,
    **{key: each for key, each in scoring.PROMPTED_METRICS.items() if key not in scoring.METRICS},
}
"""All that this version knows, by key."""

_FAMILY = {
    **dict.fromkeys(("dice", "iou", "precision", "recall"), "Pixels"),
    **dict.fromkeys(("boundary_f1", "nsd", "hd95"), "Boundaries"),
    **dict.fromkeys(("mean_ap", "pq", "sq", "rq", "aji"), "Instances"),
    **dict.fromkeys(scoring.CLASSIFICATION_METRICS, "Classes"),
    **dict.fromkeys(("mean_iou", "pixel_accuracy"), "Regions"),
    **{
        scoring.prompted_key(metric, kind): f"Asked by {words}"
        for kind, words in scoring.PROMPT_KINDS.items()
        for metric in scoring.MEASURED
        if kind != "box"
    },
}
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


def models_of(summary: Summary) -> tuple[str, ...]:
    """The models of a run: teacher, student, twin first, then whatever others there are."""
    models = summary.get("models", {})
    first = [name for name in ("teacher", "student", "twin") if name in models]
    return (*first, *(name for name in models if name not in first))


def abouts(summary: Summary) -> list[tuple[str, str]]:
    """(name, what it is) of models that a name does not explain."""
    models = summary.get("models", {})
    return [(name, str(models[name]["about"])) for name in models if "about" in models[name]]


def metrics_of(summary: Summary) -> tuple[str, ...]:
    """The metrics that any model was scored with, in the order of ``abbe.scoring.METRICS``."""
    found = dict.fromkeys(
        metric for name in models_of(summary) for metric in metrics_of_model(summary, name)
    )
    order = list(METRICS)
    return tuple(sorted(found, key=lambda key: order.index(key) if key in METRICS else len(order)))


def metrics_of_model(summary: Summary, model: str) -> Mapping[str, Mapping[str, Any]]:
    """metric → {mean, ci95, n} of one model; empty where it was not scored."""
    return summary.get("models", {}).get(model, {}).get("metrics") or {}


def primary_metric(summary: Summary) -> str | None:
    """The metric of the headline: Dice, or else the first that is defined for any model."""
    metrics = metrics_of(summary)
    if "dice" in metrics:
        return "dice"
    defined = (metric for metric in metrics if _is_defined(summary, metric))
    return next(defined, next(iter(metrics), None))


def full_name(summary: Summary, metric: str) -> str:
    """A metric's name for people, as the run recorded it."""
    known = METRICS[metric][0] if metric in METRICS else metric
    return summary.get("metric_names", {}).get(metric, known)


def higher_is_better(metric: str) -> bool | None:
    """Which way is better; None for a metric that this version does not know."""
    return METRICS[metric][1] if metric in METRICS else None


def is_fraction(metric: str) -> bool:
    """Whether a metric lives in [0, 1] and can be spoken of in points of a hundred."""
    return metric not in _IN_PIXELS


def family(metric: str) -> str:
    """What a metric looks at: pixels, boundaries or instances."""
    return "Instances" if metric.startswith("f1@") else _FAMILY.get(metric, "Other")


def verdict_of(summary: Summary, metric: str, difference: Mapping[str, Any]) -> str:
    """What to think of a difference of scores, ``{"mean": …, "ci95": [low, high]}``.

    ``better`` or ``worse`` where its interval leaves out 0; ``negligible`` where the difference, or
    all of its interval, is below the smallest that matters (`smallest_gain`, of scores in [0, 1]);
    else ``unclear``.
    """
    upwards, bounds = higher_is_better(metric), bounds_of(difference)
    if bounds is None or upwards is None:
        return "unclear"
    low, high = bounds if upwards else (-bounds[1], -bounds[0])
    sure = low > 0 or high < 0
    if is_fraction(metric):
        least = smallest_gain(summary)
        if max(-low, high) < least or (sure and abs(difference["mean"]) < least):
            return "negligible"
    return "unclear" if not sure else "better" if low > 0 else "worse"


def smallest_gain(summary: Summary) -> float:
    """The smallest difference that matters; 0 for runs that did not say."""
    return summary.get("smallest_gain") or 0.0


def metric_tables(summary: Summary) -> list[tuple[str, list[MetricRow]]]:
    """(family, rows) of the main table."""
    families: dict[str, list[MetricRow]] = {}
    for metric in metrics_of(summary):
        cells = tuple(
            _cell(metric, metrics_of_model(summary, model).get(metric))
            for model in models_of(summary)
        )
        row = MetricRow(full_name(summary, metric), _arrow(metric), cells)
        families.setdefault(family(metric), []).append(row)
    return list(families.items())


def beginnings(summary: Summary) -> dict[str, str]:
    """What each model of a run began with ("random", "given", "rckd" …), where that is recorded."""
    return dict(summary.get("initialisations") or {})


def probe_tables(summary: Summary) -> list[tuple[str, list[MetricRow]]]:
    """(initialisation, rows) with a cell for the fine-tuned network and one for a linear probe."""
    tuned = {beginning: model for model, beginning in beginnings(summary).items()}
    found = []
    for name, probe in ((summary.get("linear_probe") or {}).get("models") or {}).items():
        network = metrics_of_model(summary, tuned.get(name, ""))
        rows = [
            MetricRow(
                full_name(summary, metric),
                _arrow(metric),
                (_cell(metric, network.get(metric)), _cell(metric, score)),
            )
            for metric, score in probe["metrics"].items()
        ]
        found.append((name, rows))
    return found


def counts_of(summary: Summary) -> list[int]:
    """The numbers of test images that the main table's cells are means of, most common first."""
    counts = Counter(
        score.get("n")
        for model in models_of(summary)
        for score in metrics_of_model(summary, model).values()
    )
    return [n for n, _ in counts.most_common() if isinstance(n, int)]


def gain_rows(summary: Summary) -> list[GainRow]:
    """Gain and retention, one row a metric that has either."""
    gains, kept = summary.get("gain") or {}, summary.get("retention") or {}
    rows = []
    for metric in metrics_of(summary):
        if metric not in gains and metric not in kept:
            continue
        gain = gains.get(metric) or {}
        share, bounds = retention_of(summary, metric)
        digits = 3 if is_fraction(metric) else 2
        rows.append(
            GainRow(
                full_name(summary, metric),
                _arrow(metric),
                value_of(gain, digits, signed=True),
                interval(bounds_of(gain), digits),
                p_value(gain.get("p")),
                verdict_of(summary, metric, gain),
                percent(share, 1),
                percent_interval(bounds),
            )
        )
    return rows


def retention_of(summary: Summary, metric: str) -> tuple[float | None, tuple[float, float] | None]:
    """Student ÷ teacher, with its interval where the run recorded one."""
    value = (summary.get("retention") or {}).get(metric)
    bounds = (summary.get("retention_ci95") or {}).get(metric)
    return (value if is_number(value) else None), bounds_of({"ci95": bounds})


def value_of(score: Mapping[str, Any], digits: int = 3, *, signed: bool = False) -> str:
    """The mean of ``{"mean": …}``; ``not defined`` where it was computed and has no value."""
    if "mean" in score and not is_number(score["mean"]):
        return "not defined"
    return decimal(score.get("mean"), digits, signed=signed)


def _is_defined(summary: Summary, metric: str) -> bool:
    return any(
        is_number((metrics_of_model(summary, model).get(metric) or {}).get("mean"))
        for model in models_of(summary)
    )


def _cell(metric: str, score: Mapping[str, Any] | None) -> Cell:
    score = score or {}
    digits = 3 if is_fraction(metric) else 2
    n = score.get("n")
    return Cell(
        value_of(score, digits),
        interval(bounds_of(score), digits),
        n if isinstance(n, int) else None,
    )


def _arrow(metric: str) -> str:
    return {True: "↑", False: "↓", None: ""}[higher_is_better(metric)]
