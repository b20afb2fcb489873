"""``abbe report``: write the report of a finished run again, or watch one while it trains."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import tyro

from abbe.cli.shared.arguments import parse, say
from abbe.errors import ConfigError, MissingExtraError


@dataclass(frozen=True)
class ReportArguments:
    """Arguments of ``abbe report``."""

    run: tyro.conf.Positional[Path]
    """The run: finished, or with --watch at any time since it began."""
    watch: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show a page that follows the run, until Ctrl+C; nothing is written."""
    port: int = 0
    """With --watch: port on this machine; any that is free where omitted."""
    open: tyro.conf.FlagCreatePairsOff[bool] = False
    """With --watch: open the page in the browser."""


def run(words: list[str]) -> int:
    """``abbe report``."""
    description = """Write the report of a finished run again, or watch a run while it trains.

The page of --watch is for this machine only (127.0.0.1): losses and validation so far, the newest
picture of validation images, and how long it will take.

examples:
  abbe report runs/a
  abbe report --watch runs/a --open"""
    arguments = parse(ReportArguments, "report", words, description)
    if arguments.watch:
        return _watch(arguments.run, arguments.port, open_browser=arguments.open)
    if arguments.port or arguments.open:
        raise ConfigError("--port and --open go with --watch: without it a file is written")
    from abbe.reporting import write_report

    say(str(write_report(arguments.run)))
    return 0


def _watch(folder: Path, port: int, *, open_browser: bool) -> int:
    for package, extra in (
        ("jinja2", "train"), ("matplotlib", "train"), ("pyarrow", "train"),
        ("starlette", "serve"), ("uvicorn", "serve"),
    ):  # fmt: skip
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, "The page of --watch")
    from abbe.serve.local import address_of, listen
    from abbe.serve.local import run as run_server
    from abbe.watch.app import application
    from abbe.watch.state import require_run

    require_run(folder)
    listening = listen(port)
    say(f"Watching {folder}. Open {address_of(listening)} in a browser on this machine. "
        "Ctrl+C ends the page; the run goes on.")  # fmt: skip
    run_server(application(folder), listening, open_browser=open_browser)
    say("\nEnded; the run was left alone.")
    return 0
