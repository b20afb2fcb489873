"""Scores over the number of labelled images: one line for each initialisation, or each model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from abbe.files import atomic_path
from abbe.reporting.figures import STYLE, panel, to_svg
from abbe.reporting.numbers import bounds_of
from abbe.summary import CurveBlock, CurveSummary

# Lines are told apart by their marks too, in grey print and by colour-blind readers.
_MARKS = ("o", "s", "^", "D", "v")
_SPREAD = 0.035  # of the axis, between neighbouring lines, so that intervals do not hide each other
_PAPER: dict[Any, Any] = {
    "figure.facecolor": "white", "savefig.facecolor": "white", "grid.color": "#dfe3e8",
    "text.color": "#1b1f24", "axes.labelcolor": "#1b1f24", "axes.edgecolor": "#1b1f24",
    "xtick.color": "#1b1f24", "ytick.color": "#1b1f24",
}  # fmt: skip


class Point(NamedTuple):
    """A score at one share of the labels: mean, 95 % interval if it is known, each seed's own."""

    labelled: int
    fraction: float
    mean: float
    bounds: tuple[float, float] | None
    by_seed: tuple[float, ...]


Lines = Mapping[str, Sequence[Point]]


def lines_of(summary: CurveSummary, found: CurveBlock, metric: str) -> dict[str, list[Point]]:
    """The points of one metric by what is compared; undefined ones are left out.

    Args:
        summary: of the curve.
        found: the scores: the summary's own, or those of linear probes.
        metric: its key.
    """
    return {
        name: [
            Point(
                level.labelled,
                level.fraction,
                score.mean,
                bounds_of(score.ci95),
                tuple(value for value in score.by_seed if value is not None),
            )
            for level, entry in zip(summary.levels, found.scores[name], strict=True)
            if (score := entry.metrics[metric]).mean is not None
        ]
        for name in summary.compared
    }


@matplotlib.rc_context(STYLE)
def label_curves(
    lines: Lines,
    colours: Mapping[str, str],
    *,
    label: str,
    wide: bool = False,
    teacher: float | None = None,
) -> Markup:
    """An inline drawing; ``wide`` for the one that the page is about.

    Args:
        lines: points by what is compared.
        colours: "#rrggbb" by the same names.
        label: says what is drawn to those who cannot see it.
        wide: as wide as the page.
        teacher: the teacher's own score, a level line.
    """
    figure, axes = panel(height=3.3, width=6.6) if wide else panel(height=2.1)
    _draw(axes, lines, colours, teacher, shares=wide)
    return to_svg(figure, label)


def save_label_curves(
    path: Path,
    lines: Lines,
    colours: Mapping[str, str],
    *,
    title: str,
    score: str,
    teacher: float | None = None,
    probes: Lines | None = None,
) -> None:
    """Draw the curve to a file of its own, with a legend; png or svg by its ending.

    The lines of linear probes have a panel of their own, on the same scale.
    """
    with matplotlib.rc_context({**STYLE, **_PAPER}):
        width, columns = (12.0, 2) if probes else (6.6, 1)
        figure = Figure(figsize=(width, 4.2), layout="constrained")
        axes, *beside = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
        if probes:
            _draw(beside[0], probes, colours, None, shares=True)
            beside[0].set_title("Linear probes on frozen features", fontsize=10, loc="left")
        _draw(axes, lines, colours, teacher, shares=True)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_ylabel(score)
        axes.legend(frameon=False, fontsize=8.5)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=160, metadata={"Date": None}
                           if path.suffix == ".svg" else None)  # fmt: skip


def _draw(
    axes: Axes,
    lines: Lines,
    colours: Mapping[str, str],
    teacher: float | None,
    *,
    shares: bool,
) -> None:
    counts = {point.labelled: point.fraction for points in lines.values() for point in points}
    if not counts:
        return
    # Equal ratios of labels lie equally far apart; a single level needs some room, too.
    span = max(counts) / min(counts) if len(counts) > 1 else 10.0
    for number, (name, points) in enumerate(lines.items()):
        shift = span ** (_SPREAD * (number - (len(lines) - 1) / 2) / max(1, len(lines) - 1))
        at = [point.labelled * shift for point in points]
        colour, mark = colours[name], _MARKS[number % len(_MARKS)]
        for x, point in zip(at, points, strict=True):
            if point.bounds is not None:
                axes.plot([x, x], point.bounds, color=colour, linewidth=1.3, alpha=0.75)
            if len(point.by_seed) > 1:
                axes.plot(
                    [x] * len(point.by_seed), point.by_seed, "_", color=colour, markersize=5,
                    markeredgewidth=0.8, alpha=0.75,
                )  # fmt: skip
        axes.plot(
            at, [point.mean for point in points], color=colour, linewidth=1.4, marker=mark,
            markersize=4.5, label=name,
        )  # fmt: skip
    if teacher is not None:
        axes.axhline(
            teacher, color=colours["teacher"], linewidth=1.2, linestyle=(0, (4, 2)), label="teacher"
        )
    axes.set_xscale("log")
    axes.set_xlim(min(counts) * span**-0.07, max(counts) * span**0.07)
    ticks = sorted(counts)
    texts = [f"{n}\n{100 * counts[n]:g} %" if shares else f"{n}" for n in ticks]
    axes.set_xticks(ticks, texts)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel("labelled training images")
