"""Kill teach, distill, predict, curve, export and serve at any time, and go on.

    python benchmarks/kills.py --kills 100 [--seed 0] [--only teach cmkd rckd …] [--inputs FOLDER]

Each kind of work is a tiny but whole job from the command line: teach, cmkd, rckd and kdsam
(distill), predict, prompted (predict with prompts), curve, export and serve. It runs once
undisturbed. Then it starts again in a new folder, gets SIGKILL (two times of three), SIGINT or
SIGTERM at a random moment, and the command that goes on is given: `abbe distill RUN --resume`,
`abbe curve CURVE --resume`, else the same command. A kill fails where

- anything differs from the undisturbed results: targets, weights, scores, labels, tables, packages,
- a file is left over, such as a hidden or half-written one, or is logged twice,
- a traceback is shown, SIGINT does not end with exit code 130 and a line, or going on fails,
- a step of a training that a checkpoint held is trained again, or one that was finished before
  SIGINT or SIGTERM,
- serve lost objects whose saving it had acknowledged.

Three kills of four come after the first file has been written. Every fifth kill hits an
interpreter of its own, and so may come while Python starts; all other commands run in processes
forked from one that has read Abbe. Inputs that are kept in --inputs are made once. Prints a line
for each failure, and last a table. The same seed draws the same kills, but not the same instant.
"""

import argparse
import faulthandler
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported

import numpy as np
import torch
from forked import fork_abbe
from kills_jobs import Job, make_jobs
from kills_same import differences
from kills_serve import serve_killed

from abbe.training import fit

PATIENCE = 600.0
"""Seconds after which a command is taken to hang."""
PRELOADED = (
    "abbe.cli.teach", "abbe.cli.distill", "abbe.cli.predict", "abbe.cli.curve", "abbe.cli.export",
    "abbe.cli.serve", "abbe.runs.distill", "abbe.runs.results", "abbe.curves.curve",
    "abbe.recipes.rckd", "abbe.recipes.kdsam", "abbe.curves.initialisations",
    "abbe.curves.results", "abbe.runs.export",
    "abbe.reporting", "abbe.runtime.batch.many", "abbe.runtime.predictors.prompted", "abbe.serve",
)  # fmt: skip
KINDS = ("teach", "cmkd", "rckd", "kdsam", "predict", "prompted", "curve", "export", "serve")


_STOPPING = (signal.SIGINT, signal.SIGTERM)


class Command:
    """``abbe WORDS`` in a process of its own, that writes what it says and trains to files.

    Args:
        words: The command.
        log: File for both outputs.
        steps: File for the steps that are trained, a line each once it is finished; only of
            forked processes.
        fresh: A new interpreter instead of a forked process.
    """

    def __init__(self, words: Sequence[str], log: Path, steps: Path, *, fresh: bool = False):
        self.log = log
        self.started = time.monotonic()
        self.seconds: float | None = None
        self.code: int | None = None
        if fresh:
            with open(log, "wb") as file:
                command = [sys.executable, "-m", "abbe", *words]
                self._fresh = subprocess.Popen(command, stdout=file, stderr=file)
            self.pid = self._fresh.pid
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)  # until the child has become `abbe`
        self.pid = fork_abbe(words, log, partial(_become_abbe, steps))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    def ended(self) -> bool:
        """Whether it has; `code` and `seconds` are known then."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.seconds = time.monotonic() - self.started
        return self.code is not None

    def end(self, patience: float = PATIENCE) -> int:
        """Wait for the end; the exit code, negative for a signal.

        What hangs writes where it is to its log, is killed and so has failed.
        """
        hangs = False
        while not self.ended():
            if not hangs and time.monotonic() - self.started > patience:
                hangs = True
                os.kill(self.pid, signal.SIGUSR1)
                time.sleep(1)
                self.signal(signal.SIGKILL)
            time.sleep(0.005)
        assert self.code is not None
        return self.code

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if not self.ended():
            os.kill(self.pid, number)

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")


def _become_abbe(steps: Path) -> None:
    """The first that a forked process does."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    random.seed()
    np.random.seed(None)  # noqa: NPY002 - else each process draws what this one would
    _note_steps(steps)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    except KeyboardInterrupt:  # it came before there was an `abbe` that could end by itself
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def _note_steps(path: Path) -> None:
    """Have every finished step of a training noted: checkpoint and number."""
    train_step = fit._Run.train_step

    def noted(self: fit._Run, batch: fit.Batch) -> float:
        seconds = train_step(self, batch)
        with open(path, "a") as file:
            file.write(f"{_within(self.checkpoint)} {self.step}\n")
        return seconds

    fit._Run.train_step = noted


