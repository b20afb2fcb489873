"""A worker that has to end soon, as a job at its deadline: its items end cleanly, and go elsewhere.

SLURM sends SIGTERM some seconds before it kills, and SIGUSR1 earlier where it is asked to. From
then on nothing in hand counts as a death, work that looks (`go_on`) stops at its next part, and
the worker leaves (`abbe.cluster.leaving`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from abbe.cluster import tries

_ENDING = threading.Event()


class Deadline(BaseException):
    """This worker ends. No `Exception`: who handles an item's faults must not take it for one."""


@dataclass(frozen=True)
class Ended:
    """What stands in place of a result: the worker had to end, and another goes on.

    Attributes:
        name: Of the item.
    """

    name: str


def go_on(*_: object) -> None:
    """Called between parts of an item, with whatever is told of progress.

    Raises:
        Deadline: This worker has to end.
    """
    if near():
        raise Deadline


def near() -> bool:
    """Whether this process has to end."""
    return _ENDING.is_set()


def begin() -> None:
    """This process works, until `end_soon`."""
    _ENDING.clear()


def end_soon() -> None:
    """From now on this process ends."""
    _ENDING.set()
    tries.end_all()
