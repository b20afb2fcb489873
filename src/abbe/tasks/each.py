"""What is computed for each image: here, one after the other, or by the workers of a cluster."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from abbe.cluster import Died, Workers
from abbe.cluster.in_order import in_order
from abbe.datasets import Record
from abbe.errors import InputError
from abbe.progress import bar, track
from abbe.runs.lost import Lost

Answer = TypeVar("Answer")
Group = Sequence[Record]
"""Images that are answered together: one, or several of one size."""


class Each(Protocol):
    """Has something computed for groups of images."""

    def __call__(
        self, work: Callable[[Group], Answer], groups: Sequence[Group]
    ) -> Iterable[tuple[Group, Answer]]:
        """Each group and what ``work`` gives for it, in order, but for those that are lost."""
        ...


@dataclass(frozen=True)
class Here:
    """In this process.

    Attributes:
        progress: show a bar.
    """

    progress: bool = True

    def __call__(
        self, work: Callable[[Group], Answer], groups: Sequence[Group]
    ) -> Iterator[tuple[Group, Answer]]:
        """See `Each`."""
        for group in track(groups, "scoring", shown=self.progress):
            yield group, work(group)


HERE = Here()


@dataclass(frozen=True)
class OnWorkers:
    """By workers; images that they die of again and again are lost.

    Attributes:
        workers: who compute.
        scratch: a folder that they see under the same name; it is removed.
        lost: told of images that are.
    """

    workers: Workers
    scratch: Path
    lost: Lost

    def __call__(
        self, work: Callable[[Group], Answer], groups: Sequence[Group]
    ) -> list[tuple[Group, Answer]]:
        """See `Each`; ``work`` can be pickled.

        Raises:
            InputError: more images are lost than allowed, or all of them.
            ClusterError: the scheduler has gone, or a worker does not see the client's folders.
        """
        items = {group[0].id: group for group in groups}
        with bar("scoring", len(items)) as moving:
            answers = in_order(self.workers, self.scratch, work, items, moving.advance)
        found: list[tuple[Group, Answer]] = []
        died: dict[str, str] = {}
        for group, answer in zip(groups, answers, strict=True):
            if isinstance(answer, Died):
                reason = answer.words("this image" if len(group) == 1 else "these images")
                died |= {record.id: reason for record in group}
            else:
                found.append((group, answer))
        if died:
            self.lost.add(died)
        if not found:
            raise InputError("no image is left to be scored: workers died of all of them")
        return found
