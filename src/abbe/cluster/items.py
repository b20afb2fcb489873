"""Items with names, given out to workers: each tried a few times at most, none finished twice.

A worker notes in a folder that client and workers share that it begins an item, and what it made of
it (`abbe.cluster.tries`). So an item whose workers die again and again is given up, and what was
finished when its client was killed is taken over by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from abbe import __version__
from abbe.cluster.deadline import Deadline, Ended
from abbe.cluster.tries import Tries
from abbe.cluster.workers import Lost, Workers
from abbe.errors import ClusterError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Done:
    """What a worker made of an item.

    Attributes:
        kept: Plain JSON values that are kept until the client has them; None where the item failed
            or has left what is to be known of it elsewhere.
        beside: What else the client is told; a client that takes over from a killed one is not.
    """

    kept: Any = None
    beside: Any = None


@dataclass(frozen=True)
class Died:
    """What stands in place of an item that was given up.

    Attributes:
        times: So many workers died.
        begun: While they had it in hand, and not before they began.
    """

    times: int
    begun: bool = True

    def words(self, what: str) -> str:
        """For people; ``what`` is "this image", or what else the items are."""
        if not self.begun:
            return f"its workers died {self.times} times before they began. See their logs"
        return (
            f"{self.times} workers died while they had {what} in hand. Try it alone, without "
            "--cluster: it may need more memory than a worker is given"
        )


Work = Callable[[Item, int], Done]
"""Of a module that the workers have, too: takes an item and, from 1, which try of it this is."""


@dataclass(frozen=True)
class _Given(Generic[Item]):
    """An item as it is sent."""

    work: Work[Item]
    name: str
    item: Item
    tries: Tries
    version: str = __version__


def carry_out(
    workers: Workers,
    tries: Tries,
    work: Work[Item],
    items: Iterable[tuple[str, Item] | None],
    *,
    long: Callable[[Item], bool] = lambda item: False,
    count: int | None = None,
) -> Iterator[tuple[Item, Done | Died]]:
    """Items and what became of them, in the order in which they end.

    Whoever asks for the next has kept what the one before came to: workers' word of it goes then.
    What ``work`` raises is raised here, and ends all.

    Args:
        workers: Who do the work.
        tries: The folder of what they begin and finish; it goes at the end.
        work: What is done with an item.
        items: Names, each of its own, and the items; None says that what comes next depends on
            what is in hand.
        long: Whether an item is sent alone in any case; short ones are sent together.
        count: How many there will be at most, where that is known; see `Workers.run`.

    Raises:
        ClusterError: The scheduler has gone, or a worker has another Abbe.
    """
    given = (each and _Given(work, *each, tries) for each in items)
    for one, answer in workers.run(_try, given, long=lambda one: long(one.item), count=count):
        if isinstance(answer, Lost):
            answer = Died(answer.times, begun=False)
        yield one.item, answer
        tries.forget(one.name)
    tries.close()


def _try(given: _Given[Any]) -> Done | Died | Ended:
    """One go at an item, on a worker; another that is at it still is waited for."""
    if given.version != __version__:
        raise ClusterError(
            f"a worker has Abbe {__version__} and you have {given.version}: install the same"
        )
    with given.tries.begin(given.name) as attempt:
        if attempt.finished is not None:
            return Done(attempt.finished)
        if attempt.given_up:
            return Died(given.tries.most)
        try:
            done = given.work(given.item, attempt.number)
        except Deadline:
            attempt.end()
            return Ended(given.name)
        except BaseException:
            attempt.end()
            raise
        if done.kept is None:
            attempt.end()
        else:
            attempt.finish(done.kept)
        return done
