"""Running a published table, item by item; what is finished is not run again."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from abbe import config
from abbe.errors import AbbeError, ConfigError, InputError, fault_of
from abbe.files.locks import alone
from abbe.foreign_text import shown
from abbe.reproducing.begun import Begun
from abbe.reproducing.experiments import Settings, asked, experiment_of, part_of
from abbe.reproducing.plan import Step, steps_of
from abbe.reproducing.table import Keys
from abbe.reproducing.written import Result, markdown_of, result_of, write


@dataclass(frozen=True)
class Reproduced:
    """A published table as far as it was run.

    Attributes:
        folder: with table.md, table.csv, table.json and the runs in items/.
        result: the cells, the runs and what failed.
    """

    folder: Path
    result: Result

    def __fspath__(self) -> str:
        return os.fspath(self.folder)

    def __repr__(self) -> str:
        there = sum(each.ours is not None for each in self.result.filled)
        table = self.result.settings.table.name
        return f"Reproduced('{self.folder}', {table}, {there} of {len(self.result.filled)} cells)"

    @property
    def failures(self) -> Mapping[str, str]:
        """By item, what its run said."""
        return self.result.failures

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def markdown(self) -> str:
        """The table and what stands under it."""
        return markdown_of(self.result)


def reproduce(settings: Settings, *, only: Sequence[str] = (), progress: bool = True) -> Reproduced:
    """Run the items of a table that wait, and write the table after each.

    An item that fails leaves its cells empty and its message under the table, and the next one is
    run; a call with the same folder tries again, and goes on where a run was stopped.

    Args:
        settings: the table and what was given.
        only: items to run, as names or patterns.
        progress: show progress.

    Raises:
        ConfigError: the folder holds another table, items made with other settings, or is in use.
    """
    steps = steps_of(settings, only)
    settings.out.mkdir(parents=True, exist_ok=True)
    try:
        with alone(settings.out / ".lock"):
            return _carry_out(settings, steps, progress)
    except BlockingIOError as error:
        raise ConfigError(
            f"{settings.out}: {error} is at work there. Wait until it has ended, or give another "
            "--out"
        ) from error


def _carry_out(settings: Settings, steps: Sequence[Step], progress: bool) -> Reproduced:
    from torch import OutOfMemoryError

    from abbe.runs.distill import distill

    begun, failures = Begun.read(settings), dict[str, str]()
    experiments: dict[str, config.Experiment] = {}
    asks: dict[str, Keys] = {}
    for step in steps:  # what cannot end well is told before the first run begins
        item = step.item
        if step.state not in ("waits", "begun", "done") or settings.material.missing(item.needs):
            continue
        try:
            experiment = experiment_of(settings, item)
        except InputError as error:
            failures[item.name] = str(error)
            continue
        asks[item.name] = begun.with_those_before(item, asked(settings, experiment, item), asks)
        begun.require_same(item, asks[item.name])
        if step.state != "done":
            experiments[item.name] = experiment
    for count, (name, experiment) in enumerate(experiments.items(), start=1):
        item = settings.table.item(name)
        print(shown(f"\n[{count} of {len(experiments)}] {name}"), flush=True)
        try:
            if broken := [each for each in item.after if each in failures]:
                raise InputError(f"it builds on {', '.join(broken)}, which failed")
            begun.note(item, asks[name])
            dataset = part_of(settings, item)
            distill(experiment, dataset=dataset, resume=True, progress=progress)
        except (AbbeError, MemoryError, OutOfMemoryError) as error:
            failures[name] = fault_of(error)
            print(shown(f"{name} failed: {failures[name]}"), flush=True)
        write(result_of(settings, failures, begun.made_with))
    result = result_of(settings, failures, begun.made_with)
    write(result)
    return Reproduced(settings.out, result)
