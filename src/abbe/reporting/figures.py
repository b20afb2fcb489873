"""Plots as inline SVG: small panels that fit a phone and sit side by side on a desk.

Text stays text and takes the page's font; ink and rules take the page's colours, so that the same
drawing suits paper, a light screen and a dark one.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from abbe.reporting.curves import Curve
from abbe.summary import BASELINES

_WIDTH = 3.1  # inches
# Stand-ins that become the page's colours once the SVG is text.
_INK, _RULE = "#010203", "#040506"
_MANY_POINTS = 1500  # beyond this, dots are drawn as one picture inside the SVG

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names come from the user: a $ in one is a $
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@matplotlib.rc_context(STYLE)
def training_curves(
    curves: Mapping[str, Curve], colours: Mapping[str, str], *, label: str
) -> Markup:
    """One logged value over training steps, the models overlaid; baselines are dashed."""
    figure, axes = panel(height=1.7, layout=None)
    for model, (steps, values) in curves.items():
        axes.plot(
            steps,
            values,
            color=colours[model],
            linestyle=(0, (3.5, 1.6)) if model in BASELINES else "-",
            linewidth=1.4,
            marker="o" if len(steps) <= 40 else None,
            markersize=2.8,
        )
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.02)
    _leave_room(figure, axes)
    return to_svg(figure, label)


def _leave_room(figure: Figure, axes: Axes) -> None:
    """Margins for the numbers at both axes and the name below, by the count of their letters.

    The page's font is not the one that matplotlib could measure, and measuring takes longer than
    drawing.
    """
    numbers = axes.yaxis.get_major_formatter()
    longest = max(map(len, numbers.format_ticks(axes.get_yticks().tolist())))
    power = numbers.get_offset() != ""  # stands above the axis
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=(0.14 + 0.08 * longest) / width,
        right=1 - 0.14 / width,
        bottom=0.42 / height,
        top=1 - (0.2 if power else 0.08) / height,
    )


@matplotlib.rc_context(STYLE)
def score_intervals(
    rows: Sequence[tuple[str, Mapping[str, tuple[float, float, float]]]],
    colours: Mapping[str, str],
    *,
    label: str,
) -> Markup:
    """Means with 95 % intervals: ``rows`` are (metric, model → (mean, low, high))."""
    models = list(dict.fromkeys(model for _, scores in rows for model in scores))
    height = 0.45 + len(rows) * (0.12 + 0.1 * len(models))
    figure, axes = panel(height=height)
    for row, (_, scores) in enumerate(rows):
        for model, (mean, low, high) in scores.items():
            y = row + 0.6 * ((models.index(model) + 0.5) / len(models) - 0.5)
            axes.plot([low, high], [y, y], color=colours[model], linewidth=1.6)
            axes.plot([mean], [y], "o", color=colours[model], markersize=4)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return to_svg(figure, label)


@matplotlib.rc_context(STYLE)
def paired_scatter(
    first: Sequence[float],
    second: Sequence[float],
    colours: tuple[str, str],
    names: tuple[str, str],
) -> Markup:
    """One dot an image: the first model's score upwards, the second's to the right."""
    up, right = np.asarray(first), np.asarray(second)
    figure, axes = panel(height=2.6)
    low, high = min(up.min(), right.min()), max(up.max(), right.max())
    room = 0.04 * (high - low) or 0.02
    ends = (low - room, high + room)
    axes.plot(ends, ends, color=_INK, linewidth=0.8)
    won = up >= right
    for chosen, colour in ((won, colours[0]), (~won, colours[1])):
        axes.plot(
            right[chosen],
            up[chosen],
            "o",
            color=colour,
            markersize=3.4,
            alpha=0.7,
            markeredgewidth=0,
            rasterized=len(up) > _MANY_POINTS,
        )
    axes.set(xlim=ends, ylim=ends, xlabel=names[1], ylabel=names[0])
    axes.set_box_aspect(1)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return to_svg(figure, f"{names[0]} against {names[1]}, a dot an image")


@matplotlib.rc_context(STYLE)
def difference_strip(
    differences: Sequence[float],
    colours: tuple[str, str],
    *,
    label: str,
    bounds: tuple[float, float] | None = None,
) -> Markup:
    """Every image's difference, sorted; the mean as a line, its 95 % interval as a band."""
    values = np.sort(np.asarray(differences))
    ranks = np.arange(1, len(values) + 1)
    figure, axes = panel(height=2.6)
    # One filled outline for all bars: a thousand images stay a small drawing.
    for sign, colour in ((1, colours[0]), (-1, colours[1])):
        axes.fill_between(
            np.repeat(ranks, 2) + np.tile([-0.5, 0.5], len(ranks)),
            np.repeat(np.clip(sign * values, 0, None) * sign, 2),
            color=colour,
            linewidth=0,
            alpha=0.75,
        )
    axes.axhline(0, color=_INK, linewidth=0.8)
    if bounds is not None:
        axes.axhspan(*bounds, color=_INK, alpha=0.12, linewidth=0)
    axes.axhline(float(values.mean()), color=_INK, linewidth=1.2, linestyle=(0, (2, 2)))
    axes.set_xlabel("test images, sorted by difference")
    axes.set_xlim(0.5, len(values) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    return to_svg(figure, label)


@matplotlib.rc_context(STYLE)
def rates(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    colours: Mapping[str, str],
    *,
    axes: tuple[str, str],
    label: str,
) -> Markup:
    """Curves of shares in [0, 1] against each other, with the diagonal."""
    figure, drawing = panel(height=2.6)
    drawing.plot([0, 1], [0, 1], color=_INK, linewidth=0.8)
    for name, (right, up) in curves.items():
        few = len(right) <= 20
        drawing.plot(
            right,
            up,
            color=colours[name],
            linewidth=1.4,
            marker="o" if few else None,
            markersize=2.8,
            label=name,
        )
    drawing.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=axes[0], ylabel=axes[1])
    drawing.set_box_aspect(1)
    drawing.legend(frameon=False, loc="lower right")
    return to_svg(figure, label)


def panel(
    *, height: float, width: float = _WIDTH, layout: Literal["constrained"] | None = "constrained"
) -> tuple[Figure, Axes]:
    """An empty panel, ``height`` and ``width`` in inches; without a layout its margins are set."""
    figure = Figure(figsize=(width, height), layout=layout)
    return figure, figure.subplots()


def to_svg(figure: Figure, label: str) -> Markup:
    """A figure as an SVG that can stand inside a page beside others; labels must differ."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.dpi = 200  # of what is drawn as a picture inside the SVG
    with matplotlib.rc_context({"svg.hashsalt": label}):
        # Figure.savefig would draw all of it twice, to lay it out first: drawing does so, too.
        FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    svg = buffer.getvalue()
    opening, rest = svg[svg.index("<svg") :].split(">", 1)
    box = re.search(r'viewBox="([^"]+)"', opening)
    assert box is not None, "matplotlib always writes a viewBox"
    rest = re.sub(r"<style.*?</style>", "", rest, flags=re.DOTALL)
    # Only what is referred to keeps its id: the rest would be the same in every panel.
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', rest))
    rest = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in referred else "", rest)
    rest = rest.replace(_INK, "currentColor").replace(_RULE, "var(--rule)")
    return Markup(f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(label)}">') + Markup(
        rest.replace("xlink:href", "href").strip()
    )
