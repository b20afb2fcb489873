"""The page as HTML: its frame, and the part that is asked for again and again."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from abbe import __version__
from abbe.reporting import figures
from abbe.reporting.colours import colours_of
from abbe.reporting.curves import panels_of
from abbe.reporting.facts import Fact, duration
from abbe.reporting.numbers import decimal
from abbe.reporting.templates import render
from abbe.summary import CURVE_PLAN
from abbe.watch.state import Log, State, Status, Training

SAID: dict[Status, str] = {
    "prepares": "It prepares: images are read, the teacher answers. No network trains yet.",
    "trains": "It trains.",
    "scores": "All networks are trained; their scores are computed.",
    "finished": "It is finished.",
    "ended early": "It ended before it was finished: stopped, killed or failed.",
    "unknown": "It runs on another machine, if it runs: its log has not changed for a while.",
}


class Figure(NamedTuple):
    """A drawing and what stands over it."""

    title: str
    svg: Markup


def frame(title: str, part: str) -> str:
    """The whole page around the part that changes."""
    return render("watch.html", title=title, now=Markup(part))


def curves_of(log: Log) -> tuple[list[Figure], dict[str, str]]:
    """Losses and validation scores so far, and the colour of each network in them."""
    panels = [panel for panel in panels_of(log) if panel.title.startswith(("Loss", "Validation"))]
    trained = list(dict.fromkeys(model for panel in panels for model in panel.curves))
    colours = colours_of(trained)
    drawn = [
        Figure(panel.title, figures.training_curves(panel.curves, colours, label=panel.title))
        for panel in panels
    ]
    return drawn, {name: colours[name] for name in trained}


def now(state: State, folder: Path, curves: list[Figure], colours: Mapping[str, str]) -> str:
    """The part that changes.

    Args:
        state: of the run.
        folder: of the run.
        curves: see `curves_of`; they may be a little older.
        colours: of the networks in the curves.
    """
    preview = None if state.preview is None else state.preview.relative_to(folder).as_posix()
    verb = "curve" if (folder / CURVE_PLAN).exists() else "distill"
    return render(
        "watch_now.html",
        version=__version__,
        recipe=state.recipe,
        title=state.title,
        said=SAID[state.status],
        status=state.status,
        command=shlex.join(["abbe", verb, str(folder), "--resume"]),
        report=folder / "report.html",
        facts=[] if state.training is None else _facts(state.training, state),
        step=0 if state.training is None else state.training.step,
        steps=1 if state.training is None else state.training.steps,
        notes=state.notes,
        preview=preview,
        curves=curves,
        colours=colours,
    )


def _facts(training: Training, state: State) -> list[Fact]:
    facts = [
        Fact("Network", f"{training.network} ({training.number} of {training.planned})"),
        Fact("Stage", training.stage),
        Fact("Step", f"{training.step:,} of {training.steps:,}"),
    ]
    if training.best is not None:
        name, value, step = training.best
        facts.append(Fact(f"Best validation, {name}", f"{decimal(value)} at step {step:,}"))
    if state.status == "trains":
        for name, seconds in (
            ("Left of this stage, about", training.left),
            ("Left of all networks, about", training.all_left),
        ):
            if seconds is not None:
                facts.append(Fact(name, duration(seconds)))
    if state.silent is not None and state.silent >= 60:
        facts.append(Fact("Last line of the log", f"{duration(state.silent)} ago"))
    return facts
