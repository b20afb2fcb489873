"""Progress on standard error: one display for all that takes long."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from abbe.foreign_text import shown as harmless

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

Item = TypeVar("Item")
Given = TypeVar("Given", covariant=True)
Unit = Literal["items", "bytes", "share"]

_SHOWN: list[Progress] = []
"""Displays of the bars that have begun and not ended."""
LINE_EVERY = 10.0
"""Seconds between lines of progress where there is no terminal; shorter work has none."""
PACE_OVER = 60.0
"""Seconds over which images a second are told: those that were finished earlier take none."""


class Countable(Protocol[Given]):
    """Items whose number is known."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Given]: ...


class Bar:
    """A bar that moves; several threads may move it."""

    def __init__(self, display: Progress, task: TaskID) -> None:
        self._display, self._task = display, task

    def advance(self, by: float = 1) -> None:
        """Move on by so much."""
        self._display.advance(self._task, by)

    def move_to(self, done: float, total: float | None = None) -> None:
        """Move to ``done``, of a new ``total`` where one is given."""
        self._display.update(self._task, completed=done, total=total)

    def rename(self, name: str) -> None:
        """Change what stands before the bar."""
        self._display.update(self._task, description=_escaped(name))

    def say(self, text: str) -> None:
        """Change what stands behind the bar."""
        self._display.update(self._task, text=_escaped(text))

    def note(self, text: str) -> None:
        """Leave a line above the bar; it is all that a log file shows of the way."""
        if not self._display.disable:
            self._display.console.print(harmless(text), highlight=False, markup=False)


@contextmanager
def bar(
    name: str,
    total: float | None,
    *,
    start: int = 0,
    unit: Unit = "items",
    shown: bool = True,
    transient: bool = False,
) -> Iterator[Bar]:
    """Show how far it is from ``start`` to ``total``.

    Args:
        name: What stands before the bar.
        total: How much there is; None while it is not known.
        start: What is done already.
        unit: What is counted: items as 3/10, bytes with their speed, or shares in percent.
        shown: Whether to show anything.
        transient: Only for whoever watches: nothing in a log, and no trace when it is done.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    hidden = not shown or (transient and not console.is_terminal)
    columns = _columns(unit)
    display = Progress(*columns, console=console, transient=transient, disable=hidden)
    task = display.add_task(_escaped(name), total=total, completed=start, text="")
    try:
        _SHOWN.append(display)
        display.start()
        yield Bar(display, task)
    finally:
        _end(display)


def end_all() -> None:
    """End all bars, so that what is told next stands below them and is the last.

    A generator holds the bar of `track`, and where an exception ends the work, its traceback holds
    the generator: the bar would end when the program does, below what is said of the exception.
    """
    for display in reversed(_SHOWN.copy()):
        _end(display)


def _end(display: Progress) -> None:
    if display in _SHOWN:
        _SHOWN.remove(display)
        display.stop()


def track(
    items: Countable[Item], name: str, *, shown: bool = True, transient: bool = False
) -> Iterable[Item]:
    """The items one by one, with a bar; arguments are those of `bar`."""
    with bar(name, len(items), shown=shown, transient=transient) as moving:
        for item in items:
            yield item
            moving.advance()


@contextmanager
def images_by_name(verb: str, total: int) -> Iterator[Callable[[str, float], None]]:
    """What is told the name of an image and the share of it that is newly done.

    It moves a bar on the terminal; elsewhere, as in a log, a line is printed now and then.
    """
    if not sys.stderr.isatty():
        yield _lines(verb, total)
        return
    with bar(verb, total, unit="share") as moving:
        pace = _Pace(total)

        def report(name: str, share: float) -> None:
            moving.rename(name)
            moving.advance(share)
            pace.advance(share)
            moving.say(pace.speed())

        yield report


class _Pace:
    """How many images a second of late, and how long the rest takes; for several threads."""

    def __init__(self, total: int) -> None:
        self._total, self._lock = total, threading.Lock()
        self.done = 0.0
        self._seen: deque[tuple[float, float]] = deque([(time.monotonic(), 0.0)])

    def advance(self, share: float) -> None:
        """Note that so much of an image is newly done."""
        with self._lock:
            self.done += share
            self._seen.append((time.monotonic(), self.done))
            while len(self._seen) > 2 and self._seen[-1][0] - self._seen[0][0] > PACE_OVER:
                self._seen.popleft()

    def per_second(self) -> float:
        """Images a second of late."""
        with self._lock:
            (began, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / max(now - began, 1e-3)

    def speed(self) -> str:
        """The same in words."""
        return f"{self.per_second():.3g} images/s"

    def left(self) -> str:
        """How long the rest takes, in words."""
        seconds = round((self._total - self.done) / max(self.per_second(), 1e-9))
        return f"{min(seconds, 10**9) // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"


def _lines(verb: str, total: int) -> Callable[[str, float], None]:
    lock, due, pace = threading.Lock(), time.monotonic() + LINE_EVERY, _Pace(total)

    def report(name: str, share: float) -> None:
        nonlocal due
        with lock:
            pace.advance(share)
            if time.monotonic() < due:
                return
            due = time.monotonic() + LINE_EVERY
            images = int(pace.done + 1e-6)  # shares of tiles add up to a little less
            text = f"{verb}: {images}/{total} images ({pace.done / total:.0%}), {name}"
            text = f"{text}; {pace.speed()}, {pace.left()}"
            print(harmless(text), file=sys.stderr, flush=True)

    return report


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(harmless(text))


def _columns(unit: Unit) -> tuple[ProgressColumn, ...]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts: tuple[ProgressColumn, ...] = {
        "items": (MofNCompleteColumn(), TimeElapsedColumn()),
        "bytes": (DownloadColumn(), TransferSpeedColumn()),
        "share": (TextColumn("{task.percentage:3.0f} %"),),
    }[unit]
    name, text = TextColumn("[bold]{task.description}"), TextColumn("{task.fields[text]}")
    return name, BarColumn(), *counts, TextColumn("left"), TimeRemainingColumn(), text
