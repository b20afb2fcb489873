"""Carries items out on workers: a few of them with dask at a time, results as they come."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from abbe.cluster import deadline
from abbe.cluster.deadline import Ended
from abbe.errors import ClusterError
from abbe.in_words import counted

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 3
"""Batches with dask for each one that is worked on, so that no worker waits for the client."""
_TOGETHER = 0.4
"""Seconds that the items of a batch are to take: what dask does for each is little beside them."""
_MOST_TOGETHER = 100
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
        share: Cores of each worker; None where each finds out itself what it was due.
        say: Told of workers that end, in lines.
    """

    client: Any
    place: str
    share: int | None = None
    say: Callable[[str], None] = lambda line: None

    def __str__(self) -> str:
        slots = self.slots()
        return (
            f"{self.place}, {counted(slots, 'item')} at a time"
            if slots
            else f"{self.place}, no worker yet"
        )

    def slots(self) -> int:
        """How many items are worked on at a time, at this moment."""
        return sum(self.client.nthreads().values())

    def run(
        self,
        function: Callable[[Item], Result | Ended],
        items: Iterable[Item | None],
        *,
        long: Callable[[Item], bool] = lambda item: False,
        count: int | None = None,
    ) -> Iterator[tuple[Item, Result | Lost]]:
        """Each item and what the function gives for it, in the order in which they finish.

        Items are taken as workers become free, so there may be millions. Where they are short,
        many are sent together. One whose worker dies or has to end is given to another. What the
        function raises is raised here, and ends the work.

        Args:
            function: Of a module that the workers have, too.
            items: Arguments, one a call; None where the next is not known before one of those in
                hand is finished.
            long: Whether an item is sent alone in any case.
            count: How many items there will be at most, where that is known: the last are sent in
                smaller batches, so that no worker waits long for another at the end.

        Raises:
            ClusterError: The scheduler has gone, or no worker here is left.
        """
        hand = _Hand(self, function, count)
        try:
            for item in items:
                if item is None:
                    yield hand.next()
                else:
                    hand.give(_Due(item), alone=long(item))
                while hand.results or hand.full():
                    yield hand.next()
            while hand.any():
                yield hand.next()
        finally:
            hand.cancel()


@dataclass(frozen=True)
class _Due(Generic[Item]):
    """An item; how often its workers died and ended before."""

    item: Item
    lost: int = 0
    ended: int = 0


@dataclass(frozen=True)
class _Batch(Generic[Item, Result]):
    """Items that are sent together. No list, which dask would look through."""

    function: Callable[[Item], Result | Ended]
    items: tuple[Item, ...]


def _work_through(batch: _Batch[Any, Any]) -> tuple[list[Any], float]:
    """Called on a worker: results of the first items, as many as there is time for; its seconds."""
    start, results = time.monotonic(), []
    for item in batch.items:
        results.append(batch.function(item))
        seconds = time.monotonic() - start
        if seconds > _TOGETHER or deadline.near():
            break
    return results, time.monotonic() - start


class _Hand(Generic[Item, Result]):
    """The items that are with dask, in batches, and results that nobody has asked for yet."""

    def __init__(
        self,
        workers: Workers,
        function: Callable[[Item], Result | Ended],
        count: int | None = None,
    ) -> None:
        from distributed import as_completed

        self._workers, self._function = workers, function
        self.running: dict[Any, list[_Due[Item]]] = {}
        self.results: deque[tuple[Item, Result | Lost]] = deque()
        self._finished = as_completed(loop=workers.client.loop)
        self._name = f"{function.__name__}-{uuid.uuid4().hex[:8]}"
        self._number, self._most, self._looked = 0, 1, float("-inf")
        self._slots, self._left = 1, count
        self._together, self._collected = 1, list[_Due[Item]]()

    def give(self, due: _Due[Item], *, alone: bool = False) -> None:
        """Hand an item to dask, alone or as soon as there are enough for a batch."""
        if alone:
            self._send([due])
            return
        self._collected.append(due)
        if len(self._collected) >= self._enough():
            self.send()

    def _enough(self) -> int:
        """How many items are sent together: towards the end ever fewer."""
        if self._left is None:
            return self._together
        share = self._left // (2 * self._slots)
        return max(1, min(self._together, max(share, self._together // 4)))

    def send(self) -> None:
        """Wait no longer for others."""
        if self._collected:
            self._send(self._collected)
            self._collected = []

    def _send(self, batch: list[_Due[Item]]) -> None:
        self._number += 1
        if self._left is not None:
            self._left = max(0, self._left - len(batch))
        key = (self._name, self._number)  # batches of one call are one group for dask
        sent = _Batch(self._function, tuple(each.item for each in batch))
        future = self._workers.client.submit(_work_through, sent, key=key, pure=False)
        self.running[future] = batch
        self._finished.add(future)

    def full(self) -> bool:
        """Whether enough batches wait for the workers that there are."""
        if time.monotonic() - self._looked > _LOOK_EVERY:
            with self._words():
                self._slots = max(1, self._workers.slots())
            self._most = 1 + _AHEAD * self._slots
            self._looked = time.monotonic()
        return len(self.running) >= self._most

    def any(self) -> bool:
        """Whether results are still to come."""
        return bool(self.results or self.running or self._collected)

    def next(self) -> tuple[Item, Result | Lost]:
        """Wait for the next item that is finished."""
        while not self.results:
            self.send()  # what is given again, or waits for others that do not come
            self._take(next(self._finished))
        return self.results.popleft()

    def _take(self, future: Any) -> None:
        """Results of a batch; what is not worked on is given again."""
        from distributed.scheduler import KilledWorker, NoWorkerError

        batch = self.running.pop(future)
        if future.status == "cancelled":
            raise self._gone()
        try:
            with self._words():
                results, seconds = future.result()
        except KilledWorker:  # blamed for a death, with or without being the cause
            for due in batch:
                self._give_again(_Due(due.item, due.lost + 1, due.ended))
            return
        except NoWorkerError as error:
            raise ClusterError(
                f"--cluster {self._workers.place}: no worker is left, and none could be started "
                "again. What is finished is kept: run the same command again"
            ) from error
        few = max(1, int(len(results) * _TOGETHER / max(seconds, 1e-6)))
        self._together = min(few, 2 * self._together, _MOST_TOGETHER)
        for due, result in zip(batch, results, strict=False):
            if isinstance(result, Ended):
                self._workers.say(
                    f"{result.name}: its worker's time is up; another goes on with it"
                )
                self._give_again(_Due(due.item, due.lost, due.ended + 1))
            else:
                self.results.append((due.item, result))
        for due in batch[len(results) :]:
            self.give(due)

    def _give_again(self, due: _Due[Item]) -> None:
        """Alone, so that it costs no others; or it is given up."""
        if due.lost > _MOST_LOST or due.ended > _MOST_ENDED:
            self.results.append((due.item, Lost(max(due.lost, due.ended))))
        else:
            self.give(due, alone=True)

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
