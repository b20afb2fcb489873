"""How a run stands, from the files in its folder alone: nothing is asked of its process."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from abbe import config
from abbe.errors import AbbeError, InputError
from abbe.files.locks import holder_runs
from abbe.reporting.numbers import is_number, percent
from abbe.reporting.run_folder import Parts, read_log
from abbe.summary import FILE, PREVIEWS, SEEDS, RunSummary, read_summary

Status = Literal["prepares", "trains", "scores", "finished", "ended early", "unknown"]
Log = tuple[Mapping[str, Any], ...]

SILENT = 900.0
"""Seconds without a line of the log after which a run of another machine is no longer said to
train."""
MUCH_VALIDATING, MUCH_WAITING = 0.1, 0.05
"""Shares of the time from which a note says what to set."""


@dataclass(frozen=True)
class Training:
    """The network that is trained now, or was last.

    Attributes:
        network: as the log calls it, with its seed where that is not the first.
        stage: of its training.
        step, steps: taken, and planned in this stage.
        number, planned: the how-maniest network of the run it is, and how many there will be.
        left: seconds that this stage still takes; None where nothing says how fast it is.
        all_left: likewise all networks, from how long those before took.
        best: the best validation score so far as name, value and step; None before the first.
    """

    network: str
    stage: str
    step: int
    steps: int
    number: int
    planned: int
    left: float | None
    all_left: float | None
    best: tuple[str, float, int] | None


@dataclass(frozen=True)
class State:
    """A run at this moment.

    Attributes:
        title, recipe: of the run.
        status: what it does.
        training: the network at work; None before the first line of the log.
        silent: seconds since it last wrote its log; None where there is none.
        log: its lines, of all seeds.
        preview: the newest picture of validation images.
        notes: what a reader should know: damaged lines, time that is lost.
    """

    title: str
    recipe: str
    status: Status
    training: Training | None
    silent: float | None
    log: Log
    preview: Path | None
    notes: tuple[str, ...]


def require_run(folder: Path) -> None:
    """Refuse a folder in which no run was begun.

    Raises:
        InputError: it holds no config.yaml.
    """
    if not (folder / "config.yaml").is_file():
        raise InputError(
            f"{folder}: no run was begun here (there is no config.yaml). Give the folder that is "
            "--out of 'abbe distill'"
        )


def state_of(folder: Path) -> State:
    """Read how a run stands; what is damaged becomes a note."""
    notes: list[str] = []
    experiment = _experiment(folder, notes)
    logs = _logs(folder)
    entries: list[Mapping[str, Any]] = []
    for path in logs:
        parts = Parts(path.parent)
        lines, broken = parts.read(path.name, read_log, ((), 0))
        entries += lines
        notes += parts.problems
        if broken:
            notes.append(f"{broken} line(s) of {path.relative_to(folder)} are damaged.")
    log = tuple(entries)
    newest = max(logs, key=lambda path: path.stat().st_mtime, default=None)
    silent = None if newest is None else max(0.0, time.time() - newest.stat().st_mtime)
    last, _ = ((), 0) if newest is None else Parts(folder).read(
        str(newest.relative_to(folder)), read_log, ((), 0)
    )  # fmt: skip
    training = training_of(log, last, _planned(experiment, folder, log))
    status = _status(folder, training, silent, notes)
    if training is not None and status in ("trains", "unknown"):
        notes += _lost_time(log, training.network)
    title = folder.resolve().name if experiment is None else experiment.title
    return State(
        title or folder.resolve().name,
        "" if experiment is None else experiment.recipe,
        status, training, silent, log, _newest_preview(folder), tuple(notes),
    )  # fmt: skip


def training_of(log: Log, last: Log, planned: int) -> Training | None:
    """The network at work.

    Args:
        log: of all seeds.
        last: the log that was written last.
        planned: how many networks the run trains.
    """
    steps = [entry for entry in last if is_number(entry.get("steps")) and "model" in entry]
    if not steps:
        return None
    entry = steps[-1]
    name, stage = str(entry["model"]), str(entry.get("stage", ""))
    names = list(dict.fromkeys(str(each["model"]) for each in log if "model" in each))
    step, total = int(entry["step"]), int(entry["steps"])
    taken = _number(entry.get("seconds"))
    left = taken / step * (total - step) if taken is not None and step else None
    count, rest = names.index(name) + 1, None
    if left is not None and taken is not None:
        before = [_seconds_of(log, each) for each in names if each != name]
        usual = sum(before) / len(before) if before else taken + left
        rest = left + max(0, planned - count) * usual
    return Training(
        name, stage, step, total, count, max(count, planned), left, rest, _best(log, name, stage)
    )


def _experiment(folder: Path, notes: list[str]) -> config.Experiment | None:
    try:
        return config.load(folder / "config.yaml")
    except AbbeError as error:
        notes.append(str(error))
        return None


def _planned(experiment: config.Experiment | None, folder: Path, log: Log) -> int:
    """How many networks there will be: at most, until the first seed has shown which it trains.

    Where every image is labelled, twin and supervised network are one, and are trained once.
    """
    if experiment is None:
        return 1
    seeds, each = len(experiment.all_seeds), 1 + len(experiment.compared_with)
    if any((folder / SEEDS).glob("*/log.jsonl")):
        names = {str(entry["model"]) for entry in log if "model" in entry}
        each = len([name for name in names if ", seed " not in name])
    return seeds * each


def _logs(folder: Path) -> list[Path]:
    """The first seed's, then the others' in order."""
    found = [folder / "log.jsonl", *(folder / SEEDS).glob("*/log.jsonl")]
    return [path for path in found if path.is_file()]


def _status(
    folder: Path, training: Training | None, silent: float | None, notes: list[str]
) -> Status:
    runs = holder_runs(folder / ".lock")
    if runs is None and silent is not None and silent > SILENT:
        return "unknown"
    if runs is not False:
        if training is None:
            return "prepares"
        done = training.step >= training.steps and training.number == training.planned
        return "scores" if done else "trains"
    if not (folder / FILE).is_file():
        return "ended early"
    try:
        summary = read_summary(folder)
    except AbbeError as error:
        notes.append(str(error))
        return "ended early"
    complete = not isinstance(summary, RunSummary) or summary.evidence.complete
    return "finished" if complete else "ended early"


def _seconds_of(log: Log, network: str) -> float:
    """All stages of a network together."""
    by_stage: dict[str, float] = {}
    for entry in log:
        seconds = _number(entry.get("seconds"))
        if entry.get("model") == network and seconds is not None:
            by_stage[str(entry.get("stage", ""))] = seconds
    return sum(by_stage.values())


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _best(log: Log, network: str, stage: str) -> tuple[str, float, int] | None:
    """By the first score that validation names, which is what chooses."""
    scores: list[tuple[str, float, int]] = []
    for entry in log:
        values = entry.get("validation")
        if (entry.get("model"), entry.get("stage")) == (network, stage) and isinstance(
            values, dict
        ):
            name, value = next(iter(values.items()), ("", None))
            number = _number(value)
            if number is not None:
                scores.append((str(name), number, int(entry["step"])))
    return max(scores, key=lambda each: each[1], default=None)


def _lost_time(log: Log, network: str) -> list[str]:
    """Notes on time that goes into other things than training, from the newest lines."""
    notes = []
    own: Sequence[Mapping[str, Any]] = [each for each in log if each.get("model") == network]
    for key, much, said, advice in (
        ("share_waiting", MUCH_WAITING, "waits for data", "raise --training.workers"),
        ("share_validating", MUCH_VALIDATING, "validates", "raise --training.validate-every"),
    ):
        shares = [share for each in own if (share := _number(each.get(key))) is not None]
        if shares and shares[-1] > much:
            notes.append(f"{network} {said} {percent(shares[-1])} of the time: {advice}.")
    return notes


def _newest_preview(folder: Path) -> Path | None:
    found = [
        *(folder / PREVIEWS).glob("*.png"), *(folder / SEEDS).glob(f"*/{PREVIEWS}/*.png")
    ]  # fmt: skip
    times: dict[Path, float] = {}
    for path in found:
        try:
            times[path] = path.stat().st_mtime
        except FileNotFoundError:
            continue  # it was thinned out this instant
    return max(times, key=times.__getitem__, default=None)
