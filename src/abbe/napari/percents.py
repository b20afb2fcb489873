"""Let a long call tell its progress to a thread worker of napari, and stop when asked to."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import TypeVar

Result = TypeVar("Result")


class Stopped(Exception):
    """Raised inside the call, at its next step, once it was asked to stop."""


def percents(
    call: Callable[[Callable[[float], None]], Result], stop: Event
) -> Generator[int, None, Result | None]:
    """Make a call in another thread, and yield every whole percent of it.

    napari's workers show the progress of generators; the call itself reports to a function.

    Args:
        call: Takes a function to be told the share of the work that is newly done.
        stop: Ends the call when it is set; it is set when the generator is closed.

    Returns:
        What the call returns; None if it was stopped.
    """
    told: SimpleQueue[float | None] = SimpleQueue()

    def advance(share: float) -> None:
        if stop.is_set():
            raise Stopped
        told.put(share)

    def make() -> Result | None:
        try:
            return call(advance)
        except Stopped:
            return None
        finally:
            told.put(None)

    with ThreadPoolExecutor(1, "abbe") as thread:
        future = thread.submit(make)
        try:
            done, percent = 0.0, 0
            while (share := told.get()) is not None:
                done += share
                while percent < min(100, int(100 * done + 1e-6)):
                    percent += 1
                    yield percent
        finally:
            stop.set()
        return future.result()