@dataclass(frozen=True)
class Usual:
    """How a job goes undisturbed: its result, its duration, and when it begins to write, s."""

    folder: Path
    seconds: float
    first: float


def undisturbed(job: Job, folder: Path) -> Usual:
    """Run a job to its end.

    Raises:
        RuntimeError: It fails.
    """
    folder.mkdir()
    out = folder / "out"
    command = Command(job.command(out), folder.with_suffix(".log"), folder.with_suffix(".steps"))
    first = None
    while not command.ended():
        if first is None and any(folder.iterdir()):
            first = time.monotonic() - command.started
        time.sleep(0.005)
    if command.code or "Traceback" in command.text:
        raise RuntimeError(f"undisturbed, it ended with {command.code}:\n{command.text}")
    assert command.seconds is not None
    return Usual(folder, command.seconds, first or command.seconds)


def killed(
    job: Job, usual: Usual, folder: Path, chance: random.Random, number: int, *, fresh: bool
) -> tuple[str, list[str]]:
    """Kill a job, go on, and compare: when it was hit, and what is wrong."""
    folder.mkdir()
    out = folder / "out"
    log, steps = folder.with_suffix(".log"), folder.with_suffix(".steps")
    again_log, again_steps = folder.with_suffix(".again.log"), folder.with_suffix(".again.steps")
    share, late = chance.random(), chance.random() < 0.75
    first = Command(job.command(out), log, steps, fresh=fresh)
    if late:
        while not first.ended() and not any(folder.iterdir()):
            time.sleep(0.002)
        began, wait = time.monotonic(), share * (usual.seconds - usual.first)
    else:
        began, wait = first.started, share * usual.first
    while not first.ended() and time.monotonic() - began < wait:
        time.sleep(0.002)
    when = f"{time.monotonic() - first.started:.2f} s"
    asked = not first.ended()
    first.signal(number)
    code = first.end()
    ended = code == 0
    when += " (had ended)" if ended else f" ({_where(out)})"
    told = "abbe: stopping after this step" in first.text
    wrong = _wrong_end(number, code, first.text) if asked and not ended else []
    if not asked and code:
        wrong.append(f"undisturbed, it ended with {code}: {first.text.strip()[-300:]}")
    if ended and told:
        wrong.append("it said that it was stopping, and went on")
    saved = _checkpoints(out)
    again = Command(job.going_on(out), again_log, again_steps)
    packaged = ended and "exists already" in again.text if again.end() else False
    if again.code and not packaged:
        wrong.append(f"going on ended with {again.code}: {again.text.strip()[-300:]}")
    if "Traceback" in again.text:
        wrong.append(f"going on, a traceback: {again.text.strip().splitlines()[-1]}")
    wrong += _trained_twice(steps, again_steps, saved, stopped=number != signal.SIGKILL)
    return when, wrong + _compared(folder, usual.folder)


def _compared(folder: Path, usual: Path) -> list[str]:
    """`differences`, in a process of its own: readers start threads, and those must not be forked.

    A lock that a thread holds would be held for ever in the forked process.
    """
    told = folder.with_suffix(".differences")
    child = os.fork()
    if child == 0:
        try:
            told.write_text("\n".join(differences(folder, usual)))
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return told.read_text().splitlines() if status == 0 else ["the comparison failed"]


def _where(out: Path) -> str:
    """How far a job had come, by the newest file."""
    files = [path for path in out.parent.rglob("*") if path.is_file()]
    if not files:
        return "nothing written"
    return str(max(files, key=lambda path: path.stat().st_mtime_ns).relative_to(out.parent))


