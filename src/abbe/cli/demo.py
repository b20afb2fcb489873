"""``abbe demo``: distil on simulated tissue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abbe.cli.shared.arguments import Computing, parse, say

if TYPE_CHECKING:
    from abbe.runs.folder import Run


@dataclass(frozen=True)
class DemoArguments(Computing):
    """Arguments of ``abbe demo``."""

    out: Path = Path("runs/demo")
    """Where the demo's runs go; an interrupted demo goes on from there."""


DEMO_HELP = """Distil a teacher into a small student on simulated tissue, in a few minutes.

A U-Net that sees three channels is trained on labels; then a MobileNetV3 U-Net that sees the
nuclei alone learns from it and from two labelled images. Nothing is downloaded.

example:  abbe demo --out runs/demo"""


def run(words: list[str]) -> int:
    """``abbe demo``."""
    arguments = parse(DemoArguments, "demo", words, DEMO_HELP)
    from abbe.reporting.tables import plain_table

    finished = demo(arguments.out)
    say(f"\n{plain_table(finished.summary)}\n\nSimulated tissue. Report: {finished.report}")
    return 0


def demo(out: Path) -> Run:
    """Train the teacher, then the student and its baselines; an interrupted demo goes on.

    Args:
        out: folder of the two runs, ``teacher`` and ``student``.
    """
    teacher = out / "teacher"
    _finish("demo-teacher", {"out": str(teacher)})
    return _finish(
        "demo", {"out": str(out / "student"), "teacher": {"kind": "run", "path": str(teacher)}}
    )


def _finish(name: str, changes: dict[str, object]) -> Run:
    from abbe import config
    from abbe.recipes.shipped import recipe_path
    from abbe.runs.distill import distill
    from abbe.runs.folder import open_run

    source = recipe_path(name)
    experiment = config.parse({**config.read_values(source), **changes}, str(source))
    if (experiment.out / "summary.json").exists():
        run = open_run(experiment.out)
        if run.summary.evidence.complete:
            return run
    return distill(experiment, resume=True)
