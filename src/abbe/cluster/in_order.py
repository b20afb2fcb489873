"""What a function gives for many items, by workers, in the order of the items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from abbe.cluster.items import Died, Done, carry_out
from abbe.cluster.own_threads import threads_wanted, use_threads
from abbe.cluster.shared import Shared, share
from abbe.cluster.tries import Tries
from abbe.cluster.workers import Workers

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class _Common(Generic[Item, Answer]):
    """What all items share."""

    work: Callable[[Item], Answer]
    threads: int | None


@dataclass(frozen=True)
class _Asked(Generic[Item]):
    """An item as it is sent."""

    common: Shared[_Common[Item, Any]]
    name: str
    item: Item


def in_order(
    workers: Workers,
    scratch: Path,
    work: Callable[[Item], Answer],
    items: Mapping[str, Item],
    moved: Callable[[], None],
) -> list[Answer | Died]:
    """Have workers compute something for each item.

    Args:
        workers: Who do.
        scratch: A folder that they see under the same name; it is removed where nothing else is in
            it.
        work: Takes an item; with what belongs to it, it can be pickled. Sent once.
        items: By names, each of its own.
        moved: Called when one has ended.

    Returns:
        What came of them, in their order: where workers died of an item, that.

    Raises:
        ClusterError: The scheduler has gone, or a worker does not see the client's folders.
    """
    found: dict[str, Answer | Died] = {}
    tries = Tries(scratch)
    tries.begin_anew()
    with share(scratch, _Common(work, threads_wanted(workers))) as common:
        given = ((name, _Asked(common, name, item)) for name, item in items.items())
        for asked, answer in carry_out(workers, tries, _carry, given, count=len(items)):
            died = isinstance(answer, Died)
            found[asked.name] = answer if died else cast(Answer, answer.beside)
            moved()
    return [found[name] for name in items]


def _carry(asked: _Asked[Any], number: int) -> Done:
    common = asked.common.get()
    use_threads(common.threads)
    return Done(beside=common.work(asked.item))
