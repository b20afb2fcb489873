"""``abbe report``: write the report of a finished run again."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from abbe.cli.shared.arguments import parse, say


@dataclass(frozen=True)
class ReportArguments:
    """Arguments of ``abbe report``."""

    run: tyro.conf.Positional[Path]
    """The finished run."""


def run(words: list[str]) -> int:
    """``abbe report``."""
    arguments = parse(ReportArguments, "report", words,
                       "Write the report of a finished run again.\n\n"
                       "example:  abbe report runs/a")  # fmt: skip
    from abbe.reporting import write_report

    say(str(write_report(arguments.run)))
    return 0
