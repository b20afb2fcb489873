"""The page of a label-efficiency curve, and its pictures as files."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from abbe import __version__
from abbe.reporting import curve_words, words
from abbe.reporting.colours import colours_of
from abbe.reporting.facts import (
    MACHINE_NAMES,
    NOT_OF_THE_MACHINE,
    Fact,
    channel_facts,
    data_facts,
    duration,
    facts_of,
    teacher_facts,
)
from abbe.reporting.label_curves import label_curves, lines_of, save_label_curves
from abbe.reporting.numbers import bounds_of, decimal, interval, p_value, significant
from abbe.reporting.run_folder import Parts
from abbe.reporting.tables import full_name, higher_is_better, is_fraction, verdict_of
from abbe.reporting.templates import render
from abbe.summary import CurveBlock, CurveSummary, Differences, Gain, Level, Score


class Cell(NamedTuple):
    """A score or a difference, as text; a verdict for differences alone."""

    mean: str
    interval: str
    p: str = ""
    verdict: str = ""


class Row(NamedTuple):
    """One share of the labels."""

    labelled: str
    share: str
    cells: tuple[Cell, ...]


class Block(NamedTuple):
    """One metric of networks or of linear probes: a drawing, scores, differences."""

    figure: Markup
    scores: list[Row]
    differences: list[Row]


class MetricPart(NamedTuple):
    """Everything of one metric: its name, the networks, and the linear probes where there are."""

    name: str
    arrow: str
    networks: Block
    probes: Block | None


def render_curve_page(folder: Path, summary: CurveSummary) -> str:
    """The whole report as one HTML text that needs no other file and no network."""
    metric = summary.metric
    others = [name for name in summary.metric_names if name != metric]
    parts = Parts(folder)
    environment, config = parts.environment(), parts.config()
    return render(
        "curve.html",
        title=summary.title,
        recipe=summary.recipe,
        task_title=f"{summary.task_title}, {summary.architecture}",
        started=str(environment.get("started") or "")[:10],
        version=summary.abbe or __version__,
        headline=curve_words.headline(summary),
        banners=words.banners(summary),
        cover=curve_words.what_intervals_cover(summary),
        caveats=[*curve_words.caveats(summary), *parts.problems],
        compared=summary.compared,
        compared_as=summary.compared_as,
        reference=summary.reference,
        against=[name for name in summary.compared if name in summary.differences],
        colours=colours_of(summary.compared),
        teacher_scored=metric in summary.teacher_scores,
        main=_part(summary, metric, wide=True),
        parts=[_part(summary, name, wide=False) for name in others],
        levels=len(summary.levels),
        seeds=", ".join(map(str, summary.seeds)),
        data=data_facts(summary.data),
        channels=channel_facts(summary),
        beginnings=_beginnings(summary),
        teacher=teacher_facts(summary.teacher),
        targets=summary.targets,
        times=_times(summary, environment.get("seconds")),
        machine=facts_of(
            {key: value for key, value in environment.items() if key not in NOT_OF_THE_MACHINE},
            MACHINE_NAMES,
            others=True,
        ),
        command=environment.get("command"),
        config=config,
    )


def save_pictures(folder: Path, summary: CurveSummary) -> None:
    """Write curve.png and curve.svg: the main metric, linear probes beside it, and a legend."""
    metric, probes = summary.metric, summary.linear_probe
    for name in ("curve.png", "curve.svg"):
        save_label_curves(
            folder / name,
            lines_of(summary, summary, metric),
            colours_of(summary.compared),
            probes=probes and lines_of(summary, probes, metric),
            title=summary.title,
            score=full_name(summary, metric),
            teacher=_teacher_score(summary, metric),
        )


def _part(summary: CurveSummary, metric: str, *, wide: bool) -> MetricPart:
    probes = summary.linear_probe
    return MetricPart(
        full_name(summary, metric),
        {True: "↑", False: "↓", None: ""}[higher_is_better(metric)],
        _block(summary, summary, metric, "", wide=wide),
        probes and _block(summary, probes, metric, " of linear probes", wide=wide),
    )


def _block(
    summary: CurveSummary, found: CurveBlock, metric: str, whose: str, *, wide: bool
) -> Block:
    """``found`` has the scores and differences: the summary, or its part about linear probes."""
    return Block(
        label_curves(
            lines_of(summary, found, metric),
            colours_of(summary.compared),
            label=f"{full_name(summary, metric)}{whose} over labelled training images",
            wide=wide,
            teacher=None if whose else _teacher_score(summary, metric),
        ),
        [
            Row(*_names_of(level), tuple(
                _score(metric, found.scores[arm][number].metrics[metric])
                for arm in summary.compared
            ))
            for number, level in enumerate(summary.levels)
        ],
        _differences(summary, found.differences, metric),
    )  # fmt: skip


def _differences(summary: CurveSummary, found: Mapping[str, Differences], metric: str) -> list[Row]:
    """One row a share, then their mean over all."""
    if not found:
        return []
    rows = [
        Row(*_names_of(level), tuple(
            _difference(summary, metric, each.levels[number].metrics[metric])
            for each in found.values()
        ))
        for number, level in enumerate(summary.levels)
    ]  # fmt: skip
    if len(rows) > 1:
        cells = tuple(_difference(summary, metric, each.all[metric]) for each in found.values())
        rows.append(Row("mean over all", "", cells))
    return rows


def _names_of(level: Level) -> tuple[str, str]:
    return str(level.labelled), f"{100 * level.fraction:g} %"


def _score(metric: str, value: Score) -> Cell:
    digits = 3 if is_fraction(metric) else 2
    return Cell(decimal(value.mean, digits), interval(bounds_of(value.ci95), digits))


def _difference(summary: CurveSummary, metric: str, value: Gain) -> Cell:
    digits = 3 if is_fraction(metric) else 2
    bounds = bounds_of(value.ci95)
    return Cell(
        decimal(value.mean, digits, signed=True),
        interval(bounds, digits),
        p_value(value.p),
        verdict_of(summary, metric, value),
    )


def _teacher_score(summary: CurveSummary, metric: str) -> float | None:
    found = summary.teacher_scores.get(metric)
    return found.mean if found else None


def _beginnings(summary: CurveSummary) -> list[Fact]:
    """What each initialisation is, in words."""
    given = summary.encoder_weights
    meanings = {
        "random": "random weights",
        "given": f"the weights that were given ({given}), without pretraining",
        "contrastive": f"from {given}, two views of a tile made alike (SimCLR)",
        "rckd": f"from {given}, the teacher’s response to the tiles learned",
        "rckd+contrastive": f"from {given}, both at once",
        "student": "learns from labels and from the teacher",
        "supervised": "learns from labels alone, which fill all of its batches",
        "twin": "learns from the labels in the student’s own batches alone",
        "self-training": "learns from labels and from what the supervised network answers",
    }
    return [Fact(name, meanings[name]) for name in summary.compared]


def _times(summary: CurveSummary, whole: float | None) -> list[Fact]:
    """How long training took, validation and scoring left out; and the ``whole``, in seconds."""
    facts = [
        Fact(f"Trainings of {name}", duration(seconds)) for name, seconds in summary.seconds.items()
    ]
    for name, each in summary.pretraining.items():
        speed = significant(each.images_per_second)
        facts.append(
            Fact(
                f"Pretraining {name}",
                f"{duration(each.seconds)}: {each.steps} steps, {speed} images a second, "
                f"{each.tiles} tiles",
            )
        )
    return [*facts, Fact("All of it", duration(whole))] if whole else facts
