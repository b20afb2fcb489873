"""Carries items out on workers: a few of them with dask at a time, results as they come."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from abbe.cluster.deadline import Ended
from abbe.errors import ClusterError

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 3
"""Items with dask for each one that is worked on, so that no worker waits for the client."""
_MOST_LOST = 10
"""Times that an item is given out again whose workers died before it was begun."""
_MOST_ENDED = 100
"""Times that an item is given out again whose workers' time was up: each may have done a part."""
_LOOK_EVERY = 1.0
"""Seconds between looks at how many workers there are: they come and go."""


@dataclass(frozen=True)
class Lost:
    """What stands in place of a result: workers died again and again before they began."""

    times: int


@dataclass(frozen=True)
class Workers:
    """Workers of dask that are ready.

    Attributes:
        client: Dask's.
        place: What ``--cluster`` says.
        share: Cores of each worker; None where each finds out itself what it was given.
        say: Told of workers that end, in lines.
    """

    client: Any
    place: str
    share: int | None = None
    say: Callable[[str], None] = lambda line: None

    def __str__(self) -> str:
        slots = self.slots()
        return f"{self.place}, {slots} items at a time" if slots else f"{self.place}, no worker yet"

    def slots(self) -> int:
        """How many items are worked on at a time, at this moment."""
        return sum(self.client.nthreads().values())

    def run(
        self, function: Callable[[Item], Result | Ended], items: Iterable[Item | None]
    ) -> Iterator[tuple[Item, Result | Lost]]:
        """Each item and what the function gives for it, in the order in which they finish.

        Items are taken as workers become free, so there may be millions. One whose worker dies or
        has to end is given to another. What the function raises is raised here, and ends the work.

        Args:
            function: Of a module that the workers have, too.
            items: Arguments, one a call; None where the next is not known before one of those in
                hand is finished.

        Raises:
            ClusterError: The scheduler has gone.
        """
        hand = _Hand(self, function)
        try:
            for item in items:
                if item is None:
                    yield hand.next()
                    continue
                hand.give(item)
                while hand.full():
                    yield hand.next()
            while hand.running:
                yield hand.next()
        finally:
            hand.cancel()


class _Hand(Generic[Item, Result]):
    """The items that are with dask."""

    def __init__(self, workers: Workers, function: Callable[[Item], Result | Ended]) -> None:
        from distributed import as_completed

        self._workers, self._function = workers, function
        self.running: dict[Any, tuple[Item, int, int]] = {}
        self._finished = as_completed(loop=workers.client.loop)
        self._name = f"{function.__name__}-{uuid.uuid4().hex[:8]}"
        self._number, self._most, self._looked = 0, 1, float("-inf")

    def give(self, item: Item, lost: int = 0, ended: int = 0) -> None:
        """Hand an item to dask; how often its workers died and ended before."""
        self._number += 1
        key = (self._name, self._number)  # items of one call are one group for dask
        future = self._workers.client.submit(self._function, item, key=key, pure=False)
        self.running[future] = item, lost, ended
        self._finished.add(future)

    def full(self) -> bool:
        """Whether enough items wait for the workers that there are."""
        if time.monotonic() - self._looked > _LOOK_EVERY:
            with self._words():
                self._most = 1 + _AHEAD * self._workers.slots()
            self._looked = time.monotonic()
        return len(self.running) >= self._most

    def next(self) -> tuple[Item, Result | Lost]:
        """Wait for the next item that is finished."""
        from distributed.scheduler import KilledWorker

        while True:
            future = next(self._finished)
            item, lost, ended = self.running.pop(future)
            if future.status == "cancelled":
                raise self._gone()
            try:
                with self._words():
                    result = future.result()
            except KilledWorker:  # blamed for a death, with or without being the cause
                if lost >= _MOST_LOST:
                    return item, Lost(lost)
                self.give(item, lost + 1, ended)
                continue
            if not isinstance(result, Ended):
                return item, result
            if ended >= _MOST_ENDED:
                return item, Lost(ended)
            self._workers.say(f"{result.name}: its worker's time is up; another goes on with it")
            self.give(item, lost, ended + 1)

    def cancel(self) -> None:
        """Take back what has not been worked on."""
        for future in self.running:
            future.release()

    def _words(self) -> _Words:
        return _Words(self._gone)

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"--cluster {self._workers.place}: its scheduler has gone away. What is finished is "
            "kept: start the scheduler and run the same command again"
        )


class _Words:
    """Turns what dask raises where its scheduler has gone into our words."""

    def __init__(self, gone: Callable[[], ClusterError]) -> None:
        self._gone = gone

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from distributed.client import FutureCancelledError
        from distributed.comm.core import CommClosedError

        if isinstance(error, CommClosedError | FutureCancelledError):
            raise self._gone() from error
