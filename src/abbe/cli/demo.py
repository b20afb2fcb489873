"""``abbe demo``: distil on simulated tissue."""

from dataclasses import dataclass
from pathlib import Path

from abbe.cli.shared.arguments import parse, say


@dataclass(frozen=True)
class DemoArguments:
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
    from abbe.runs.demo import demo

    finished = demo(arguments.out)
    say(f"\n{plain_table(finished.summary)}\n\nSimulated tissue. Report: {finished.report}")
    return 0