def _wrong_end(number: int, code: int, text: str) -> list[str]:
    """What is wrong with how a process ended that got a signal."""
    wrong = []
    own = "Traceback" in text and ("abbe/" in text or "forked" in text)
    if own:
        wrong.append("a traceback: " + text.strip()[-600:])
    if number == signal.SIGKILL or (number == signal.SIGTERM and code == -number):
        return wrong
    if "Traceback" in text and not own:
        return []  # Python itself had not begun with Abbe
    last = (text.strip().splitlines() or [""])[-1]
    if code != 130 and not (code == -number and not text):
        wrong.append(f"exit code {code}")
    if code == 130 and not last.startswith("abbe: stopped"):
        wrong.append(f"its last line is: {last}")
    return wrong


def _checkpoints(out: Path) -> dict[str, int]:
    """The step of each checkpoint."""
    return {
        _within(path): torch.load(path, weights_only=True)["step"]
        for path in out.rglob("*.pt")
        if not path.name.startswith(".")
    }


def _within(checkpoint: Path) -> str:
    """Its path in the folder of its run; each seed has checkpoints of the same names."""
    return checkpoint.as_posix().rpartition("/out/")[2]


def _trained_twice(before: Path, after: Path, saved: dict[str, int], *, stopped: bool) -> list[str]:
    first, second = (
        [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []
        for path in (before, after)
    )
    covered = {each for each in second if int(each[1]) <= saved.get(each[0], 0)}
    if stopped:
        covered |= set(first) & set(second)
    wrong = [f"step {step} of {name} is trained again" for name, step in sorted(covered)]
    return wrong + [f"{e} is trained twice in one run" for e, n in Counter(second).items() if n > 1]


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills at any time, and what is lost by them.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--inputs", type=Path, help="keep inputs and failures in this folder")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    for name in PRELOADED:
        import_module(name)
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.inputs or Path(temporary)
        return kill_all(root.resolve(), arguments.kills, arguments.seed, arguments.only)


def kill_all(root: Path, kills: int, seed: int, kinds: Sequence[str]) -> int:
    """All kills, kind after kind; the exit code."""
    jobs = make_jobs(root / "inputs", lambda words: _made(words, root / "made.log"))
    runs = root / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir()
    usual: dict[str, Usual] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for case in range(kills):
        kind = kinds[case % len(kinds)]
        chance = random.Random(f"{seed}-{case}")
        number = chance.choice(SIGNALS)
        fresh = chance.random() < 0.2
        folder = runs / f"{case}-{kind}"
        if kind == "serve":
            start = Command
            when, wrong = serve_killed(root / "inputs", folder, chance, number, start)
        else:
            if kind not in usual:
                usual[kind] = undisturbed(jobs[kind], runs / f"usual-{kind}")
            when, wrong = killed(jobs[kind], usual[kind], folder, chance, number, fresh=fresh)
        counts[kind, signal.Signals(number).name] += 1
        counts[kind, "had ended"] += "had ended" in when
        counts[kind, "failed"] += bool(wrong)
        new = ", new interpreter" if fresh and kind != "serve" else ""
        told = f"{seed}-{case} {kind}, {signal.Signals(number).name} at {when}{new}: "
        print(told + ("; ".join(wrong) if wrong else "nothing lost"), flush=True)
        if not wrong:
            shutil.rmtree(folder)
    return _table(counts, kinds, usual)


SIGNALS = (signal.SIGKILL,) * 4 + (signal.SIGINT, signal.SIGTERM)


def _made(words: Sequence[str], log: Path) -> None:
    command = Command(words, log, log.with_suffix(".steps"))
    if command.end():
        raise RuntimeError(f"an input could not be made by abbe {' '.join(words)}:\n{command.text}")


def _table(counts: Counter[tuple[str, str]], kinds: Sequence[str], usual: dict[str, Usual]) -> int:
    columns = ("SIGKILL", "SIGINT", "SIGTERM", "had ended", "failed")
    print(f"{'kind':10}{'seconds':>10}" + "".join(f"{name:>10}" for name in columns))
    for kind in kinds:
        seconds = f"{usual[kind].seconds:.1f}" if kind in usual else "-"
        row = "".join(f"{counts[kind, name]:>10}" for name in columns)
        print(f"{kind:10}{seconds:>10}{row}")
    failed = sum(counts[kind, "failed"] for kind in kinds)
    total = sum(counts[kind, name] for kind in kinds for name in columns[:3])
    print(f"{total} kills, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
